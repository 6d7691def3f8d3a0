import { Alert, Button, Card, Checkbox, Group, Select, Stack, Table, Text } from '@mantine/core';
import { IconRestore } from '@tabler/icons-react';
import { useState } from 'react';
import { Link } from 'wouter';
import {
  BackupDocument,
  type BackupPartsFragment,
  BackupsDocument,
  CompareBackupsDocument,
  type CompareBackupsQuery,
} from '../../client/generated/graphql.js';
import { useApi, useQuestion } from '../api.js';
import { Section } from '../components/facts.js';
import { FileReferences } from '../components/file-references.js';
import { IdentityInput } from '../components/identity-retry.js';
import { PageHead } from '../components/page.js';
import { needsIdentity } from '../components/restore-choice.js';
import { Row } from '../components/row.js';
import { Answered, Empty, Loading, Missing, ProblemAlert } from '../components/state.js';
import { count, plural, size } from '../format.js';
import { titleOf } from '../words.js';

type Comparison = CompareBackupsQuery['compareBackups'];
type TableOf = Comparison['tables'][number];

/** What stands for the live database in the choice. */
const LIVE = 'live';
/** How many other backups are offered. */
const OFFERED = 200;
/** Rows and files that are shown of each kind of difference. */
const SAMPLES = 10;

/** A backup beside a later one, or beside what is live: what has been removed, changed and added since. */
export default function Compare({ id }: { id: string }) {
  const answer = useApi(BackupDocument, { id });
  return (
    <Answered answer={answer}>
      {({ backup }) => (backup ? <CompareWith backup={backup} /> : <Missing noun="backup" all="/backups" />)}
    </Answered>
  );
}

function CompareWith({ backup }: { backup: BackupPartsFragment }) {
  const { id, config } = backup;
  const filter = { status: ['COMPLETED' as const], ...(config && { configId: config.id }) };
  const others = useApi(BackupsDocument, { filter, first: OFFERED });
  const later = others.data?.backups.nodes.filter((other) => other.id !== id) ?? [];
  const offered = [
    ...(config ? [{ value: LIVE, label: 'What is live now' }] : []),
    ...later.map((other) => ({ value: other.id, label: titleOf(other) })),
  ];
  const [chosen, setChosen] = useState<string | null>(null);
  const [identity, setIdentity] = useState('');
  const [found, setFound] = useState<Comparison | null>(null);
  const comparing = useQuestion(CompareBackupsDocument);
  const to = chosen ?? offered[0]?.value ?? null;
  const compare = async () => {
    setFound(null);
    const answer = await comparing.run({
      from: id,
      to: to === LIVE ? null : to,
      samples: SAMPLES,
      identity: identity === '' ? null : identity,
    });
    setFound(answer?.compareBackups ?? null);
  };
  return (
    <>
      <PageHead title="Compare" subtitle={titleOf(backup)} back={{ href: `/backups/${id}`, label: 'Backup' }} />
      <Stack>
        <Card withBorder>
          <form
            onSubmit={(event) => {
              event.preventDefault();
              void compare();
            }}
          >
            <Group align="flex-end">
              <Select
                label="Compare this backup with"
                data={offered}
                value={to}
                onChange={setChosen}
                searchable
                allowDeselect={false}
                style={{ flex: 1 }}
                miw={220}
                error={comparing.problem?.field === 'to' ? comparing.problem.message : undefined}
              />
              {needsIdentity(backup) && <IdentityInput value={identity} onChange={setIdentity} />}
              <Button type="submit" loading={comparing.busy} disabled={to === null}>
                Compare
              </Button>
            </Group>
          </form>
          <Text size="sm" c="dimmed" mt="xs">
            Nothing is restored or changed. A large database takes a while.
          </Text>
        </Card>
        {comparing.problem && <ProblemAlert problem={comparing.problem} />}
        {comparing.busy && <Loading height={200} />}
        {found && <Differences found={found} id={id} />}
        {backup.mediaFileCount > 0 && <FileReferences id={id} identity={identity === '' ? null : identity} />}
      </Stack>
    </>
  );
}

const differs = ({ added, removed, changed, schemaChanges }: TableOf) =>
  added + removed + changed + schemaChanges.length > 0;

