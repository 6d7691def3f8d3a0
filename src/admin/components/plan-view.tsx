import { Alert, Badge, Code, Stack, Table, Text } from '@mantine/core';
import { IconCircleCheck } from '@tabler/icons-react';
import { Fragment } from 'react';
import type { RestorePlanQuery, TableChange, TableRelation } from '../../client/generated/graphql.js';
import { count, plural, size } from '../format.js';
import { Row } from './row.js';
import { ProblemAlert, Warnings } from './state.js';

type Plan = RestorePlanQuery['restorePlan'];

const CHANGE: Record<TableChange, { label: string; color: string }> = {
  ADD: { label: 'Add', color: 'teal' },
  REPLACE: { label: 'Replace', color: 'blue' },
  REMOVE: { label: 'Remove', color: 'red' },
  REPAIR: { label: 'Bring back rows', color: 'blue' },
  KEEP: { label: 'Keep', color: 'gray' },
};

const RELATION: Record<TableRelation, string> = {
  NEEDED: 'referenced by a selected table',
  DEPENDENT: 'references a selected table',
  DERIVED: 'written by triggers of a selected table',
  SOURCE: 'its triggers write to a selected table',
};

/** How many tables are listed. */
const SHOWN = 100;

/** What a restore would change, why it is refused if it is, and what to know. */
export function PlanView({ plan }: { plan: Plan }) {
  const { allowed, refusals, warnings, target, targetExists, tables, repairs, media, related, space, holders } = plan;
  const changed = tables.filter(({ change }) => change !== 'KEEP' && change !== 'REPAIR').sort(byDifference);
  return (
    <Stack gap="sm">
      {allowed ? (
        <Alert color="teal" variant="light" icon={<IconCircleCheck />} title="Ready to restore">
          Target: <Code className="breakable">{target}</Code>
          {targetExists ? '' : ' (will be created)'}
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
          In use by {holders.map(({ pid, command }) => `${command} (process ${pid})`).join(', ')}. You can leave it
          running.
        </Text>
      )}
      {related.length > 0 && (
        <Alert color="blue" variant="light" title="Tables linked to the selected ones">
          {related.map(({ table, relation }) => `${table} (${RELATION[relation]})`).join(', ')}
        </Alert>
      )}
      {media && (
        <Text size="sm">
          Media files: add {count(media.add)}, replace {count(media.replace)}, unchanged {count(media.unchanged)}, keep{' '}
          {count(media.keep)}, remove {count(media.remove)}. {size(media.bytes)} to write.
        </Text>
      )}
      {repairs.length > 0 && <PlannedRepairs repairs={repairs} />}
      {changed.length > 0 && <PlannedTables tables={changed} kept={tables.length - changed.length} />}
      <Space space={space} />
    </Stack>
  );
}

/** How many rows are shown of each table, and of each reason why some do not fit. */
const ROWS_SHOWN = 5;

