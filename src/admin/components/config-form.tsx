import { Alert, Button, SimpleGrid, Stack, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { type FormEvent, useEffect, useState } from 'react';
import { useLocation } from 'wouter';
import {
  type ConfigPartsFragment,
  CreateConfigDocument,
  UpdateConfigDocument,
} from '../../client/generated/graphql.js';
import { type Problem, tellDone, useAction } from '../api.js';
import {
  ADVANCED,
  differing,
  faultOf,
  type Field,
  hasDraft,
  inputOf,
  newInputOf,
  only,
  setDraft,
  type Settings,
  settingsOf,
  useDraft,
} from '../settings.js';
import { Advanced, HowLong, What, When, Where } from './config-sections.js';
import { TextLink } from './page.js';
import { SaveBar } from './save-bar.js';
import { type Form, idOf } from './setting.js';

/** How long it is said that the changes are saved, in milliseconds. */
const MOMENT = 4_000;

/** All settings of a config; null makes a new one. */
export function ConfigForm({ config: loaded }: { config: ConfigPartsFragment | null }) {
  const key = loaded?.id ?? 'new';
  const changes = useDraft(key);
  const [, navigate] = useLocation();
  const [stored, setStored] = useState<ConfigPartsFragment | null>(null);
  const [lacking, setLacking] = useState<Problem | null>(null);
  const [open, setOpen] = useState(false);
  const create = useAction(CreateConfigDocument, { quiet: true });
  const update = useAction(UpdateConfigDocument, { quiet: true });
  const [justSaved, tellSaved] = useMoment();
  useReminder(key, loaded?.name ?? 'the new config');

  // What was just saved, until it is read again.
  const config = stored !== null && loaded !== null && stored.updatedAt > loaded.updatedAt ? stored : loaded;
  const saved = settingsOf(config);
  const settings = { ...saved, ...changes };
  const changed = Object.keys(differing(changes, saved)) as Field[];
  const problem = lacking ?? create.problem ?? update.problem;
  useFocus(problem);

  const forget = () => {
    setLacking(null);
    create.clear();
    update.clear();
  };
  const set = <Name extends Field>(field: Name, value: Settings[Name]) => {
    setDraft(key, (present) => differing({ ...present, [field]: value }, saved));
    if (problem?.field === field) forget();
  };
  const form: Form = { config, settings, changed, problem, set };

  const save = async (saveUntested = false) => {
    forget();
    const fault = faultOf(settings);
    setLacking(fault);
    if (fault !== null || (config !== null && changed.length === 0)) return;
    const done =
      config === null
        ? (await create.run({ input: newInputOf(settings), saveUntested }))?.createConfig
        : (await update.run({ id: config.id, input: inputOf(only(settings, changed)), saveUntested }))?.updateConfig;
    if (done === undefined) return;
    setStored(done);
    // What was typed meanwhile is not saved.
    setDraft(key, (present) => differing(present, settings));
    if (config !== null) return tellSaved();
    tellDone(`${done.name} was added.`);
    navigate(`/configs/${done.id}`, { replace: true });
  };
  const hidden = problem !== null && ADVANCED.includes(problem.field as Field);
  return (
    <form
      onSubmit={(event: FormEvent) => {
        event.preventDefault();
        void save();
      }}
      noValidate
      className="config-form"
    >
      <Stack>
        <What form={form} />
        <SimpleGrid cols={{ base: 1, lg: 2 }}>
          <Where form={form} />
          <When form={form} />
        </SimpleGrid>
        <HowLong form={form} />
        <Advanced form={form} open={open || hidden} setOpen={setOpen} />
      </Stack>
      {problem !== null && isFailedTest(problem) && (
        <Alert color="orange" title="These settings do not work yet" mt="md">
          <Text size="sm">{problem.message}</Text>
          <Button mt="sm" size="xs" variant="default" onClick={() => void save(true)}>
            Save anyway
          </Button>
        </Alert>
      )}
      <SaveBar
        form={form}
        busy={create.busy || update.busy}
        done={justSaved}
        onDiscard={() => {
          forget();
          setDraft(key, () => ({}));
        }}
      />
    </form>
  );
}

/** True for what a test of the settings found: they make sense, but would not work now. */
const isFailedTest = ({ code }: Problem) => /^(DATABASE|MEDIA|STORAGE)_/.test(code) && code !== 'DATABASE_IS_CONTROL';

/** True for a moment after it was asked for. */
function useMoment(): [boolean, () => void] {
  const [on, setOn] = useState(false);
  useEffect(() => {
    if (!on) return;
    const timer = setTimeout(() => setOn(false), MOMENT);
    return () => clearTimeout(timer);
  }, [on]);
  return [on, () => setOn(true)];
}

/** The input that a problem is about gets the focus. */
function useFocus(problem: Problem | null): void {
  useEffect(() => {
    if (problem?.field !== undefined) document.getElementById(idOf(problem.field as Field))?.focus();
  }, [problem]);
}

const reminderOf = (key: string) => `unsaved-${key}`;

/** Says no more that the changes of this config are not saved. */
export const hideReminder = (key: string) => notifications.hide(reminderOf(key));

/** Warns a user who leaves a page with unsaved changes, and keeps those changes. */
function useReminder(key: string, name: string): void {
  useEffect(() => {
    hideReminder(key);
    return () => {
      if (!hasDraft(key)) return;
      notifications.show({
        id: reminderOf(key),
        color: 'yellow',
        title: `Unsaved changes to ${name}`,
        message: (
          <TextLink href={`/configs/${key}`} size="sm">
            Back to the changes
          </TextLink>
        ),
        autoClose: false,
      });
    };
  }, [key, name]);
}
