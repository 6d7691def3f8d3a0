import { Button, Group, Select, Text } from '@mantine/core';
import { IconDatabaseExport } from '@tabler/icons-react';
import { useId, useState } from 'react';
import { AutoBackupDocument, type BackupPartsFragment, CreateBackupDocument } from '../../client/generated/graphql.js';
import { tellDone, useAction } from '../api.js';
import { TextLink } from './text-link.js';

interface BackUpNowProps {
  configs: { id: string; name: string }[];
  onAsked: (backup: BackupPartsFragment) => void;
}

/** One click makes a backup; where there are several configs, of the one that is chosen. */
export function BackUpNow({ configs, onAsked }: BackUpNowProps) {
  const [chosen, setChosen] = useState<string | null>(null);
  const create = useAction(CreateBackupDocument);
  const configId = chosen ?? configs[0]?.id;
  const run = async () => {
    const answer = await create.run({ input: { configId } });
    if (answer !== null) onAsked(answer.createBackup);
  };
  return (
    <Group gap="xs" wrap="nowrap">
      {configs.length > 1 && (
        <Select
          aria-label="Config to back up"
          data={configs.map(({ id, name }) => ({ value: id, label: name }))}
          value={configId ?? null}
          onChange={setChosen}
          allowDeselect={false}
          searchable={configs.length > 8}
          limit={100}
        />
      )}
      <Button
        leftSection={<IconDatabaseExport size={18} />}
        loading={create.busy}
        disabled={configId === undefined}
        onClick={() => void run()}
      >
        Back up now
      </Button>
    </Group>
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
        The automatic backup has been asked for.{' '}
        <TextLink href={`/backups/${answer.autoBackup.id}`}>Look at its run</TextLink>
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
        Run the automatic backup now
      </Button>
      {unsaved && (
        <Text size="sm" c="dimmed" id={reason}>
          It goes by what is saved: save or discard the changes first.
        </Text>
      )}
    </Group>
  );
}
