import { Alert, Button, List, Modal, Stack, Text } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import {
  CleanupBackupsDocument,
  RetentionPlanDocument,
  type RetentionPlanPartsFragment,
} from '../../client/generated/graphql.js';
import { useAction, useApi } from '../api.js';
import { plural, size } from '../format.js';
import { Confirm } from './confirm.js';
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

function CleanUpDialog({ configId, unsaved, onClose }: { configId: string; unsaved: boolean; onClose: () => void }) {
  const { data, problem, refreshing, refresh } = useApi(RetentionPlanDocument, { configId });
  const cleanUp = useAction(CleanupBackupsDocument, { quiet: true });
  const [done, setDone] = useState<Plan | null>(null);
  const plan = data?.retentionPlan;
  const run = async (hash: string) => {
    const answer = await cleanUp.run({ configId, hash });
    // The plan may be another one by now.
    if (answer === null) refresh();
    else setDone(answer.cleanupBackups[0] ?? null);
  };
  if (done !== null) return <Result plan={done} onClose={onClose} />;
  if (plan === undefined || changesNothing(plan))
    return (
      <Plain title="Clean up now" onClose={onClose}>
        {problem && <ProblemAlert problem={problem} retry={refresh} />}
        {plan === undefined ? (
          !problem && <Loading height={120} />
        ) : (
          <Text size="sm">The saved rules delete nothing now: all {plural(plan.keepCount, 'backup')} stay.</Text>
        )}
      </Plain>
    );
  const { deleteCount, deleteSize, hash } = plan;
  return (
    <Confirm
      title={deleteCount > 0 ? `Delete ${plural(deleteCount, 'backup')}?` : 'Take pins away?'}
      label={deleteCount > 0 ? `Delete ${plural(deleteCount, 'backup')}` : 'Go on'}
      typed={deleteCount > 0 ? String(deleteCount) : undefined}
      busy={cleanUp.busy || refreshing}
      onConfirm={() => void run(hash)}
      onClose={onClose}
    >
      <Stack gap="sm">
        {cleanUp.problem && <ProblemAlert problem={cleanUp.problem} />}
        {deleteCount > 0 && (
          <Text size="sm">
            {size(deleteSize)} are removed for good, by the saved rules.
            {unsaved && ' The rules that are changed and not saved do not count.'}
          </Text>
        )}
        <PlanSummary plan={plan} />
        <PlanItems items={plan.items.filter(({ keep, unpin }) => !keep || unpin)} />
      </Stack>
    </Confirm>
  );
}

const changesNothing = ({ deleteCount, items }: Plan) => deleteCount === 0 && items.every(({ unpin }) => !unpin);

function Result({ plan, onClose }: { plan: Plan; onClose: () => void }) {
  const failed = plan.items.filter(({ error }) => error);
  const deleted = plan.items.filter(({ keep, error }) => !keep && !error);
  const bytes = deleted.reduce((sum, { backup }) => sum + (backup.fileSize ?? 0), 0);
  return (
    <Plain title="Clean up now" onClose={onClose}>
      <Text size="sm" role="status">
        {plural(deleted.length, 'backup was', 'backups were')} deleted, {size(bytes)} freed.
      </Text>
      {failed.length > 0 && (
        <Alert
          color="red"
          variant="light"
          title={`${plural(failed.length, 'backup')} could not be deleted`}
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
    </Plain>
  );
}

function Plain({ title, children, onClose }: { title: string; children: ReactNode; onClose: () => void }) {
  return (
    <Modal opened onClose={onClose} title={title} centered closeButtonProps={{ 'aria-label': 'Close' }}>
      <Stack>
        {children}
        <Button variant="default" onClick={onClose} data-autofocus style={{ alignSelf: 'flex-end' }}>
          Close
        </Button>
      </Stack>
    </Modal>
  );
}
