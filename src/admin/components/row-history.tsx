import { Anchor, Button, Checkbox, Group, Select, Stack, Table, Text, TextInput } from '@mantine/core';
import { useState } from 'react';
import { Link } from 'wouter';
import { RowHistoryDocument, type RowHistoryQuery } from '../../client/generated/graphql.js';
import { columnValue } from '../../core/text/row-key.js';
import { useQuestion } from '../api.js';
import { exactTime } from '../format.js';
import { Section } from './facts.js';
import { Row } from './row.js';
import { ProblemAlert } from './state.js';

type Version = RowHistoryQuery['rowHistory'][number];

/** One row through all backups of a config. @param identity opens encrypted ones; null: none */
export function RowHistory({
  configId,
  tables,
  identity,
}: {
  configId: string;
  tables: string[];
  identity: string | null;
}) {
  const [table, setTable] = useState<string | null>(null);
  const [key, setKey] = useState('');
  const [every, setEvery] = useState(false);
  const [versions, setVersions] = useState<Version[] | null>(null);
  const history = useQuestion(RowHistoryDocument);
  const { problem } = history;
  const look = async () => {
    setVersions(null);
    const answer = await history.run({ configId, table: table ?? '', key: keyOf(key), every, identity });
    setVersions(answer?.rowHistory ?? null);
  };
  return (
    <Section title="One row through all backups">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void look();
        }}
      >
        <Stack>
          <Group align="flex-start">
            <Select
              label="Table"
              description="Of this backup"
              placeholder="Choose a table"
              data={tables}
              value={table}
              onChange={setTable}
              error={problem?.field === 'table' ? problem.message : undefined}
              searchable
              limit={200}
            />
            <TextInput
              label="Primary key"
              description="For example, id=17"
              value={key}
              onChange={(event) => setKey(event.currentTarget.value)}
              error={problem?.field === 'key' ? problem.message : undefined}
            />
          </Group>
          <Checkbox
            label="Read every backup"
            description="Takes longer. Otherwise, a value that came and went between two backups that agree is not seen"
            checked={every}
            onChange={(event) => setEvery(event.currentTarget.checked)}
          />
          <Group>
            <Button
              type="submit"
              variant="default"
              loading={history.busy}
              disabled={table === null || Object.keys(keyOf(key)).length === 0}
            >
              Show its history
            </Button>
          </Group>
          {problem && problem.field !== 'table' && problem.field !== 'key' && <ProblemAlert problem={problem} />}
          {versions && <Versions versions={versions} />}
        </Stack>
      </form>
    </Section>
  );
}

function Versions({ versions }: { versions: Version[] }) {
  const unread = versions.flatMap(({ unreadable }) => unreadable);
  return (
    <>
      <Table verticalSpacing={4} className="breakable" aria-label="History of the row">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>From</Table.Th>
            <Table.Th>To</Table.Th>
            <Table.Th>Row</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {versions.map(({ backup, lastBackup, row, changed }) => (
            <Table.Tr key={backup.id}>
              <Table.Td>
                <BackupLink backup={backup} />
              </Table.Td>
              <Table.Td>
                <BackupLink backup={lastBackup} />
              </Table.Td>
              <Table.Td>
                {row === null ? <Text size="sm">Not there</Text> : <Row values={partOf(row, changed)} />}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {unread.length > 0 && <Text size="sm">Could not be read: {unread.join(', ')}</Text>}
    </>
  );
}

/** A backup by its time. */
export const BackupLink = ({ backup: { id, createdAt } }: { backup: { id: string; createdAt: string } }) => (
  <Anchor component={Link} href={`/backups/${id}`} size="sm">
    {exactTime(createdAt)}
  </Anchor>
);

/** What changed of a row; all of it where nothing is known to have. */
function partOf(row: unknown, changed: string[]): unknown {
  if (changed.length === 0) return row;
  const values = row as Record<string, unknown>;
  return Object.fromEntries(changed.map((name) => [name, values[name]]));
}

/** Values by column, written as `a=1, b=x`. */
function keyOf(text: string): Record<string, string | number> {
  const pairs = text.split(',').map((part) => columnValue(part.trim().replace(/\s*=\s*/, '=')));
  return Object.fromEntries(pairs.filter((pair) => pair !== null));
}
