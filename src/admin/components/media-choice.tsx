import { Button, Checkbox, Group, Input, Pill, Stack, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useState } from 'react';
import { BackupMediaDocument } from '../../client/generated/graphql.js';
import { useApi } from '../api.js';
import { count } from '../format.js';
import { Size } from './exact.js';
import { Pager, usePaging } from './pager.js';
import { Loading, ProblemAlert } from './state.js';

const PAGE = 10;
/** How many chosen files are named; the rest is counted. */
const NAMED = 20;
/** How long after the last key the list follows, in milliseconds. */
const QUIET = 300;

interface MediaChoiceProps {
  backupId: string;
  /** Opens an encrypted backup; null: the keys that are held there do. */
  identity: string | null;
  chosen: string[];
  setChosen: (media: string[]) => void;
  error: string | undefined;
}

/** Single media files of a backup: found by search, chosen one by one. */
export function MediaChoice({ backupId, identity, chosen, setChosen, error }: MediaChoiceProps) {
  const [search, setSearch] = useState('');
  const [applied] = useDebouncedValue(search.trim(), QUIET);
  const paging = usePaging(applied);
  const { data, problem, current, loading, refresh } = useApi(BackupMediaDocument, {
    id: backupId,
    identity,
    search: applied === '' ? null : applied,
    first: PAGE,
    after: paging.after,
  });
  const page = data?.backupMedia;
  const toggle = (path: string, on: boolean) =>
    setChosen(on ? [...chosen, path] : chosen.filter((each) => each !== path));
  return (
    <Stack gap="xs" mt="sm" role="group" aria-label="Media files to restore">
      <TextInput
        label="Search media files"
        value={search}
        onChange={(event) => setSearch(event.currentTarget.value)}
        autoComplete="off"
        spellCheck={false}
      />
      {error !== undefined && <Input.Error>{error}</Input.Error>}
      {problem && <ProblemAlert problem={problem} retry={refresh} />}
      {loading && <Loading height={160} />}
      {page && (
        <div>
          <Stack gap={6} component="ul" className="plain-list follows" aria-busy={!current}>
            {page.nodes.map(({ path, size }) => (
              <Group key={path} component="li" gap="xs" justify="space-between" wrap="nowrap">
                <Checkbox
                  label={path}
                  classNames={{ label: 'breakable' }}
                  checked={chosen.includes(path)}
                  onChange={(event) => toggle(path, event.currentTarget.checked)}
                />
                <Text size="sm" c="dimmed">
                  <Size bytes={size} />
                </Text>
              </Group>
            ))}
          </Stack>
          <Pager
            paging={paging}
            current={current}
            pageSize={PAGE}
            shown={page.nodes.length}
            total={page.totalCount}
            noun="file"
            pageInfo={page.pageInfo}
          />
        </div>
      )}
      {chosen.length > 0 && (
        <Group gap={6}>
          <Text size="sm">{count(chosen.length)} selected:</Text>
          {chosen.slice(0, NAMED).map((path) => (
            <Pill
              key={path}
              withRemoveButton
              removeButtonProps={{ 'aria-label': `Remove ${path}`, 'aria-hidden': false, tabIndex: 0 }}
              onRemove={() => toggle(path, false)}
            >
              {path.split('/').at(-1)}
            </Pill>
          ))}
          {chosen.length > NAMED && <Text size="sm">and {count(chosen.length - NAMED)} more</Text>}
          <Button size="compact-xs" variant="subtle" onClick={() => setChosen([])}>
            Clear selection
          </Button>
        </Group>
      )}
    </Stack>
  );
}
