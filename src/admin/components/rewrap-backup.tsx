import { Button, Group, MultiSelect, Stack, Text } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { EncryptionKeysDocument, RewrapBackupDocument } from '../../client/generated/graphql.js';
import { tellDone, useAction, useApi } from '../api.js';
import { Dialog } from './dialog.js';
import { IdentityInput } from './identity-retry.js';
import { Answered, ProblemAlert } from './state.js';

interface RewrapBackupProps {
  backup: { id: string; fileName: string };
  onClose: () => void;
}

/** Encrypts an encrypted backup for other keys, in a dialog. */
export function RewrapBackup({ backup, onClose }: RewrapBackupProps) {
  const answer = useApi(EncryptionKeysDocument, {});
  const rewrap = useAction(RewrapBackupDocument, { quiet: true });
  const [keys, setKeys] = useState<string[]>([]);
  const [identity, setIdentity] = useState('');
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    event.stopPropagation();
    if (keys.length === 0 || rewrap.busy) return;
    const variables = { id: backup.id, encryptionKeyIds: keys, identity: identity.trim() || null };
    if ((await rewrap.run(variables)) === null) return;
    tellDone('The backup is encrypted for these keys now.');
    onClose();
  };
  return (
    <Dialog title="Encrypt for other keys" busy={rewrap.busy} onClose={onClose}>
      <Answered answer={answer} height={160}>
        {({ encryptionKeys }) => (
          <form onSubmit={(event) => void submit(event)}>
            <Stack>
              <Text size="sm" className="breakable">
                {backup.fileName} will open with these keys and no others. Whoever kept a copy of it can still open that
                with the former keys.
              </Text>
              <MultiSelect
                label="Keys from now on"
                placeholder={keys.length === 0 ? 'Choose keys' : undefined}
                data={encryptionKeys.map(({ id, name }) => ({ value: id, label: name }))}
                value={keys}
                onChange={setKeys}
                required
              />
              <IdentityInput
                description="Of a former key. Leave it empty where one is kept here."
                value={identity}
                onChange={setIdentity}
              />
              {rewrap.problem && <ProblemAlert problem={rewrap.problem} />}
              <Group justify="flex-end" gap="xs">
                <Button variant="default" onClick={onClose} disabled={rewrap.busy}>
                  Cancel
                </Button>
                <Button type="submit" loading={rewrap.busy} disabled={keys.length === 0}>
                  Encrypt
                </Button>
              </Group>
            </Stack>
          </form>
        )}
      </Answered>
    </Dialog>
  );
}
