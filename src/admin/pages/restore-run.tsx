import { Alert, Button, Card, Code, Group, Stack, Text } from '@mantine/core';
import { IconArrowBackUp, IconCircleCheck } from '@tabler/icons-react';
import { type ReactNode, useState } from 'react';
import { useLocation } from 'wouter';
import {
  CancelRestoreDocument,
  RestoreDocument,
  type RestorePartsFragment,
  UndoRestoreDocument,
} from '../../client/generated/graphql.js';
import { type Problem, tellProblem, useAction, useApi } from '../api.js';
import { Confirm } from '../components/confirm.js';
import { Age } from '../components/exact.js';
import { Facts } from '../components/facts.js';
import { IdentityInput, isOfTheKey } from '../components/identity-retry.js';
import { PageHead, TextLink } from '../components/page.js';
import { RestoreProgress } from '../components/run-progress.js';
import { Answered, Missing, ProblemAlert, Warnings } from '../components/state.js';
import { StatusBadge } from '../components/status-badge.js';
import { Timeline } from '../components/timeline.js';
import { duration, moment } from '../format.js';
import { isActive, restoredWhat } from '../words.js';

/** How often it is asked for again, in milliseconds. */
const EVERY = 10_000;

/** Whether the state before can still come back. */
function safetyOf(backup: RestorePartsFragment['safetyBackup']): string {
  if (!backup) return 'There was no data before, so there is nothing to undo.';
  if (backup.status === 'COMPLETED') return 'The previous data is in a safety backup: use Undo to bring it back.';
  return 'This restore can no longer be undone: its safety backup was deleted.';
}

/** One restore: how it goes or went, and the way back. */
export default function RestoreRun({ id }: { id: string }) {
  const answer = useApi(RestoreDocument, { id }, { every: EVERY });
  return (
    <Answered answer={answer}>
      {({ restore }) =>
        restore ? <RestoreOf restore={restore} refresh={answer.refresh} /> : <Missing noun="restore" all="/restores" />
      }
    </Answered>
  );
}

function RestoreOf({ restore, refresh }: { restore: RestorePartsFragment; refresh: () => void }) {
  return (
    <>
      <PageHead
        title={`${restore.undoOf ? 'Undo of a restore,' : 'Restore of'} ${moment(restore.backup.createdAt)}`}
        badge={<StatusBadge status={restore.status} />}
        subtitle={restore.backup.fileName}
        back={{ href: '/restores', label: 'Restores' }}
      >
        {restore.status === 'COMPLETED' && <Undo restore={restore} />}
        {isActive(restore.status) && <Cancel id={restore.id} onDone={refresh} />}
      </PageHead>
      <Stack>
        <Outcome restore={restore} refresh={refresh} />
        <About restore={restore} />
        <Timeline run={restore} />
      </Stack>
    </>
  );
}

function Outcome({ restore, refresh }: { restore: RestorePartsFragment; refresh: () => void }) {
  const { status, errorCode, errorMessage, errorHint, warnings, safetyBackup } = restore;
  return (
    <>
      {isActive(status) && (
        <Card withBorder>
          <RestoreProgress run={restore} onEnd={refresh} />
        </Card>
      )}
      {status === 'COMPLETED' && (
        <Alert color="teal" icon={<IconCircleCheck />} title="Restored" role="status">
          Restored from the backup: {restoredWhat(restore)}. {safetyOf(safetyBackup)}
        </Alert>
      )}
      {errorCode && (
        <ProblemAlert
          problem={{ code: errorCode, message: errorMessage ?? 'The restore failed.', hint: errorHint ?? '' }}
        />
      )}
      <Warnings warnings={warnings} />
    </>
  );
}

function About({ restore }: { restore: RestorePartsFragment }) {
  const { backup, safetyBackup, undoOf, startedAt, completedAt } = restore;
  const facts: [string, ReactNode][] = [
    ['Status', <StatusBadge key="status" status={restore.status} />],
    [
      'Backup',
      <TextLink key="backup" href={`/backups/${backup.id}`}>
        {backup.fileName}
      </TextLink>,
    ],
    ['Contents', restoredWhat(restore)],
    ['Target', <Code key="into">{restore.targetDatabaseUrl}</Code>],
    [
      'Safety backup',
      safetyBackup ? (
        <TextLink key="safety" href={`/backups/${safetyBackup.id}`}>
          {safetyBackup.fileName}
        </TextLink>
      ) : (
        '–'
      ),
    ],
    ...(undoOf
      ? ([
          [
            'Undoes',
            <TextLink key="undoes" href={`/restores/${undoOf}`}>
              {undoOf}
            </TextLink>,
          ],
        ] as [string, ReactNode][])
      : []),
    ['Requested', <Age key="asked" at={restore.createdAt} />],
    ['Requested by', restore.createdBy ?? '–'],
    ['Duration', startedAt && completedAt ? duration((Date.parse(completedAt) - Date.parse(startedAt)) / 1000) : '–'],
  ];
  return <Facts facts={facts} />;
}

function Undo({ restore }: { restore: RestorePartsFragment }) {
  const [asked, setAsked] = useState(false);
  const [, go] = useLocation();
  const undo = useAction(UndoRestoreDocument);
  const [identity, setIdentity] = useState('');
  const [locked, setLocked] = useState<Problem | null>(null);
  if (restore.safetyBackup?.status !== 'COMPLETED') return null;
  const run = async () => {
    const outcome = await undo.attempt({ id: restore.id, ...(identity !== '' && { identity }) });
    if ('data' in outcome) return go(`/restores/${outcome.data.undoRestore.id}`);
    if (isOfTheKey(outcome.problem)) return setLocked(outcome.problem);
    tellProblem(outcome.problem);
    setAsked(false);
  };
  return (
    <>
      <Button color="orange" variant="light" leftSection={<IconArrowBackUp size={18} />} onClick={() => setAsked(true)}>
        Undo …
      </Button>
      {asked && (
        <Confirm
          title="Undo this restore?"
          label="Undo restore"
          busy={undo.busy}
          onConfirm={() => void run()}
          onClose={() => setAsked(false)}
        >
          <Text size="sm" className="breakable">
            Restores the data from before this restore, from {restore.safetyBackup.fileName}. The current data is saved
            to another safety backup first, so the undo can be undone, too.
          </Text>
          {locked !== null && (
            <>
              <ProblemAlert problem={locked} />
              <IdentityInput value={identity} onChange={setIdentity} />
            </>
          )}
        </Confirm>
      )}
    </>
  );
}

function Cancel({ id, onDone }: { id: string; onDone: () => void }) {
  const cancel = useAction(CancelRestoreDocument);
  const run = async () => {
    await cancel.run({ id });
    onDone();
  };
  return (
    <Group>
      <Button variant="default" loading={cancel.busy} onClick={() => void run()}>
        Cancel restore
      </Button>
    </Group>
  );
}
