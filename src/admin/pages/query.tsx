import { Button, Card, Group, Select, Stack, Table, Text, Textarea } from '@mantine/core';
import { IconDownload } from '@tabler/icons-react';
import { useState } from 'react';
import {
  BackupDocument,
  type BackupPartsFragment,
  QueryBackupDocument,
  type QueryBackupQuery,
} from '../../client/generated/graphql.js';
import { useApi, useQuestion } from '../api.js';
import { Section } from '../components/facts.js';
import { IdentityInput } from '../components/identity-retry.js';
import { PageHead } from '../components/page.js';
import { needsIdentity } from '../components/restore-choice.js';
import { cellText } from '../components/row.js';
import { Answered, Loading, Missing, ProblemAlert } from '../components/state.js';
import { csvOf } from '../../core/text/format.js';
import { count, plural } from '../format.js';
import { titleOf } from '../words.js';

type Result = QueryBackupQuery['queryBackup'];

/** The most rows that are shown. */
const LIMIT = 200;

/** Looks a row up in a backup: its tables, and any SELECT. */
export default function Query({ id }: { id: string }) {
  const answer = useApi(BackupDocument, { id });
  return (
    <Answered answer={answer}>
      {({ backup }) => (backup ? <QueryOf backup={backup} /> : <Missing noun="backup" all="/backups" />)}
    </Answered>
  );
}

const allOf = (table: string) => `SELECT * FROM "${table.replaceAll('"', '""')}"`;

function QueryOf({ backup }: { backup: BackupPartsFragment }) {
  const { id, tables } = backup;
  const [sql, setSql] = useState('');
  const [identity, setIdentity] = useState('');
  const [result, setResult] = useState<Result | null>(null);
  const query = useQuestion(QueryBackupDocument);
  const ask = async (text: string) => {
    setResult(null);
    const answer = await query.run({ id, sql: text, limit: LIMIT, identity: identity === '' ? null : identity });
    setResult(answer?.queryBackup ?? null);
  };
  const open = (table: string | null) => {
    if (table === null) return;
    setSql(allOf(table));
    if (!needsIdentity(backup) || identity !== '') void ask(allOf(table));
  };
  return (
    <>
      <PageHead title="Query" subtitle={titleOf(backup)} back={{ href: `/backups/${id}`, label: 'Backup' }} />
      <Stack>
        <Card withBorder>
          <form
            onSubmit={(event) => {
              event.preventDefault();
              void ask(sql);
            }}
          >
            <Stack>
              {needsIdentity(backup) && <IdentityInput value={identity} onChange={setIdentity} />}
              <Select
                label="Show a table"
                placeholder="Choose a table"
                data={tables.map(({ name, rowCount }) => ({ value: name, label: `${name} (${count(rowCount)})` }))}
                value={null}
                onChange={open}
                searchable
                limit={200}
                maw={420}
              />
              <Textarea
                label="SELECT"
                description="Runs on a private copy of the database in this backup, for at most 30 seconds."
                value={sql}
                onChange={(event) => setSql(event.currentTarget.value)}
                onKeyDown={(event) => {
                  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void ask(sql);
                }}
                autosize
                minRows={3}
                maxRows={12}
                spellCheck={false}
                styles={{ input: { fontFamily: 'monospace' } }}
                error={query.problem?.field === 'sql' ? query.problem.message : undefined}
              />
              <Group>
                <Button type="submit" loading={query.busy} disabled={sql.trim() === ''}>
                  Run
                </Button>
                {result && result.rows.length > 0 && <DownloadCsv result={result} name={`${id}.csv`} />}
              </Group>
            </Stack>
          </form>
        </Card>
        {query.problem && query.problem.field !== 'sql' && <ProblemAlert problem={query.problem} />}
        {query.busy && <Loading height={160} />}
        {result && <Rows result={result} />}
      </Stack>
    </>
  );
}

function Rows({ result: { columns, rows, truncated, seconds } }: { result: Result }) {
  const shown = truncated ? `The first ${plural(rows.length, 'row')}` : plural(rows.length, 'row');
  return (
    <Section title={`${shown} in ${seconds.toFixed(2)} s`}>
      <Table.ScrollContainer minWidth={480}>
        <Table verticalSpacing={4} aria-label="Result">
          <Table.Thead>
            <Table.Tr>
              {columns.map((name, index) => (
                <Table.Th key={index}>{name}</Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows.map((row, at) => (
              <Table.Tr key={at}>
                {row.map((value, index) => (
                  <Table.Td key={index}>
                    {value === null ? (
                      <Text size="sm" c="dimmed" span>
                        NULL
                      </Text>
                    ) : (
                      cellText(value)
                    )}
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {truncated && (
        <Text size="sm" c="dimmed" mt="xs">
          There are more: add a condition, or ORDER BY, LIMIT and OFFSET.
        </Text>
      )}
    </Section>
  );
}

/** What is shown, as a file. */
function DownloadCsv({ result: { columns, rows }, name }: { result: Result; name: string }) {
  const save = () => {
    const text = csvOf([columns, ...rows.map((row) => row.map((value) => (value === null ? null : cellText(value))))]);
    const address = URL.createObjectURL(new Blob([text], { type: 'text/csv' }));
    const link = Object.assign(document.createElement('a'), { href: address, download: name });
    link.click();
    URL.revokeObjectURL(address);
  };
  return (
    <Button variant="default" leftSection={<IconDownload size={18} />} onClick={save}>
      Download CSV
    </Button>
  );
}
