import { Button, Group, Select } from '@mantine/core';
import { IconDatabaseExport } from '@tabler/icons-react';
import { useState } from 'react';
import { AutoBackupDocument, type BackupPartsFragment, CreateBackupDocument } from '../../client/generated/graphql.js';
import { tellDone, useAction } from '../api.js';

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

/** Makes the backup that the schedule would make: of the type AUTO, with its retries and its place in the retention. */
export function RunScheduleNow({ configId, onAsked }: { configId: string; onAsked?: () => void }) {
  const auto = useAction(AutoBackupDocument);
  const run = async () => {
    if ((await auto.run({ configId })) === null) return;
    tellDone('The automatic backup has been asked for.');
    onAsked?.();
  };
  return (
    <Button variant="default" px="sm" loading={auto.busy} onClick={() => void run()}>
      Run the automatic backup now
    </Button>
  );
}
