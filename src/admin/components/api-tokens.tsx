import {
  Alert,
  Button,
  Card,
  Checkbox,
  Code,
  CopyButton,
  Group,
  Select,
  Stack,
  Table,
  Text,
  TextInput,
  Title,
} from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { type FormEvent, useState } from 'react';
import {
  type ApiTokenPartsFragment,
  type ApiTokenScope,
  ApiTokensDocument,
  CreateApiTokenDocument,
  RevokeApiTokenDocument,
} from '../../client/generated/graphql.js';
import { useAction, useApi } from '../api.js';
import { moment } from '../format.js';
import { SCOPE } from '../words.js';
import { Removal } from './removal.js';
import { Dialog } from './dialog.js';
import { EVERY } from './paged-list.js';
import { errorText } from './setting.js';
import { Answered, ProblemAlert } from './state.js';

/** How long a new token may be used, in days. */
const LIFETIMES = [
  { value: '30', label: '30 days' },
  { value: '90', label: '90 days' },
  { value: '365', label: 'A year' },
  { value: '', label: 'Until it is revoked' },
];
const DAY = 86_400_000;

/** The tokens that programs use in place of a login. */
export function ApiTokens() {
  const answer = useApi(ApiTokensDocument, {}, { every: EVERY });
  const [adding, setAdding] = useState(false);
  return (
    <Card withBorder component="section" aria-label="API tokens">
      <Group justify="space-between" mb="sm">
        <Title order={2} size="h4">
          API tokens
        </Title>
        <Button size="xs" leftSection={<IconPlus size={16} />} onClick={() => setAdding(true)}>
          Add token
        </Button>
      </Group>
      <Answered answer={answer}>
        {({ apiTokens }) =>
          apiTokens.length === 0 ? (
            <Text size="sm" c="dimmed">
              None yet. A program that makes or looks at backups uses a token in place of your password.
            </Text>
          ) : (
            <TokenTable tokens={apiTokens} onChanged={answer.refresh} />
          )
        }
      </Answered>
      {adding && <TokenForm onMade={answer.refresh} onClose={() => setAdding(false)} />}
    </Card>
  );
}

function TokenTable({ tokens, onChanged }: { tokens: ApiTokenPartsFragment[]; onChanged: () => void }) {
  const [asked, setAsked] = useState<ApiTokenPartsFragment | null>(null);
  const remove = useAction(RevokeApiTokenDocument);
  return (
    <>
      <Table.ScrollContainer minWidth={560}>
        <Table verticalSpacing="xs">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Token</Table.Th>
              <Table.Th>May</Table.Th>
              <Table.Th>Last used</Table.Th>
              <Table.Th>Expires</Table.Th>
              <Table.Th>
                <span className="spoken">Actions</span>
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {tokens.map((token) => (
              <Table.Tr key={token.id}>
                <Table.Td>
                  <Text size="sm" fw={600} className="breakable">
                    {token.name}
                  </Text>
                  <Text size="xs" c="dimmed" className="breakable">
                    By {token.createdBy}
                  </Text>
                </Table.Td>
                <Table.Td>{token.scopes.map((scope) => SCOPE[scope].label).join(', ')}</Table.Td>
                <Table.Td>{token.lastUsedAt ? moment(token.lastUsedAt) : 'Never'}</Table.Td>
                <Table.Td>{token.expiresAt ? moment(token.expiresAt) : 'Never'}</Table.Td>
                <Table.Td ta="right">
                  <Button
                    size="xs"
                    color="red"
                    variant="light"
                    aria-label={`Revoke ${token.name}`}
                    onClick={() => setAsked(token)}
                  >
                    Revoke …
                  </Button>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {asked && (
        <Removal
          noun="token"
          verb="Revoke"
          item={asked}
          action={remove}
          onChanged={onChanged}
          onClose={() => setAsked(null)}
        >
          Programs that use <b>{asked.name}</b> are refused at once.
        </Removal>
      )}
    </>
  );
}

/** Makes a token, which stays on the screen until the dialog is closed. */
function TokenForm({ onMade, onClose }: { onMade: () => void; onClose: () => void }) {
  const [name, setName] = useState('');
  const [scopes, setScopes] = useState<ApiTokenScope[]>([]);
  const [days, setDays] = useState('90');
  const [made, setMade] = useState<string | null>(null);
  const create = useAction(CreateApiTokenDocument, { quiet: true });
  const { busy, problem } = create;
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (busy) return;
    const expiresAt = days === '' ? null : new Date(Date.now() + Number(days) * DAY).toISOString();
    const done = await create.run({ input: { name, scopes, expiresAt } });
    if (done === null) return;
    setMade(done.createApiToken.token);
    onMade();
  };
  if (made !== null) return <Shown token={made} onClose={onClose} />;
  const errorOf = (field: string) => (problem?.field === field ? errorText(problem) : undefined);
  return (
    <Dialog title="Add token" busy={busy} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <Stack>
          {problem && !['name', 'scopes'].includes(problem.field ?? '') && <ProblemAlert problem={problem} />}
          <TextInput
            label="Name"
            description="What uses it, such as Deployment"
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            error={errorOf('name')}
            maxLength={100}
            required
            withAsterisk={false}
            data-autofocus
          />
          <Checkbox.Group
            label="It may"
            description="None includes another."
            value={scopes}
            onChange={(chosen) => setScopes(chosen as ApiTokenScope[])}
            error={errorOf('scopes')}
          >
            <Stack gap="xs" mt="xs">
              {(Object.keys(SCOPE) as ApiTokenScope[]).map((scope) => (
                <Checkbox key={scope} value={scope} label={SCOPE[scope].label} description={SCOPE[scope].about} />
              ))}
            </Stack>
          </Checkbox.Group>
          <Select
            label="Expires after"
            data={LIFETIMES}
            value={days}
            onChange={(chosen) => setDays(chosen ?? '')}
            allowDeselect={false}
          />
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={onClose} disabled={busy}>
              Cancel
            </Button>
            <Button type="submit" loading={busy} disabled={name.trim() === '' || scopes.length === 0}>
              Add token
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}

function Shown({ token, onClose }: { token: string; onClose: () => void }) {
  return (
    <Dialog title="Copy the token now" onClose={onClose}>
      <Stack>
        <Alert color="yellow">It is not shown again. Whoever has it may do what you chose.</Alert>
        <Code block aria-label="API token" className="breakable">
          {token}
        </Code>
        <Group justify="flex-end" gap="xs">
          <CopyButton value={token}>
            {({ copied, copy }) => (
              <Button variant="default" onClick={copy}>
                {copied ? 'Copied' : 'Copy'}
              </Button>
            )}
          </CopyButton>
          <Button onClick={onClose}>I have it</Button>
        </Group>
      </Stack>
    </Dialog>
  );
}
