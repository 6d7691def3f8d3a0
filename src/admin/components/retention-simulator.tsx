import { Card, Stack, Text, TextInput, Title } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useState } from 'react';
import { RetentionPlanDocument } from '../../client/generated/graphql.js';
import { useApi } from '../api.js';
import { isDay, LAST_DAY } from '../inputs.js';
import { faultOf, inputOf, only, RETENTION, type Settings } from '../settings.js';
import { PlanList, PlanSummary } from './retention-plan.js';
import { errorText, type Form } from './setting.js';
import { Loading } from './state.js';

/** How long after the last key the plan follows, in milliseconds. */
const QUIET = 400;

/** What the rules that are typed would keep and delete. Nothing is saved, and nothing is deleted. */
export function RetentionSimulator({ form }: { form: Form }) {
  return (
    <Card withBorder bg="var(--mantine-color-body)" className="simulator">
      <Title order={3} size="h5">
        Preview
      </Title>
      {form.config === null ? (
        <Text size="sm" c="dimmed" mt="xs">
          The preview is available once the config has backups.
        </Text>
      ) : (
        <Simulation form={form} configId={form.config.id} />
      )}
    </Card>
  );
}

function Simulation({ form, configId }: { form: Form; configId: string }) {
  const [day, setDay] = useState('');
  const typed = JSON.stringify(only(form.settings, RETENTION));
  const [asked] = useDebouncedValue(typed, QUIET);
  const rules = JSON.parse(asked) as Partial<Settings>;
  const noDay = day !== '' && !isDay(day);
  const incomplete = faultOf(rules) !== null;
  const { data, problem, current, loading, refreshing } = useApi(
    RetentionPlanDocument,
    {
      configId,
      input: inputOf(rules),
      ...(isDay(day) ? { at: new Date(`${day}T23:59:59`).toISOString() } : {}),
    },
    { pause: incomplete || noDay },
  );
  const plan = data?.retentionPlan;
  return (
    <Stack gap="sm" mt="xs" aria-busy={refreshing}>
      <TextInput
        type="date"
        label="As of"
        description={day === '' ? 'Now. Choose a later date to look ahead.' : 'The end of that day.'}
        error={noDay && 'Not a valid date: years have four digits.'}
        min={today()}
        max={LAST_DAY}
        value={day}
        onChange={(event) => setDay(event.currentTarget.value)}
      />
      {problem && (
        <Text size="sm" c="red" role="alert">
          {errorText(problem)}
        </Text>
      )}
      {incomplete && (
        <Text size="sm" c="dimmed">
          Fill in the numbers first.
        </Text>
      )}
      {loading && <Loading height={240} />}
      {plan && !problem && !incomplete && !noDay && (
        <Stack gap="sm" className="follows" aria-busy={!current || asked !== typed}>
          <PlanSummary plan={plan} />
          {plan.items.length === 0 ? (
            <Text size="sm" c="dimmed">
              This config has no backup yet.
            </Text>
          ) : (
            <PlanList plan={plan} />
          )}
        </Stack>
      )}
    </Stack>
  );
}

/** Of this device, as a date input takes it. */
const today = () => new Intl.DateTimeFormat('sv-SE').format(new Date());
