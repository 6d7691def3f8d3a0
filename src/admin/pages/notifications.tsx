import { Button, Card, Group, Stack, Table, Text } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useState } from 'react';
import {
  type ChannelPartsFragment,
  ChannelsDocument,
  ConfigNamesDocument,
  DeleteChannelDocument,
  TestChannelDocument,
} from '../../client/generated/graphql.js';
import { tellDone, tellProblem, useAction, useApi } from '../api.js';
import { BEATS, beatOf, EVENTS, KINDS, PROBLEMS } from '../channels.js';
import { ChannelForm } from '../components/channel-form.js';
import { Removal } from '../components/removal.js';
import { PageHead } from '../components/page.js';
import { EVERY } from '../components/paged-list.js';
import { Answered, Empty } from '../components/state.js';
import { moment, plural } from '../format.js';

/** Who is told when something is wrong. */
export default function Notifications() {
  const answer = useApi(ChannelsDocument, {}, { every: EVERY });
  const [edited, setEdited] = useState<ChannelPartsFragment | 'new' | null>(null);
  const close = () => setEdited(null);
  const add = (
    <Button leftSection={<IconPlus size={16} />} onClick={() => setEdited('new')}>
      Add channel
    </Button>
  );
  return (
    <>
      <PageHead title="Notifications">{add}</PageHead>
      <Answered answer={answer}>
        {({ channels }) =>
          channels.length === 0 ? (
            <Empty title="No channels yet">
              Nobody is told when a backup fails. Add a channel: mail, a chat, or a service that raises the alarm when
              no backup completes.
            </Empty>
          ) : (
            <List channels={channels} onEdit={setEdited} onChanged={answer.refresh} />
          )
        }
      </Answered>
      {edited !== null && (
        <ChannelForm
          channel={edited === 'new' ? null : edited}
          onClose={close}
          onDone={() => {
            close();
            answer.refresh();
          }}
        />
      )}
    </>
  );
}

interface ListProps {
  channels: ChannelPartsFragment[];
  onEdit: (channel: ChannelPartsFragment) => void;
  onChanged: () => void;
}

function List({ channels, onEdit, onChanged }: ListProps) {
  const [asked, setAsked] = useState<ChannelPartsFragment | null>(null);
  const remove = useAction(DeleteChannelDocument);
  const configs = useApi(ConfigNamesDocument, {});
  const nameOf = (id: string) => configs.data?.configs.find((config) => config.id === id)?.name ?? `config ${id}`;
  return (
    <Card withBorder p={0} component="section" aria-label="All channels">
      <Table.ScrollContainer minWidth={640}>
        <Table verticalSpacing="xs">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Channel</Table.Th>
              <Table.Th>Events</Table.Th>
              <Table.Th>Last delivery</Table.Th>
              <Table.Th>
                <span className="spoken">Actions</span>
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {channels.map((channel) => (
              <Row
                key={channel.id}
                channel={channel}
                configs={channel.configIds.map(nameOf)}
                onEdit={() => onEdit(channel)}
                onRemove={() => setAsked(channel)}
                onChanged={onChanged}
              />
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {asked && (
        <Removal noun="channel" item={asked} action={remove} onChanged={onChanged} onClose={() => setAsked(null)}>
          <b>{asked.name}</b> gets no more messages.
          {asked.waiting > 0 && ` ${plural(asked.waiting, 'message')} that it has not taken yet will be lost.`}
        </Removal>
      )}
    </Card>
  );
}

interface RowProps {
  channel: ChannelPartsFragment;
  /** Names; empty: all. */
  configs: string[];
  onEdit: () => void;
  onRemove: () => void;
  onChanged: () => void;
}

function Row({ channel, configs, onEdit, onRemove, onChanged }: RowProps) {
  const { id, name, kind, target, waiting, lastDeliveryAt, lastError } = channel;
  const test = useAction(TestChannelDocument, { harmless: true });
  const run = async () => {
    const done = await test.run({ id });
    if (done === null) return;
    const problem = done.testChannel.error;
    if (problem) tellProblem({ ...problem, field: undefined });
    else tellDone(`${name} took the message.`);
    onChanged();
  };
  return (
    <Table.Tr>
      <Table.Td>
        <Stack gap={2}>
          <Text size="sm" fw={600} className="breakable">
            {name}
          </Text>
          <Text size="xs" c="dimmed" className="breakable">
            {KINDS[kind].label} · {target}
          </Text>
        </Stack>
      </Table.Td>
      <Table.Td maw={320}>
        <Text size="sm">{eventsInWords(channel)}</Text>
        <Text size="xs" c="dimmed" className="breakable">
          {configs.length === 0 ? 'All configs' : configs.join(', ')}
        </Text>
      </Table.Td>
      <Table.Td maw={320}>
        <Text size="sm">{lastDeliveryAt ? moment(lastDeliveryAt) : 'Never'}</Text>
        {waiting > 0 && <Text size="xs">{plural(waiting, 'message')} waiting</Text>}
        {lastError && (
          <Text size="xs" c="red" className="breakable">
            {lastError}
          </Text>
        )}
      </Table.Td>
      <Table.Td>
        <Group gap="xs" justify="flex-end" wrap="nowrap">
          <Button
            size="xs"
            variant="default"
            loading={test.busy}
            aria-label={`Test ${name}`}
            onClick={() => void run()}
          >
            Test
          </Button>
          <Button size="xs" variant="default" aria-label={`Edit ${name}`} onClick={onEdit}>
            Edit
          </Button>
          <Button size="xs" color="red" variant="light" aria-label={`Remove ${name}`} onClick={onRemove}>
            Remove …
          </Button>
        </Group>
      </Table.Td>
    </Table.Tr>
  );
}

/** The events, those that every new channel has in short. */
function eventsInWords({ kind, events }: ChannelPartsFragment): string {
  if (KINDS[kind].beats) return BEATS[beatOf(events)];
  const isEveryProblem = PROBLEMS.every((event) => events.includes(event));
  const others = isEveryProblem ? events.filter((event) => !PROBLEMS.includes(event)) : events;
  return [...(isEveryProblem ? ['Every problem and its end'] : []), ...others.map((event) => EVENTS[event])].join(', ');
}
