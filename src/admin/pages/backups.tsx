import {
  Alert,
  Badge,
  Button,
  Checkbox,
  Group,
  Pill,
  Stack,
  Table,
  Text,
  Tooltip,
  UnstyledButton,
} from '@mantine/core';
import {
  IconArrowDown,
  IconArrowUp,
  IconArrowsSort,
  IconPinFilled,
  IconShieldCheck,
  IconUpload,
} from '@tabler/icons-react';
import { useState } from 'react';
import { Link } from 'wouter';
import {
  type BackupFilter,
  type BackupOrder,
  BackupsDocument,
  type BackupsQuery,
  type BackupStatus,
  type BackupType,
  DeleteBackupsDocument,
  type StorageType,
} from '../../client/generated/graphql.js';
import { tellDone, useAction, useApi } from '../api.js';
import { SuspiciousBadge } from '../components/anomalies.js';
import { BackupActions } from '../components/backup-actions.js';
import { Confirm } from '../components/confirm.js';
import { Age, Size } from '../components/exact.js';
import {
  ChoiceFilter,
  ConfigFilter,
  DateFilter,
  type Filters,
  range,
  SearchFilter,
  useFilters,
} from '../components/filter-bar.js';
import { OriginBadge } from '../components/origin.js';
import { PageHead, TextLink } from '../components/page.js';
import { EVERY, PAGE, PagedList } from '../components/paged-list.js';
import { usePaging } from '../components/pager.js';
import { BackupProgress } from '../components/run-progress.js';
import { Empty } from '../components/state.js';
import { StatusBadge } from '../components/status-badge.js';
import { isDay } from '../inputs.js';
import { type Check, unknownOf, useVerifyAll } from '../verify-all.js';
import { day, plural, size } from '../format.js';
import { isActive, isHomeless, isStored, options, pinOf, STATUS, STORAGE, titleOf, TYPE } from '../words.js';

type Row = BackupsQuery['backups']['nodes'][number];

/** All backups: find one, see how it is, and do something with it or with several. */
export default function Backups() {
  const filters = useFilters();
  const paging = usePaging(filters.text);
  const [marked, setMarked] = useState<ReadonlyMap<string, Row>>(new Map());
  const orderBy = (filters.get('order') ?? 'CREATED_AT_DESC') as BackupOrder;
  const answer = useApi(
    BackupsDocument,
    { filter: filterOf(filters), orderBy, first: PAGE, after: paging.after },
    { every: EVERY },
  );
  const page = answer.data?.backups;
  const chosen = stillThere(marked, page?.nodes ?? []);
  return (
    <>
      <PageHead title="Backups">
        <Button component={Link} href="/upload" variant="default" leftSection={<IconUpload size={18} />}>
          Upload
        </Button>
      </PageHead>
      <FilterBar filters={filters} />
      <PagedList
        answer={answer}
        page={page}
        paging={paging}
        noun="backup"
        all="/backups"
        filtered={filters.any}
        none={
          <Empty
            title="No backups yet"
            action={
              <Button component={Link} href="/">
                Go to overview
              </Button>
            }
          >
            Use “Back up now” on the overview to make the first one.
          </Empty>
        }
        head={<BulkBar chosen={[...chosen.values()]} clear={() => setMarked(new Map())} refresh={answer.refresh} />}
      >
        {(rows) => (
          <BackupTable rows={rows} filters={filters} chosen={chosen} setChosen={setMarked} refresh={answer.refresh} />
        )}
      </PagedList>
    </>
  );
}

/** Those that were chosen, without the ones that have gone since, as far as the page shows that. */
function stillThere(marked: ReadonlyMap<string, Row>, rows: Row[]): ReadonlyMap<string, Row> {
  const shown = new Map(rows.map((row) => [row.id, row]));
  return new Map([...marked].filter(([id, row]) => isStored(shown.get(id) ?? row)));
}

function filterOf(filters: Filters): BackupFilter {
  const one = <Value extends string>(name: string) => {
    const value = filters.get(name);
    return value === null ? {} : { [name]: [value as Value] };
  };
  return {
    ...one<BackupStatus>('status'),
    ...one<BackupType>('backupType'),
    ...one<StorageType>('storageType'),
    ...(filters.get('config') === null ? {} : { configId: filters.get('config') }),
    ...(filters.get('search') === null ? {} : { search: filters.get('search') }),
    // Hundreds of a day would hide all else.
    ...(filters.get('incrementals') === 'all' ? {} : { newestOfChain: true }),
    ...range(filters),
  };
}

