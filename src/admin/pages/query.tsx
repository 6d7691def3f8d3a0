import {
  Button,
  Card,
  Code,
  Group,
  Select,
  Stack,
  Table,
  Text,
  Textarea,
  TextInput,
  UnstyledButton,
} from '@mantine/core';
import { IconDownload } from '@tabler/icons-react';
import { useRef, useState } from 'react';
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
import { type Browsing, browseSql } from '../sql.js';
import { titleOf } from '../words.js';

type Result = QueryBackupQuery['queryBackup'];
type Change = FindChangeQuery['findChange'];

/** The most rows that are shown of a SELECT, and of a table at once. */
const LIMIT = 200;
const PAGE = 50;

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
  const [browsing, setBrowsing] = useState<Browsing | null>(null);
  const [change, setChange] = useState<Change | undefined>(undefined);
  const query = useQuestion(QueryBackupDocument);
  const search = useQuestion(FindChangeDocument);
  const asked = useRef(0);
  const given = identity === '' ? null : identity;
  const configId = backup.config?.id;
  const problem = query.problem ?? search.problem;
  const clear = () => {
    setResult(null);
    setChange(undefined);
    query.clear();
    search.clear();
  };
  /** Answers may overtake each other: only that of the last question is shown. */
  const nextTurn = () => {
    const turn = ++asked.current;
    return () => turn === asked.current;
  };
  const read = async (text: string, limit: number) => {
    const isLast = nextTurn();
    const answer = await query.run({ id, sql: text, limit, identity: given });
    if (isLast()) setResult(answer?.queryBackup ?? null);
  };
  const ask = async () => {
    clear();
    setBrowsing(null);
    await read(sql, LIMIT);
  };
  const browse = async (next: Browsing) => {
    if (next.table !== browsing?.table) clear();
    setChange(undefined);
    setBrowsing(next);
    // One more than are shown tells whether a page follows.
    const text = browseSql(engine, next, PAGE + 1);
    setSql(text);
    if (!needsIdentity(backup) || identity !== '') await read(text, PAGE);
  };
  const findChange = async (config: string) => {
    clear();
    const isLast = nextTurn();
    const answer = await search.run({ configId: config, sql, identity: given });
    if (isLast()) setChange(answer?.findChange);
  };
  const open = (table: string | null) => {
    if (table !== null) void browse({ table, sort: null, filter: null, offset: 0 });
  };
  return (
    <>
      <PageHead title="Query" subtitle={titleOf(backup)} back={{ href: `/backups/${id}`, label: 'Backup' }} />
      <Stack>
        <Card withBorder>
          <form
            onSubmit={(event) => {
              event.preventDefault();
              void ask();
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
                  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void ask();
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
        {((query.busy && result === null) || search.busy) && <Loading height={160} />}
        {result && browsing && (
          <Browser key={browsing.table} result={result} browsing={browsing} onChange={(next) => void browse(next)} />
        )}
        {result && !browsing && <Rows result={result} />}
        {change !== undefined && <ChangeFound change={change} />}
        {configId && <RowHistory configId={configId} tables={tables.map(({ name }) => name)} identity={given} />}
      </Stack>
    </>
  );
}

/** A table, page by page, sorted by a column, and only the rows that hold a text. */
function Browser({
  result,
  browsing,
  onChange,
}: {
  result: Result;
  browsing: Browsing;
  onChange: (next: Browsing) => void;
}) {
  const { sort, filter, offset } = browsing;
  const { columns, rows, truncated } = result;
  const [column, setColumn] = useState<string | null>(filter?.column ?? columns[0] ?? null);
  const [text, setText] = useState(filter?.text ?? '');
  const choose = () =>
    onChange({ ...browsing, filter: column === null || text === '' ? null : { column, text }, offset: 0 });
  const sortBy = (name: string) => {
    const descending = sort?.column === name && !sort.descending;
    onChange({ ...browsing, sort: { column: name, descending }, offset: 0 });
  };
  const title =
    rows.length === 0 ? 'No rows' : `Rows ${count(offset + 1)} to ${count(offset + rows.length)} of ${browsing.table}`;
  return (
    <Section title={title}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          choose();
        }}
      >
        <Group align="end" mb="sm">
          <Select label="Column" data={[...new Set(columns)]} value={column} onChange={setColumn} searchable />
          <TextInput label="Contains" value={text} onChange={(event) => setText(event.currentTarget.value)} />
          <Button type="submit" variant="default">
            Filter
          </Button>
        </Group>
      </form>
      <RowTable result={result} sort={sort} onSort={sortBy} />
      <Group mt="sm">
        <Button
          variant="default"
          disabled={offset === 0}
          onClick={() => onChange({ ...browsing, offset: Math.max(0, offset - PAGE) })}
        >
          Previous rows
        </Button>
        <Button
          variant="default"
          disabled={!truncated}
          onClick={() => onChange({ ...browsing, offset: offset + PAGE })}
        >
          Next rows
        </Button>
      </Group>
    </Section>
  );
}

function Rows({ result }: { result: Result }) {
  const { rows, truncated, seconds } = result;
  const shown = truncated ? `The first ${plural(rows.length, 'row')}` : plural(rows.length, 'row');
  return (
    <Section title={`${shown} in ${seconds.toFixed(2)} s`}>
      <RowTable result={result} />
      {truncated && (
        <Text size="sm" c="dimmed" mt="xs">
          There are more: add a condition, or ORDER BY, LIMIT and OFFSET.
        </Text>
      )}
    </Section>
  );
}

/** @param onSort is told which column's heading was chosen; left out, no column sorts */
function RowTable({
  result: { columns, rows },
  sort = null,
  onSort,
}: {
  result: Result;
  sort?: Browsing['sort'];
  onSort?: (column: string) => void;
}) {
  const orderOf = (name: string) => {
    if (sort?.column !== name) return 'none';
    return sort.descending ? 'descending' : 'ascending';
  };
  const ARROWS = { none: '', ascending: ' ↑', descending: ' ↓' };
  return (
    <Table.ScrollContainer minWidth={480}>
      <Table verticalSpacing={4} aria-label="Result">
        <Table.Thead>
          <Table.Tr>
            {columns.map((name, index) =>
              onSort === undefined ? (
                <Table.Th key={index}>{name}</Table.Th>
              ) : (
                <Table.Th key={index} aria-sort={orderOf(name)}>
                  <UnstyledButton fz="inherit" fw="inherit" onClick={() => onSort(name)}>
                    {name}
                    {ARROWS[orderOf(name)]}
                  </UnstyledButton>
                </Table.Th>
              ),
            )}
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
