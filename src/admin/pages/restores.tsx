import { Badge, Box, Button, Group, Stack, Table, Text, Tooltip } from '@mantine/core';
import { IconArrowBackUp } from '@tabler/icons-react';
import { Link } from 'wouter';
import {
  type RestoreFilter,
  RestoresDocument,
  type RestoresQuery,
  type RestoreStatus,
} from '../../client/generated/graphql.js';
import { useApi } from '../api.js';
import { Age } from '../components/exact.js';
import {
  ChoiceFilter,
  ConfigFilter,
  DateFilter,
  type Filters,
  range,
  SearchFilter,
  useFilters,
} from '../components/filter-bar.js';
import { PageHead, TextLink } from '../components/page.js';
import { EVERY, PAGE, PagedList } from '../components/paged-list.js';
import { usePaging } from '../components/pager.js';
import { RestoreProgress } from '../components/run-progress.js';
import { Empty } from '../components/state.js';
import { StatusBadge } from '../components/status-badge.js';
import { capital, duration, moment, plural } from '../format.js';
import { isActive, options, ROWS, STATUS } from '../words.js';

type Row = RestoresQuery['restores']['nodes'][number];

const STATES = options(STATUS).filter(({ value }) => value !== 'DELETED');

/** All restores: what was put back, where to, and how it went. */
export default function Restores() {
  const filters = useFilters();
  const paging = usePaging(filters.text);
  const answer = useApi(
    RestoresDocument,
    { filter: filterOf(filters), first: PAGE, after: paging.after },
    { every: EVERY },
  );
  return (
    <>
      <PageHead title="Restores" />
      <Group mb="sm" gap="xs" role="search">
        <SearchFilter filters={filters} label="Search id or error" />
        <ChoiceFilter filters={filters} name="status" label="Status" data={STATES} />
        <ConfigFilter filters={filters} />
        <DateFilter filters={filters} />
      </Group>
      <PagedList
        answer={answer}
        page={answer.data?.restores}
        paging={paging}
        noun="restore"
        all="/restores"
        filtered={filters.any}
        none={<NeverRestored />}
      >
        {(rows) => <RestoreTable rows={rows} refresh={answer.refresh} />}
      </PagedList>
    </>
  );
}

function filterOf(filters: Filters): RestoreFilter {
  const [status, configId, search] = ['status', 'config', 'search'].map((name) => filters.get(name));
  return {
    ...(status ? { status: [status as RestoreStatus] } : {}),
    ...(configId ? { configId } : {}),
    ...(search ? { search } : {}),
    ...range(filters),
  };
}

function NeverRestored() {
  return (
    <Empty
      title="No restores yet"
      action={
        <Button component={Link} href="/backups?status=COMPLETED" variant="light">
          Choose a backup
        </Button>
      }
    >
      Choose a backup to restore. You see what would change before anything happens.
    </Empty>
  );
}

function RestoreTable({ rows, refresh }: { rows: Row[]; refresh: () => void }) {
  return (
    <Table verticalSpacing="xs" highlightOnHover>
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Restore</Table.Th>
          <Table.Th visibleFrom="xs">Status</Table.Th>
          <Table.Th visibleFrom="sm">Contents</Table.Th>
          <Table.Th visibleFrom="md">Target</Table.Th>
          <Table.Th visibleFrom="lg">Duration</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {rows.map((row) => (
          <Table.Tr key={row.id} data-testid={row.id}>
            <Table.Td>
              <Name row={row} refresh={refresh} />
            </Table.Td>
            <Table.Td visibleFrom="xs">
              <StatusBadge status={row.status} />
            </Table.Td>
            <Table.Td visibleFrom="sm">
              <Text size="sm">{what(row)}</Text>
            </Table.Td>
            <Table.Td visibleFrom="md" maw={320}>
              <Text size="sm" className="breakable" miw={180}>
                {row.targetDatabaseUrl}
              </Text>
            </Table.Td>
            <Table.Td visibleFrom="lg">
              <Text size="sm" className="exact">
                {took(row)}
              </Text>
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

function Name({ row, refresh }: { row: Row; refresh: () => void }) {
  const { id, backup, createdAt, createdBy, status, undoOf, errorMessage, errorHint } = row;
  return (
    <Stack gap={2}>
      <Group gap={6}>
        <TextLink href={`/restores/${id}`} size="sm" fw={500} underline="hover">
          {moment(createdAt)}
        </TextLink>
        <Box hiddenFrom="xs">
          <StatusBadge status={status} />
        </Box>
        {undoOf && (
          <Tooltip label={`Undoes ${undoOf}`} events={{ hover: true, focus: true, touch: true }}>
            <Badge
              component={Link}
              href={`/restores/${undoOf}`}
              variant="default"
              leftSection={<IconArrowBackUp size={12} aria-hidden />}
            >
              Undo
            </Badge>
          </Tooltip>
        )}
      </Group>
      <Text size="xs" c="dimmed" className="breakable">
        <Age at={createdAt} /> by {createdBy ?? 'unknown'}, from the backup of{' '}
        <TextLink href={`/backups/${backup.id}`}>{moment(backup.createdAt)}</TextLink>
      </Text>
      <Text size="xs" c="dimmed" className="breakable" hiddenFrom="md">
        <Text span inherit hiddenFrom="sm">
          {what(row)}{' '}
        </Text>
        to {row.targetDatabaseUrl}
      </Text>
      {status === 'FAILED' && (
        <Text size="xs" c="red" className="breakable">
          {errorMessage} {errorHint}
        </Text>
      )}
      {isActive(status) && <RestoreProgress run={row} onEnd={refresh} />}
    </Stack>
  );
}

/** What of the backup is restored. */
function what({ restoreDatabase, restoreMedia, tables, rows, media }: Row): string {
  const database = tables ? `${ROWS[rows]}${plural(tables.length, 'table')}` : 'database';
  const files = media ? plural(media.length, 'media path') : 'media';
  const parts = [...(restoreDatabase ? [database] : []), ...(restoreMedia ? [files] : [])];
  const text = tables || media || parts.length < 2 ? parts.join(' and ') : 'everything';
  return capital(text);
}

function took({ startedAt, completedAt }: Row): string {
  if (!startedAt || !completedAt) return '–';
  return duration((Date.parse(completedAt) - Date.parse(startedAt)) / 1000);
}
