import { ActionIcon, Alert, Button, Code, Group, List, Stack, Text, TextInput } from '@mantine/core';
import { IconCircleCheck, IconDatabase, IconFolder, IconPlus, IconTrash } from '@tabler/icons-react';
import { type FormEvent, useState } from 'react';
import { Link } from 'wouter';
import {
  type BackupConfigInput,
  ConfigNamesDocument,
  CreateBackupDocument,
  CreateConfigDocument,
  DeleteConfigDocument,
  TestConnectionDocument,
  type TestConnectionMutation,
} from '../../client/generated/graphql.js';
import { type Problem, useAction, useApi } from '../api.js';
import { Dialog } from '../components/dialog.js';
import { FolderBrowser, type Listing } from '../components/folder-browser.js';
import { PageHead, Step, TextLink } from '../components/page.js';
import { BackupProgress } from '../components/run-progress.js';
import { plainMessage } from '../components/setting.js';
import { ProblemAlert, Warnings } from '../components/state.js';
import { folderOf, nameOf, ownZone, plural, size } from '../format.js';
import { useLiveBackup } from '../live.js';
import { same } from '../settings.js';
import { isActive } from '../words.js';

/** What is to be protected, as far as it is chosen. */
interface Plan {
  database: string | null;
  media: string[];
  name: string;
}

/** From nothing to the first backup of one's own application: choose, test, save, back up. */
export default function Protect() {
  const [plan, setPlan] = useState<Plan>({ database: null, media: [], name: '' });
  const [saved, setSaved] = useState<Saved | null>(null);
  return (
    <>
      <PageHead title="Protect your application" back={{ href: '/', label: 'Overview' }} />
      <Stack maw={860}>
        {saved === null ? (
          <>
            <Database plan={plan} setPlan={setPlan} />
            {plan.database !== null && <Media plan={plan} setPlan={setPlan} />}
            {plan.database !== null && <Save plan={plan} setPlan={setPlan} onSaved={setSaved} />}
          </>
        ) : (
          <FirstBackup saved={saved} />
        )}
      </Stack>
    </>
  );
}

interface StepProps {
  plan: Plan;
  setPlan: (plan: Plan) => void;
}

function Database({ plan, setPlan }: StepProps) {
  const [project, setProject] = useState<Listing['project']>(null);
  const [changing, setChanging] = useState(true);
  const choose = (database: string, found: Listing['project']) => {
    setPlan({ database, media: found?.mediaFolders ?? [], name: nameOf(found?.path ?? folderOf(database)) });
    setProject(found);
    setChanging(false);
  };
  return (
    <Step title="1. Database">
      {plan.database !== null && !changing ? (
        <>
          <Group gap="xs">
            <IconDatabase size={20} aria-hidden />
            <Code className="breakable">{plan.database}</Code>
            <Button size="xs" variant="default" onClick={() => setChanging(true)}>
              Change
            </Button>
          </Group>
          {project && (
            <Text size="sm" c="dimmed" className="breakable">
              Django project in {project.path}
            </Text>
          )}
        </>
      ) : (
        <>
          <Text size="sm">
            Choose the SQLite database of your application on this server. For a database on a server (PostgreSQL,
            MySQL, MariaDB, MongoDB), make a <TextLink href="/configs/new">new config</TextLink> with its URL.
          </Text>
          <DatabaseBrowser chosen={plan.database} onChoose={choose} />
        </>
      )}
    </Step>
  );
}

function DatabaseBrowser({
  chosen,
  onChoose,
}: {
  chosen: string | null;
  onChoose: (database: string, project: Listing['project']) => void;
}) {
  const [shown, setShown] = useState<Listing | null>(null);
  return (
    <FolderBrowser
      start={chosen === null ? null : folderOf(chosen)}
      choose="database"
      chosen={chosen}
      onChoose={(path, listing) => onChoose(path, listing?.project ?? null)}
      onShow={setShown}
    >
      {shown?.project && shown.project.databases.length > 0 && (
        <Alert color="teal" variant="light" title="Django project found" role="status">
          <Stack gap="xs" align="flex-start">
            {shown.project.databases.map((path) => (
              <Button key={path} size="xs" onClick={() => onChoose(path, shown.project)}>
                Use {nameOf(path)}
              </Button>
            ))}
            <Text size="sm" className="breakable">
              {shown.project.mediaFolders.length > 0
                ? `Media folder: ${shown.project.mediaFolders.join(', ')}`
                : 'No media folder was found in its settings.'}
            </Text>
          </Stack>
        </Alert>
      )}
    </FolderBrowser>
  );
}

