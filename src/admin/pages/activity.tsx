import { Autocomplete, Group, Stack, Table, Text, UnstyledButton } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { useState } from 'react';
import { type AuditEventsQuery, AuditEventsDocument, type AuditFilter } from '../../client/generated/graphql.js';
import { actionOf, detailOf, NOUN, pageOf } from '../actions.js';
import { useApi } from '../api.js';
import { Age } from '../components/exact.js';
import { ChoiceFilter, DateFilter, type Filters, range, useFilters } from '../components/filter-bar.js';
import { EVERY, PAGE, PagedList } from '../components/paged-list.js';
import { usePaging } from '../components/pager.js';
import { PageHead, TextLink } from '../components/page.js';
import { Empty } from '../components/state.js';
import { useSession } from '../session.js';
import { options } from '../words.js';

type Row = AuditEventsQuery['auditEvents']['nodes'][number];

/** How long after the last key the list follows, in milliseconds. */
const QUIET = 400;

/** Who did what to what, and when. */
export default function Activity() {
  const filters = useFilters();
  const paging = usePaging(filters.text);
  const answer = useApi(
    AuditEventsDocument,
    { filter: filterOf(filters), first: PAGE, after: paging.after },
    { every: EVERY },
  );
  const page = answer.data?.auditEvents;
  return (
    <>
      <PageHead title="Activity" />
      <Group mb="sm" gap="xs" role="search">
        <ActorFilter filters={filters} rows={page?.nodes ?? []} />
        <ChoiceFilter filters={filters} name="action" label="Type" data={options(NOUN)} />
        <DateFilter filters={filters} />
      </Group>
      <PagedList
        answer={answer}
        page={page}
        paging={paging}
        noun="event"
        all="/activity"
        filtered={filters.any}
        none={<Empty title="No activity yet" />}
        advice={filters.get('actor') !== null && 'Enter the full name of the user, such as admin@example.org.'}
      >
        {(rows) => <EventTable rows={rows} onActor={(actor) => filters.set({ actor })} />}
      </PagedList>
    </>
  );
}

function filterOf(filters: Filters): AuditFilter {
  const { actor, action } = { actor: filters.get('actor'), action: filters.get('action') };
  return { ...(actor === null ? {} : { actor }), ...(action === null ? {} : { action }), ...range(filters) };
}

/** Done by whom; those who are on the page are offered. */
function ActorFilter({ filters, rows }: { filters: Filters; rows: Row[] }) {
  const { session } = useSession();
  const [typed, setTyped] = useState<string | null>(null);
  const apply = useDebouncedCallback((value: string) => filters.set({ actor: value.trim() }), QUIET);
  const known = new Set([session?.email ?? 'system', 'system', ...rows.map(({ actor }) => actor)]);
  return (
    <Autocomplete
      aria-label="Done by"
      placeholder="Done by"
      data={[...known]}
      value={typed ?? filters.get('actor') ?? ''}
      onChange={(value) => {
        setTyped(value);
        apply(value);
      }}
      onBlur={() => {
        apply.flush();
        setTyped(null);
      }}
      clearable
      clearButtonProps={{ 'aria-label': 'Anyone' }}
      limit={20}
      spellCheck={false}
    />
  );
}

function EventTable({ rows, onActor }: { rows: Row[]; onActor: (actor: string) => void }) {
  return (
    <Table verticalSpacing="xs" highlightOnHover>
      <Table.Thead>
        <Table.Tr>
          <Table.Th>When</Table.Th>
          <Table.Th>What</Table.Th>
          <Table.Th visibleFrom="md">Details</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {rows.map((row) => (
          <Table.Tr key={row.id} data-testid={`event-${row.id}`}>
            <Table.Td>
              <Age at={row.at} size="sm" />
            </Table.Td>
            <Table.Td>
              <Stack gap={2}>
                <Text size="sm" className="breakable">
                  <UnstyledButton
                    fw={600}
                    fz="sm"
                    title={`Show only ${row.actor}`}
                    onClick={() => onActor(row.actor)}
                    className="breakable"
                  >
                    {row.actor}
                  </UnstyledButton>{' '}
                  {actionOf(row.action)}
                </Text>
                <Subject row={row} />
                <Text size="xs" c="dimmed" className="breakable" hiddenFrom="md">
                  {details(row)}
                </Text>
              </Stack>
            </Table.Td>
            <Table.Td visibleFrom="md" maw={480}>
              <Text size="sm" c="dimmed" className="breakable">
                {details(row)}
              </Text>
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

const details = (row: Row) => row.details.map(detailOf).join(' · ');

function Subject({ row: { action, subject } }: { row: Row }) {
  if (subject === null || subject === undefined) return null;
  const page = pageOf(action, subject);
  if (page === null) return null;
  return (
    <TextLink href={page} size="xs" underline="hover">
      {action.startsWith('config.') ? `config ${subject}` : subject}
    </TextLink>
  );
}
