import {
  Alert,
  Button,
  Group,
  NumberInput,
  PasswordInput,
  Select,
  SimpleGrid,
  Stack,
  Switch,
  Textarea,
  TextInput,
} from '@mantine/core';
import { IconAlertCircle, IconCircleCheck } from '@tabler/icons-react';
import { type FormEvent, useState } from 'react';
import {
  CreateDestinationDocument,
  type DestinationPartsFragment,
  TestDestinationDocument,
  type TestDestinationMutation,
  UpdateDestinationDocument,
} from '../../client/generated/graphql.js';
import { type Problem, tellDone, useAction } from '../api.js';
import { ADDABLE, inputOf, type KindField, KINDS, type Values, valuesOf } from '../destinations.js';
import { size } from '../format.js';
import { Dialog } from './dialog.js';
import { errorText } from './setting.js';
import { ProblemAlert, Warnings } from './state.js';

interface DestinationFormProps {
  /** Null: a new one. */
  destination: DestinationPartsFragment | null;
  onDone: () => void;
  onClose: () => void;
}

/** Adds or edits a destination, which can be tested before it is saved. */
export function DestinationForm({ destination, onDone, onClose }: DestinationFormProps) {
  const isNew = destination === null;
  const [storageType, setStorageType] = useState<string>(destination?.storageType ?? 'S3');
  const [name, setName] = useState(
    destination === null || destination.name === destination.location ? '' : destination.name,
  );
  const [offline, setOffline] = useState(destination?.offline ?? false);
  const [values, setValues] = useState<Values>(destination === null ? {} : valuesOf(destination));
  const [more, setMore] = useState(false);
  const create = useAction(CreateDestinationDocument, { quiet: true });
  const update = useAction(UpdateDestinationDocument, { quiet: true });
  const input = () => inputOf(storageType, values, { name, offline, isNew });
  const busy = create.busy || update.busy;
  const problem = create.problem ?? update.problem;
  const kind = KINDS[storageType];
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (busy) return;
    const done =
      destination === null
        ? await create.run({ input: input() })
        : await update.run({ id: destination.id, input: input() });
    if (done === null) return;
    tellDone(isNew ? 'The destination was added.' : 'The destination was saved.');
    onDone();
  };
  const field = (one: KindField) => (
    <Field
      key={one.name}
      field={one}
      kept={!isNew}
      value={values[one.name] ?? ''}
      problem={problem}
      onChange={(value) => setValues((present) => ({ ...present, [one.name]: value }))}
    />
  );
  const known = [...(kind?.fields ?? []), ...(kind?.more ?? [])].some((one) => one.name === problem?.field);
  return (
    <Dialog title={isNew ? 'Add destination' : 'Edit destination'} busy={busy} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          {problem && !known && problem.field !== 'name' && <ProblemAlert problem={problem} />}
          <Select
            label="Kind"
            data={(isNew ? ADDABLE : [storageType]).map((value) => ({ value, label: KINDS[value]?.label ?? value }))}
            value={storageType}
            onChange={(value) => value !== null && setStorageType(value)}
            disabled={!isNew}
            allowDeselect={false}
          />
          <TextInput
            label="Name"
            description="If empty, its location."
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            error={problem?.field === 'name' ? errorText(problem) : undefined}
            maxLength={200}
            data-autofocus
          />
          {kind?.fields.map(field)}
          {(kind?.more.length ?? 0) > 0 && (
            <Group>
              <Button size="xs" variant="subtle" aria-expanded={more} onClick={() => setMore(!more)}>
                {more ? 'Fewer settings' : 'More settings'}
              </Button>
            </Group>
          )}
          {more && <SimpleGrid cols={{ base: 1, xs: 2 }}>{kind?.more.map(field)}</SimpleGrid>}
          <Switch
            label="Usually away"
            description="Such as a disk in a safe: being unreachable is then no error."
            checked={offline}
            onChange={(event) => setOffline(event.currentTarget.checked)}
          />
          <Test id={destination?.id} input={input} />
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={onClose} disabled={busy}>
              Cancel
            </Button>
            <Button type="submit" loading={busy}>
              {isNew ? 'Add destination' : 'Save'}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}

interface FieldProps {
  field: KindField;
  /** An empty secret keeps the saved one. */
  kept: boolean;
  value: string | boolean;
  problem: Problem | null;
  onChange: (value: string | boolean) => void;
}

function Field({ field, kept, value, problem, onChange }: FieldProps) {
  const { name, label, description, placeholder, type, required } = field;
  const error = problem?.field === name ? errorText(problem) : undefined;
  const common = { label, description, placeholder, error, required, withAsterisk: false };
  const text = String(value);
  const secret = { ...common, placeholder: kept ? 'Unchanged' : placeholder, autoComplete: 'new-password' };
  switch (type) {
    case 'switch':
      return (
        <Switch
          label={label}
          description={description}
          checked={value === true}
          onChange={(event) => onChange(event.currentTarget.checked)}
        />
      );
    case 'whole':
      return (
        <NumberInput
          {...common}
          value={text}
          onChange={(typed) => onChange(String(typed))}
          allowDecimal={false}
          allowNegative={false}
        />
      );
    case 'secret':
      return <PasswordInput {...secret} value={text} onChange={(event) => onChange(event.currentTarget.value)} />;
    case 'secret text':
      return (
        <Textarea
          {...secret}
          value={text}
          onChange={(event) => onChange(event.currentTarget.value)}
          spellCheck={false}
          autosize
          maxRows={4}
        />
      );
    default:
      return (
        <TextInput
          {...common}
          value={text}
          onChange={(event) => onChange(event.currentTarget.value)}
          autoComplete="off"
          spellCheck={false}
        />
      );
  }
}

interface TestProps {
  id: string | undefined;
  input: () => ReturnType<typeof inputOf>;
}

/** Tests what is typed. Nothing is saved. */
function Test({ id, input }: TestProps) {
  const test = useAction(TestDestinationDocument, { quiet: true, harmless: true });
  const [last, setLast] = useState<{ of: string; answer: TestDestinationMutation['testDestination'] } | null>(null);
  const typed = JSON.stringify(input());
  const run = async () => {
    setLast(null);
    const done = await test.run({ id, input: input() });
    if (done !== null) setLast({ of: typed, answer: done.testDestination });
  };
  const answer = last?.of === typed ? last.answer : null;
  return (
    <Stack gap="xs" role="status">
      <Group>
        <Button variant="default" loading={test.busy} onClick={() => void run()}>
          Test
        </Button>
      </Group>
      {test.problem && <ProblemAlert problem={test.problem} />}
      {answer?.error && (
        <Alert color="red" variant="light" icon={<IconAlertCircle />} title={answer.error.message}>
          {answer.error.hint}
        </Alert>
      )}
      {answer?.ok && (
        <Alert color="teal" variant="light" icon={<IconCircleCheck />} title="Archives can be stored here">
          {answer.location}
          {typeof answer.free === 'number' && ` · ${size(answer.free)} free`}
        </Alert>
      )}
      {answer && <Warnings warnings={answer.warnings} />}
    </Stack>
  );
}
