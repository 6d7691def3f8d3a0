import {
  Alert,
  Button,
  Card,
  Grid,
  Group,
  List,
  Select,
  SimpleGrid,
  Stack,
  Text,
  ThemeIcon,
  Title,
} from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck, IconShieldX } from '@tabler/icons-react';
import { type ReactNode, useState } from 'react';
import { Link } from 'wouter';
import {
  type BackupFilter,
  BackupHistoryDocument,
  type BackupPartsFragment,
  BackupsDocument,
  type BackupStatus,
  type BackupType,
  type Health,
  StatusDocument,
  type StatusQuery,
} from '../../client/generated/graphql.js';
import { useApi } from '../api.js';
import { BackUpNow } from '../components/back-up-now.js';
import { Age, Size } from '../components/exact.js';
import { RunCalendar } from '../components/run-calendar.js';
import { BackupProgress, RestoreProgress } from '../components/run-progress.js';
import { SizeChart } from '../components/size-chart.js';
import { Answered, NoConfig, PageHead } from '../components/state.js';
import { TextLink } from '../components/text-link.js';
import { plural, size, zone } from '../format.js';
import { HEALTH, STORAGE } from '../words.js';

type Status = StatusQuery['status'];

/** How often the state is asked for, in milliseconds. */
const EVERY = 5_000;
/** What rarely changes by itself, in milliseconds. */
const SELDOM = 60_000;

/** The state in one look: is everything protected, and if not, why and what to do. */
export function Overview() {
  const answer = useApi(StatusDocument, {}, { every: EVERY });
  // Shown from the moment that it is asked for; the state only tells of it when it runs.
  const [asked, setAsked] = useState<BackupPartsFragment[]>([]);
  const ended = (id: string) => {
    setAsked((present) => present.filter((run) => run.id !== id));
    answer.refresh();
  };
  return (
    <Answered answer={answer}>
      {({ status }) => {
        const configs = status.configs.map(({ config }) => config);
        if (configs.length === 0) {
          return (
            <>
              <PageHead title="Overview" />
              <NoConfig />
            </>
          );
        }
        return (
          <>
            <PageHead title="Overview">
              <BackUpNow configs={configs} onAsked={(backup) => setAsked([...asked, backup])} />
            </PageHead>
            <Stack>
              <State status={status} />
              <Running status={status} asked={asked} onEnd={ended} />
              <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }}>
                <LastBackup after={runsEnded(status)} />
                <NextBackup status={status} />
                <Storage status={status} />
              </SimpleGrid>
              <History status={status} after={runsEnded(status)} />
              {status.configs.length > 1 && <ConfigStates status={status} />}
            </Stack>
          </>
        );
      }}
    </Answered>
  );
}

/** Changes when a run has ended: what depends on runs is asked for again then. */
const runsEnded = (status: Status) =>
  status.backupCounts
    .filter(({ status: of }) => of !== 'PENDING' && of !== 'RUNNING')
    .map(({ status: of, count }) => `${of}${count}`)
    .join();

const ICON: Record<Health, typeof IconCircleCheck> = {
  OK: IconCircleCheck,
  WARNING: IconAlertTriangle,
  CRITICAL: IconShieldX,
};

function State({ status }: { status: Status }) {
  const { label, color } = HEALTH[status.health];
  const Icon = ICON[status.health];
  const bad = status.reasons.flatMap(({ code, configId }) =>
    configId && code in BAD ? [{ configId, of: BAD[code as keyof typeof BAD] }] : [],
  );
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
            <Text size="sm">Every config has a good backup, and the next one is planned.</Text>
          ) : (
            <List spacing="xs" size="sm" className="breakable">
              {status.reasons.map(({ code, message, hint, configId }) => (
                <List.Item key={`${code} ${configId} ${message}`}>
                  {message}{' '}
                  <Text span inherit c="dimmed">
                    {hint}
                  </Text>
                </List.Item>
              ))}
            </List>
          )}
          {bad.slice(0, 3).map(({ configId, of }) => (
            <BadBackup key={`${configId} ${of}`} configId={configId} of={of} after={runsEnded(status)} />
          ))}
        </Stack>
      </Group>
    </Card>
  );
}

/** The backups that people and schedules ask for. */
const ASKED_FOR: BackupType[] = ['MANUAL', 'AUTO'];

/** The state of the newest backup that a reason is about. */
const BAD = { LAST_BACKUP_FAILED: 'FAILED', LAST_BACKUP_UNPROVEN: 'COMPLETED' } as const;

/** Why the newest backup of a config failed or is not sound, and what to do. */
function BadBackup({ configId, of, after }: { configId: string; of: BackupStatus; after: string }) {
  const filter: BackupFilter = { configId, status: [of], backupType: ASKED_FOR };
  const { data } = useApi(BackupsDocument, { filter, first: 1 }, { after });
  const bad = data?.backups.nodes[0];
  if (bad === undefined) return null;
  const failed = of === 'FAILED';
  return (
    <Alert
      color="red"
      variant="light"
      title={bad.errorMessage ?? (failed ? 'The backup failed.' : 'The backup is not proven.')}
    >
      <Stack gap="xs" align="flex-start">
        {bad.errorHint && <Text size="sm">{bad.errorHint}</Text>}
        <Button component={Link} href={`/backups/${bad.id}`} size="xs" variant="light" color="red">
          {failed ? 'Look at the failed run' : 'Look at the backup'}
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
        Under way
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
    <Card withBorder>
      <Title order={2} size="sm" c="dimmed" fw={500}>
        {title}
      </Title>
      <Stack gap={6} mt={4} align="flex-start">
        {children}
      </Stack>
    </Card>
  );
}

