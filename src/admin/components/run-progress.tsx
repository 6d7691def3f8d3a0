import { Group, Progress, Stack, Text } from '@mantine/core';
import type { BackupStatus, RestoreStatus } from '../../client/generated/graphql.js';
import { duration, size } from '../format.js';
import { useLiveBackup, useLiveRestore, useLiveVerification } from '../live.js';
import { phaseOf } from '../words.js';

/** What is shown of a run under way. */
interface RunUnderWay {
  id: string;
  status: BackupStatus | RestoreStatus;
  progress: number;
  phase?: string | null;
  bytesDone?: number | null;
  bytesTotal?: number | null;
  bytesPerSecond?: number | null;
  secondsLeft?: number | null;
}

/** A backup under way, live. */
export function BackupProgress({ run, onEnd }: { run: RunUnderWay; onEnd?: () => void }) {
  return <ProgressBar run={useLiveBackup(run.id, onEnd) ?? run} label="Backup" />;
}

/** A restore under way, live. */
export function RestoreProgress({ run, onEnd }: { run: RunUnderWay; onEnd?: () => void }) {
  return <ProgressBar run={useLiveRestore(run.id, onEnd) ?? run} label="Restore" />;
}

/** A verification under way, live. */
export function VerificationProgress({ run, onEnd }: { run: RunUnderWay; onEnd?: () => void }) {
  return <ProgressBar run={useLiveVerification(run.id, onEnd) ?? run} label="Verification" />;
}

/** Percent, phase, bytes, speed and time left, each where it is known. */
function ProgressBar({ run, label }: { run: RunUnderWay; label: string }) {
  const percent = Math.floor(run.progress * 100);
  const phase = run.status === 'PENDING' ? 'Waiting for a worker' : run.phase ? phaseOf(run.phase) : 'Beginning';
  const numbers = [bytes(run), speed(run), left(run)].filter((part) => part !== null);
  return (
    <Stack gap={4} data-testid={`progress-${run.id}`}>
      <Group justify="space-between" gap="xs" wrap="nowrap">
        <Text size="sm">{phase} …</Text>
        <Text size="sm" fw={600} className="exact">
          {percent} %
        </Text>
      </Group>
      <Progress.Root size="lg">
        <Progress.Section value={percent} animated aria-label={`${label}: ${phase}`} />
      </Progress.Root>
      {/* Always there, so that nothing below moves when the numbers come and go. */}
      <Text size="xs" c="dimmed" mih={18}>
        {numbers.join(' · ')}
      </Text>
    </Stack>
  );
}

function bytes({ bytesDone, bytesTotal }: RunUnderWay): string | null {
  if (bytesDone === null || bytesDone === undefined) return null;
  return bytesTotal === null || bytesTotal === undefined
    ? size(bytesDone)
    : `${size(bytesDone)} of ${size(bytesTotal)}`;
}

const speed = ({ bytesPerSecond }: RunUnderWay) => (bytesPerSecond ? `${size(bytesPerSecond)}/s` : null);

const left = ({ secondsLeft }: RunUnderWay) =>
  secondsLeft === null || secondsLeft === undefined ? null : `about ${duration(Math.max(1, secondsLeft))} left`;
