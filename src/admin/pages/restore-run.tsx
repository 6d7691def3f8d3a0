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
import { useAction, useApi } from '../api.js';
import { Confirm } from '../components/confirm.js';
import { Age } from '../components/exact.js';
import { Facts } from '../components/facts.js';
import { RestoreProgress } from '../components/run-progress.js';
import { Answered, Missing, PageHead, ProblemAlert, Warnings } from '../components/state.js';
import { StatusBadge } from '../components/status-badge.js';
import { TextLink } from '../components/text-link.js';
import { Timeline } from '../components/timeline.js';
import { duration } from '../format.js';
import { isActive, restoredWhat } from '../words.js';

/** How often it is asked for again, in milliseconds. */
const EVERY = 10_000;

/** Whether the state before can still come back. */
function safetyOf(backup: RestorePartsFragment['safetyBackup']): string {
  if (!backup) return 'Nothing was there before, so there is nothing to bring back.';
  if (backup.status === 'COMPLETED') return 'What was there before is kept in a safety backup: “Undo” brings it back.';
  return 'It cannot be undone any more: the safety backup of what was there before was deleted.';
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
      <PageHead title={`${restore.undoOf ? 'Undo of a restore' : 'Restore'} of ${restore.backup.fileName}`}>
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
          As it was in the backup: {restoredWhat(restore)}. {safetyOf(safetyBackup)}
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
    ['What', restoredWhat(restore)],
    ['Into', <Code key="into">{restore.targetDatabaseUrl}</Code>],
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
    ['Asked for', <Age key="asked" at={restore.createdAt} />],
    ['By', restore.createdBy ?? '–'],
    ['Took', startedAt && completedAt ? duration((Date.parse(completedAt) - Date.parse(startedAt)) / 1000) : '–'],
  ];
  return <Facts facts={facts} />;
}

function Undo({ restore }: { restore: RestorePartsFragment }) {
  const [asked, setAsked] = useState(false);
  const [, go] = useLocation();
  const undo = useAction(UndoRestoreDocument);
  if (restore.safetyBackup?.status !== 'COMPLETED') return null;
  const run = async () => {
    const answer = await undo.run({ id: restore.id });
    setAsked(false);
    if (answer !== null) go(`/restores/${answer.undoRestore.id}`);
  };
  return (
    <>
      <Button color="orange" variant="light" leftSection={<IconArrowBackUp size={18} />} onClick={() => setAsked(true)}>
        Undo …
      </Button>
      {asked && (
        <Confirm
          title="Bring back what was there before?"
          label="Undo the restore"
          busy={undo.busy}
          onConfirm={() => void run()}
          onClose={() => setAsked(false)}
        >
          <Text size="sm" className="breakable">
            The state before this restore comes back, from {restore.safetyBackup.fileName}. What was written since then
            goes into a safety backup of its own, so this can be undone, too.
          </Text>
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
        Cancel
      </Button>
    </Group>
  );
}
