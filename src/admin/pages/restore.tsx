import { Button, Grid, Group, Stack, Text } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useState } from 'react';
import { Link, useLocation, useSearchParams } from 'wouter';
import { BackupDocument, type BackupPartsFragment, type BackupStatus } from '../../client/generated/graphql.js';
import { useApi } from '../api.js';
import { Age, Size } from '../components/exact.js';
import { OriginBadge } from '../components/origin.js';
import { PageHead, TextLink } from '../components/page.js';
import { ALL, type Choice, inputOf, needsIdentity, RestoreChoice } from '../components/restore-choice.js';
import { ConfirmCard, Preview, useRestorePlan } from '../components/restore-steps.js';
import { Answered, Empty, Missing } from '../components/state.js';
import { plural } from '../format.js';
import { titleOf } from '../words.js';

/** How long after the last change the plan follows, in milliseconds. */
const QUIET = 350;

/** Restore a backup: the plan first, then the name typed, then the run. */
export default function Restore({ id }: { id: string }) {
  const answer = useApi(BackupDocument, { id });
  return (
    <Answered answer={answer}>
      {({ backup }) =>
        !backup ? (
          <Missing noun="backup" all="/backups" />
        ) : backup.status === 'COMPLETED' ? (
          // Under another config there is another target.
          <RestoreOf key={backup.config?.id ?? 'none'} backup={backup} />
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
  const [, go] = useLocation();
  const asked = chosenIn(useSearchParams()[0], backup);
  const [choice, setChoice] = useState<Choice>({
    ...ALL,
    elsewhere: backup.config === null,
    ...asked,
  });
  const [settled] = useDebouncedValue(choice, QUIET);
  const missing = missingFrom(choice, backup);
  const planned = useRestorePlan(
    { ...inputOf(settled), backupId: backup.id },
    { pause: missingFrom(settled, backup) !== null, settled: settled === choice },
  );
  return (
    <>
      <PageHead
        title="Restore"
        badge={<OriginBadge backup={backup} />}
        back={{ href: `/backups/${backup.id}`, label: 'Backup' }}
      />
      <Text mb="md" className="breakable">
        <TextLink href={`/backups/${backup.id}`}>{titleOf(backup)}</TextLink> (<Age at={backup.createdAt} />
        ): {plural(backup.tables.length, 'table')} and {plural(backup.mediaFileCount, 'media file')},{' '}
        <Size bytes={backup.fileSize} />, from the database {backup.databaseName}
      </Text>
      <Grid>
        <Grid.Col span={{ base: 12, md: 5 }}>
          <RestoreChoice backup={backup} choice={choice} setChoice={setChoice} problem={planned.problem} />
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 7 }}>
          <Stack>
            <Preview planned={planned} missing={missing} />
            <ConfirmCard backup={backup} planned={planned} onStarted={(id) => go(`/restores/${id}`)}>
              <Button variant="default" component={Link} href={`/backups/${backup.id}`}>
                Cancel
              </Button>
            </ConfirmCard>
          </Stack>
        </Grid.Col>
      </Grid>
    </>
  );
}

/** What a link to this page has chosen: rows of tables. */
function chosenIn(parameters: URLSearchParams, { tables: known }: BackupPartsFragment): Partial<Choice> {
  const rows = (['MISSING', 'CHANGED'] as const).find((mode) => mode === parameters.get('rows'));
  const tables = parameters.getAll('table').filter((name) => known.some((table) => table.name === name));
  return rows === undefined || tables.length === 0 ? {} : { what: 'tables', tables, rows };
}

/** What has to be chosen before there is a plan. */
function missingFrom(
  { what, tables, media, elsewhere, targetDatabaseUrl, identity }: Choice,
  backup: BackupPartsFragment,
): string | null {
  if (identity === '' && needsIdentity(backup)) return 'Enter the identity or passphrase that opens the backup.';
  if (what === 'tables' && tables.length === 0) return 'Choose at least one table.';
  if (what === 'files' && media.length === 0) return 'Choose at least one file.';
  if (elsewhere && targetDatabaseUrl.trim() === '') return 'Enter the database to restore into.';
  return null;
}
