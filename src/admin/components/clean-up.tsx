import { Alert, Button, List, Stack, Text } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import {
  CleanupBackupsDocument,
  RetentionPlanDocument,
  type RetentionPlanPartsFragment,
} from '../../client/generated/graphql.js';
import { useAction, useApi } from '../api.js';
import { plural, size } from '../format.js';
import { ConfirmForm } from './confirm.js';
import { Dialog } from './dialog.js';
import { PlanItems, PlanSummary } from './retention-plan.js';
import { Loading, ProblemAlert } from './state.js';

type Plan = RetentionPlanPartsFragment;

/** Deletes what the saved rules delete now, after having shown it. */
export function CleanUp({ configId, unsaved }: { configId: string; unsaved: boolean }) {
  const [asked, setAsked] = useState(false);
  return (
    <>
      <Button variant="default" onClick={() => setAsked(true)}>
        Clean up now …
      </Button>
      {asked && <CleanUpDialog configId={configId} unsaved={unsaved} onClose={() => setAsked(false)} />}
    </>
  );
}

/** One dialog through all its steps: what is to be done, and what was done. */
function CleanUpDialog({ configId, unsaved, onClose }: { configId: string; unsaved: boolean; onClose: () => void }) {
  const { data, problem, refreshing, refresh } = useApi(RetentionPlanDocument, { configId }, { fresh: true });
  const cleanUp = useAction(CleanupBackupsDocument, { quiet: true });
  const [done, setDone] = useState<Plan | null>(null);
  const plan = data?.retentionPlan;
  const asks = done === null && plan !== undefined && !changesNothing(plan);
  const run = async (hash: string) => {
    const answer = await cleanUp.run({ configId, hash });
    // The plan may be another one by now.
    if (answer === null) refresh();
    else setDone(answer.cleanupBackups[0] ?? null);
  };
  return (
    <Dialog title={asks ? questionOf(plan) : 'Clean up now'} busy={cleanUp.busy} onClose={onClose}>
      {asks ? (
        <ConfirmForm
          label={plan.deleteCount > 0 ? `Delete ${plural(plan.deleteCount, 'backup')}` : 'Continue'}
          typed={plan.deleteCount > 0 ? String(plan.deleteCount) : undefined}
          busy={cleanUp.busy}
          unsettled={refreshing}
          onConfirm={() => void run(plan.hash)}
          onClose={onClose}
        >
          <Stack gap="sm">
            {cleanUp.problem && <ProblemAlert problem={cleanUp.problem} />}
            <Question plan={plan} unsaved={unsaved} />
          </Stack>
        </ConfirmForm>
      ) : (
        <Told onClose={onClose}>
          {done !== null && <Result plan={done} />}
          {done === null && cleanUp.problem && <ProblemAlert problem={cleanUp.problem} />}
          {done === null && problem && <ProblemAlert problem={problem} retry={refresh} />}
          {done === null && plan === undefined && !problem && <Loading height={120} />}
          {done === null && plan !== undefined && (
            <Text size="sm">Nothing to delete: the saved rules keep all {plural(plan.keepCount, 'backup')}.</Text>
          )}
        </Told>
      )}
    </Dialog>
  );
}

function questionOf({ deleteCount, items }: Plan): string {
  if (deleteCount > 0) return `Delete ${plural(deleteCount, 'backup')}?`;
  return items.some(({ consolidate }) => consolidate) ? 'Consolidate backups?' : 'Remove pins?';
}

function Question({ plan, unsaved }: { plan: Plan; unsaved: boolean }) {
  return (
    <>
      {plan.deleteCount > 0 && (
        <Text size="sm">
          {size(plan.deleteSize)} will be deleted permanently by the saved rules.
          {unsaved && ' Unsaved changes are not applied.'}
        </Text>
      )}
      <PlanSummary plan={plan} />
      <PlanItems items={plan.items.filter(isChanged)} />
    </>
  );
}

const isChanged = ({ keep, unpin, consolidate }: Plan['items'][number]) => !keep || unpin || consolidate;

const changesNothing = ({ items }: Plan) => !items.some(isChanged);

function Result({ plan }: { plan: Plan }) {
  const failed = plan.items.filter(({ error }) => error);
  const deleted = plan.items.filter(({ keep, error }) => !keep && !error);
  const bytes = deleted.reduce((sum, { backup }) => sum + (backup.fileSize ?? 0), 0);
  return (
    <>
      <Text size="sm" role="status">
        {plural(deleted.length, 'backup was', 'backups were')} deleted, {size(bytes)} freed.
      </Text>
      {failed.length > 0 && (
        <Alert
          color="red"
          variant="light"
          title={`${plural(failed.length, 'backup')} could not be deleted or consolidated`}
          role="alert"
          className="breakable"
        >
          <List size="sm">
            {failed.map(({ backup, error }) => (
              <List.Item key={backup.id}>
                {backup.id}: {error?.message} {error?.hint}
              </List.Item>
            ))}
          </List>
          The next clean-up tries again.
        </Alert>
      )}
    </>
  );
}

/** What there is to know, and the way out. */
function Told({ children, onClose }: { children: ReactNode; onClose: () => void }) {
  return (
    <Stack>
      {children}
      <Button variant="default" onClick={onClose} autoFocus data-autofocus style={{ alignSelf: 'flex-end' }}>
        Close
      </Button>
    </Stack>
  );
}
