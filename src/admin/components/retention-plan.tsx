import { Badge, Group, SegmentedControl, Stack, Text } from '@mantine/core';
import { useState } from 'react';
import type { RetentionPlanPartsFragment } from '../../client/generated/graphql.js';
import { count, moment, plural, size } from '../format.js';
import { TYPE } from '../words.js';
import { Size } from './exact.js';
import { TextLink } from './page.js';

type Plan = RetentionPlanPartsFragment;
type Item = Plan['items'][number];

/** So many are listed at most. */
const LISTED = 100;

/** What a policy keeps and deletes, in numbers. */
export function PlanSummary({ plan }: { plan: Plan }) {
  const { keepCount, keepSize, deleteCount, deleteSize } = plan;
  const unpinned = plan.items.filter(({ unpin }) => unpin).length;
  const consolidated = plan.items.filter(({ consolidate }) => consolidate).length;
  return (
    <div aria-live="polite" aria-atomic>
      <Group gap="xl">
        <Number word="Kept" count={keepCount} bytes={keepSize} color="teal" />
        <Number word="Deleted" count={deleteCount} bytes={deleteSize} color="red" />
      </Group>
      {unpinned > 0 && (
        <Text size="sm" mt={4}>
          {plural(unpinned, 'backup is unpinned', 'backups are unpinned')}.
        </Text>
      )}
      {consolidated > 0 && (
        <Text size="sm" mt={4}>
          {plural(consolidated, 'backup is consolidated', 'backups are consolidated')}, so that what{' '}
          {consolidated === 1 ? 'it builds' : 'they build'} on can be deleted.
        </Text>
      )}
    </div>
  );
}

function Number({ word, count: backups, bytes, color }: { word: string; count: number; bytes: number; color: string }) {
  return (
    <div>
      <Text size="sm" c="dimmed">
        {word}
      </Text>
      <Text size="lg" fw={600} c={backups > 0 ? `var(--mantine-color-${color}-text)` : undefined}>
        {plural(backups, 'backup')}
      </Text>
      <Text size="sm" c="dimmed">
        {size(bytes)}
      </Text>
    </div>
  );
}

/** Each backup with what becomes of it, and why. */
export function PlanList({ plan }: { plan: Plan }) {
  const [shown, setShown] = useState('all');
  const items = plan.items.filter(({ keep }) => shown === 'all' || keep === (shown === 'kept'));
  return (
    <Stack gap="xs">
      <SegmentedControl
        aria-label="Which backups"
        size="xs"
        value={shown}
        onChange={setShown}
        data={[
          { value: 'all', label: 'All' },
          { value: 'deleted', label: `Deleted (${count(plan.deleteCount)})` },
          { value: 'kept', label: `Kept (${count(plan.keepCount)})` },
        ]}
      />
      <PlanItems items={items} />
    </Stack>
  );
}

/** A list of its own height, which goes by keyboard, too. */
export function PlanItems({ items }: { items: Item[] }) {
  return (
    <Stack gap="xs" component="ul" className="plan-list plain-list" tabIndex={0} aria-label="Backups of the plan">
      {items.slice(0, LISTED).map((item) => (
        <li key={item.backup.id}>
          <PlanItem item={item} />
        </li>
      ))}
      {items.length > LISTED && (
        <Text component="li" size="sm" c="dimmed">
          And {count(items.length - LISTED)} older ones.
        </Text>
      )}
      {items.length === 0 && (
        <Text component="li" size="sm" c="dimmed">
          None.
        </Text>
      )}
    </Stack>
  );
}

function PlanItem({ item: { backup, keep, reasons, error } }: { item: Item }) {
  return (
    <Group gap="xs" wrap="nowrap" align="flex-start">
      <Badge color={keep ? 'teal' : 'red'} variant="light" w={76} style={{ flexShrink: 0 }}>
        {keep ? 'Keep' : 'Delete'}
      </Badge>
      <div>
        <Text size="sm">
          <TextLink href={`/backups/${backup.id}`}>{moment(backup.createdAt)}</TextLink> · {TYPE[backup.backupType]} ·{' '}
          <Size bytes={backup.fileSize} />
        </Text>
        <Text size="xs" c="dimmed">
          {reasons.map(({ text }) => text).join(' ')}
        </Text>
        {error && (
          <Text size="xs" c="red">
            {error.message} {error.hint}
          </Text>
        )}
      </div>
    </Group>
  );
}
