import { Button, Checkbox, Group, Select, Stack, Text } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { AssignBackupDocument, ConfigNamesDocument } from '../../client/generated/graphql.js';
import { tellDone, useAction, useApi } from '../api.js';
import { type Belonging, titleOf } from '../words.js';
import { Dialog } from './dialog.js';
import { Answered, Empty, ProblemAlert } from './state.js';

interface AssignBackupProps {
  backup: Belonging & { id: string; createdAt: string };
  onDone?: () => void;
  onClose: () => void;
}

/** Stands for no config in the list of them. */
const NONE = 'none';

/** Files a backup under a config, or under none, in a dialog. */
export function AssignBackup({ backup, onDone, onClose }: AssignBackupProps) {
  const answer = useApi(ConfigNamesDocument, {});
  const assign = useAction(AssignBackupDocument, { quiet: true });
  const [chosen, setChosen] = useState<string | null>(null);
  const [same, setSame] = useState(false);
  const known = answer.data?.configs ?? [];
  const none = backup.config ? [{ value: NONE, label: 'No config' }] : [];
  const options = [...known.map(({ id, name }) => ({ value: id, label: name })), ...none];
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    event.stopPropagation();
    if (chosen === null || assign.busy) return;
    const configId = chosen === NONE ? null : chosen;
    if ((await assign.run({ id: backup.id, configId, sameApplication: configId !== null && same })) === null) return;
    tellDone(configId === null ? 'The backup has no config now.' : 'The backup was filed under the config.');
    onClose();
    onDone?.();
  };
  return (
    <Dialog title="File under a config" busy={assign.busy} onClose={onClose}>
      <Answered answer={answer} height={160}>
        {() =>
          options.length === 0 ? (
            <Empty title="There is no config yet">Use “Recover …” to make one from this backup.</Empty>
          ) : (
            <form onSubmit={(event) => void submit(event)}>
              <Stack>
                <Text size="sm" className="breakable">
                  {titleOf(backup)}
                </Text>
                <Select
                  label="Config"
                  placeholder="Choose a config"
                  data={options}
                  value={chosen}
                  onChange={setChosen}
                  allowDeselect={false}
                  searchable={options.length > 8}
                  limit={100}
                />
                {chosen !== NONE && (
                  <Checkbox
                    label="It is a backup of this config’s application"
                    description="Check this only if you are sure: the backup then counts as one of the config’s own and restores there without a further confirmation."
                    checked={same}
                    onChange={(event) => setSame(event.currentTarget.checked)}
                  />
                )}
                {assign.problem && <ProblemAlert problem={assign.problem} />}
                <Group justify="flex-end" gap="xs">
                  <Button variant="default" onClick={onClose} disabled={assign.busy}>
                    Cancel
                  </Button>
                  <Button type="submit" loading={assign.busy} disabled={chosen === null}>
                    File backup
                  </Button>
                </Group>
              </Stack>
            </form>
          )
        }
      </Answered>
    </Dialog>
  );
}
