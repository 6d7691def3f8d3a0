import { Card, Checkbox, MultiSelect, Radio, Stack, Text, TextInput, Title } from '@mantine/core';
import type { BackupPartsFragment, RestoreBackupInput } from '../../client/generated/graphql.js';
import type { Problem } from '../api.js';
import { count } from '../format.js';

/** What somebody wants restored, and where to. */
export interface Choice {
  what: 'everything' | 'database' | 'media' | 'tables';
  tables: string[];
  includeRelated: boolean;
  mirrorMedia: boolean;
  elsewhere: boolean;
  targetDatabaseUrl: string;
  targetMediaPath: string;
  overwrite: boolean;
}

export const ALL: Choice = {
  what: 'everything',
  tables: [],
  includeRelated: false,
  mirrorMedia: false,
  elsewhere: false,
  targetDatabaseUrl: '',
  targetMediaPath: '',
  overwrite: false,
};

/** The choice as the API takes it. */
export function inputOf(choice: Choice): Omit<RestoreBackupInput, 'backupId' | 'confirm'> {
  const { what, tables, includeRelated, mirrorMedia, elsewhere, targetDatabaseUrl, targetMediaPath, overwrite } =
    choice;
  const media = what === 'everything' || what === 'media';
  return {
    restoreDatabase: what !== 'media',
    restoreMedia: media,
    ...(what === 'tables' ? { tables, includeRelated } : {}),
    ...(media && mirrorMedia ? { mediaMode: 'MIRROR' } : {}),
    ...(elsewhere ? { targetDatabaseUrl: targetDatabaseUrl.trim(), overwrite } : {}),
    ...(elsewhere && targetMediaPath.trim() !== '' ? { targetMediaPath: targetMediaPath.trim() } : {}),
  };
}

interface RestoreChoiceProps {
  backup: BackupPartsFragment;
  choice: Choice;
  setChoice: (choice: Choice) => void;
  problem: Problem | null;
}

/** Which part of the backup, and into which place. */
export function RestoreChoice({ backup, choice, setChoice, problem }: RestoreChoiceProps) {
  const change = (values: Partial<Choice>) => setChoice({ ...choice, ...values });
  const errorOf = (field: string) => (problem?.field === field ? problem.message : undefined);
  const { what, elsewhere } = choice;
  return (
    <Stack>
      <Card withBorder>
        <Radio.Group
          label={
            <Title order={2} size="h4" component="span">
              What
            </Title>
          }
          value={what}
          onChange={(value) => change({ what: value as Choice['what'] })}
        >
          <Stack gap="sm" mt="sm">
            <Radio value="everything" label="Everything" description="The database and the media files" />
            <Radio value="database" label="The database" description="Media files stay as they are" />
            <Radio
              value="media"
              label="The media files"
              description="The database stays as it is"
              disabled={backup.mediaFileCount === 0}
            />
            <Radio
              value="tables"
              label="Some tables"
              description="All other tables and the media stay as they are"
              disabled={backup.tables.length === 0}
            />
          </Stack>
        </Radio.Group>
        {what === 'tables' && (
          <Stack gap="sm" mt="sm">
            <MultiSelect
              label="Tables"
              placeholder={choice.tables.length === 0 ? 'Choose tables' : undefined}
              data={backup.tables.map(({ name, rowCount }) => ({ value: name, label: `${name} (${count(rowCount)})` }))}
              value={choice.tables}
              onChange={(tables) => change({ tables })}
              searchable
              clearable
              limit={200}
              error={errorOf('tables')}
            />
            <Checkbox
              label="Also the tables that belong to them by foreign keys"
              checked={choice.includeRelated}
              onChange={(event) => change({ includeRelated: event.currentTarget.checked })}
            />
          </Stack>
        )}
        {(what === 'everything' || what === 'media') && backup.mediaFileCount > 0 && (
          <Checkbox
            mt="md"
            label="Remove media files that the backup does not hold"
            description="They are kept in the safety backup. If this is off, they stay."
            checked={choice.mirrorMedia}
            onChange={(event) => change({ mirrorMedia: event.currentTarget.checked })}
          />
        )}
      </Card>
      <Card withBorder>
        <Radio.Group
          label={
            <Title order={2} size="h4" component="span">
              Where to
            </Title>
          }
          value={elsewhere ? 'elsewhere' : 'own'}
          onChange={(value) => change({ elsewhere: value === 'elsewhere' })}
        >
          <Stack gap="sm" mt="sm">
            <Radio
              value="own"
              label={backup.config ? `In place: ${backup.config.name}` : 'In place'}
              description={backup.config ? 'The application sees the old state at once' : 'Its config was deleted'}
              disabled={backup.config === null}
            />
            <Radio value="elsewhere" label="Another place" description="A copy to look at, or another server" />
          </Stack>
        </Radio.Group>
        {elsewhere && (
          <Stack gap="sm" mt="sm">
            <TextInput
              label="Database"
              description="Such as sqlite:/srv/copy/db.sqlite3"
              value={choice.targetDatabaseUrl}
              onChange={(event) => change({ targetDatabaseUrl: event.currentTarget.value })}
              error={errorOf('targetDatabaseUrl')}
              spellCheck={false}
            />
            {(what === 'everything' || what === 'media') && (
              <TextInput
                label="Folder for the media"
                description="Without one, media are not restored there"
                value={choice.targetMediaPath}
                onChange={(event) => change({ targetMediaPath: event.currentTarget.value })}
                error={errorOf('targetMediaPath')}
                spellCheck={false}
              />
            )}
            <Checkbox
              label="Something may be there already: replace it"
              checked={choice.overwrite}
              onChange={(event) => change({ overwrite: event.currentTarget.checked })}
            />
          </Stack>
        )}
        {problem && problem.field === undefined && elsewhere && (
          <Text size="sm" c="red" mt="xs">
            {problem.message}
          </Text>
        )}
      </Card>
    </Stack>
  );
}