/** Which rows come back, table by table. */
function PlannedRepairs({ repairs }: { repairs: Plan['repairs'] }) {
  return (
    <>
      <Table verticalSpacing={4} aria-label="Rows that come back">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Table</Table.Th>
            <Table.Th ta="right">Come back</Table.Th>
            <Table.Th ta="right">Overwritten</Table.Th>
            <Table.Th ta="right">Stay</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {repairs.map(({ name, parents, add, overwrite, keep }) => (
            <Table.Tr key={name}>
              <Table.Td className="breakable" miw={120}>
                {name}
                {parents && (
                  <Text size="xs" c="dimmed">
                    Referred to by selected rows
                  </Text>
                )}
              </Table.Td>
              <Table.Td ta="right">{count(add)}</Table.Td>
              <Table.Td ta="right">{count(overwrite)}</Table.Td>
              <Table.Td ta="right">{count(keep)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {repairs.map(({ name, samples, conflicts }) => (
        <Fragment key={name}>
          {conflicts.map(({ reason, rows, samples: some }) => (
            <RowSamples key={reason} title={`${name}: ${plural(rows, 'row')}, because ${reason}`} samples={some} />
          ))}
          {conflicts.length === 0 && samples.length > 0 && <RowSamples title={`Rows of ${name}`} samples={samples} />}
        </Fragment>
      ))}
    </>
  );
}

function RowSamples({ title, samples }: { title: string; samples: Plan['repairs'][number]['samples'] }) {
  return (
    <Table.ScrollContainer minWidth={320}>
      <Table verticalSpacing={4} className="breakable" aria-label={title}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{title}</Table.Th>
            <Table.Th>After the restore</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {samples.slice(0, ROWS_SHOWN).map(({ key, before, after }, index) => (
            <Table.Tr key={index}>
              <Table.Td>
                <Row values={key} />
                {before === null ? null : <Row values={before} />}
              </Table.Td>
              <Table.Td>
                <Row values={after} />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function PlannedTables({ tables, kept }: { tables: Plan['tables']; kept: number }) {
  return (
    <Table.ScrollContainer
      minWidth={420}
      maxHeight={420}
      scrollAreaProps={{ type: 'auto', viewportProps: { tabIndex: 0 } }}
    >
      <Table verticalSpacing={4} stickyHeader>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Table</Table.Th>
            <Table.Th>Change</Table.Th>
            <Table.Th ta="right">Current rows</Table.Th>
            <Table.Th ta="right">Rows in backup</Table.Th>
            <Table.Th ta="right">Difference</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {tables.slice(0, SHOWN).map(({ name, targetRows, backupRows, change, schemaDiffers }) => (
            <Table.Tr key={name}>
              <Table.Td className="breakable" miw={120}>
                {name}
              </Table.Td>
              <Table.Td>
                <Badge variant="light" color={CHANGE[change].color} miw="max-content">
                  {CHANGE[change].label}
                </Badge>
                {schemaDiffers && (
                  <Text size="xs" c="dimmed">
                    Different schema
                  </Text>
                )}
              </Table.Td>
              <Table.Td ta="right">{rows(targetRows)}</Table.Td>
              <Table.Td ta="right">{rows(backupRows)}</Table.Td>
              <Table.Td ta="right" className="exact">
                {signed(differenceOf({ targetRows, backupRows }))}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Text size="xs" c="dimmed" mt={4}>
        {tables.length > SHOWN ? `And ${count(tables.length - SHOWN)} more tables. ` : ''}
        {kept > 0 ? `${plural(kept, 'table')} unchanged.` : ''}
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
        Enough disk space: up to {size(needed)} needed.
      </Text>
    );
  }
  return tight.map(({ path, needed, free }) => (
    <Text key={path} size="xs" c="dimmed" className="breakable">
      {path}: up to {size(needed)} needed, {size(free)} free
    </Text>
  ));
}

type Counted = Pick<Plan['tables'][number], 'targetRows' | 'backupRows'>;

/** How many rows a table has more, or fewer, after the restore. */
const differenceOf = ({ targetRows, backupRows }: Counted) => (backupRows ?? 0) - (targetRows ?? 0);

/** What changes most comes first; tables with the same number of rows come last, by their names. */
const byDifference = (one: Plan['tables'][number], other: Plan['tables'][number]) =>
  Number(isChanged(other)) - Number(isChanged(one)) ||
  Math.abs(differenceOf(other)) - Math.abs(differenceOf(one)) ||
  one.name.localeCompare(other.name);

const isChanged = (table: Plan['tables'][number]) =>
  table.change !== 'REPLACE' || table.schemaDiffers || differenceOf(table) !== 0;

const signed = (value: number) => (value > 0 ? `+${count(value)}` : value < 0 ? `−${count(-value)}` : '±0');

const rows = (value: number | null | undefined) => (value === null || value === undefined ? '–' : count(value));