function LastBackup({ after }: { after: string }) {
  const filter: BackupFilter = { status: ['COMPLETED'], backupType: ASKED_FOR };
  const { data, problem, loading } = useApi(BackupsDocument, { filter, first: 1 }, { after, every: SELDOM });
  const last = data?.backups.nodes[0];
  return (
    <Fact title="Last backup">
      {last === undefined ? (
        <Text>{loading ? ' ' : (problem?.message ?? 'There is none yet. “Back up now” makes the first one.')}</Text>
      ) : (
        <>
          <Text size="xl" fw={600}>
            <Age at={last.createdAt} />
          </Text>
          <Text size="sm" c="dimmed">
            {last.config?.name ?? 'a deleted config'} · <Size bytes={last.fileSize} /> ·{' '}
            {last.verifiedAt ? (
              'proven by reading it back'
            ) : (
              <Text span inherit c="red">
                not proven now
              </Text>
            )}
          </Text>
          <Group gap="xs">
            <Button component={Link} href={`/backups/${last.id}/restore`} size="xs" variant="light">
              Restore …
            </Button>
            <Button component={Link} href={`/backups/${last.id}`} size="xs" variant="default">
              Details
            </Button>
          </Group>
        </>
      )}
    </Fact>
  );
}

function NextBackup({ status }: { status: Status }) {
  const planned = status.configs
    .flatMap(({ config }) => (config.nextRunAt ? [{ ...config, nextRunAt: config.nextRunAt }] : []))
    .sort((a, b) => a.nextRunAt.localeCompare(b.nextRunAt))[0];
  return (
    <Fact title="Next backup">
      {planned === undefined ? (
        <Text>None is planned: automatic backup is off.</Text>
      ) : (
        <>
          <Text size="xl" fw={600}>
            <Age at={planned.nextRunAt} />
          </Text>
          <Text size="sm" c="dimmed" className="breakable">
            {planned.name}
          </Text>
          <Button component={Link} href={`/configs/${planned.id}`} size="xs" variant="default">
            Schedule
          </Button>
        </>
      )}
    </Fact>
  );
}

function Storage({ status }: { status: Status }) {
  return (
    <Fact title="Storage used">
      {status.storages.length === 0 && <Text>Nothing is stored yet.</Text>}
      {status.storages.map(({ storageType, storagePath, used, count, free, error }) => (
        <div key={`${storageType} ${storagePath}`}>
          <Text size="xl" fw={600}>
            <Size bytes={used} />
          </Text>
          <Text size="sm" c="dimmed" className="breakable">
            {plural(count, 'backup')} in {STORAGE[storageType]} {storagePath === '.' ? '' : storagePath}
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

function History({ status, after }: { status: Status; after: string }) {
  const answer = useApi(BackupHistoryDocument, DAYS, { after, every: SELDOM });
  const today = new Intl.DateTimeFormat('sv-SE', { timeZone: zone }).format(new Date());
  return (
    <Grid>
      <Grid.Col span={{ base: 12, lg: 5 }}>
        <Sizes configs={status.configs.map(({ config }) => config)} after={after} />
      </Grid.Col>
      <Grid.Col span={{ base: 12, lg: 7 }}>
        <Card withBorder h="100%">
          <Title order={2} size="h4" mb="sm">
            The last twelve months
          </Title>
          <Answered answer={answer} height={140}>
            {({ backupHistory }) => <RunCalendar days={backupHistory} today={today} />}
          </Answered>
        </Card>
      </Grid.Col>
    </Grid>
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
          Size over time
        </Title>
        {configs.length > 1 && (
          <Select
            aria-label="Config whose sizes are shown"
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
              days={backupHistory.flatMap(({ date, size: bytes }) =>
                typeof bytes === 'number' ? [{ date, size: bytes }] : [],
              )}
            />
          )}
        </Answered>
      </div>
    </Card>
  );
}

function ConfigStates({ status }: { status: Status }) {
  return (
    <Card withBorder>
      <Title order={2} size="h4" mb="sm">
        Configs
      </Title>
      <Stack gap="xs">
        {status.configs.slice(0, 50).map(({ config, lastSuccessAt, lastProvenAt, lastErrorCode, overdue }) => (
          <Group key={config.id} justify="space-between" gap="xs">
            <TextLink href={`/configs/${config.id}`}>{config.name}</TextLink>
            <Text
              size="sm"
              c={lastErrorCode || overdue || !lastProvenAt || lastProvenAt !== lastSuccessAt ? 'red' : 'dimmed'}
            >
              {lastErrorCode
                ? `failed: ${lastErrorCode}`
                : overdue
                  ? 'overdue'
                  : lastProvenAt !== lastSuccessAt
                    ? 'not proven'
                    : ''}{' '}
              {lastSuccessAt ? <Age at={lastSuccessAt} /> : 'no backup yet'}
            </Text>
          </Group>
        ))}
        {status.configs.length > 50 && (
          <TextLink href="/configs" size="sm">
            All {status.configs.length} configs
          </TextLink>
        )}
      </Stack>
    </Card>
  );
}
