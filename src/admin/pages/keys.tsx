import { Button, Card, Stack, Table, Text } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useState } from 'react';
import {
  DeleteEncryptionKeyDocument,
  EncryptionKeysDocument,
  type KeyPartsFragment,
} from '../../client/generated/graphql.js';
import { useAction, useApi } from '../api.js';
import { Removal } from '../components/removal.js';
import { KeyForm } from '../components/key-form.js';
import { PageHead } from '../components/page.js';
import { EVERY } from '../components/paged-list.js';
import { Answered, Empty } from '../components/state.js';
import { moment } from '../format.js';

/** The keys that backups can be encrypted for. */
export default function Keys() {
  const answer = useApi(EncryptionKeysDocument, {}, { every: EVERY });
  const [adding, setAdding] = useState(false);
  return (
    <>
      <PageHead title="Encryption keys">
        <Button leftSection={<IconPlus size={16} />} onClick={() => setAdding(true)}>
          Add key
        </Button>
      </PageHead>
      <Answered answer={answer}>
        {({ encryptionKeys }) =>
          encryptionKeys.length === 0 ? (
            <Empty title="No encryption keys yet">
              With a key, backups are encrypted before they leave this machine, and open only with its identity.
            </Empty>
          ) : (
            <KeyTable keys={encryptionKeys} onChanged={answer.refresh} />
          )
        }
      </Answered>
      {adding && (
        <KeyForm
          onAdded={answer.refresh}
          onClose={() => {
            setAdding(false);
            answer.refresh();
          }}
        />
      )}
    </>
  );
}

function KeyTable({ keys, onChanged }: { keys: KeyPartsFragment[]; onChanged: () => void }) {
  const [asked, setAsked] = useState<KeyPartsFragment | null>(null);
  const remove = useAction(DeleteEncryptionKeyDocument);
  return (
    <Card withBorder p={0} component="section" aria-label="All encryption keys">
      <Table.ScrollContainer minWidth={640}>
        <Table verticalSpacing="xs">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Key</Table.Th>
              <Table.Th>Held here</Table.Th>
              <Table.Th>Last used</Table.Th>
              <Table.Th>
                <span className="spoken">Actions</span>
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {keys.map((key) => (
              <Table.Tr key={key.id}>
                <Table.Td>
                  <Stack gap={2}>
                    <Text size="sm" fw={600} className="breakable">
                      {key.name}
                    </Text>
                    <Text size="xs" c="dimmed" className="breakable">
                      {key.recipient ?? 'Passphrase'}
                    </Text>
                  </Stack>
                </Table.Td>
                <Table.Td>{key.heldHere ? 'Yes' : 'No'}</Table.Td>
                <Table.Td>{key.lastUsedAt ? moment(key.lastUsedAt) : 'Never'}</Table.Td>
                <Table.Td ta="right">
                  <Button
                    size="xs"
                    color="red"
                    variant="light"
                    aria-label={`Remove ${key.name}`}
                    onClick={() => setAsked(key)}
                  >
                    Remove …
                  </Button>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {asked && (
        <Removal noun="key" item={asked} action={remove} onChanged={onChanged} onClose={() => setAsked(null)}>
          No config may name <b>{asked.name}</b>, and every backup must open with another key.
        </Removal>
      )}
    </Card>
  );
}
