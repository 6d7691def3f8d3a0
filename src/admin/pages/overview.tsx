import {
  Alert,
  Badge,
  Box,
  Button,
  Card,
  Grid,
  Group,
  List,
  Select,
  Stack,
  Table,
  Text,
  ThemeIcon,
  Title,
} from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck, IconFlask, IconShieldX } from '@tabler/icons-react';
import { type ReactNode, useState } from 'react';
import { Link } from 'wouter';
import {
  type BackupFilter,
  BackupHistoryDocument,
  type BackupPartsFragment,
  BackupsDocument,
  ConfigNamesDocument,
  ConfigPageDocument,
  type ConfigPageQuery,
  type BackupStatus,
  type BackupType,
  type Health,
  StatusDocument,
  UsageDocument,
  type UsageQuery,
} from '../../client/generated/graphql.js';
import { useApi } from '../api.js';
import { BackUpNow } from '../components/back-up-now.js';
import { Age, Size } from '../components/exact.js';
import { PageHead, TextLink } from '../components/page.js';
import { RunCalendar } from '../components/run-calendar.js';
import { BackupProgress, RestoreProgress } from '../components/run-progress.js';
import { SizeChart } from '../components/size-chart.js';
import { Answered, NoConfig, Trouble } from '../components/state.js';
import { HealthBadge, healthOf, type Status } from '../components/status-badge.js';
import { duration, moment, plural, size, zone } from '../format.js';
import { HEALTH, STORAGE, titleOf } from '../words.js';

/** How often the state is asked for, in milliseconds. */
const EVERY = 5_000;
/** What rarely changes by itself, in milliseconds. */
const SELDOM = 60_000;

/** The state in one look: is everything protected, and if not, why and what to do. */
export function Overview() {
  const state = useApi(StatusDocument, {}, { every: EVERY });
  const after = state.data === undefined ? '' : runsEnded(state.data.status);
  const page = useApi(ConfigPageDocument, { first: LISTED }, { every: EVERY });
  const names = useApi(ConfigNamesDocument, {});
  // Asked for apart from the state: to add up all archives takes longer with each of them.
  const usage = useApi(UsageDocument, {}, { after, every: SELDOM });
  const parts = [page, names, usage];
  // Shown at once, so that nothing moves when the last of them is there.
  const answer = parts.some(({ loading }) => loading) ? { ...state, loading: true, data: undefined } : state;
  const troubled = parts.find(({ problem }) => problem !== null);
  const configs = page.data?.configConnection.nodes ?? [];
  // Shown from the moment that it is requested; the state only reports it once it runs.
  const [asked, setAsked] = useState<BackupPartsFragment[]>([]);
  const ended = (id: string) => {
    setAsked((present) => present.filter((run) => run.id !== id));
    answer.refresh();
  };
  return (
    <>
      <PageHead title="Overview" />
      {state.problem === null && troubled && <Trouble answer={troubled} />}
      <Answered answer={answer}>
        {({ status }) =>
          status.configCount === 0 ? (
            <NoConfig />
          ) : (
            <Stack>
              {status.configCount === configs.length && configs.every(({ isSample }) => isSample) && <Sample />}
              <State status={status} />
              <Running status={status} asked={asked} onEnd={ended} />
              <ConfigTable status={status} configs={configs} onAsked={(backup) => setAsked([...asked, backup])} />
              <Grid>
                <Grid.Col span={{ base: 12, md: 4 }}>
                  <Storage storages={usage.data?.status.storages ?? []} />
                </Grid.Col>
                <Grid.Col span={{ base: 12, md: 8 }}>
                  <Sizes configs={names.data?.configs ?? []} after={after} />
                </Grid.Col>
              </Grid>
              <Calendar after={after} />
            </Stack>
          )
        }
      </Answered>
    </>
  );
}

/** A new installation protects an application that it has made itself: that is not what anyone came for. */
function Sample() {
  return (
    <Alert color="cyan" variant="light" icon={<IconFlask />} title="This is the sample application">
      <Stack gap="xs" align="flex-start">
        <Text size="sm">
          db-manager is backing up a sample application, so that you can try out everything. Your own application is not
          protected yet.
        </Text>
        <Group gap="xs">
          <Button component={Link} href="/protect">
            Protect your application
          </Button>
          <Button component={Link} href="/recover" variant="default">
            Recover from an archive
          </Button>
        </Group>
      </Stack>
    </Alert>
  );
}

