import { Alert, Button, Card, Code, CopyButton, Grid, Group, List, Stack, Table, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { IconDownload, IconRestore } from '@tabler/icons-react';
import { type ReactNode, useState } from 'react';
import { Link, useLocation } from 'wouter';
import {
  BackupDocument,
  BackupMediaDocument,
  type BackupPartsFragment,
  type BackupType,
  CopyBackupDocument,
  CreateBackupDocument,
  DestinationsDocument,
} from '../../client/generated/graphql.js';
import { useAction, useApi } from '../api.js';
import { Anomalies, SuspiciousBadge } from '../components/anomalies.js';
import { BackupActions, useDownload } from '../components/backup-actions.js';
import { ConsolidateBackup } from '../components/consolidate-backup.js';
import { Age, Size } from '../components/exact.js';
import { Facts, Section } from '../components/facts.js';
import { Invariants } from '../components/invariants.js';
import { Homeless, OriginBadge, originFacts } from '../components/origin.js';
import { Pager, usePaging } from '../components/pager.js';
import { BackupProgress } from '../components/run-progress.js';
import { PageHead, TextLink } from '../components/page.js';
import { Answered, Loading, Missing, ProblemAlert, Warnings } from '../components/state.js';
import { StatusBadge } from '../components/status-badge.js';
import { Timeline } from '../components/timeline.js';
import { Verifications } from '../components/verifications.js';
import { count, duration, moment, plural, size } from '../format.js';
import { isActive, isHomeless, isStored, LEVEL, pinOf, STORAGE, titleOf, TYPE } from '../words.js';

/** How often it is asked for again, in milliseconds. */
const EVERY = 10_000;

/** One backup: how its run went, what is in it, how it was verified, and what can be done with it. */
export default function Backup({ id }: { id: string }) {
  const answer = useApi(BackupDocument, { id }, { every: EVERY });
  return (
    <Answered answer={answer}>
      {({ backup }) =>
        backup ? <BackupOf backup={backup} refresh={answer.refresh} /> : <Missing noun="backup" all="/backups" />
      }
    </Answered>
  );
}

function BackupOf({ backup, refresh }: { backup: BackupPartsFragment; refresh: () => void }) {
  const { id } = backup;
  const download = useDownload();
  const completed = isStored(backup);
  return (
    <>
      <PageHead
        title={titleOf(backup)}
        badge={
          <>
            <StatusBadge status={backup.status} />
            <SuspiciousBadge backup={backup} />
            <OriginBadge backup={backup} />
          </>
        }
        subtitle={backup.fileName}
        back={{ href: '/backups', label: 'Backups' }}
      >
        {completed && (
          <>
            <Button component={Link} href={`/backups/${id}/restore`} leftSection={<IconRestore size={18} />}>
              Restore …
            </Button>
            <Button variant="default" leftSection={<IconDownload size={18} />} onClick={() => void download(id)}>
              Download
            </Button>
          </>
        )}
        <BackupActions backup={backup} />
      </PageHead>
      <Stack>
        <Outcome backup={backup} refresh={refresh} />
        <Anomalies backup={backup} refresh={refresh} />
        {completed && <Homeless backup={backup} />}
        <Grid>
          <Grid.Col span={{ base: 12, md: 7 }}>
            <Stack>
              <About backup={backup} />
              {completed && <Copies backup={backup} refresh={refresh} />}
            </Stack>
          </Grid.Col>
          <Grid.Col span={{ base: 12, md: 5 }}>
            <Stack>
              {completed && <Verification backup={backup} refresh={refresh} />}
              <Timeline run={backup} />
            </Stack>
          </Grid.Col>
        </Grid>
        {backup.invariants.length > 0 && <Invariants results={backup.invariants} />}
        {backup.excluded.length > 0 && <Excluded excluded={backup.excluded} />}
        {backup.tables.length > 0 && <Tables tables={backup.tables} />}
        {completed && backup.mediaFileCount > 0 && <Media id={id} />}
      </Stack>
    </>
  );
}

/** What is under way, what went wrong, or what one should know. */
function Outcome({ backup, refresh }: { backup: BackupPartsFragment; refresh: () => void }) {
  const { status, errorCode, errorMessage, errorHint, warnings } = backup;
  const { deleteAfter, deletedAt, deletedBy, deleteReason } = backup;
  return (
    <>
      {isActive(status) && (
        <Card withBorder>
          <BackupProgress run={backup} onEnd={refresh} />
        </Card>
      )}
      {errorCode && (
        <ProblemAlert
          problem={{ code: errorCode, message: errorMessage ?? 'The backup failed.', hint: errorHint ?? '' }}
        >
          {status === 'FAILED' && backup.config && !backup.consolidates && (
            <After type={backup.backupType} config={backup.config} damaged={errorCode === 'DATABASE_CORRUPT'} />
          )}
        </ProblemAlert>
      )}
      {status === 'DELETED' && deletedAt && (
        <Alert color="gray" title="Archive deleted">
          <Age at={deletedAt} /> by {deletedBy}. {deleteReason}
        </Alert>
      )}
      {deleteAfter && (
        <Alert color="orange" title="To be deleted">
          After {moment(deleteAfter)}, by {deletedBy}. {deleteReason} Until then <b>Keep</b> in the menu takes it back.
        </Alert>
      )}
      <Warnings warnings={warnings} />
    </>
  );
}

/** The next steps after a failure: mend the config, then try again what was tried. */
function After({
  type,
  config,
  damaged,
}: {
  type: BackupType;
  config: { id: string; name: string };
  damaged: boolean;
}) {
  return (
    <Group gap="xs">
      {(type === 'MANUAL' || type === 'AUTO') && <BackUpAgain configId={config.id} />}
      {(type === 'MANUAL' || type === 'AUTO') && damaged && <BackUpAgain configId={config.id} allowDamaged />}
      {type === 'UPLOADED' && (
        <Button size="xs" variant="light" color="red" component={Link} href="/upload">
          Upload again
        </Button>
      )}
      <Button size="xs" variant="default" component={Link} href={`/configs/${config.id}`}>
        Show config
      </Button>
    </Group>
  );
}

function BackUpAgain({ configId, allowDamaged = false }: { configId: string; allowDamaged?: boolean }) {
  const [, go] = useLocation();
  const create = useAction(CreateBackupDocument);
  const again = async () => {
    const answer = await create.run({ input: { configId, allowDamaged } });
    if (answer !== null) go(`/backups/${answer.createBackup.id}`);
  };
  return (
    <Button size="xs" variant="light" color="red" loading={create.busy} onClick={() => void again()}>
      {allowDamaged ? 'Back up as it is, marked damaged' : 'Back up again'}
    </Button>
  );
}

function About({ backup }: { backup: BackupPartsFragment }) {
  const { startedAt, completedAt, tables, mediaFileCount } = backup;
  const stored = isStored(backup);
  const facts: [string, ReactNode][] = [
    ['Type', TYPE[backup.backupType]],
    [
      'Config',
      backup.config ? <TextLink href={`/configs/${backup.config.id}`}>{backup.config.name}</TextLink> : 'None',
    ],
    ...(isHomeless(backup) || backup.backupType === 'UPLOADED' ? originFacts(backup) : []),
    ['Database', backup.databaseName],
    ['Date', <Age key="made" at={backup.createdAt} />],
    ['Duration', startedAt && completedAt ? duration((Date.parse(completedAt) - Date.parse(startedAt)) / 1000) : '–'],
    ['Requested by', backup.createdBy ?? '–'],
    ['Size', <Size key="size" bytes={stored ? backup.fileSize : null} />],
    ['Contents', stored ? `${plural(tables.length, 'table')}, ${plural(mediaFileCount, 'media file')}` : '–'],
    ['Storage', STORAGE[backup.storageType]],
    ['File', stored ? <Code key="path">{backup.filePath}</Code> : 'No archive'],
    ['Encryption', encryptionOf(backup)],
    ...chainFacts(backup),
    ['Pinned', pinOf(backup)],
    ['Note', backup.note ?? '–'],
    ['Id', <Code key="id">{backup.id}</Code>],
  ];
  return <Facts facts={facts} />;
}

/** What it builds on, and what builds on it; nothing for a backup that stands alone. */
function chainFacts(backup: BackupPartsFragment): [string, ReactNode][] {
  const { mode, parent, children, chainLength, chainFullSize, consolidates, fileSize } = backup;
  const link = ({ id }: { id: string }) => (
    <TextLink key={id} href={`/backups/${id}`}>
      {id}
    </TextLink>
  );
  const facts: [string, ReactNode][] = [];
  if (consolidates) facts.push(['Consolidates', link({ id: consolidates })]);
  if (mode === 'INCREMENTAL') {
    facts.push(['Builds on', parent ? link(parent) : 'A backup that is missing']);
    facts.push([
      'Restored from',
      <Group key="length" gap="xs">
        {plural(chainLength, 'archive')}
        {isStored(backup) && parent && <ConsolidateBackup backup={backup} />}
      </Group>,
    ]);
  }
  if (chainFullSize && fileSize !== null && fileSize < chainFullSize) {
    const saved = Math.floor((1 - fileSize / chainFullSize) * 100);
    facts.push(['Space saved', `${saved} %: a full backup has about ${size(chainFullSize)}`]);
  }
  if (children.length > 0) facts.push(['Needed by', <Stack key="children">{children.map(link)}</Stack>]);
  return facts;
}

function encryptionOf({ encrypted, encryptionKeys }: BackupPartsFragment): string {
  if (!encrypted) return 'None';
  return encryptionKeys.length === 0 ? 'Encrypted' : `For ${encryptionKeys.map(({ name }) => name).join(', ')}`;
}

/** How the ZIP is tested, which may be encrypted. */
const zipTest = (fileName: string, encrypted: boolean) =>
  encrypted ? `age -d -i key.txt ${fileName} > backup.zip\nunzip -t backup.zip` : `unzip -t ${fileName}`;

/** Where its archive lies: each copy with its state, and the destinations that have none. */
function Copies({ backup, refresh }: { backup: BackupPartsFragment; refresh: () => void }) {
  const { data } = useApi(DestinationsDocument, {});
  const copy = useAction(CopyBackupDocument);
  const copies = backup.copies.filter(({ status }) => status !== 'DELETED');
  const others = (data?.destinations ?? []).filter(
    ({ id }) => !copies.some(({ destination }) => destination.id === id),
  );
  if (copies.length + others.length < 2) return null;
  const copyTo = async (destinationId: string) => {
    if ((await copy.run({ id: backup.id, destinationId })) !== null) refresh();
  };
  return (
    <Section title="Copies">
      <Table verticalSpacing={4} className="breakable">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Destination</Table.Th>
            <Table.Th>State</Table.Th>
            <Table.Th>Verified</Table.Th>
            <Table.Th aria-label="Action" />
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {copies.map(({ id, destination, status, verifiedAt, errorMessage, nextTryAt, filePath }) => (
            <Table.Tr key={id}>
              <Table.Td>
                {destination.name}
                <Text size="xs" c="dimmed">
                  {filePath}
                </Text>
              </Table.Td>
              <Table.Td>
                <StatusBadge status={status} />
                {errorMessage && (
                  <Text size="xs" c="red">
                    {errorMessage}
                  </Text>
                )}
                {status !== 'COMPLETED' && nextTryAt && (
                  <Text size="xs" c="dimmed">
                    Next try: <Age at={nextTryAt} />
                  </Text>
                )}
              </Table.Td>
              <Table.Td>{verifiedAt ? <Age at={verifiedAt} /> : '–'}</Table.Td>
              <Table.Td ta="right">
                {status === 'FAILED' && (
                  <Button size="xs" variant="default" loading={copy.busy} onClick={() => void copyTo(destination.id)}>
                    Try again
                  </Button>
                )}
              </Table.Td>
            </Table.Tr>
          ))}
          {others.map(({ id, name, location }) => (
            <Table.Tr key={`none ${id}`}>
              <Table.Td>
                {name}
                {name !== location && (
                  <Text size="xs" c="dimmed">
                    {location}
                  </Text>
                )}
              </Table.Td>
              <Table.Td>No copy</Table.Td>
              <Table.Td>–</Table.Td>
              <Table.Td ta="right">
                <Button size="xs" variant="default" loading={copy.busy} onClick={() => void copyTo(id)}>
                  Copy now
                </Button>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Section>
  );
}

function Verification({ backup, refresh }: { backup: BackupPartsFragment; refresh: () => void }) {
  const { verifiedAt, verificationLevel, checksum, fileName, encrypted } = backup;
  return (
    <Section title="Verification">
      <Stack gap="xs" align="flex-start">
        {verifiedAt && verificationLevel ? (
          <Text size="sm">
            {LEVEL[verificationLevel]}: <Age at={verifiedAt} />.
          </Text>
        ) : (
          <Text size="sm" c="red">
            {backup.damaged
              ? 'Its database is damaged and was kept as it is. It never counts as a good backup.'
              : 'Not verified. Use More → Verify archive to verify it again.'}
          </Text>
        )}
        <Verifications backupId={backup.id} onEnd={refresh} />
        {checksum && (
          <>
            <Text size="sm">Check a downloaded copy without db-manager:</Text>
            <Code block w="100%" className="wrapped">
              {`echo "${checksum}  ${fileName}" | sha256sum -c\n${zipTest(fileName, encrypted)}`}
            </Code>
            <CopyButton value={checksum}>
              {({ copied, copy }) => (
                <Button size="xs" variant="default" onClick={copy}>
                  {copied ? 'Copied' : 'Copy SHA-256'}
                </Button>
              )}
            </CopyButton>
          </>
        )}
      </Stack>
    </Section>
  );
}

/** How many rows are shown at once; the search finds the others. */
const SHOWN = 100;

function Excluded({ excluded }: Pick<BackupPartsFragment, 'excluded'>) {
  return (
    <Section title={`Excluded: ${plural(excluded.length, 'table')}`}>
      <List size="sm" className="breakable">
        {excluded.slice(0, SHOWN).map(({ table, what }) => (
          <List.Item key={table}>{what === 'TABLE' ? table : `The rows of ${table}`}</List.Item>
        ))}
      </List>
      {excluded.length > SHOWN && (
        <Text size="sm" c="dimmed" mt="xs">
          And {count(excluded.length - SHOWN)} more.
        </Text>
      )}
    </Section>
  );
}

function Tables({ tables }: { tables: BackupPartsFragment['tables'] }) {
  const [search, setSearch] = useState('');
  const found = tables.filter(({ name }) => name.toLowerCase().includes(search.trim().toLowerCase()));
  const rows = tables.reduce((sum, { rowCount }) => sum + rowCount, 0);
  return (
    <Section title={`Tables: ${count(tables.length)} with ${plural(rows, 'row')}`}>
      {tables.length > 10 && (
        <TextInput
          mb="xs"
          maw={320}
          aria-label="Search tables"
          placeholder="Search tables"
          value={search}
          onChange={(event) => setSearch(event.currentTarget.value)}
        />
      )}
      <Table verticalSpacing={4} className="breakable">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Table</Table.Th>
            <Table.Th ta="right">Rows</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {found.slice(0, SHOWN).map(({ name, rowCount }) => (
            <Table.Tr key={name}>
              <Table.Td>{name}</Table.Td>
              <Table.Td ta="right">{count(rowCount)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {found.length > SHOWN && (
        <Text size="sm" c="dimmed" mt="xs">
          And {count(found.length - SHOWN)} more: use the search to find them.
        </Text>
      )}
    </Section>
  );
}

const MEDIA_PAGE = 25;

function Media({ id }: { id: string }) {
  const [search, setSearch] = useState('');
  const [applied] = useDebouncedValue(search.trim(), 300);
  const paging = usePaging(applied);
  const { data, problem, current, loading, refresh } = useApi(BackupMediaDocument, {
    id,
    search: applied === '' ? null : applied,
    first: MEDIA_PAGE,
    after: paging.after,
  });
  const page = data?.backupMedia;
  return (
    <Section title="Media files">
      <TextInput
        mb="xs"
        maw={320}
        aria-label="Search media files"
        placeholder="Search media files"
        value={search}
        onChange={(event) => setSearch(event.currentTarget.value)}
      />
      {problem && <ProblemAlert problem={problem} retry={refresh} />}
      {loading && <Loading height={160} />}
      {page && (
        <>
          <Table verticalSpacing={4} className="breakable follows" aria-busy={!current}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>File</Table.Th>
                <Table.Th ta="right">Size</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {page.nodes.map(({ path, size }) => (
                <Table.Tr key={path}>
                  <Table.Td>{path}</Table.Td>
                  <Table.Td ta="right">
                    <Size bytes={size} />
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
          <Pager
            paging={paging}
            current={current}
            pageSize={MEDIA_PAGE}
            shown={page.nodes.length}
            total={page.totalCount}
            noun="file"
            pageInfo={page.pageInfo}
          />
        </>
      )}
    </Section>
  );
}
