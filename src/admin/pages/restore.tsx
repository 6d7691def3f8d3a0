import { Button, Card, Grid, Group, Stack, Text, TextInput, Title } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { type FormEvent, useState } from 'react';
import { Link, useLocation } from 'wouter';
import {
  BackupDocument,
  type BackupPartsFragment,
  type BackupStatus,
  RestoreBackupDocument,
  type RestoreBackupInput,
  RestorePlanDocument,
} from '../../client/generated/graphql.js';
import { useAction, useApi } from '../api.js';
import { Age, Size } from '../components/exact.js';
import { PlanView } from '../components/plan-view.js';
import { ALL, type Choice, inputOf, RestoreChoice } from '../components/restore-choice.js';
import { Answered, Empty, Loading, Missing, PageHead, ProblemAlert } from '../components/state.js';
import { TextLink } from '../components/text-link.js';
import { plural } from '../format.js';
import { titleOf } from '../words.js';

/** How long after the last change the plan follows, in milliseconds. */
const QUIET = 350;

/** How often the plan is made anew: the application goes on writing, in milliseconds. */
const EVERY = 30_000;

/** How often a database that another run works on is looked at again, in milliseconds. */
const BUSY_EVERY = 5_000;

/** Restore a backup: the plan first, then the name typed, then the run. */
export default function Restore({ id }: { id: string }) {
  const answer = useApi(BackupDocument, { id });
  return (
    <Answered answer={answer}>
      {({ backup }) =>
        !backup ? (
          <Missing noun="backup" all="/backups" />
        ) : backup.status === 'COMPLETED' ? (
          <RestoreOf backup={backup} />
        ) : (
          <NotRestorable backup={backup} />
        )
      }
    </Answered>
  );
}

/** Why a backup that exists cannot be restored now, and where to go instead. */
const WHY_NOT: Record<Exclude<BackupStatus, 'COMPLETED'>, string> = {
  PENDING: 'This backup has not started yet. It can be restored once it has completed.',
  RUNNING: 'This backup is still running. It can be restored once it has completed.',
  FAILED: 'This backup failed, so it has no archive to restore.',
  DELETED: 'The archive of this backup was deleted.',
};

function NotRestorable({ backup }: { backup: BackupPartsFragment }) {
  const { id, status } = backup;
  return (
    <>
      <PageHead title="Restore" back={{ href: `/backups/${id}`, label: 'Backup' }} subtitle={titleOf(backup)} />
      <Empty
        title="This backup cannot be restored"
        action={
          <Group gap="xs" justify="center">
            <Button component={Link} href="/backups?status=COMPLETED">
              Choose another backup
            </Button>
            <Button component={Link} href={`/backups/${id}`} variant="default">
              Show this backup
            </Button>
          </Group>
        }
      >
        {status === 'COMPLETED' ? null : WHY_NOT[status]}
      </Empty>
    </>
  );
}

function RestoreOf({ backup }: { backup: BackupPartsFragment }) {
  const [choice, setChoice] = useState<Choice>({ ...ALL, elsewhere: backup.config === null });
  const [settled] = useDebouncedValue(choice, QUIET);
  const input: RestoreBackupInput = { ...inputOf(settled), backupId: backup.id, confirm: false };
  const missing = missingFrom(choice);
  const pause = missingFrom(settled) !== null;
  const [busy, setBusy] = useState(false);
  const options = { pause, every: busy ? BUSY_EVERY : EVERY, fresh: true };
  const { data, problem, current: answered, refresh } = useApi(RestorePlanDocument, { input }, options);
  // Only the plan of what is chosen now, and only its problem, are for anybody to see.
  const current = settled === choice && !pause && answered;
  const plan = current && problem === null ? data?.restorePlan : undefined;
  const found = plan?.refusals.some(({ code }) => code === 'BUSY') === true;
  if (current && found !== busy) setBusy(found);
  return (
    <>
      <PageHead title="Restore" back={{ href: `/backups/${backup.id}`, label: 'Backup' }} />
      <Text mb="md" className="breakable">
        <TextLink href={`/backups/${backup.id}`}>{titleOf(backup)}</TextLink> (<Age at={backup.createdAt} />
        ): {plural(backup.tables.length, 'table')} and {plural(backup.mediaFileCount, 'media file')},{' '}
        <Size bytes={backup.fileSize} />, from the database {backup.databaseName}
      </Text>
      <Grid>
        <Grid.Col span={{ base: 12, md: 5 }}>
          <RestoreChoice backup={backup} choice={choice} setChoice={setChoice} problem={current ? problem : null} />
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 7 }}>
          <Stack>
            <Card withBorder aria-busy={plan === undefined} mih={260}>
              <Title order={2} size="h4" mb="sm">
                Preview
              </Title>
              {missing !== null ? (
                <Text c="dimmed">{missing}</Text>
              ) : current && problem ? (
                <ProblemAlert problem={problem} retry={refresh} />
              ) : plan === undefined ? (
                <Loading height={160} />
              ) : (
                <PlanView plan={plan} />
              )}
            </Card>
            <ConfirmCard
              // Another choice is confirmed anew.
              key={JSON.stringify(input)}
              backup={backup}
              input={input}
              allowed={plan?.allowed === true}
              refused={plan?.allowed === false}
            />
          </Stack>
        </Grid.Col>
      </Grid>
    </>
  );
}

/** What has to be chosen before there is a plan. */
function missingFrom({ what, tables, media, elsewhere, targetDatabaseUrl }: Choice): string | null {
  if (what === 'tables' && tables.length === 0) return 'Choose at least one table.';
  if (what === 'files' && media.length === 0) return 'Choose at least one file.';
  if (elsewhere && targetDatabaseUrl.trim() === '') return 'Enter the database to restore into.';
  return null;
}

interface ConfirmCardProps {
  backup: BackupPartsFragment;
  input: RestoreBackupInput;
  allowed: boolean;
  refused: boolean;
}

/** The last step: the backup's name typed by hand, so that no click alone replaces data. */
function ConfirmCard({ backup, input, allowed, refused }: ConfirmCardProps) {
  const [typed, setTyped] = useState('');
  const [, go] = useLocation();
  const restore = useAction(RestoreBackupDocument, { quiet: true });
  const named = typed.trim() === backup.fileName;
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (!named || !allowed || restore.busy) return;
    const answer = await restore.run({ input: { ...input, confirm: true } });
    if (answer !== null) go(`/restores/${answer.restoreBackup.id}`);
  };
  return (
    <Card withBorder>
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          <Text size="sm">
            The current data is saved to a verified safety backup first, so you can undo the restore. Nothing changes
            until the whole archive has been verified.
          </Text>
          {restore.problem && <ProblemAlert problem={restore.problem} />}
          <TextInput
            label="Type the file name to confirm"
            description={backup.fileName}
            placeholder={backup.fileName}
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
            autoComplete="off"
            spellCheck={false}
            disabled={refused}
          />
          <Group>
            <Button type="submit" color="red" disabled={!named || !allowed} loading={restore.busy}>
              Restore now
            </Button>
            <Button variant="default" component={Link} href={`/backups/${backup.id}`}>
              Cancel
            </Button>
          </Group>
        </Stack>
      </form>
    </Card>
  );
}