/** Changes when a run has ended: what depends on runs is asked for again then. */
const runsEnded = ({ lastBackupEndedAt }: Status) => lastBackupEndedAt ?? '';

const ICON: Record<Health, typeof IconCircleCheck> = {
  OK: IconCircleCheck,
  WARNING: IconAlertTriangle,
  CRITICAL: IconShieldX,
};

function State({ status }: { status: Status }) {
  const { label, color } = HEALTH[status.health];
  const Icon = ICON[status.health];
  const bad = status.reasons
    .flatMap((reason) => {
      const { code, configId } = reason;
      return configId && code in BAD ? [{ reason, configId, of: BAD[code as keyof typeof BAD] }] : [];
    })
    .slice(0, DETAILED);
  // The backup itself says more than the reason does.
  const reasons = status.reasons.filter((reason) => !bad.some((each) => each.reason === reason));
  return (
    <Card withBorder role="status" aria-label="State">
      <Group wrap="nowrap" align="flex-start">
        <ThemeIcon color={color} size={52} radius="xl" variant="light">
          <Icon size={32} />
        </ThemeIcon>
        <Stack gap="xs" flex={1} miw={0}>
          <Title order={2} size="h3">
            {label}
          </Title>
          {status.reasons.length === 0 ? (
            <Text size="sm">Every config has a recent verified backup, and the next one is scheduled.</Text>
          ) : (
            <List spacing="xs" size="sm" className="breakable">
              {reasons.map(({ code, message, hint, configId }) => (
                <List.Item key={`${code} ${configId} ${message}`}>
                  {message}{' '}
                  <Text span inherit c="dimmed">
                    {hint}
                  </Text>
                </List.Item>
              ))}
            </List>
          )}
          {status.notices.map(({ code, message, hint }) => (
            <Text key={code} size="sm" c="dimmed" className="breakable">
              {message} {hint}
            </Text>
          ))}
          {bad.map(({ configId, of, reason }) => (
            <BadBackup
              key={`${configId} ${of}`}
              configId={configId}
              of={of}
              after={runsEnded(status)}
              reason={reason.message}
            />
          ))}
        </Stack>
      </Group>
    </Card>
  );
}

/** The backups that people and schedules request. */
const ASKED_FOR: BackupType[] = ['MANUAL', 'AUTO'];

/** How many bad backups are shown with their reasons; the others are in the list. */
const DETAILED = 3;

/** The state of the newest backup that a reason is about. */
const BAD = { LAST_BACKUP_FAILED: 'FAILED', LAST_BACKUP_UNPROVEN: 'COMPLETED' } as const;

/** Why the newest backup of a config failed or is not verified, and what to do. */
interface BadBackupProps {
  configId: string;
  of: BackupStatus;
  after: string;
  /** What the state says, until the backup is read. */
  reason: string;
}

function BadBackup({ configId, of, after, reason }: BadBackupProps) {
  const filter: BackupFilter = { configId, status: [of], backupType: ASKED_FOR };
  const { data } = useApi(BackupsDocument, { filter, first: 1 }, { after });
  const bad = data?.backups.nodes[0];
  if (bad === undefined)
    return (
      <Text size="sm" className="breakable">
        {reason}
      </Text>
    );
  const failed = of === 'FAILED';
  return (
    <Alert
      color="red"
      variant="light"
      title={bad.errorMessage ?? (failed ? 'The backup failed.' : 'The backup is not verified.')}
    >
      <Stack gap="xs" align="flex-start">
        <Text size="sm">
          {failed ? 'Failed backup' : 'Backup'} of {titleOf(bad)}
        </Text>
        {bad.errorHint && <Text size="sm">{bad.errorHint}</Text>}
        <Button component={Link} href={`/backups/${bad.id}`} size="xs" variant="light" color="red">
          {failed ? 'Show failed backup' : 'Show backup'}
        </Button>
      </Stack>
    </Alert>
  );
}

interface RunningProps {
  status: Status;
  asked: BackupPartsFragment[];
  onEnd: (id: string) => void;
}

