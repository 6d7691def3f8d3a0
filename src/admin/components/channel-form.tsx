import { Button, Group, MultiSelect, PasswordInput, Select, Stack, Textarea, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import {
  type ChannelKind,
  type ChannelPartsFragment,
  ConfigNamesDocument,
  CreateChannelDocument,
  type NotificationEvent,
  UpdateChannelDocument,
} from '../../client/generated/graphql.js';
import { tellDone, useAction, useApi } from '../api.js';
import { BEATS, beatOf, EVENTS, inputOf, KINDS, ofKind, type Typed, typedOf } from '../channels.js';
import { Dialog } from './dialog.js';
import { errorText } from './setting.js';
import { ProblemAlert } from './state.js';

interface ChannelFormProps {
  /** Null: a new one. */
  channel: ChannelPartsFragment | null;
  onDone: () => void;
  onClose: () => void;
}

const FIELDS = ['name', 'target', 'secret', 'events', 'configIds'];

/** Adds or edits a channel. */
export function ChannelForm({ channel, onDone, onClose }: ChannelFormProps) {
  const isNew = channel === null;
  const [typed, setTyped] = useState<Typed>(() => typedOf(channel));
  const set = <Name extends keyof Typed>(name: Name, value: Typed[Name]) =>
    setTyped((present) => ({ ...present, [name]: value }));
  const configs = useApi(ConfigNamesDocument, {});
  const create = useAction(CreateChannelDocument, { quiet: true });
  const update = useAction(UpdateChannelDocument, { quiet: true });
  const busy = create.busy || update.busy;
  const problem = create.problem ?? update.problem;
  const error = (field: string) => (problem?.field === field ? errorText(problem) : undefined);
  const { target, secret, beats = false } = KINDS[typed.kind];
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (busy) return;
    const input = inputOf(typed, isNew);
    const done = isNew ? await create.run({ input }) : await update.run({ id: channel.id, input });
    if (done === null) return;
    tellDone(isNew ? 'The channel was added. Test it now.' : 'The channel was saved.');
    onDone();
  };
  const kept = isNew ? undefined : 'Unchanged';
  return (
    <Dialog title={isNew ? 'Add channel' : 'Edit channel'} busy={busy} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          {problem && !FIELDS.includes(problem.field ?? '') && <ProblemAlert problem={problem} />}
          <Select
            label="Kind"
            data={Object.entries(KINDS).map(([value, { label }]) => ({ value, label }))}
            value={typed.kind}
            onChange={(value) => value !== null && setTyped((now) => ofKind(now, value as ChannelKind))}
            disabled={!isNew}
            allowDeselect={false}
          />
          <TextInput
            label="Name"
            description="If empty, its kind and target."
            value={typed.name}
            onChange={(event) => set('name', event.currentTarget.value)}
            error={error('name')}
            maxLength={200}
            data-autofocus
          />
          {target !== null && (
            <TextInput
              label={target.label}
              description={target.description}
              placeholder={target.isShown ? target.placeholder : (kept ?? target.placeholder)}
              value={typed.target}
              onChange={(event) => set('target', event.currentTarget.value)}
              error={error('target')}
              required={isNew}
              withAsterisk={false}
              autoComplete="off"
              spellCheck={false}
            />
          )}
          {secret !== undefined && (
            <PasswordInput
              label={secret.label}
              description={secret.description}
              placeholder={kept}
              value={typed.secret}
              onChange={(event) => set('secret', event.currentTarget.value)}
              error={error('secret')}
              required={isNew && secret.required}
              withAsterisk={false}
              autoComplete="new-password"
            />
          )}
          {typed.kind === 'WEBHOOK' && (
            <Textarea
              label="Template"
              description="JSON with {{title}}, {{message}}, {{hint}}, {{link}} and the like in its strings. If empty, the message as it is."
              value={typed.template}
              onChange={(event) => set('template', event.currentTarget.value)}
              error={error('template')}
              maxLength={4_000}
              spellCheck={false}
              autosize
              minRows={2}
              maxRows={8}
            />
          )}
          {beats ? (
            <Select
              label="It hears of"
              data={Object.entries(BEATS).map(([value, label]) => ({ value, label }))}
              value={beatOf(typed.events)}
              onChange={(value) => value !== null && set('events', [value as NotificationEvent])}
              error={error('events')}
              allowDeselect={false}
            />
          ) : (
            <MultiSelect
              label="Events"
              data={Object.entries(EVENTS).map(([value, label]) => ({ value, label }))}
              value={typed.events}
              onChange={(events) => set('events', events as NotificationEvent[])}
              error={error('events')}
              clearable
            />
          )}
          <MultiSelect
            label={beats ? 'Config' : 'Configs'}
            placeholder={typed.configIds.length > 0 ? undefined : beats ? 'Choose one' : 'All configs'}
            data={(configs.data?.configs ?? []).map(({ id, name }) => ({ value: id, label: name }))}
            value={typed.configIds}
            onChange={(ids) => set('configIds', ids)}
            error={error('configIds')}
            {...(beats && { maxValues: 1 })}
            searchable
            clearable
          />
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={onClose} disabled={busy}>
              Cancel
            </Button>
            <Button type="submit" loading={busy}>
              {isNew ? 'Add channel' : 'Save'}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