function FilterBar({ filters }: { filters: Filters }) {
  const one = filters.get('day');
  return (
    <Group mb="sm" gap="xs" role="search">
      <SearchFilter filters={filters} label="Search name, note or error" />
      <ChoiceFilter filters={filters} name="status" label="Status" data={options(STATUS)} />
      <ChoiceFilter filters={filters} name="backupType" label="Type" data={options(TYPE)} />
      <ChoiceFilter filters={filters} name="storageType" label="Storage" data={options(STORAGE)} />
      <ChoiceFilter
        filters={filters}
        name="incrementals"
        label="Newest of each chain"
        data={[{ value: 'all', label: 'All incrementals' }]}
      />
      <ConfigFilter filters={filters} />
      <DateFilter filters={filters} />
      {isDay(one) && (
        <Pill
          withRemoveButton
          onRemove={() => filters.set({ day: null })}
          removeButtonProps={{ 'aria-label': 'Any day', 'aria-hidden': false, tabIndex: 0 }}
        >
          {day(one)}
        </Pill>
      )}
    </Group>
  );
}

interface TableProps {
  rows: Row[];
  filters: Filters;
  chosen: ReadonlyMap<string, Row>;
  setChosen: (chosen: ReadonlyMap<string, Row>) => void;
  refresh: () => void;
}

