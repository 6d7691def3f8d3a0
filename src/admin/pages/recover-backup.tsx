import { Alert, Button, Code, Group, Stack, Text, TextInput } from '@mantine/core';
import { IconCircleCheck } from '@tabler/icons-react';
import { type FormEvent, type ReactNode, useState } from 'react';
import { Link, useLocation } from 'wouter';
import {
  AssignBackupDocument,
  BackupDocument,
  type BackupPartsFragment,
  ConfigNamesDocument,
  type ConfigsQuery,
  CreateConfigFromBackupDocument,
} from '../../client/generated/graphql.js';
import { type Problem, useAction, useApi } from '../api.js';
import { FactTable } from '../components/facts.js';
import { AssignBackup } from '../components/assign-backup.js';
import { Dialog } from '../components/dialog.js';
import { Size } from '../components/exact.js';
import { FolderBrowser } from '../components/folder-browser.js';
import { isAssignable, OriginBadge, originFacts } from '../components/origin.js';
import { PageHead, Step, TextLink } from '../components/page.js';
import { ConfirmCard, Preview, useRestorePlan } from '../components/restore-steps.js';
import { RestoreProgress } from '../components/run-progress.js';
import { errorText } from '../components/setting.js';
import { Answered, Empty, Loading, Missing, ProblemAlert, Warnings } from '../components/state.js';
import { count, moment, nameOf, ownZone, plural } from '../format.js';
import { useLiveRestore } from '../live.js';
import { isActive, isHomeless, isServerUrl } from '../words.js';

type Config = Pick<ConfigsQuery['configs'][number], 'id' | 'name' | 'databaseUrl' | 'mediaPaths'>;

/** From a stored archive to its application running again: what it is, where it goes, the restore. */
export default function RecoverBackup({ id }: { id: string }) {
  const answer = useApi(BackupDocument, { id });
  return (
    <Answered answer={answer}>
      {({ backup }) =>
        backup ? (
          <>
            <PageHead
              title="Recover from an archive"
              badge={<OriginBadge backup={backup} />}
              subtitle={backup.fileName}
              back={{ href: '/recover', label: 'Choose another archive' }}
            />
            <Stack maw={860}>
              <Archive backup={backup} />
              {backup.status === 'COMPLETED' ? (
                <Steps backup={backup} refresh={answer.refresh} />
              ) : (
                <Empty
                  title="This backup cannot be restored"
                  action={
                    <Button component={Link} href={`/backups/${id}`}>
                      Show this backup
                    </Button>
                  }
                >
                  Only a completed backup whose archive is stored can be restored.
                </Empty>
              )}
            </Stack>
          </>
        ) : (
          <Missing noun="backup" all="/backups" />
        )
      }
    </Answered>
  );
}

/** Whose archive it is, and what is in it. */
function Archive({ backup }: { backup: BackupPartsFragment }) {
  const { tables, mediaFileCount, fileSize, createdAt, verifiedAt, warnings } = backup;
  const rows = tables.reduce((sum, { rowCount }) => sum + rowCount, 0);
  const facts: [string, ReactNode][] = [
    ...originFacts(backup),
    ['Date of its data', moment(createdAt)],
    ['Tables', `${plural(tables.length, 'table')} with ${plural(rows, 'row')}`],
    ['Media files', count(mediaFileCount)],
    ['Size', <Size key="size" bytes={fileSize} />],
    ['Verified', verifiedAt ? moment(verifiedAt) : 'No'],
  ];
  return (
    <Step title="1. Archive">
      <FactTable facts={facts} width={170} />
      <Warnings warnings={warnings} />
    </Step>
  );
}

/** The steps after the archive: none but the restore where its application has a config already. */
function Steps({ backup, refresh }: { backup: BackupPartsFragment; refresh: () => void }) {
  const answer = useApi(ConfigNamesDocument, {});
  const [made, setMade] = useState<Config | null>(null);
  const onMade = (config: Config) => {
    setMade(config);
    refresh();
  };
  if (made !== null)
    return (
      <>
        <Made config={made} />
        <Bring backup={backup} config={made} />
      </>
    );
  return (
    <Answered answer={answer} height={240}>
      {({ configs }) => {
        const own = isHomeless(backup)
          ? configs.find(({ applicationId }) => applicationId === backup.applicationId)
          : configs.find(({ id }) => id === backup.config?.id);
        return own === undefined ? (
          <Destination backup={backup} taken={configs.map(({ name }) => name)} onMade={onMade} />
        ) : (
          <Known backup={backup} config={own} />
        );
      }}
    </Answered>
  );
}