function Media({ plan, setPlan }: StepProps) {
  const [adding, setAdding] = useState(false);
  const add = (path: string) => {
    setPlan({ ...plan, media: [...new Set([...plan.media, path])] });
    setAdding(false);
  };
  return (
    <Step title="2. Media folders">
      <Text size="sm">Uploaded files that belong to the database. They are backed up together with it.</Text>
      {plan.media.length > 0 ? (
        <Stack gap="xs" component="ul" className="plain-list">
          {plan.media.map((path) => (
            <Group key={path} component="li" gap="xs" wrap="nowrap">
              <IconFolder size={20} aria-hidden style={{ flexShrink: 0 }} />
              <Code className="breakable">{path}</Code>
              <ActionIcon
                variant="default"
                aria-label={`Remove ${path}`}
                onClick={() => setPlan({ ...plan, media: plan.media.filter((each) => each !== path) })}
              >
                <IconTrash size={16} />
              </ActionIcon>
            </Group>
          ))}
        </Stack>
      ) : (
        <Text size="sm" c="dimmed">
          No media folder: only the database will be backed up.
        </Text>
      )}
      <Group>
        <Button variant="default" size="xs" leftSection={<IconPlus size={16} />} onClick={() => setAdding(true)}>
          Add folder
        </Button>
      </Group>
      {adding && (
        <Dialog title="Add media folder" onClose={() => setAdding(false)}>
          <FolderBrowser
            start={plan.database === null ? null : folderOf(plan.database)}
            choose="folder"
            onChoose={add}
          />
        </Dialog>
      )}
    </Step>
  );
}

type Test = TestConnectionMutation['testConnection'];

/** What was saved, and the backup that was requested then. */
interface Saved {
  config: { id: string; name: string };
  backupId: string | null;
  /** Why no backup was requested, or the sample was not deleted. */
  problem: Problem | null;
}

const inputOf = ({ database, media, name }: Plan): BackupConfigInput => ({
  name: name.trim(),
  databaseUrl: `sqlite:${database}`,
  mediaPaths: media,
  timezone: ownZone,
});

function Save({ plan, setPlan, onSaved }: StepProps & { onSaved: (saved: Saved) => void }) {
  const { data } = useApi(ConfigNamesDocument, {});
  const sample = data?.configs.find(({ isSample }) => isSample);
  const test = useAction(TestConnectionDocument, { quiet: true, harmless: true });
  const create = useAction(CreateConfigDocument, { quiet: true });
  const backUp = useAction(CreateBackupDocument, { quiet: true });
  const remove = useAction(DeleteConfigDocument, { quiet: true });
  const [tested, setTested] = useState<{ of: Plan; answer: Test } | null>(null);
  const busy = test.busy || create.busy || backUp.busy || remove.busy;
  const answer = tested !== null && same({ ...tested.of, name: '' }, { ...plan, name: '' }) ? tested.answer : null;

  const runTest = async (): Promise<boolean> => {
    const { databaseUrl, mediaPaths } = inputOf(plan);
    const done = await test.run({ input: { databaseUrl, mediaPaths } });
    setTested(done === null ? null : { of: plan, answer: done.testConnection });
    return done?.testConnection.ok === true;
  };
  const save = async (event: FormEvent) => {
    event.preventDefault();
    if (busy || !(await runTest())) return;
    const made = await create.run({ input: inputOf(plan) });
    if (made === null) return;
    const { id, name } = made.createConfig;
    const requested = await backUp.attempt({ input: { configId: id } });
    // The new config has taken the sample's place and id already, unless the sample was in use.
    const removed = sample && sample.id !== id ? await remove.attempt({ id: sample.id }) : null;
    onSaved({
      config: { id, name },
      backupId: 'data' in requested ? requested.data.createBackup.id : null,
      problem: 'problem' in requested ? requested.problem : removed && 'problem' in removed ? removed.problem : null,
    });
  };
  return (
    <Step title="3. Test and save">
      <form onSubmit={(event) => void save(event)}>
        <Stack>
          <TextInput
            label="Name"
            value={plan.name}
            onChange={(event) => setPlan({ ...plan, name: event.currentTarget.value })}
            error={create.problem?.field === 'name' ? plainMessage(create.problem) : undefined}
            maxLength={200}
            maw={420}
            required
            withAsterisk={false}
            autoComplete="off"
          />
          {sample && <Text size="sm">It replaces the sample application. The backups of the sample are kept.</Text>}
          <div aria-live="polite">
            {test.problem && <ProblemAlert problem={{ ...test.problem, message: plainMessage(test.problem) }} />}
            {answer && <Tested answer={answer} />}
            {create.problem && create.problem.field !== 'name' && (
              <ProblemAlert problem={{ ...create.problem, message: plainMessage(create.problem) }} />
            )}
          </div>
          <Group gap="xs">
            <Button type="submit" loading={busy}>
              Save and back up
            </Button>
            <Button variant="default" disabled={busy} onClick={() => void runTest()}>
              Test
            </Button>
          </Group>
          <Text size="xs" c="dimmed">
            Automatic backups run daily at 02:00 ({ownZone}) and are kept for 30 days. You can change this at any time.
          </Text>
        </Stack>
      </form>
    </Step>
  );
}

