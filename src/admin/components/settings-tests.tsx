import { Alert, Button, List, Stack, Text } from '@mantine/core';
import { IconAlertCircle, IconCircleCheck } from '@tabler/icons-react';
import { type ReactNode, useState } from 'react';
import {
  type TestConnectionMutation,
  TestConnectionDocument,
  type TestStorageMutation,
  TestStorageDocument,
} from '../../client/generated/graphql.js';
import { useAction } from '../api.js';
import { plural, size } from '../format.js';
import { inputOf, only, same, type Settings } from '../settings.js';
import { type Form, plainMessage } from './setting.js';
import { ProblemAlert, Warnings } from './state.js';

/** An answer, and for which settings: once they change, it says nothing about them. */
interface Answered<Answer> {
  of: Partial<Settings>;
  answer: Answer;
}

/** Tests the database and the media folders that are typed. Nothing is saved. */
export function TestConnection({ form }: { form: Form }) {
  const test = useAction(TestConnectionDocument, { quiet: true, harmless: true });
  const [last, setLast] = useState<Answered<TestConnectionMutation['testConnection']> | null>(null);
  const typed = only(form.settings, ['databaseUrl', 'mediaPaths', 'excludeTables', 'excludeTableData', 'invariants']);
  const run = async () => {
    setLast(null);
    const done = await test.run({ input: inputOf(typed), configId: form.config?.id });
    if (done !== null) setLast({ of: typed, answer: done.testConnection });
  };
  const answer = last !== null && same(last.of, typed) ? last.answer : null;
  return (
    <Test label="Test connection" busy={test.busy} onRun={() => void run()}>
      {test.problem && <Refused error={test.problem} />}
      {answer?.error && <Refused error={answer.error} />}
      {answer && !answer.ok && !answer.error && (
        <Alert color="red" variant="light" title="Some media folders cannot be read" icon={<IconAlertCircle />} />
      )}
      {answer?.ok && (
        <Good title="The database can be backed up">
          {[
            answer.databaseName,
            typeof answer.size === 'number' && size(answer.size),
            typeof answer.tables === 'number' && plural(answer.tables, 'table'),
          ]
            .filter(Boolean)
            .join(' · ')}
        </Good>
      )}
      {answer && (
        <List size="sm" className="breakable">
          {answer.media.map(({ path, files, bytes, error }) => (
            <List.Item key={path} c={error ? 'red' : undefined}>
              {path}: {error ? `${error.message} ${error.hint}` : `${plural(files ?? 0, 'file')}, ${size(bytes ?? 0)}`}
            </List.Item>
          ))}
          {answer.excluded.map(({ table, what }) => (
            <List.Item key={table}>
              {table}: {what === 'TABLE' ? 'left out' : 'left out except for its definition'}
            </List.Item>
          ))}
          {answer.facts.map(({ name, value }) => (
            <List.Item key={name}>
              {name.replaceAll('_', ' ')}: {value}
            </List.Item>
          ))}
        </List>
      )}
      {answer && <Warnings warnings={answer.warnings} />}
    </Test>
  );
}

/** Tests the storage that is typed. Nothing is saved. */
export function TestStorage({ form }: { form: Form }) {
  const test = useAction(TestStorageDocument, { quiet: true, harmless: true });
  const [last, setLast] = useState<Answered<TestStorageMutation['testStorage']> | null>(null);
  const typed = only(form.settings, ['storageType', 'storagePath']);
  const run = async () => {
    setLast(null);
    const done = await test.run({ input: inputOf(typed), configId: form.config?.id });
    if (done !== null) setLast({ of: typed, answer: done.testStorage });
  };
  const answer = last !== null && same(last.of, typed) ? last.answer : null;
  return (
    <Test label="Test storage" busy={test.busy} onRun={() => void run()}>
      {test.problem && <Refused error={test.problem} />}
      {answer?.error && <Refused error={answer.error} />}
      {answer?.ok && (
        <Good title="Archives can be stored here">
          {answer.location}
          {typeof answer.free === 'number' && ` · ${size(answer.free)} free`}
          {typeof answer.total === 'number' && ` of ${size(answer.total)}`}
        </Good>
      )}
      {answer && <Warnings warnings={answer.warnings} />}
    </Test>
  );
}

function Test({
  label,
  busy,
  onRun,
  children,
}: {
  label: string;
  busy: boolean;
  onRun: () => void;
  children: ReactNode;
}) {
  return (
    <Stack gap="sm" align="flex-start">
      <Button variant="default" loading={busy} onClick={onRun}>
        {label}
      </Button>
      <Stack gap="sm" w="100%" aria-live="polite" className="answers">
        {children}
      </Stack>
    </Stack>
  );
}

/** Why it does not work; beside the input, so its name in the API says nothing more. */
function Refused({ error }: { error: { code: string; message: string; hint: string; field?: string | null } }) {
  return <ProblemAlert problem={{ code: error.code, hint: error.hint, message: plainMessage(error) }} />;
}

function Good({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Alert color="teal" variant="light" icon={<IconCircleCheck />} title={title}>
      <Text size="sm" className="breakable">
        {children}
      </Text>
    </Alert>
  );
}
