import { Badge, Button, Card, Group, PasswordInput, Stack, Table, Text, Title } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import {
  ChangePasswordDocument,
  RemoveUserDocument,
  UsersDocument,
  type UsersQuery,
} from '../../client/generated/graphql.js';
import { tellDone, useAction, useApi } from '../api.js';
import { ApiTokens } from '../components/api-tokens.js';
import { Confirm } from '../components/confirm.js';
import { PageHead } from '../components/page.js';
import { EVERY } from '../components/paged-list.js';
import { plainMessage } from '../components/setting.js';
import { Answered, ProblemAlert } from '../components/state.js';
import { signIn, signOut, useSession } from '../session.js';

type Row = UsersQuery['users'][number];

/** The own password, everyone who can sign in, and the tokens of programs. */
export default function Users() {
  const answer = useApi(UsersDocument, {}, { every: EVERY });
  const { session } = useSession();
  return (
    <>
      <PageHead title="Users" />
      <Stack>
        <Answered answer={answer}>
          {({ users }) => (
            <>
              {users.some(({ email }) => email === session?.email) && <Password email={session?.email ?? ''} />}
              <UserTable users={users} self={session?.email ?? ''} />
            </>
          )}
        </Answered>
        <ApiTokens />
      </Stack>
    </>
  );
}

function Password({ email }: { email: string }) {
  const change = useAction(ChangePasswordDocument, { quiet: true });
  const [current, setCurrent] = useState('');
  const [next, setNext] = useState('');
  const [repeated, setRepeated] = useState('');
  const [differs, setDiffers] = useState(false);
  const { problem } = change;
  const errorOf = (field: string) => (problem?.field === field ? plainMessage(problem) : undefined);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setDiffers(next !== repeated);
    if (next !== repeated || change.busy) return;
    const done = await change.run({ currentPassword: current, newPassword: next });
    if (done === null) return;
    const { token, user } = done.changePassword;
    // The old token works no more.
    signIn({ token, email: user.email });
    for (const set of [setCurrent, setNext, setRepeated]) set('');
    tellDone('Your password was changed. All other sessions were signed out.');
  };
  return (
    <Card withBorder component="section" aria-label="Your password">
      <Title order={2} size="h4" mb="sm">
        Your password
      </Title>
      <form onSubmit={(event) => void submit(event)}>
        <Stack maw={420}>
          {problem && problem.field === undefined && <ProblemAlert problem={problem} />}
          {/* For password managers: whose password it is. */}
          <input type="text" name="username" autoComplete="username" value={email} readOnly hidden />
          <PasswordInput
            label="Current password"
            autoComplete="current-password"
            value={current}
            onChange={(event) => setCurrent(event.currentTarget.value)}
            error={errorOf('currentPassword')}
            required
            withAsterisk={false}
          />
          <PasswordInput
            label="New password"
            description="At least 12 characters"
            autoComplete="new-password"
            value={next}
            onChange={(event) => setNext(event.currentTarget.value)}
            error={errorOf('newPassword')}
            required
            withAsterisk={false}
          />
          <PasswordInput
            label="Repeat new password"
            autoComplete="new-password"
            value={repeated}
            onChange={(event) => setRepeated(event.currentTarget.value)}
            error={differs && next !== repeated ? 'The passwords do not match.' : undefined}
            required
            withAsterisk={false}
          />
          <Group>
            <Button type="submit" loading={change.busy}>
              Change password
            </Button>
          </Group>
        </Stack>
      </form>
    </Card>
  );
}

function UserTable({ users, self }: { users: Row[]; self: string }) {
  const [asked, setAsked] = useState<Row | null>(null);
  const admins = users.filter(({ role }) => role === 'ADMIN').length;
  return (
    <Card withBorder p={0} component="section" aria-label="All users">
      <Table verticalSpacing="xs">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>User</Table.Th>
            <Table.Th>Role</Table.Th>
            <Table.Th>
              <span className="spoken">Actions</span>
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {users.map((user) => (
            <Table.Tr key={user.id}>
              <Table.Td>
                <Group gap="xs">
                  <Text size="sm" className="breakable">
                    {user.email}
                  </Text>
                  {user.email === self && (
                    <Badge color="gray" variant="light" miw="max-content">
                      You
                    </Badge>
                  )}
                </Group>
              </Table.Td>
              <Table.Td>{user.role === 'ADMIN' ? 'Admin' : 'User'}</Table.Td>
              <Table.Td ta="right">
                {user.role === 'ADMIN' && admins === 1 ? (
                  <Text size="xs" c="dimmed">
                    Last admin
                  </Text>
                ) : (
                  <Button
                    size="xs"
                    color="red"
                    variant="light"
                    aria-label={`Remove ${user.email}`}
                    onClick={() => setAsked(user)}
                  >
                    Remove …
                  </Button>
                )}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {asked && <Removal user={asked} self={asked.email === self} onClose={() => setAsked(null)} />}
    </Card>
  );
}

function Removal({ user, self, onClose }: { user: Row; self: boolean; onClose: () => void }) {
  const remove = useAction(RemoveUserDocument);
  const confirm = async () => {
    const done = await remove.run({ id: user.id });
    onClose();
    if (done === null) return;
    if (self) signOut();
    else tellDone(`${user.email} was removed.`);
  };
  return (
    <Confirm
      title={self ? 'Remove your own account?' : 'Remove this user?'}
      label="Remove user"
      typed={self ? user.email : undefined}
      busy={remove.busy}
      onConfirm={() => void confirm()}
      onClose={onClose}
    >
      <Text size="sm" className="breakable">
        {self ? (
          'You are signed out at once and cannot sign in again.'
        ) : (
          <>
            <b>{user.email}</b> is signed out at once and cannot sign in again.
          </>
        )}{' '}
        What this user did stays in the activity log.
      </Text>
    </Confirm>
  );
}
