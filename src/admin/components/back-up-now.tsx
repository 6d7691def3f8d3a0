import { Button, Group, Text } from '@mantine/core';
import { IconDatabaseExport } from '@tabler/icons-react';
import { useId } from 'react';
import { AutoBackupDocument, type BackupPartsFragment, CreateBackupDocument } from '../../client/generated/graphql.js';
import { tellDone, useAction } from '../api.js';
import { TextLink } from './page.js';

interface BackUpNowProps {
  config: { id: string; name: string };
  onAsked: (backup: BackupPartsFragment) => void;
}

/** One click makes a backup of a config. */
export function BackUpNow({ config, onAsked }: BackUpNowProps) {
  const create = useAction(CreateBackupDocument);
  const run = async () => {
    const answer = await create.run({ input: { configId: config.id } });
    if (answer !== null) onAsked(answer.createBackup);
  };
  return (
    <Button
      size="xs"
      leftSection={<IconDatabaseExport size={16} />}
      loading={create.busy}
      onClick={() => void run()}
      aria-description={config.name}
    >
      Back up now
    </Button>
  );
}

/**
 * Makes the backup that the schedule would make: of the type AUTO, with its retries and its place in the retention.
 * @param unsaved the form beside it shows other settings than the saved ones, which it would go by
 */
export function RunScheduleNow({ configId, unsaved }: { configId: string; unsaved: boolean }) {
  const auto = useAction(AutoBackupDocument);
  const reason = useId();
  const run = async () => {
    const answer = await auto.run({ configId });
    if (answer === null) return;
    tellDone(
      <>
        Automatic backup requested. <TextLink href={`/backups/${answer.autoBackup.id}`}>Show the run</TextLink>
      </>,
    );
  };
  return (
    <Group gap="sm">
      <Button
        variant="default"
        px="sm"
        loading={auto.busy}
        disabled={unsaved}
        aria-describedby={unsaved ? reason : undefined}
        onClick={() => void run()}
      >
        Run automatic backup now
      </Button>
      {unsaved && (
        <Text size="sm" c="dimmed" id={reason}>
          This uses the saved settings: save or discard your changes first.
        </Text>
      )}
    </Group>
  );
}
