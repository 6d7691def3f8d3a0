import { Center, Paper, Stack, Text, Title } from '@mantine/core';
import { OfflineBanner } from '../components/page.js';
import { SignInForm } from '../components/sign-in-form.js';

/** The page for users who are not signed in. */
export function SignIn() {
  return (
    <Center component="main" mih="100dvh" p="md">
      <title>Sign in · db-manager</title>
      <Paper withBorder p="xl" w="100%" maw={420}>
        <Stack>
          <div>
            <Title order={1} size="h2">
              db-manager
            </Title>
            <Text c="dimmed">Backups of your databases and media</Text>
          </div>
          <OfflineBanner />
          <SignInForm />
          <Text size="xs" c="dimmed">
            The first start printed an e-mail address and a password in the server’s terminal. To set a new password,
            run <code>npx db-manager password</code> followed by the e-mail address on the server.
          </Text>
        </Stack>
      </Paper>
    </Center>
  );
}
