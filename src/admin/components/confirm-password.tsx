import { Button, Group, PasswordInput, Stack, Text } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { ConfirmPasswordDocument } from '../../client/generated/graphql.js';
import { useAction } from '../api.js';
import { endAsking } from '../confirmation.js';
import { Dialog } from './dialog.js';
import { ProblemAlert } from './state.js';

/** Asks for the password again, in front of whatever is to be deleted or restored, which then goes on by itself. */
export function ConfirmPassword({ email }: { email: string }) {
  const [password, setPassword] = useState('');
  const confirm = useAction(ConfirmPasswordDocument, { quiet: true, harmless: true });
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    event.stopPropagation();
    const answer = await confirm.run({ password });
    if (answer !== null) endAsking(answer.confirmPassword.token);
  };
  return (
    <Dialog title="Confirm with your password" busy={confirm.busy} onClose={() => endAsking(null)}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          <Text size="sm">
            This server asks for it before anything is deleted or restored. It then holds for 5 minutes.
          </Text>
          {confirm.problem && <ProblemAlert problem={confirm.problem} />}
          <input type="hidden" name="username" autoComplete="username" value={email} />
          <PasswordInput
            label="Password"
            autoComplete="current-password"
            required
            withAsterisk={false}
            data-autofocus
            value={password}
            onChange={(event) => setPassword(event.currentTarget.value)}
          />
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={() => endAsking(null)} disabled={confirm.busy}>
              Cancel
            </Button>
            <Button type="submit" loading={confirm.busy}>
              Confirm
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