function Running({ status, asked, onEnd }: RunningProps) {
  const { runningBackups, runningRestores } = status;
  const known = new Set(runningBackups.map(({ id }) => id));
  const backups = [...runningBackups, ...asked.filter(({ id }) => !known.has(id))];
  const pending = Math.max(0, status.pending - (backups.length - runningBackups.length));
  if (backups.length + runningRestores.length + pending === 0) return null;
  return (
    <Card withBorder>
      <Title order={2} size="h4" mb="sm">
        In progress
      </Title>
      <Stack>
        {backups.map((run) => (
          <div key={run.id}>
            <TextLink href={`/backups/${run.id}`} size="sm" fw={600}>
              Backup of {run.config?.name ?? 'a deleted config'}
            </TextLink>
            <BackupProgress run={run} onEnd={() => onEnd(run.id)} />
          </div>
        ))}
        {runningRestores.map((run) => (
          <div key={run.id}>
            <TextLink href={`/restores/${run.id}`} size="sm" fw={600}>
              Restore of {run.backup.fileName}
            </TextLink>
            <RestoreProgress run={run} onEnd={() => onEnd(run.id)} />
          </div>
        ))}
        {pending > 0 && (
          <Text size="sm" c="dimmed">
            {plural(pending, 'run')} waiting
          </Text>
        )}
      </Stack>
    </Card>
  );
}

function Fact({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Card withBorder h="100%">
      <Title order={2} size="h4">
        {title}
      </Title>
      <Stack gap={6} mt={4} align="flex-start">
        {children}
      </Stack>
    </Card>
  );
}

type Config = ConfigPageQuery['configConnection']['nodes'][number];

/** How many configs are listed here; the page of configs has all of them. */
const LISTED = 50;

/** Each config with its state, its last and its next backup, and what is done most often. */
interface ConfigTableProps {
  status: Status;
  configs: Config[];
  onAsked: (backup: BackupPartsFragment) => void;
}

