import { Alert, Button, Card, Checkbox, Group, List, Stack, Text, TextInput, Title } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { type FormEvent, type ReactNode, useState } from 'react';
import {
  type BackupPartsFragment,
  RestoreBackupDocument,
  type RestoreBackupInput,
  RestorePlanDocument,
  type RestorePlanQuery,
} from '../../client/generated/graphql.js';
import { type Problem, useAction, useApi } from '../api.js';
import { PlanView } from './plan-view.js';
import { Loading, ProblemAlert } from './state.js';

/** How often the plan is made anew: the application goes on writing, in milliseconds. */
const EVERY = 30_000;

/** How often a database that another run works on is looked at again, in milliseconds. */
const BUSY_EVERY = 5_000;

type Plan = RestorePlanQuery['restorePlan'];
type Refusal = Plan['refusals'][number];

/** What a restore would do, as far as it is known now. */
export interface Planned {
  /** What is planned, and what would be restored. */
  input: RestoreBackupInput;
  /** Of just this input; undefined until it is there. */
  plan: Plan | undefined;
  problem: Problem | null;
  refresh: () => void;
  /** What stands in the way unless someone says that it shall be done nevertheless. */
  asked: Asked[];
}

/** What is asked of someone who goes on. */
interface Asked {
  field: AllowField;
  refusals: Refusal[];
  allowed: boolean;
  setAllowed: (allowed: boolean) => void;
}

/** The fields of the input that override refusals, each with what someone says by it. */
const WORDS = {
  allowForeign: {
    title: 'Data of another application',
    label: 'Replace the current data with the data of this backup',
    description: 'Without this, choose another location.',
  },
  allowExcluded: {
    title: 'Data that this backup does not have',
    label: 'Restore without it',
    description: 'Without this, choose another location. The safety backup keeps it.',
  },
} as const;

type AllowField = keyof typeof WORDS;

const FIELDS = Object.keys(WORDS) as AllowField[];
const fieldOf = ({ field }: Refusal) => FIELDS.find((each) => each === field);
const NOT_ALLOWED: readonly AllowField[] = [];

/**
 * The plan of a restore, made anew while it is shown.
 * @param pause something is still missing, so there is no plan
 * @param settled false while people are choosing something else: the plan is not shown then
 */
export function useRestorePlan(
  request: Omit<RestoreBackupInput, 'confirm' | AllowField>,
  { pause = false, settled = true }: { pause?: boolean; settled?: boolean } = {},
): Planned {
  const key = JSON.stringify(request);
  // Both hold for this request only: another one is to be confirmed anew.
  const [said, setSaid] = useState<{ key: string; allowed: readonly AllowField[] } | null>(null);
  const [seen, setSeen] = useState<{ key: string; refusals: Refusal[] } | null>(null);
  const [busy, setBusy] = useState(false);
  const allowed = said?.key === key ? said.allowed : NOT_ALLOWED;
  const input = { ...request, confirm: false, ...Object.fromEntries(allowed.map((field) => [field, true])) };
  const answer = useApi(RestorePlanDocument, { input }, { pause, every: busy ? BUSY_EVERY : EVERY, fresh: true });
  // Show only the plan of the present choice, and only its problem.
  const current = settled && !pause && answer.current;
  const plan = current && answer.problem === null ? answer.data?.restorePlan : undefined;
  const found = plan?.refusals.some(({ code }) => code === 'BUSY') === true;
  if (current && found !== busy) setBusy(found);
  const before = seen?.key === key ? seen.refusals : [];
  const open = plan?.refusals.filter((refusal) => fieldOf(refusal) !== undefined) ?? [];
  // What is allowed is no refusal any more, and stays to be seen; without a plan, so does the rest.
  const kept = before.filter((refusal) => {
    const field = fieldOf(refusal);
    return plan === undefined || (field !== undefined && allowed.includes(field));
  });
  const refusals = [...kept.filter(({ field }) => !open.some((each) => each.field === field)), ...open];
  if (JSON.stringify(before) !== JSON.stringify(refusals)) setSeen({ key, refusals });
  return {
    input,
    plan,
    problem: current ? answer.problem : null,
    refresh: answer.refresh,
    asked: FIELDS.map((field) => ({
      field,
      refusals: settled && !pause ? refusals.filter((refusal) => refusal.field === field) : [],
      allowed: allowed.includes(field),
      setAllowed: (on: boolean) => {
        const others = allowed.filter((each) => each !== field);
        setSaid({ key, allowed: on ? [...others, field] : others });
      },
    })).filter((each) => each.refusals.length > 0),
  };
}