/** The archive's application has a config: the restore page does the rest. */
function Known({ backup, config }: { backup: BackupPartsFragment; config: Pick<Config, 'id' | 'name'> }) {
  const [, go] = useLocation();
  const assign = useAction(AssignBackupDocument);
  const restore = async () => {
    if (isHomeless(backup) && (await assign.run({ id: backup.id, configId: config.id })) === null) return;
    go(`/backups/${backup.id}/restore`);
  };
  return (
    <Step title="2. Restore">
      <Text size="sm" className="breakable">
        The application of this archive already has a config here:{' '}
        <TextLink href={`/configs/${config.id}`}>{config.name}</TextLink>. If its database or media folders are
        elsewhere now, change the config first.
      </Text>
      <Group gap="xs">
        <Button loading={assign.busy} onClick={() => void restore()}>
          Restore …
        </Button>
        <Button component={Link} href={`/configs/${config.id}`} variant="default">
          Show config
        </Button>
      </Group>
    </Step>
  );
}

/** Where the parts of the application go. */
interface Places {
  name: string;
  database: string;
  media: string[];
}

/** True if the archive is of a database on a server. */
const isOnServer = ({ origin }: BackupPartsFragment) => isServerUrl(origin?.database ?? '');

/** The database that the archive names, if it can be used as it is written: a file's absolute path, or a server's URL. */
function statedDatabase(backup: BackupPartsFragment): string {
  const stated = backup.origin?.database ?? '';
  if (isOnServer(backup)) return stated;
  const file = stated.replace(/^sqlite:(\/\/(?=\/))?/, '');
  return file.startsWith('/') ? file : '';
}

/** The first name that no config has. */
function freeName(wanted: string, taken: string[]): string {
  for (let number = 1; ; number++) {
    const name = number === 1 ? wanted : `${wanted} ${number}`;
    if (!taken.includes(name)) return name;
  }
}

function suggested(backup: BackupPartsFragment, taken: string[]): Places {
  const { origin, databaseName, mediaFileCount } = backup;
  const media = origin?.mediaPaths ?? [];
  return {
    name: freeName(origin?.config ?? databaseName.replace(/\.\w+$/, ''), taken),
    database: statedDatabase(backup),
    // Format 1.0 does not name its folder.
    media: media.length === 0 && mediaFileCount > 0 ? [''] : media.map((path) => (path.startsWith('/') ? path : '')),
  };
}

/** The places as the API takes them. */
const inputOf = ({ name, database, media }: Places, isServer: boolean) => ({
  name: name.trim(),
  databaseUrl: isServer ? database.trim() : `sqlite:${database.trim().replace(/^sqlite:/, '')}`,
  mediaPaths: media.map((path) => path.trim()).filter((path) => path !== ''),
  timezone: ownZone,
});

/**
 * A path that begins nowhere would begin wherever the server happens to run; and of several media folders that all have
 * new names, no copy could know which files are its own.
 */
function faultOf({ databaseUrl, mediaPaths }: ReturnType<typeof inputOf>, stated: string[]): Problem | null {
  const wrong = (field: string, message: string, hint: string) => ({ code: 'BAD_USER_INPUT', message, hint, field });
  const RELATIVE = 'This is not an absolute path.';
  if (databaseUrl.includes(':***@'))
    return wrong('databaseUrl', 'The archive does not hold the password.', 'Write it in place of ***.');
  if (databaseUrl.startsWith('sqlite:') && !databaseUrl.startsWith('sqlite:/'))
    return wrong('databaseUrl', RELATIVE, 'Write a path such as /srv/okpuja/db.sqlite3.');
  if (mediaPaths.some((path) => !path.startsWith('/')))
    return wrong('mediaPaths', RELATIVE, 'Write a path such as /srv/okpuja/media.');
  const names = new Set(stated.map(lastName));
  if (mediaPaths.filter((path) => !names.has(lastName(path))).length < 2) return null;
  return wrong(
    'mediaPaths',
    'With new names for several media folders, it is not known which files belong where.',
    `Let the paths end in ${[...names].join(', ')}, as in the archive.`,
  );
}

