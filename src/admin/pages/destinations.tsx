import { Alert, Badge, Button, Card, Group, Stack, Table, Text } from '@mantine/core';
import { IconLifebuoy, IconPlus } from '@tabler/icons-react';
import { useState } from 'react';
import {
  DeleteDestinationDocument,
  type DestinationPartsFragment,
  DestinationsDocument,
  StatusDocument,
  TestDestinationDocument,
} from '../../client/generated/graphql.js';
import { tellDone, tellProblem, useAction, useApi } from '../api.js';
import { Removal } from '../components/removal.js';
import { DestinationForm } from '../components/destination-form.js';
import { PageHead } from '../components/page.js';
import { EVERY } from '../components/paged-list.js';
import { Answered, Empty } from '../components/state.js';
import { downloadKit } from '../kit.js';
import { moment, plural, size } from '../format.js';
import { STORAGE } from '../words.js';

/** The places that archives lie in. */
export default function Destinations() {
  const answer = useApi(DestinationsDocument, {}, { every: EVERY });
  const status = useApi(StatusDocument, {}, { every: EVERY });
  const outdated = status.data?.status.notices.find(({ code }) => code === 'KIT_OUTDATED');
  const [edited, setEdited] = useState<DestinationPartsFragment | 'new' | null>(null);
  const close = () => setEdited(null);
  return (
    <>
      <PageHead title="Destinations">
        <KitButton onDone={status.refresh} />
        <Button leftSection={<IconPlus size={16} />} onClick={() => setEdited('new')}>
          Add destination
        </Button>
      </PageHead>
      {outdated !== undefined && (
        <Alert color="yellow" mb="md" title="The recovery kit is out of date">
          {outdated.message} {outdated.hint}
        </Alert>
      )}
      <Answered answer={answer}>
        {({ destinations }) =>
          destinations.length === 0 ? (
            <Empty title="No destinations yet">
              A destination is a place where archives lie: a folder, or a bucket away from this machine.
            </Empty>
          ) : (
            <List destinations={destinations} onEdit={setEdited} onChanged={answer.refresh} />
          )
        }
      </Answered>
      {edited !== null && (
        <DestinationForm
          destination={edited === 'new' ? null : edited}
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

/** With the kit, and the keys that it names, everything can be had back without db-manager. */
function KitButton({ onDone }: { onDone: () => void }) {
  const [busy, setBusy] = useState(false);
  const download = async () => {
    setBusy(true);
    const problem = await downloadKit();
    setBusy(false);
    if (problem !== null) return tellProblem(problem);
    tellDone('The recovery kit is downloaded. Keep it away from the server.');
    onDone();
  };
  return (
    <Button variant="default" leftSection={<IconLifebuoy size={16} />} loading={busy} onClick={() => void download()}>
      Download recovery kit
    </Button>
  );
}

interface ListProps {
  destinations: DestinationPartsFragment[];
  onEdit: (destination: DestinationPartsFragment) => void;
  onChanged: () => void;
}

function List({ destinations, onEdit, onChanged }: ListProps) {
  const [asked, setAsked] = useState<DestinationPartsFragment | null>(null);
  const remove = useAction(DeleteDestinationDocument);
  return (
    <Card withBorder p={0} component="section" aria-label="All destinations">
      <Table.ScrollContainer minWidth={640}>
        <Table verticalSpacing="xs">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Destination</Table.Th>
              <Table.Th>Backups</Table.Th>
              <Table.Th>Free</Table.Th>
              <Table.Th>Last test</Table.Th>
              <Table.Th>
                <span className="spoken">Actions</span>
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {destinations.map((destination) => (
              <Row
                key={destination.id}
                destination={destination}
                onEdit={() => onEdit(destination)}
                onRemove={() => setAsked(destination)}
                onChanged={onChanged}
              />
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {asked && (
        <Removal noun="destination" item={asked} action={remove} onChanged={onChanged} onClose={() => setAsked(null)}>
          <b>{asked.name}</b> must hold no backups, and no config may name it. Nothing in the place itself is deleted.
        </Removal>
      )}
    </Card>
  );
}

interface RowProps {
  destination: DestinationPartsFragment;
  onEdit: () => void;
  onRemove: () => void;
  onChanged: () => void;
}

function Row({ destination, onEdit, onRemove, onChanged }: RowProps) {
  const { id, name, location, storageType, offline, backupCount, used, free, lastCheckedAt, error } = destination;
  const test = useAction(TestDestinationDocument, { harmless: true });
  const run = async () => {
    const done = await test.run({ id });
    if (done === null) return;
    const problem = done.testDestination.error;
    if (problem) tellProblem({ ...problem, field: undefined });
    else tellDone(`${name} works.`);
    onChanged();
  };
  return (
    <Table.Tr>
      <Table.Td>
        <Stack gap={2}>
          <Group gap="xs">
            <Text size="sm" fw={600} className="breakable">
              {name}
            </Text>
            {offline && (
              <Badge color="gray" variant="light" miw="max-content">
                Usually away
              </Badge>
            )}
          </Group>
          <Text size="xs" c="dimmed" className="breakable">
            {STORAGE[storageType]}
            {location !== name && ` · ${location}`}
          </Text>
        </Stack>
      </Table.Td>
      <Table.Td>
        <Text size="sm">{plural(backupCount, 'backup')}</Text>
        <Text size="xs" c="dimmed">
          {size(used)}
        </Text>
      </Table.Td>
      <Table.Td>{typeof free === 'number' ? size(free) : '–'}</Table.Td>
      <Table.Td maw={320}>
        <Text size="sm">{lastCheckedAt ? moment(lastCheckedAt) : 'Never'}</Text>
        {error && (
          <Text size="xs" c="red" className="breakable">
            {error.message} {error.hint}
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