function ConfigTable({ status, configs, onAsked }: ConfigTableProps) {
  return (
    <Card withBorder p={0} component="section" aria-label="Configs">
      <Table verticalSpacing="sm">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Config</Table.Th>
            <Table.Th visibleFrom="sm">Last backup</Table.Th>
            <Table.Th visibleFrom="md">Next backup</Table.Th>
            <Table.Th visibleFrom="lg">Size</Table.Th>
            <Table.Th visibleFrom="sm">
              <span className="spoken">Actions</span>
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {configs.map((row) => (
            <Table.Tr key={row.id} data-testid={`config-${row.id}`}>
              <Table.Td>
                <Stack gap={6}>
                  <Group gap="xs">
                    <TextLink href={`/configs/${row.id}`} fw={600} underline="hover">
                      {row.name}
                    </TextLink>
                    <HealthBadge health={healthOf(status, row.id)} />
                    {row.isSample && (
                      <Badge color="gray" variant="light" miw="max-content">
                        Sample
                      </Badge>
                    )}
                  </Group>
                  <Drilled row={row} />
                  <Stack gap={2} hiddenFrom="sm">
                    <LastBackup row={row} label="Last backup: " />
                    <NextBackup row={row} label="Next backup: " />
                  </Stack>
                  <Box hiddenFrom="sm">
                    <RowActions row={row} onAsked={onAsked} />
                  </Box>
                </Stack>
              </Table.Td>
              <Table.Td visibleFrom="sm">
                <LastBackup row={row} />
              </Table.Td>
              <Table.Td visibleFrom="md">
                <NextBackup row={row} />
              </Table.Td>
              <Table.Td visibleFrom="lg">
                <Size bytes={row.health?.lastBackup?.fileSize} />
              </Table.Td>
              <Table.Td visibleFrom="sm">
                <RowActions row={row} onAsked={onAsked} />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {status.configCount > configs.length && (
        <Box p="sm">
          <TextLink href="/configs" size="sm">
            Show all {status.configCount} configs
          </TextLink>
        </Box>
      )}
    </Card>
  );
}

/** How old the newest state is that a drill has brought back, and how long a restore takes. */
function Drilled({ row: { health } }: { row: Config }) {
  if (!health?.drill) return null;
  const { stateAt, forecastSeconds } = health.drill;
  return (
    <Text size="xs" c="dimmed">
      Drilled: the state of <Age at={stateAt} />, a full restore takes about {duration(Math.ceil(forecastSeconds))}
    </Text>
  );
}

/** By the clock, with how long ago; a size where there is no column for it. */
function LastBackup({ row, label = '' }: { row: Config; label?: string }) {
  const { lastBackup, lastSuccessAt } = row.health ?? {};
  if (!lastBackup || !lastSuccessAt)
    return (
      <Text size="sm">
        {label}
        {label === '' ? 'None yet' : 'none yet'}
      </Text>
    );
  return (
    <div>
      <Text size="sm">
        {label}
        <TextLink href={`/backups/${lastBackup.id}`} underline="hover">
          {moment(lastSuccessAt)}
        </TextLink>
      </Text>
      <Text size="xs" c="dimmed">
        <Age at={lastSuccessAt} />
        <Text span inherit hiddenFrom="lg">
          {' · '}
          <Size bytes={lastBackup.fileSize} />
        </Text>
        {' · '}
        {lastBackup.verifiedAt ? (
          'verified'
        ) : (
          <Text span inherit c="red">
            not verified
          </Text>
        )}
      </Text>
    </div>
  );
}

function NextBackup({ row: { nextRunAt }, label = '' }: { row: Config; label?: string }) {
  if (!nextRunAt)
    return (
      <Text size="sm">
        {label}
        {label === '' ? 'Automatic backup is off' : 'automatic backup is off'}
      </Text>
    );
  return (
    <div>
      <Text size="sm">
        {label}
        {moment(nextRunAt)}
      </Text>
      <Text size="xs" c="dimmed">
        <Age at={nextRunAt} />
      </Text>
    </div>
  );
}

function RowActions({ row, onAsked }: { row: Config; onAsked: (backup: BackupPartsFragment) => void }) {
  const lastBackup = row.health?.lastBackup;
  return (
    <Group gap="xs" justify="flex-end" preventGrowOverflow={false}>
      <BackUpNow config={row} onAsked={onAsked} />
      {lastBackup && (
        <Button component={Link} href={`/backups/${lastBackup.id}/restore`} size="xs" variant="default">
          Restore …
        </Button>
      )}
    </Group>
  );
}

function Storage({ storages }: { storages: UsageQuery['status']['storages'] }) {
  return (
    <Fact title="Storage used">
      {storages.length === 0 && <Text>No backups stored yet.</Text>}
      {storages.map(({ storageType, storagePath, used, count, free, error }) => (
        <div key={`${storageType} ${storagePath}`}>
          <Text size="xl" fw={600}>
            <Size bytes={used} />
          </Text>
          <Text size="sm" c="dimmed" className="breakable">
            {plural(count, 'backup')} in {storageType === 'LOCAL' ? 'the backups folder' : STORAGE[storageType]}{' '}
            {storagePath === '.' ? '' : storagePath}
            {free === null || free === undefined ? '' : ` · ${size(free)} free`}
          </Text>
          {error && (
            <Text size="sm" c="red">
              {error.message} {error.hint}
            </Text>
          )}
        </div>
      ))}
    </Fact>
  );
}

const DAYS = { days: 371, timezone: zone };

function Calendar({ after }: { after: string }) {
  const answer = useApi(BackupHistoryDocument, DAYS, { after, every: SELDOM });
  const today = new Intl.DateTimeFormat('sv-SE', { timeZone: zone }).format(new Date());
  return (
    <Card withBorder>
      <Title order={2} size="h4" mb="sm">
        Backup history
      </Title>
      <Answered answer={answer} height={140}>
        {({ backupHistory }) => <RunCalendar days={backupHistory} today={today} />}
      </Answered>
    </Card>
  );
}

/** Of one config: the sizes of several databases make no line. */
function Sizes({ configs, after }: { configs: { id: string; name: string }[]; after: string }) {
  const [chosen, setChosen] = useState<string | null>(null);
  const { id: configId } = configs.find(({ id }) => id === chosen) ?? configs[0] ?? { id: null };
  const answer = useApi(BackupHistoryDocument, { ...DAYS, configId }, { after, every: SELDOM });
  return (
    <Card withBorder h="100%">
      <Group justify="space-between" mb="sm" gap="xs">
        <Title order={2} size="h4">
          Backup size
        </Title>
        {configs.length > 1 && (
          <Select
            aria-label="Config"
            size="xs"
            data={configs.map(({ id, name }) => ({ value: id, label: name }))}
            value={configId}
            onChange={setChosen}
            allowDeselect={false}
            searchable={configs.length > 8}
            limit={100}
          />
        )}
      </Group>
      <div className="follows" aria-busy={!answer.current}>
        <Answered answer={answer} height={140}>
          {({ backupHistory }) => (
            <SizeChart
              days={backupHistory.flatMap(({ date, fullSize: bytes }) =>
                typeof bytes === 'number' ? [{ date, size: bytes }] : [],
              )}
            />
          )}
        </Answered>
      </div>
    </Card>
  );
}