function BackupTable({ rows, filters, chosen, setChosen, refresh }: TableProps) {
  const selectable = rows.filter(isStored);
  const all = selectable.length > 0 && selectable.every(({ id }) => chosen.has(id));
  const some = selectable.some(({ id }) => chosen.has(id));
  const choose = (changed: Row[], on: boolean) => {
    const next = new Map(chosen);
    for (const row of changed)
      if (on) next.set(row.id, row);
      else next.delete(row.id);
    setChosen(next);
  };
  return (
    <Table verticalSpacing="xs" highlightOnHover>
      <Table.Thead>
        <Table.Tr>
          <Table.Th w={40}>
            <Checkbox
              aria-label="Select all on this page"
              checked={all}
              indeterminate={some && !all}
              disabled={selectable.length === 0}
              onChange={(event) => choose(selectable, event.currentTarget.checked)}
            />
          </Table.Th>
          <SortHead filters={filters} label="Backup" by="CREATED_AT" />
          <Table.Th visibleFrom="xs">Status</Table.Th>
          <Table.Th visibleFrom="md">Type</Table.Th>
          <SortHead filters={filters} label="Size" by="FILE_SIZE" visibleFrom="xs" />
          <Table.Th w={48}>
            <span className="spoken">Actions</span>
          </Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {rows.map((row) => (
          <Table.Tr key={row.id} data-testid={row.id}>
            <Table.Td>
              <Checkbox
                aria-label={`Select ${row.fileName}`}
                checked={chosen.has(row.id)}
                disabled={!isStored(row) && !chosen.has(row.id)}
                onChange={(event) => choose([row], event.currentTarget.checked)}
              />
            </Table.Td>
            <Table.Td maw={420}>
              <Name row={row} refresh={refresh} />
            </Table.Td>
            <Table.Td visibleFrom="xs">
              <State row={row} />
            </Table.Td>
            <Table.Td visibleFrom="md">{TYPE[row.backupType]}</Table.Td>
            <Table.Td visibleFrom="xs">
              <Size bytes={isStored(row) ? row.fileSize : null} />
            </Table.Td>
            <Table.Td>
              <BackupActions backup={row} inTable />
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

function Name({ row, refresh }: { row: Row; refresh: () => void }) {
  return (
    <Stack gap={2}>
      <TextLink href={`/backups/${row.id}`} size="sm" fw={500} underline="hover">
        {titleOf(row)}
      </TextLink>
      <OriginBadge backup={row} />
      <Group hiddenFrom="xs" gap="xs">
        <State row={row} />
        {isStored(row) && (
          <Text size="sm">
            <Size bytes={row.fileSize} />
          </Text>
        )}
      </Group>
      {row.errorCode && (
        <Text size="xs" c="red" className="breakable">
          {row.errorMessage} {row.errorHint}
        </Text>
      )}
      <Text size="xs" c="dimmed" className="breakable">
        <Age at={row.createdAt} />
        {isHomeless(row) && row.origin?.host && ` · from ${row.origin.host}`}
        {row.config && row.foreign && ` · filed under ${row.config.name}`}
        {row.mode === 'INCREMENTAL' && ' · incremental'}
        {row.note && ` · ${row.note}`}
      </Text>
      <Text size="xs" c="dimmed" className="breakable">
        {row.fileName}
      </Text>
      {isActive(row.status) && <BackupProgress run={row} onEnd={refresh} />}
    </Stack>
  );
}

function State({ row }: { row: Row }) {
  return (
    <Group gap={6} wrap="nowrap">
      <StatusBadge status={row.status} />
      {row.status === 'COMPLETED' && (row.errorCode || row.damaged) && (
        <Badge color="red" variant="light" miw="max-content">
          Damaged
        </Badge>
      )}
      <SuspiciousBadge backup={row} />
      {row.deleteAfter && (
        <Badge color="orange" variant="light" miw="max-content">
          To be deleted
        </Badge>
      )}
      {row.pinned && (
        <Tooltip label={`Pinned ${pinOf(row)}`}>
          <IconPinFilled size={16} role="img" aria-label="Pinned" />
        </Tooltip>
      )}
      {row.status === 'COMPLETED' && row.verifiedAt && (
        <Tooltip label="Verified">
          <IconShieldCheck size={16} role="img" aria-label="Verified" />
        </Tooltip>
      )}
    </Group>
  );
}

function SortHead({
  filters,
  label,
  by,
  visibleFrom,
}: {
  filters: Filters;
  label: string;
  by: 'CREATED_AT' | 'FILE_SIZE';
  visibleFrom?: 'xs' | 'sm';
}) {
  const order = filters.get('order') ?? 'CREATED_AT_DESC';
  const direction = order.startsWith(by) ? (order.endsWith('_ASC') ? 'ascending' : 'descending') : 'none';
  const Icon = direction === 'none' ? IconArrowsSort : direction === 'ascending' ? IconArrowUp : IconArrowDown;
  return (
    <Table.Th visibleFrom={visibleFrom} aria-sort={direction}>
      <UnstyledButton
        className="exact"
        fw={700}
        fz="sm"
        onClick={() => filters.set({ order: `${by}_${direction === 'descending' ? 'ASC' : 'DESC'}` })}
      >
        {label} <Icon size={14} />
      </UnstyledButton>
    </Table.Th>
  );
}

/** What can be done with those that are chosen, on whatever page they are. */
function BulkBar({ chosen, clear, refresh }: { chosen: Row[]; clear: () => void; refresh: () => void }) {
  const { found, verifying, verifyAll } = useVerifyAll(chosen);
  const [asked, setAsked] = useState(false);
  if (chosen.length === 0) return null;
  return (
    <Stack p="sm" gap="xs" className="bulk-bar">
      <Group justify="space-between">
        <Text size="sm" role="status">
          {plural(chosen.length, 'backup')} selected, {size(bytesOf(chosen))}
          {found && found.done < chosen.length ? ` · ${found.done} verified` : ''}
        </Text>
        <Group gap="xs">
          <Button size="xs" variant="default" loading={verifying} onClick={() => void verifyAll()}>
            Verify
          </Button>
          <Button size="xs" color="red" variant="light" disabled={verifying} onClick={() => setAsked(true)}>
            Delete …
          </Button>
          <Button size="xs" variant="subtle" onClick={clear}>
            Clear selection
          </Button>
        </Group>
      </Group>
      {found && <Findings check={found} />}
      {asked && <DeleteAll chosen={chosen} clear={clear} refresh={refresh} onClose={() => setAsked(false)} />}
    </Stack>
  );
}

const bytesOf = (rows: Row[]) => rows.reduce((sum, row) => sum + (row.fileSize ?? 0), 0);

/** What was found is said here, and beside the page, too: there it stays when the choice or the page is another one. */
function Findings({ check }: { check: Check }) {
  const unknown = unknownOf(check);
  return (
    <>
      {unknown.length > 0 && (
        <Alert color="yellow" title={`${plural(unknown.length, 'backup')} could not be verified`}>
          Verify them again when the server and the storage can be reached.
        </Alert>
      )}
      {check.bad.length > 0 && (
        <Alert color="red" title={`${plural(check.bad.length, 'backup is', 'backups are')} not intact`}>
          {check.bad.map(({ fileName }) => fileName).join(', ')}
        </Alert>
      )}
    </>
  );
}

interface DeleteAllProps {
  chosen: Row[];
  clear: () => void;
  refresh: () => void;
  onClose: () => void;
}

function DeleteAll({ chosen, clear, refresh, onClose }: DeleteAllProps) {
  const remove = useAction(DeleteBackupsDocument);
  const deleteAll = async () => {
    const done = await remove.run({ ids: chosen.map(({ id }) => id) });
    if (done !== null) {
      const waits = done.deleteBackups.some(({ deleteAfter }) => deleteAfter);
      const [one, many] = waits ? ['backup is to be', 'backups are to be'] : ['backup was', 'backups were'];
      tellDone(`${plural(chosen.length, one, many)} deleted.`);
      clear();
    }
    // Some of them may be gone.
    else refresh();
    onClose();
  };
  return (
    <Confirm
      title={`Delete ${plural(chosen.length, 'backup')}?`}
      label={`Delete ${plural(chosen.length, 'backup')}`}
      typed={chosen.length > 1 ? String(chosen.length) : undefined}
      busy={remove.busy}
      onConfirm={() => void deleteAll()}
      onClose={onClose}
    >
      <Text size="sm" className="breakable">
        {size(bytesOf(chosen))} will be deleted permanently:{' '}
        {chosen
          .slice(0, 5)
          .map(({ fileName }) => fileName)
          .join(', ')}
        {chosen.length > 5 ? ` and ${chosen.length - 5} more` : ''}. If one of them is pinned or in use, none is
        deleted.
      </Text>
    </Confirm>
  );
}
