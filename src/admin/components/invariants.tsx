import { Button, Card, Group, Input, Select, Stack, Table, Text, Textarea, TextInput } from '@mantine/core';
import { IconBulb, IconPlus, IconTrash } from '@tabler/icons-react';
import { useState } from 'react';
import {
  type BackupPartsFragment,
  type Expectation,
  SuggestInvariantsDocument,
} from '../../client/generated/graphql.js';
import { useQuestion } from '../api.js';
import { EXPECTATION } from '../words.js';
import { Section } from './facts.js';
import { type Form, setting } from './setting.js';
import { ProblemAlert } from './state.js';

/** What compares with a value of its own. */
const WITH_VALUE: readonly Expectation[] = ['EQUALS', 'AT_LEAST', 'AT_MOST'];
const CHOICES = (Object.keys(EXPECTATION) as Expectation[]).map((value) => ({ value, label: EXPECTATION[value] }));

/** The queries of a config with the answers that its database must give. */
export function InvariantsSetting({ form }: { form: Form }) {
  const { id, label, error } = setting(form, 'invariants');
  const { invariants, databaseUrl } = form.settings;
  const canAsk = databaseUrl === '' || /^(sqlite|postgres|postgresql):/i.test(databaseUrl);
  const suggestion = useQuestion(SuggestInvariantsDocument);
  const [isExhausted, setExhausted] = useState(false);
  if (!canAsk && invariants.length === 0) return null;
  const configId = form.config?.id;
  const suggest = async (config: string) => {
    const answer = await suggestion.run({ configId: config });
    const asked = new Set(invariants.map(({ sql }) => sql.trim()));
    const found = answer?.suggestInvariants.filter(({ sql }) => !asked.has(sql)) ?? [];
    setExhausted(answer !== null && found.length === 0);
    const added = found.map(({ value, ...one }) => ({ ...one, value: value ?? '' }));
    if (added.length > 0) form.set('invariants', [...invariants, ...added]);
  };
  const put = (index: number, change: Partial<(typeof invariants)[number]>) =>
    form.set(
      'invariants',
      invariants.map((one, at) => (at === index ? { ...one, ...change } : one)),
    );
  return (
    <Input.Wrapper
      label={label}
      error={error}
      description="Queries with the answer that the database must give, asked in each backup. A broken one makes it suspicious."
    >
      <Stack gap="sm" mt="xs">
        {invariants.map(({ name, sql, expect, value }, index) => (
          <Card key={index} withBorder padding="sm" data-testid={`invariant-${index}`}>
            <Stack gap="xs">
              <Group grow align="flex-end">
                <TextInput
                  label="Name"
                  value={name}
                  maxLength={100}
                  onChange={(event) => put(index, { name: event.currentTarget.value })}
                />
                <Select
                  label="The answer"
                  data={CHOICES}
                  value={expect}
                  allowDeselect={false}
                  onChange={(chosen) => put(index, { expect: (chosen ?? expect) as Expectation })}
                />
                {WITH_VALUE.includes(expect) && (
                  <TextInput
                    label="Value"
                    value={value ?? ''}
                    maxLength={200}
                    onChange={(event) => put(index, { value: event.currentTarget.value })}
                  />
                )}
              </Group>
              <Textarea
                label="SQL"
                placeholder="SELECT count(*) FROM orders"
                value={sql}
                autosize
                minRows={1}
                spellCheck={false}
                onChange={(event) => put(index, { sql: event.currentTarget.value })}
              />
              <Group>
                <Button
                  size="xs"
                  variant="subtle"
                  color="red"
                  leftSection={<IconTrash size={14} />}
                  onClick={() => form.set('invariants', invariants.toSpliced(index, 1))}
                >
                  Remove invariant
                </Button>
              </Group>
            </Stack>
          </Card>
        ))}
        <Group>
          <Button
            id={id}
            size="xs"
            variant="default"
            leftSection={<IconPlus size={14} />}
            onClick={() => form.set('invariants', [...invariants, { name: '', sql: '', expect: 'EQUALS', value: '' }])}
          >
            Add invariant
          </Button>
          {configId && (
            <Button
              size="xs"
              variant="default"
              leftSection={<IconBulb size={14} />}
              loading={suggestion.busy}
              onClick={() => void suggest(configId)}
            >
              Suggest
            </Button>
          )}
          {isExhausted && <Text size="sm">Nothing more to suggest.</Text>}
        </Group>
        {suggestion.problem && <ProblemAlert problem={suggestion.problem} />}
      </Stack>
    </Input.Wrapper>
  );
}

/** What the invariants came to in a backup. */
export function Invariants({ results }: { results: BackupPartsFragment['invariants'] }) {
  return (
    <Section title="Invariants">
      <Table verticalSpacing={4} className="breakable">
        <Table.Tbody>
          {results.map(({ name, holds, message }) => (
            <Table.Tr key={name}>
              <Table.Td>
                <Text size="sm" c={holds ? 'teal' : 'red'}>
                  {holds ? 'Holds' : 'Broken'}
                </Text>
              </Table.Td>
              <Table.Td>
                <Text size="sm">{message}</Text>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Section>
  );
}
