import { Group, List, NativeSelect, Stack, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useState } from 'react';
import { SchedulePreviewDocument } from '../../client/generated/graphql.js';
import { type Problem, useApi } from '../api.js';
import { type Choice, choiceOf, cronOf, hasTime, RHYTHM, type Rhythm, WEEKDAYS } from '../cron.js';
import { capital } from '../format.js';
import { options } from '../words.js';
import { Age } from './exact.js';
import { errorText, type Form, idOf, setting } from './setting.js';

/** How long after the last key the next runs follow, in milliseconds. */
const QUIET = 300;
/** How often it is asked anew what runs next, in milliseconds: time goes on. */
const EVERY = 60_000;

/** A schedule: one of the common rhythms, or cron; with what it means and when it runs next. */
export function CronField({ form }: { form: Form }) {
  const { schedule, timezone } = form.settings;
  const [asCron, setAsCron] = useState(false);
  const preview = usePreview(schedule, timezone);
  const { id, label, labelProps, error } = setting(form, 'schedule');
  const choice = choiceOf(schedule);
  const rhythm = asCron ? 'custom' : choice.rhythm;
  const custom = rhythm === 'custom';
  const wrong = error ?? (preview.problem?.field === 'schedule' ? errorText(preview.problem) : undefined);
  const choose = (changes: Partial<Choice>) => form.set('schedule', cronOf({ ...choice, ...changes }));
  const chooseRhythm = (next: Rhythm) => {
    setAsCron(next === 'custom');
    if (next !== 'custom') choose({ rhythm: next });
  };
  return (
    <Stack gap="sm">
      <Group gap="sm" align="flex-start">
        <NativeSelect
          id={custom ? undefined : id}
          label={label}
          labelProps={labelProps}
          data={options(RHYTHM)}
          value={rhythm}
          onChange={(event) => chooseRhythm(event.currentTarget.value as Rhythm)}
          error={custom ? undefined : wrong}
          w={190}
        />
        {rhythm === 'weekly' && (
          <NativeSelect
            label="On"
            data={WEEKDAYS}
            value={choice.weekday}
            onChange={(event) => choose({ weekday: event.currentTarget.value })}
            w={135}
          />
        )}
        {hasTime(rhythm) && (
          <TextInput
            type="time"
            label="At"
            value={choice.time}
            w={140}
            onChange={({ currentTarget: { value } }) => value !== '' && choose({ time: value })}
          />
        )}
      </Group>
      {custom && (
        <TextInput
          id={idOf('schedule')}
          label="Cron expression"
          description="Minute, hour, day of month, month, day of week. * means any; 1-5, 1,15 and */10 also work."
          value={schedule}
          onChange={(event) => form.set('schedule', event.currentTarget.value)}
          error={wrong}
          autoComplete="off"
          spellCheck={false}
        />
      )}
      <NextRuns form={form} preview={preview} />
    </Stack>
  );
}

interface Preview {
  inWords: string;
  runs: string[];
  timezone: string;
  /** It is of what is typed now. */
  current: boolean;
  problem: Problem | null;
}

/** What the server makes of a schedule that may not be saved. */
function usePreview(schedule: string, timezone: string): Preview {
  const [asked] = useDebouncedValue(schedule, QUIET);
  const variables = { schedule: asked, timezone };
  const { data, problem, current } = useApi(SchedulePreviewDocument, variables, { every: EVERY });
  const { inWords = '', nextRuns = [] } = problem === null ? (data?.schedulePreview ?? {}) : {};
  return { inWords, runs: nextRuns, timezone, current: current && asked === schedule, problem };
}

/** In words, and the next times on the clock of the zone. */
function NextRuns({ form, preview }: { form: Form; preview: Preview }) {
  const { inWords, runs, timezone, current, problem } = preview;
  const { autoBackupEnabled, jitterSeconds } = form.settings;
  const clock = new Intl.DateTimeFormat('en-GB', {
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    hour: '2-digit',
    minute: '2-digit',
    timeZone: timezone,
  });
  return (
    <div className="next-runs follows" aria-busy={!current}>
      <Text size="sm" fw={600} aria-live="polite">
        {inWords === '' ? ' ' : `${capital(inWords)} (${timezone}).`}
      </Text>
      <Text size="sm" c="dimmed">
        {autoBackupEnabled ? 'Next runs' : 'Automatic backup is off. Next runs if it were on'}
        {Number(jitterSeconds) > 0 && `, each delayed by up to ${jitterSeconds} s`}:
      </Text>
      {problem === null ? (
        <List size="sm" type="ordered">
          {runs.map((at) => (
            <List.Item key={at}>
              {clock.format(new Date(at))} · <Age at={at} c="dimmed" />
            </List.Item>
          ))}
        </List>
      ) : (
        <Text size="sm">{problem.field === 'schedule' ? 'None: the schedule is invalid.' : problem.message}</Text>
      )}
    </div>
  );
}
