import { Badge, Button, Card, Checkbox, Group, Stack, Text, Title } from '@mantine/core';
import { useState } from 'react';
import { Link } from 'wouter';
import {
  type ConfigPartsFragment,
  DiscoverDatabasesDocument,
  type DiscoverDatabasesMutation,
  ProtectDatabasesDocument,
} from '../../client/generated/graphql.js';
import { tellDone, useAction } from '../api.js';
import { size } from '../format.js';
import { ProblemAlert } from './state.js';

type Found = DiscoverDatabasesMutation['discoverDatabases'];

/** The other databases of the server that a config's database is on: found when asked for, and backed up like it. */
export function OtherDatabases({ config: { id } }: { config: ConfigPartsFragment }) {
  const discover = useAction(DiscoverDatabasesDocument, { quiet: true, harmless: true });
  const protect = useAction(ProtectDatabasesDocument, { quiet: true });
  const [found, setFound] = useState<Found | null>(null);
  const [chosen, setChosen] = useState<string[]>([]);
  const look = async () => {
    const answer = await discover.run({ configId: id });
    if (answer === null) return;
    setFound(answer.discoverDatabases);
    // What was chosen while the list was on its way stays chosen.
    const open = answer.discoverDatabases.filter(({ configId }) => configId === null).map(({ name }) => name);
    setChosen((before) => before.filter((name) => open.includes(name)));
  };
  const add = async () => {
    const done = await protect.run({ configId: id, names: chosen });
    if (done === null) return;
    setChosen([]);
    tellDone(`${counted(done.protectDatabases.length)} backed up like this one from now on.`);
    await look();
  };
  const open = (found ?? []).filter(({ configId }) => configId === null);
  const problem = discover.problem ?? protect.problem;
  return (
    <Card withBorder component="section" aria-label="Other databases of this server" mt="md">
      <Group justify="space-between">
        <div>
          <Title order={2} size="h4">
            Other databases of this server
          </Title>
          <Text size="sm" c="dimmed">
            Each gets a config of its own, with the schedule, retention, destinations and keys of this one.
          </Text>
        </div>
        <Button variant="default" loading={discover.busy} onClick={() => void look()}>
          Find databases
        </Button>
      </Group>
      {problem && <ProblemAlert problem={problem} />}
      {found !== null && (
        <Stack mt="md" gap="xs">
          <List found={found} chosen={chosen} onChange={setChosen} />
          {open.length === 0 ? (
            <Text size="sm">All databases of the server are backed up already.</Text>
          ) : (
            <Group>
              <Button disabled={chosen.length === 0} loading={protect.busy} onClick={() => void add()}>
                {chosen.length === 0 ? 'Back up the chosen ones' : `Back up ${counted(chosen.length)}`}
              </Button>
              <Button variant="subtle" onClick={() => setChosen(open.map(({ name }) => name))}>
                Choose all
              </Button>
            </Group>
          )}
        </Stack>
      )}
    </Card>
  );
}

interface ListProps {
  found: Found;
  chosen: string[];
  onChange: (names: string[]) => void;
}

function List({ found, chosen, onChange }: ListProps) {
  return (
    <Checkbox.Group value={chosen} onChange={onChange} label="Databases">
      <Stack gap="xs" mt="xs">
        {found.map(({ name, size: bytes, configId }) => (
          <Group key={name} gap="sm">
            <Checkbox
              value={name}
              disabled={configId !== null}
              label={bytes === null ? name : `${name} (${size(bytes)})`}
            />
            {configId !== null && (
              <Badge variant="light" component={Link} href={`/configs/${configId}`} style={{ cursor: 'pointer' }}>
                Backed up
              </Badge>
            )}
          </Group>
        ))}
      </Stack>
    </Checkbox.Group>
  );
}

const counted = (count: number) => (count === 1 ? '1 database' : `${count} databases`);
