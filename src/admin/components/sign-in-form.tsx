import { Button, Modal, PasswordInput, Stack, Text, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { LoginDocument } from '../../client/generated/graphql.js';
import { useAction } from '../api.js';
import { signIn, signOut } from '../session.js';
import { ProblemAlert } from './state.js';

/** E-mail and password, and what is wrong with them. */
export function SignInForm({ knownEmail }: { knownEmail?: string }) {
  const [email, setEmail] = useState(knownEmail ?? '');
  const [password, setPassword] = useState('');
  const login = useAction(LoginDocument, { quiet: true, harmless: true });
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const answer = await login.run({ email, password });
    if (answer === null) return;
    const { token, user } = answer.login;
    signIn({ token, email: user.email });
  };
  return (
    <form onSubmit={(event) => void submit(event)}>
      <Stack>
        {login.problem && <ProblemAlert problem={login.problem} />}
        <TextInput
          label="E-mail"
          type="email"
          autoComplete="username"
          required
          withAsterisk={false}
          data-autofocus={knownEmail === undefined || undefined}
          value={email}
          onChange={(event) => setEmail(event.currentTarget.value)}
        />
        <PasswordInput
          label="Password"
          autoComplete="current-password"
          required
          withAsterisk={false}
          data-autofocus={knownEmail !== undefined || undefined}
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
        />
        <Button type="submit" loading={login.busy}>
          Sign in
        </Button>
      </Stack>
    </form>
  );
}

/** Over the page, which keeps what was typed, when the session has ended. */
export function SignInAgain({ email }: { email: string }) {
  return (
    <Modal
      opened
      onClose={signOut}
      title="Your session has ended"
      centered
      withCloseButton={false}
      closeOnEscape={false}
      closeOnClickOutside={false}
    >
      <Text size="sm" mb="md">
        Sign in again to continue. Nothing you have typed is lost.
      </Text>
      <SignInForm knownEmail={email} />
      <Button variant="subtle" fullWidth mt="xs" onClick={signOut}>
        Sign out and discard changes
      </Button>
    </Modal>
  );
}