const lastName = (path: string) => path.split(/[\\/]/).findLast((part) => part !== '') ?? '';

interface DestinationProps {
  backup: BackupPartsFragment;
  /** The names of the configs there are. */
  taken: string[];
  onMade: (config: Config) => void;
}

function Destination({ backup, taken, onMade }: DestinationProps) {
  const [places, setPlaces] = useState(() => suggested(backup, taken));
  const [fault, setFault] = useState<Problem | null>(null);
  const create = useAction(CreateConfigFromBackupDocument, { quiet: true });
  const { name, database, media } = places;
  const problem = fault ?? create.problem;
  const isServer = isOnServer(backup);
  const change = (values: Partial<Places>) => {
    create.clear();
    setFault(null);
    setPlaces({ ...places, ...values });
  };
  const errorOf = (field: string) => (problem?.field === field ? errorText(problem) : undefined);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (create.busy) return;
    const input = inputOf(places, isServer);
    const found = faultOf(input, backup.origin?.mediaPaths ?? []);
    setFault(found);
    if (found !== null) return;
    const done = await create.run({ backupId: backup.id, input });
    if (done !== null) onMade(done.createConfigFromBackup);
  };
  const stated = backup.origin?.mediaPaths ?? [];
  return (
    <Step title="2. Destination">
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          <Text size="sm">
            Where the application is to run on this server. Folders that are missing are created by the restore. A
            config is made for it, so that it is backed up from now on.
          </Text>
          <TextInput
            label="Name"
            value={name}
            onChange={(event) => change({ name: event.currentTarget.value })}
            error={errorOf('name')}
            maxLength={200}
            required
            withAsterisk={false}
            autoComplete="off"
          />
          {isServer ? (
            <TextInput
              label="Database"
              description="postgres://, mysql:// or mongodb://user:password@host/database. The restore makes the database if it is not there."
              inputWrapperOrder={['label', 'input', 'description', 'error']}
              value={database}
              onChange={(event) => change({ database: event.currentTarget.value })}
              error={errorOf('databaseUrl')}
              required
              withAsterisk={false}
              autoComplete="off"
              spellCheck={false}
            />
          ) : (
            <PathField
              label="Database file"
              description="The absolute path of the SQLite file."
              value={database}
              onChange={(path) => change({ database: path })}
              onFolder={(folder) =>
                change({ database: `${folder.replace(/\/$/, '')}/${nameOf(database) || 'db.sqlite3'}` })
              }
              error={errorOf('databaseUrl')}
            />
          )}
          {media.map((path, index) => (
            <PathField
              key={index}
              label={media.length === 1 ? 'Media folder' : `Media folder ${index + 1}`}
              description={stated[index] === undefined ? 'An absolute path.' : `In the archive: ${stated[index]}`}
              value={path}
              onChange={(next) => change({ media: media.with(index, next) })}
              onFolder={(next) => change({ media: media.with(index, next) })}
              error={errorOf('mediaPaths')}
            />
          ))}
          <OtherProblem problem={problem} />
          <Group gap="xs">
            <Button type="submit" loading={create.busy}>
              Continue
            </Button>
            <FileInstead backup={backup} any={taken.length > 0} />
          </Group>
        </Stack>
      </form>
    </Step>
  );
}

/** What no field shows. */
function OtherProblem({ problem }: { problem: Problem | null }) {
  const shown = problem?.field !== undefined && ['name', 'databaseUrl', 'mediaPaths'].includes(problem.field);
  return problem === null || shown ? null : <ProblemAlert problem={problem} />;
}

/** For an archive of an application that has a config, although the archive does not say so. */
function FileInstead({ backup, any }: { backup: BackupPartsFragment; any: boolean }) {
  const [asked, setAsked] = useState(false);
  const [, go] = useLocation();
  if (!any || !isAssignable(backup)) return null;
  return (
    <>
      <Button variant="default" onClick={() => setAsked(true)}>
        File under an existing config …
      </Button>
      {asked && (
        <AssignBackup
          backup={backup}
          onDone={() => go(`/backups/${backup.id}/restore`)}
          onClose={() => setAsked(false)}
        />
      )}
    </>
  );
}

interface PathFieldProps {
  label: string;
  description: string;
  value: string;
  onChange: (path: string) => void;
  /** A folder was chosen by browsing. */
  onFolder: (path: string) => void;
  error: string | undefined;
}

