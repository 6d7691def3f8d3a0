import { Button, Card, Group, Progress, Stack, Text, VisuallyHidden } from '@mantine/core';
import { IconCircleCheck, IconHourglass } from '@tabler/icons-react';
import { duration, size } from '../format.js';
import { dropUpload, isWaiting, retryUpload, type Upload, type UploadState } from '../uploads.js';
import { applicationOf, isHomeless } from '../words.js';
import { IdentityRetry, isOfTheKey } from './identity-retry.js';
import { OriginBadge } from './origin.js';
import { TextLink } from './page.js';
import { ProblemAlert } from './state.js';

const STATE: Record<UploadState, string> = {
  waiting: 'Waiting',
  sending: 'Uploading',
  sent: 'Sent. The server is verifying and storing it …',
  done: 'Uploaded and verified',
  failed: 'Failed',
};

/** Each file with what becomes of it. */
export function UploadList({ uploads }: { uploads: readonly Upload[] }) {
  return (
    <Stack component="ul" gap="sm" p={0} m={0} className="plain-list">
      {uploads.map((upload) => (
        <Card key={upload.id} component="li" withBorder data-testid={upload.file.name}>
          <UploadCard upload={upload} />
        </Card>
      ))}
    </Stack>
  );
}

function UploadCard({ upload }: { upload: Upload }) {
  const { id, file, config, state, backup, problem } = upload;
  return (
    <Stack gap="xs">
      <Group justify="space-between" wrap="nowrap" align="flex-start">
        <VisuallyHidden role="status">
          {file.name}: {backup?.errorMessage ? 'Stored, but not complete' : STATE[state]}
        </VisuallyHidden>
        <div>
          <Text fw={600} className="breakable">
            {file.name}
          </Text>
          <Text size="sm" c="dimmed" className="breakable">
            {size(file.size)}
            {config !== null && ` · for ${config.name}`}
          </Text>
        </div>
        <Button variant="default" size="xs" onClick={() => dropUpload(id)} style={{ flexShrink: 0 }}>
          {isWaiting(upload) ? 'Cancel' : 'Remove from list'}
          <VisuallyHidden> {file.name}</VisuallyHidden>
        </Button>
      </Group>
      {(state === 'sending' || state === 'sent') && <Sending upload={upload} />}
      {state === 'waiting' && <Text size="sm">{STATE.waiting}</Text>}
      {state === 'done' && backup && <Stored backup={backup} />}
      {problem && <ProblemAlert problem={problem} retry={isFinal(problem.code) ? undefined : () => retryUpload(id)} />}
      {isOfTheKey(problem) && <IdentityRetry onTry={(identity) => retryUpload(id, identity)} />}
    </Stack>
  );
}

/** What became of it: the config that it is filed under, or the way to recover its application. */
function Stored({ backup }: { backup: NonNullable<Upload['backup']> }) {
  const { id, config, errorMessage, errorHint } = backup;
  const waits = errorMessage !== null;
  return (
    <Stack gap={4}>
      <Group gap="xs">
        {waits ? (
          <IconHourglass size={20} color="var(--mantine-color-orange-text)" aria-hidden />
        ) : (
          <IconCircleCheck size={20} color="var(--mantine-color-teal-text)" aria-hidden />
        )}
        <Text size="sm" className="breakable">
          {waits ? `Stored, but not complete. ${errorMessage} ${errorHint ?? ''}` : `${STATE.done}.`}
        </Text>
        <TextLink href={`/backups/${id}`} size="sm">
          Show backup
        </TextLink>
        {isHomeless(backup) && (
          <TextLink href={`/recover/${id}`} size="sm">
            Recover …
          </TextLink>
        )}
      </Group>
      <Group gap="xs">
        <Text size="sm" c="dimmed" className="breakable">
          {config ? `Filed under ${config.name}` : `Backup of ${applicationOf(backup)}`}
        </Text>
        <OriginBadge backup={backup} />
      </Group>
    </Stack>
  );
}

/** The same file would be refused again. */
const isFinal = (code: string) => /^(ARCHIVE_|ENCRYPTION_KEY_|BAD_USER_INPUT$|PAYLOAD_TOO_LARGE$)/.test(code);

function Sending({ upload }: { upload: Upload }) {
  const { file, sent, bytesPerSecond, state } = upload;
  const percent = Math.floor((sent / Math.max(1, file.size)) * 100);
  const numbers = [`${size(sent)} of ${size(file.size)}`];
  if (bytesPerSecond > 0 && state === 'sending') {
    const left = Math.max(1, (file.size - sent) / bytesPerSecond);
    numbers.push(`${size(bytesPerSecond)}/s`, `about ${duration(left)} left`);
  }
  return (
    <Stack gap={4}>
      <Group justify="space-between" gap="xs" wrap="nowrap">
        <Text size="sm">{STATE[state]}</Text>
        <Text size="sm" fw={600} className="exact">
          {percent} %
        </Text>
      </Group>
      <Progress.Root size="lg">
        <Progress.Section value={percent} animated aria-label={`${file.name}: ${STATE[state]}`} />
      </Progress.Root>
      <Text size="xs" c="dimmed" mih={18}>
        {numbers.join(' · ')}
      </Text>
    </Stack>
  );
}
