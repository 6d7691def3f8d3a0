import { Alert, Button, Checkbox, Code, Group, PasswordInput, Radio, Stack, Text, TextInput } from '@mantine/core';
import { IconAlertTriangle, IconDownload } from '@tabler/icons-react';
import { type FormEvent, useState } from 'react';
import {
  CreateEncryptionKeyDocument,
  type EncryptionKeyInput,
  type KeyPartsFragment,
} from '../../client/generated/graphql.js';
import { tellDone, useAction } from '../api.js';
import { Dialog } from './dialog.js';
import { errorText } from './setting.js';
import { ProblemAlert } from './state.js';

type Kind = 'generate' | 'recipient' | 'passphrase';

interface KeyFormProps {
  /** A key was added, though the dialog may stay for its identity. */
  onAdded: () => void;
  onClose: () => void;
}

/** Adds an encryption key. One that was generated stays on the screen until its identity has been downloaded. */
export function KeyForm({ onAdded, onClose }: KeyFormProps) {
  const [made, setMade] = useState<{ made: KeyPartsFragment; identity: string } | null>(null);
  if (made !== null) return <Ceremony {...made} onClose={onClose} />;
  return (
    <Creation
      onClose={onClose}
      onMade={(key, identity) => {
        onAdded();
        if (identity === null) {
          tellDone(`${key.name} was added.`);
          onClose();
        } else setMade({ made: key, identity });
      }}
    />
  );
}

interface CreationProps {
  onMade: (key: KeyPartsFragment, identity: string | null) => void;
  onClose: () => void;
}

function Creation({ onMade, onClose }: CreationProps) {
  const [name, setName] = useState('');
  const [kind, setKind] = useState<Kind>('generate');
  const [secret, setSecret] = useState('');
  const [keepHere, setKeepHere] = useState(false);
  const create = useAction(CreateEncryptionKeyDocument, { quiet: true });
  const { busy, problem } = create;
  const input: EncryptionKeyInput = {
    name,
    ...(kind === 'generate' ? { generate: true, keepHere } : { [kind]: secret }),
  };
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (busy) return;
    const done = await create.run({ input });
    if (done === null) return;
    onMade(done.createEncryptionKey.key, done.createEncryptionKey.identity ?? null);
  };
  const errorOf = (field: string) => (problem?.field === field ? errorText(problem) : undefined);
  const isShown = ['name', kind].includes(problem?.field ?? '');
  return (
    <Dialog title="Add key" busy={busy} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          {problem && !isShown && <ProblemAlert problem={problem} />}
          <TextInput
            label="Name"
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            error={errorOf('name')}
            maxLength={200}
            required
            withAsterisk={false}
            data-autofocus
          />
          <Radio.Group
            label="Kind"
            value={kind}
            onChange={(value) => {
              setKind(value as Kind);
              setSecret('');
            }}
          >
            <Stack gap="xs" mt={4}>
              <Radio value="generate" label="Generate a key" description="You download its identity and keep it." />
              <Radio value="recipient" label="Recipient" description="The public part of a key that you have." />
              <Radio
                value="passphrase"
                label="Passphrase"
                description="It is kept here, and stands alone in a config."
              />
            </Stack>
          </Radio.Group>
          {kind === 'generate' && (
            <Checkbox
              label="Keep the identity here too"
              description="Backups then open without asking, also for whoever breaks into this machine."
              checked={keepHere}
              onChange={(event) => setKeepHere(event.currentTarget.checked)}
            />
          )}
          {kind === 'recipient' && (
            <TextInput
              label="Recipient of the key"
              placeholder="age1…"
              value={secret}
              onChange={(event) => setSecret(event.currentTarget.value)}
              error={errorOf('recipient')}
              autoComplete="off"
              spellCheck={false}
            />
          )}
          {kind === 'passphrase' && (
            <PasswordInput
              label="Passphrase of the key"
              description="Four random words or more."
              value={secret}
              onChange={(event) => setSecret(event.currentTarget.value)}
              error={errorOf('passphrase')}
              autoComplete="new-password"
            />
          )}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={onClose} disabled={busy}>
              Cancel
            </Button>
            <Button type="submit" loading={busy}>
              Add key
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}

interface CeremonyProps {
  made: KeyPartsFragment;
  identity: string;
  onClose: () => void;
}

/** The identity is shown this once; the dialog ends only after it has been downloaded. */
function Ceremony({ made, identity, onClose }: CeremonyProps) {
  const [downloaded, setDownloaded] = useState(false);
  return (
    <Dialog title="Keep this identity" busy={!downloaded} onClose={onClose}>
      <Stack>
        <Alert color="orange" variant="light" icon={<IconAlertTriangle />} title="It is shown this once">
          Without it, no one opens the backups that are encrypted for {made.name}. Keep it away from this machine, such
          as in a password manager.
        </Alert>
        <Code block className="wrapped">
          {identity}
        </Code>
        <Text size="sm" c="dimmed" className="breakable">
          Recipient: {made.recipient}
        </Text>
        <Group justify="flex-end" gap="xs">
          <Button
            leftSection={<IconDownload size={16} />}
            onClick={() => {
              save(made, identity);
              setDownloaded(true);
            }}
          >
            Download identity
          </Button>
          <Button variant="default" disabled={!downloaded} onClick={onClose}>
            Done
          </Button>
        </Group>
      </Stack>
    </Dialog>
  );
}

/** Saves the identity as an age key file. */
function save({ name, recipient }: KeyPartsFragment, identity: string): void {
  const text = `# db-manager: ${name}\n# public key: ${recipient}\n${identity}\n`;
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
  link.download = `${name.replace(/[^\p{L}\p{N}-]+/gu, '-')}.txt`;
  link.click();
  URL.revokeObjectURL(link.href);
}