function Tested({ answer }: { answer: Test }) {
  const { ok, error, databaseName, size: bytes, tables, media, warnings } = answer;
  const broken = media.flatMap((folder) => (folder.error ? [folder.error] : []));
  if (!ok)
    return (
      <Stack gap="xs">
        {[...(error ? [error] : []), ...broken].map((each) => (
          <ProblemAlert
            key={`${each.code} ${each.message}`}
            problem={{ code: each.code, hint: each.hint, message: plainMessage(each) }}
          />
        ))}
      </Stack>
    );
  return (
    <Stack gap="xs">
      <Alert color="teal" variant="light" icon={<IconCircleCheck />} title="Test passed" role="status">
        <List size="sm" className="breakable">
          <List.Item>
            {databaseName}: {plural(tables ?? 0, 'table')}, {size(bytes ?? 0)}
          </List.Item>
          {media.map(({ path, files, bytes: sum }) => (
            <List.Item key={path}>
              {path}: {plural(files ?? 0, 'file')}, {size(sum ?? 0)}
            </List.Item>
          ))}
        </List>
      </Alert>
      <Warnings warnings={warnings} />
    </Stack>
  );
}

/** The first backup, live, until the application is protected. */
function FirstBackup({ saved: { config, backupId, problem } }: { saved: Saved }) {
  return (
    <Step title={`First backup of ${config.name}`}>
      {problem && <ProblemAlert problem={problem} />}
      {backupId !== null && <Watched id={backupId} name={config.name} />}
      <Group gap="xs">
        <Button component={Link} href="/">
          Go to overview
        </Button>
        <Button component={Link} href={`/configs/${config.id}`} variant="default">
          Change schedule and retention
        </Button>
      </Group>
    </Step>
  );
}

function Watched({ id, name }: { id: string; name: string }) {
  const run = useLiveBackup(id);
  if (run === undefined) return null;
  if (isActive(run.status)) return <BackupProgress run={run} />;
  if (run.status === 'FAILED')
    return (
      <ProblemAlert
        problem={{
          code: run.errorCode ?? 'INTERNAL_ERROR',
          message: run.errorMessage ?? 'The backup failed.',
          hint: run.errorHint ?? '',
        }}
      />
    );
  return (
    <Alert color="teal" variant="light" icon={<IconCircleCheck />} title={`${name} is protected`} role="status">
      The first backup is verified: {plural(run.tables.length, 'table')}, {plural(run.mediaFileCount, 'media file')},{' '}
      {size(run.fileSize ?? 0)}.
    </Alert>
  );
}