/** A path of the server, typed or chosen by its folder. */
function PathField({ label, description, value, onChange, onFolder, error }: PathFieldProps) {
  const [browsing, setBrowsing] = useState(false);
  return (
    <>
      <Group gap="xs" align="flex-start" wrap="nowrap">
        <TextInput
          label={label}
          description={description}
          inputWrapperOrder={['label', 'input', 'description', 'error']}
          value={value}
          onChange={(event) => onChange(event.currentTarget.value)}
          error={error}
          flex={1}
          required
          withAsterisk={false}
          autoComplete="off"
          spellCheck={false}
        />
        <Button variant="default" mt={25} style={{ flexShrink: 0 }} onClick={() => setBrowsing(true)}>
          Browse …<span className="spoken"> for {label.toLowerCase()}</span>
        </Button>
      </Group>
      {browsing && (
        <Dialog title={`Folder: ${label.toLowerCase()}`} onClose={() => setBrowsing(false)}>
          <FolderBrowser
            choose="folder"
            onChoose={(path) => {
              onFolder(path);
              setBrowsing(false);
            }}
          />
        </Dialog>
      )}
    </>
  );
}

/** What was chosen and saved. */
function Made({ config: { id, name, databaseUrl, mediaPaths } }: { config: Config }) {
  return (
    <Step title="2. Destination">
      <Text size="sm" className="breakable">
        The config <TextLink href={`/configs/${id}`}>{name}</TextLink> was made. To change the paths, edit it, then
        restore the backup.
      </Text>
      <Stack gap={4} align="flex-start">
        {[databaseUrl, ...mediaPaths].map((place) => (
          <Code key={place} className="breakable">
            {place}
          </Code>
        ))}
      </Stack>
    </Step>
  );
}

/** The restore itself: its plan, its progress, and where to go from there. */
function Bring({ backup, config }: { backup: BackupPartsFragment; config: Config }) {
  const [restoreId, setRestoreId] = useState<string | null>(null);
  return (
    <Step title="3. Restore">
      {restoreId === null ? (
        <PlanStep backup={backup} onStarted={setRestoreId} />
      ) : (
        <Watched id={restoreId} config={config} onRetry={() => setRestoreId(null)} />
      )}
    </Step>
  );
}

function PlanStep({ backup, onStarted }: { backup: BackupPartsFragment; onStarted: (id: string) => void }) {
  const planned = useRestorePlan({ backupId: backup.id });
  const { plan } = planned;
  const fresh = plan !== undefined && !plan.targetExists && plan.media.replace + plan.media.remove === 0;
  return (
    <>
      <Preview planned={planned} />
      <ConfirmCard backup={backup} planned={planned} fresh={fresh} onStarted={onStarted} />
    </>
  );
}

function Watched({ id, config, onRetry }: { id: string; config: Config; onRetry: () => void }) {
  const run = useLiveRestore(id);
  if (run === undefined) return <Loading height={80} />;
  if (isActive(run.status)) return <RestoreProgress run={run} />;
  const links = (
    <Group gap="xs">
      <Button component={Link} href="/">
        Go to overview
      </Button>
      <Button component={Link} href={`/restores/${id}`} variant="default">
        Show restore
      </Button>
      <Button component={Link} href={`/configs/${config.id}`} variant="default">
        Change schedule and retention
      </Button>
    </Group>
  );
  if (run.status !== 'COMPLETED')
    return (
      <>
        <ProblemAlert
          problem={{
            code: run.errorCode ?? 'INTERNAL_ERROR',
            message: run.errorMessage ?? 'The restore failed.',
            hint: run.errorHint ?? '',
          }}
          retry={onRetry}
        />
        {links}
      </>
    );
  return (
    <>
      <Alert color="teal" variant="light" icon={<IconCircleCheck />} title={`${config.name} is restored`} role="status">
        <Text size="sm" className="breakable">
          The database is {config.databaseUrl.replace(/^sqlite:/, '')}
          {config.mediaPaths.length > 0 && `; the media files are in ${config.mediaPaths.join(', ')}`}. Start the
          application with these paths. Automatic backups are on.
        </Text>
      </Alert>
      <Warnings warnings={run.warnings} />
      {links}
    </>
  );
}
