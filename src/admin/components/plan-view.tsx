import { Alert, Badge, Code, Stack, Table, Text } from '@mantine/core';
import { IconCircleCheck } from '@tabler/icons-react';
import type { RestorePlanQuery, TableChange } from '../../client/generated/graphql.js';
import { count, plural, size } from '../format.js';
import { ProblemAlert, Warnings } from './state.js';

type Plan = RestorePlanQuery['restorePlan'];

const CHANGE: Record<TableChange, { label: string; color: string }> = {
  ADD: { label: 'comes back', color: 'teal' },
  REPLACE: { label: 'is replaced', color: 'blue' },
  REMOVE: { label: 'goes', color: 'red' },
  KEEP: { label: 'stays', color: 'gray' },
};

/** So many tables are drawn. */
const SHOWN = 100;

/** What a restore would change, what speaks against it, and what one should know. */
export function PlanView({ plan }: { plan: Plan }) {
  const { allowed, refusals, warnings, target, targetExists, tables, media, related, space, holders } = plan;
  const changed = tables.filter(({ change }) => change !== 'KEEP');
  return (
    <Stack gap="sm">
      {allowed ? (
        <Alert color="teal" variant="light" icon={<IconCircleCheck />} title="It can be restored">
          Into <Code className="breakable">{target}</Code>
          {targetExists ? '' : ', which does not exist yet'}
        </Alert>
      ) : (
        refusals.map((refusal) => (
          <ProblemAlert
            key={`${refusal.code} ${refusal.message}`}
            problem={{ code: refusal.code, message: refusal.message, hint: refusal.hint }}
          />
        ))
      )}
      <Warnings warnings={warnings} />
      {holders.length > 0 && (
        <Text size="sm">
          Open now in {holders.map(({ pid, command }) => `${command} (process ${pid})`).join(', ')}. It may keep
          running.
        </Text>
      )}
      {related.length > 0 && (
        <Alert color="blue" variant="light" title="Tables that belong to the chosen ones">
          {related
            .map(({ table, relation }) =>
              relation === 'NEEDED' ? `${table} (a chosen table refers to it)` : `${table} (refers to a chosen table)`,
            )
            .join(', ')}
        </Alert>
      )}
      {media && (
        <Text size="sm">
          Media: {plural(media.add, 'new file')}, {count(media.replace)} replaced, {count(media.keep)} as they are,{' '}
          {count(media.remove)} moved away; {size(media.bytes)} to write.
        </Text>
      )}
      {changed.length > 0 && <PlannedTables tables={changed} kept={tables.length - changed.length} />}
      <Space space={space} />
    </Stack>
  );
}

function PlannedTables({ tables, kept }: { tables: Plan['tables']; kept: number }) {
  return (
    <Table.ScrollContainer
      minWidth={300}
      maxHeight={420}
      scrollAreaProps={{ type: 'auto', viewportProps: { tabIndex: 0 } }}
    >
      <Table verticalSpacing={4} stickyHeader>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Table</Table.Th>
            <Table.Th ta="right">Rows now</Table.Th>
            <Table.Th ta="right">Rows then</Table.Th>
            <Table.Th>It</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {tables.slice(0, SHOWN).map(({ name, targetRows, backupRows, change, schemaDiffers }) => (
            <Table.Tr key={name}>
              <Table.Td className="breakable">{name}</Table.Td>
              <Table.Td ta="right">{rows(targetRows)}</Table.Td>
              <Table.Td ta="right">{rows(backupRows)}</Table.Td>
              <Table.Td>
                <Badge variant="light" color={CHANGE[change].color}>
                  {CHANGE[change].label}
                </Badge>
                {schemaDiffers && (
                  <Text size="xs" c="dimmed">
                    its columns or indexes differ
                  </Text>
                )}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Text size="xs" c="dimmed" mt={4}>
        {tables.length > SHOWN ? `and ${count(tables.length - SHOWN)} more tables. ` : ''}
        {kept > 0 ? `${plural(kept, 'table')} stay as they are.` : ''}
      </Text>
    </Table.ScrollContainer>
  );
}

/** Where there is space to spare, one line says so; where it is tight, each place has its numbers. */
function Space({ space }: { space: Plan['space'] }) {
  const tight = space.filter(({ needed, free }) => needed * 4 > free);
  if (tight.length === 0) {
    const needed = space.reduce((sum, place) => sum + place.needed, 0);
    return (
      <Text size="xs" c="dimmed">
        There is space enough: it needs at most {size(needed)} in all.
      </Text>
    );
  }
  return tight.map(({ path, needed, free }) => (
    <Text key={path} size="xs" c="dimmed" className="breakable">
      {path}: needs at most {size(needed)}, {size(free)} free
    </Text>
  ));
}

const rows = (value: number | null | undefined) => (value === null || value === undefined ? '–' : count(value));
