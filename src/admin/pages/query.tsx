import { Button, Card, Code, Group, Select, Stack, Table, Text, Textarea } from '@mantine/core';
import { IconDownload } from '@tabler/icons-react';
import { useState } from 'react';
import {
  BackupDocument,
  type BackupPartsFragment,
  FindChangeDocument,
  type FindChangeQuery,
  QueryBackupDocument,
  type QueryBackupQuery,
} from '../../client/generated/graphql.js';
import { useApi, useQuestion } from '../api.js';
import { FactTable, Section } from '../components/facts.js';
import { IdentityInput } from '../components/identity-retry.js';
import { PageHead } from '../components/page.js';
import { needsIdentity } from '../components/restore-choice.js';
import { BackupLink, RowHistory } from '../components/row-history.js';
import { cellText } from '../components/row.js';
import { Answered, Loading, Missing, ProblemAlert } from '../components/state.js';
import { csvOf } from '../../core/text/format.js';
import { count, plural } from '../format.js';
import { tableInSql } from '../sql.js';
import { titleOf } from '../words.js';

type Result = QueryBackupQuery['queryBackup'];
type Change = FindChangeQuery['findChange'];

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

function QueryOf({ backup }: { backup: BackupPartsFragment }) {
  const { id, tables, engine } = backup;
  const [sql, setSql] = useState('');
  const [identity, setIdentity] = useState('');
  const [result, setResult] = useState<Result | null>(null);
  const [change, setChange] = useState<Change | undefined>(undefined);
  const query = useQuestion(QueryBackupDocument);
  const search = useQuestion(FindChangeDocument);
  const given = identity === '' ? null : identity;
  const configId = backup.config?.id;
  const problem = query.problem ?? search.problem;
  const clear = () => {
    setResult(null);
    setChange(undefined);
    query.clear();
    search.clear();
  };
  const ask = async (text: string) => {
    clear();
    const answer = await query.run({ id, sql: text, limit: LIMIT, identity: given });
    setResult(answer?.queryBackup ?? null);
  };
  const findChange = async (config: string) => {
    clear();
    const answer = await search.run({ configId: config, sql, identity: given });
    setChange(answer?.findChange);
  };
  const open = (table: string | null) => {
    if (table === null) return;
    const all = `SELECT * FROM ${tableInSql(engine, table)}`;
    setSql(all);
    if (!needsIdentity(backup) || identity !== '') void ask(all);
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
                error={problem?.field === 'sql' ? problem.message : undefined}
              />
              <Group>
                <Button type="submit" loading={query.busy} disabled={sql.trim() === ''}>
                  Run
                </Button>
                {configId && (
                  <Button
                    variant="default"
                    loading={search.busy}
                    disabled={sql.trim() === ''}
                    onClick={() => void findChange(configId)}
                  >
                    When did the answer change?
                  </Button>
                )}
                {result && result.rows.length > 0 && <DownloadCsv result={result} name={`${id}.csv`} />}
              </Group>
            </Stack>
          </form>
        </Card>
        {problem && problem.field !== 'sql' && <ProblemAlert problem={problem} />}
        {(query.busy || search.busy) && <Loading height={160} />}
        {result && <Rows result={result} />}
        {change !== undefined && <ChangeFound change={change} />}
        {configId && <RowHistory configId={configId} tables={tables.map(({ name }) => name)} identity={given} />}
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

/** Between which backups the answer changed. */
function ChangeFound({ change }: { change: Change }) {
  if (!change) return <Text size="sm">The oldest backup gives the same answer as the newest.</Text>;
  const { before, after, answerBefore, answerAfter, read, unreadable } = change;
  return (
    <Section title={`The last change (backups read: ${count(read)})`}>
      <FactTable
        facts={[
          ['Before', <Answer key="before" backup={before} value={answerBefore} />],
          ['After', <Answer key="after" backup={after} value={answerAfter} />],
        ]}
      />
      {unreadable.length > 0 && <Text size="sm">Could not be read: {unreadable.join(', ')}</Text>}
    </Section>
  );
}

const Answer = ({ backup, value }: { backup: NonNullable<Change>['before']; value: unknown }) => (
  <Group gap="sm">
    <BackupLink backup={backup} />
    <Code>{cellText(value)}</Code>
  </Group>
);

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