/** What a restore would change. @param missing what has to be chosen before there is a plan */
export function Preview({ planned, missing = null }: { planned: Planned; missing?: string | null }) {
  const { plan, problem, refresh } = planned;
  const others = plan && { ...plan, refusals: plan.refusals.filter((refusal) => fieldOf(refusal) === undefined) };
  return (
    <Card withBorder aria-busy={plan === undefined} mih={260}>
      <Title order={2} size="h4" mb="sm">
        Preview
      </Title>
      <Stack gap="sm">
        {planned.asked.map((each) => (
          <Question key={each.field} asked={each} />
        ))}
        {missing !== null ? (
          <Text c="dimmed">{missing}</Text>
        ) : problem ? (
          <ProblemAlert problem={problem} retry={refresh} />
        ) : others === undefined ? (
          <Loading height={160} />
        ) : (
          <PlanView plan={others} />
        )}
      </Stack>
    </Card>
  );
}

/** What would be replaced or lost, and the explicit word that it shall. */
function Question({ asked: { field, refusals, allowed, setAllowed } }: { asked: Asked }) {
  const { title, label, description } = WORDS[field];
  return (
    <Alert color="red" variant="light" icon={<IconAlertTriangle />} title={title} role="alert">
      <Stack gap="sm">
        <List size="sm" className="breakable">
          {refusals.map(({ message }) => (
            <List.Item key={message}>{message}</List.Item>
          ))}
        </List>
        <Checkbox
          label={label}
          description={description}
          checked={allowed}
          onChange={(event) => setAllowed(event.currentTarget.checked)}
        />
      </Stack>
    </Alert>
  );
}

interface ConfirmCardProps {
  backup: BackupPartsFragment;
  planned: Planned;
  /** Nothing is at the target yet, so no name has to be typed. */
  fresh?: boolean;
  onStarted: (restoreId: string) => void;
  /** What else can be done. */
  children?: ReactNode;
}

/** The last step: the backup's name typed by hand, so that no click alone replaces data. */
export function ConfirmCard(props: ConfirmCardProps) {
  // Another choice is confirmed anew.
  return <ConfirmForm key={JSON.stringify(props.planned.input)} {...props} />;
}

function ConfirmForm({ backup, planned, fresh = false, onStarted, children }: ConfirmCardProps) {
  const [typed, setTyped] = useState('');
  const restore = useAction(RestoreBackupDocument, { quiet: true });
  const { input, plan } = planned;
  const ready = plan?.allowed === true && (fresh || typed.trim() === backup.fileName);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (!ready || restore.busy) return;
    const answer = await restore.run({ input: { ...input, confirm: true } });
    if (answer !== null) onStarted(answer.restoreBackup.id);
  };
  return (
    <Card withBorder>
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          <Text size="sm">
            {fresh
              ? 'There is no data at the target yet, so nothing is replaced.'
              : 'The current data is saved to a verified safety backup first, so you can undo the restore.'}{' '}
            Nothing changes until the whole archive has been verified.
          </Text>
          {restore.problem && <ProblemAlert problem={restore.problem} />}
          {!fresh && (
            <TextInput
              label="Type the file name to confirm"
              description={backup.fileName}
              placeholder={backup.fileName}
              value={typed}
              onChange={(event) => setTyped(event.currentTarget.value)}
              autoComplete="off"
              spellCheck={false}
              disabled={plan?.allowed === false}
            />
          )}
          <Group>
            <Button type="submit" color="red" disabled={!ready} loading={restore.busy}>
              Restore now
            </Button>
            {children}
          </Group>
        </Stack>
      </form>
    </Card>
  );
}