function Differences({ found, id }: { found: Comparison; id: string }) {
  const { tables, schemaChanges, media } = found;
  const differing = tables.filter(differs);
  const same = tables.length - differing.length;
  const lost = differing.filter(({ removed, changed }) => removed + changed > 0);
  const [left, setLeft] = useState<string[]>([]);
  const chosen = lost.filter(({ name }) => !left.includes(name));
  return (
    <>
      {differing.length === 0 ? (
        <Empty title="The databases are the same">{plural(tables.length, 'table')} were compared, row by row.</Empty>
      ) : (
        <Section title={`${plural(differing.length, 'table')} with differences`}>
          <Table verticalSpacing={4} className="breakable">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Table</Table.Th>
                <Table.Th ta="right">Removed</Table.Th>
                <Table.Th ta="right">Changed</Table.Th>
                <Table.Th ta="right">Added</Table.Th>
                <Table.Th ta="right">Unchanged</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {differing.map(({ name, removed, changed, added, unchanged }) => (
                <Table.Tr key={name}>
                  <Table.Td>
                    {removed + changed === 0 ? (
                      name
                    ) : (
                      <Checkbox
                        label={name}
                        checked={!left.includes(name)}
                        onChange={({ currentTarget: { checked } }) =>
                          setLeft(checked ? left.filter((other) => other !== name) : [...left, name])
                        }
                      />
                    )}
                  </Table.Td>
                  <Table.Td ta="right">{count(removed)}</Table.Td>
                  <Table.Td ta="right">{count(changed)}</Table.Td>
                  <Table.Td ta="right">{count(added)}</Table.Td>
                  <Table.Td ta="right">{count(unchanged)}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
          {same > 0 && (
            <Text size="sm" c="dimmed" mt="xs">
              {plural(same, 'other table')} {same === 1 ? 'is' : 'are'} the same.
            </Text>
          )}
          {lost.length > 0 && (
            <Group mt="sm">
              {chosen.length > 0 && (
                <Button
                  component={Link}
                  href={`/backups/${id}/restore?${rowsOf(chosen)}`}
                  leftSection={<IconRestore size={18} />}
                >
                  Bring back rows …
                </Button>
              )}
              <Button component={Link} href={`/backups/${id}/restore`} variant="default">
                Restore …
              </Button>
            </Group>
          )}
        </Section>
      )}
      {schemaChanges.length > 0 && (
        <Alert color="yellow" title="Definitions that differ">
          {schemaChanges.map((change) => (
            <Text size="sm" key={change}>
              {change}
            </Text>
          ))}
        </Alert>
      )}
      {differing.map((table) => (
        <Samples key={table.name} table={table} />
      ))}
      <Media media={media} />
    </>
  );
}

/** The choice of the page that restores: what is missing in these tables comes back. */
const rowsOf = (tables: TableOf[]) =>
  new URLSearchParams([['rows', 'MISSING'], ...tables.map(({ name }) => ['table', name])]).toString();

/** Some of a table's rows side by side. */
function Samples({ table: { name, schemaChanges, samples, removed, changed, added } }: { table: TableOf }) {
  const all = removed + changed + added;
  return (
    <Section title={name}>
      {schemaChanges.map((change) => (
        <Text size="sm" key={change}>
          {change}
        </Text>
      ))}
      {samples.length > 0 && (
        <Table.ScrollContainer minWidth={480}>
          <Table verticalSpacing={4} className="breakable" aria-label={`Rows of ${name}`}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Row</Table.Th>
                <Table.Th>Before</Table.Th>
                <Table.Th>After</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {samples.map(({ key, before, after }, index) => (
                <Table.Tr key={index}>
                  <Table.Td>
                    <Row values={key} />
                  </Table.Td>
                  <Table.Td>{before === null ? 'Not there' : <Row values={before} />}</Table.Td>
                  <Table.Td>{after === null ? 'Removed' : <Row values={after} />}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
      {all > samples.length && (
        <Text size="sm" c="dimmed" mt="xs">
          {plural(samples.length, 'row')} of {count(all)} {samples.length === 1 ? 'is' : 'are'} shown.
        </Text>
      )}
    </Section>
  );
}

function Media({ media: { removed, changed, added, unchanged, samples } }: { media: Comparison['media'] }) {
  if (removed + changed + added === 0) {
    const same = unchanged === 0 ? 'Neither has media files.' : `All media files (${count(unchanged)}) are the same.`;
    return <Text size="sm">{same}</Text>;
  }
  return (
    <Section title="Media files">
      <Text size="sm" mb="xs">
        {count(removed)} removed, {count(changed)} changed, {count(added)} added, {count(unchanged)} unchanged.
      </Text>
      <Table verticalSpacing={4} className="breakable">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>File</Table.Th>
            <Table.Th ta="right">Before</Table.Th>
            <Table.Th ta="right">After</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {samples.map(({ path, before, after }) => (
            <Table.Tr key={path}>
              <Table.Td>{path}</Table.Td>
              <Table.Td ta="right">{before === null || before === undefined ? 'Not there' : size(before)}</Table.Td>
              <Table.Td ta="right">{after === null || after === undefined ? 'Removed' : size(after)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Section>
  );
}
