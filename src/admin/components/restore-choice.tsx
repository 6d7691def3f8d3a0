import { Card, Checkbox, MultiSelect, Radio, Select, Stack, Text, TextInput, Title } from '@mantine/core';
import type { BackupPartsFragment, RestoreBackupInput, RowsMode } from '../../client/generated/graphql.js';
import type { Problem } from '../api.js';
import { count } from '../format.js';
import { IdentityInput } from './identity-retry.js';
import { MediaChoice } from './media-choice.js';
import { TextLink } from './page.js';

/** What is to be restored, and where to. */
export interface Choice {
  what: 'everything' | 'database' | 'media' | 'tables' | 'files';
  tables: string[];
  /** Which rows of the tables. */
  rows: RowsMode;
  /** A condition on the rows; empty for all. */
  where: string;
  withParents: boolean;
  /** Media files by their paths in the archive. */
  media: string[];
  includeRelated: boolean;
  mirrorMedia: boolean;
  rebuildIndexes: boolean;
  elsewhere: boolean;
  targetDatabaseUrl: string;
  targetMediaPath: string;
  overwrite: boolean;
  /** Opens an encrypted backup; empty: the keys that are held there do. */
  identity: string;
}

export const ALL: Choice = {
  what: 'everything',
  tables: [],
  rows: 'REPLACE',
  where: '',
  withParents: false,
  media: [],
  includeRelated: false,
  mirrorMedia: false,
  rebuildIndexes: false,
  elsewhere: false,
  targetDatabaseUrl: '',
  targetMediaPath: '',
  overwrite: false,
  identity: '',
};

/** The choice as the API takes it. */
export function inputOf(choice: Choice): Omit<RestoreBackupInput, 'backupId' | 'confirm'> {
  const { what, tables, media, mirrorMedia, elsewhere, targetDatabaseUrl, targetMediaPath, overwrite } = choice;
  const allMedia = what === 'everything' || what === 'media';
  return {
    restoreDatabase: what !== 'media' && what !== 'files',
    restoreMedia: allMedia || what === 'files',
    ...(what === 'tables' ? { tables, ...rowsOf(choice) } : {}),
    ...(what === 'files' ? { media } : {}),
    ...(choice.rebuildIndexes && (what === 'everything' || what === 'database') ? { rebuildIndexes: true } : {}),
    ...(allMedia && mirrorMedia ? { mediaMode: 'MIRROR' } : {}),
    ...(elsewhere ? { targetDatabaseUrl: targetDatabaseUrl.trim(), overwrite } : {}),
    ...(elsewhere && targetMediaPath.trim() !== '' ? { targetMediaPath: targetMediaPath.trim() } : {}),
    ...(choice.identity !== '' ? { identity: choice.identity } : {}),
  };
}

/** Which rows of the tables. */
function rowsOf({ rows, where, withParents, includeRelated, tables }: Choice) {
  if (rows === 'REPLACE') return { includeRelated };
  return { rows, withParents, ...(tables.length === 1 && where.trim() !== '' ? { where: where.trim() } : {}) };
}

/** Whether nothing that is held on the server opens the backup. */
export const needsIdentity = ({ encrypted, encryptionKeys }: BackupPartsFragment): boolean =>
  encrypted && !encryptionKeys.some(({ heldHere }) => heldHere);

const keysOf = ({ encryptionKeys }: BackupPartsFragment) =>
  encryptionKeys.length === 0 ? '' : ` for ${encryptionKeys.map(({ name }) => name).join(', ')}`;

/** What becomes of newer rows. */
const NEWER: Record<RowsMode, string> = {
  REPLACE: 'Newer rows are replaced as well.',
  MISSING: 'Rows that are gone come back. All that is newer stays.',
  CHANGED: 'Rows that differ are overwritten as well. Rows that are new stay.',
};

interface RestoreChoiceProps {
  backup: BackupPartsFragment;
  choice: Choice;
  setChoice: (choice: Choice) => void;
  problem: Problem | null;
}

/** Which part of the backup, and into which target. */
export function RestoreChoice({ backup, choice, setChoice, problem }: RestoreChoiceProps) {
  const change = (values: Partial<Choice>) => setChoice({ ...choice, ...values });
  const errorOf = (field: string) => (problem?.field === field ? problem.message : undefined);
  const { what, elsewhere } = choice;
  return (
    <Stack>
      {needsIdentity(backup) && (
        <Card withBorder>
          <IdentityInput
            description={`Opens this backup, which is encrypted${keysOf(backup)}. Used for this once and never kept.`}
            value={choice.identity}
            onChange={(identity) => change({ identity })}
            error={errorOf('identity')}
          />
        </Card>
      )}
      <Card withBorder>
        <Radio.Group
          label={
            <Title order={2} size="h4" component="span">
              Contents
            </Title>
          }
          value={what}
          onChange={(value) => change({ what: value as Choice['what'] })}
        >
          <Stack gap="sm" mt="sm">
            <Radio value="everything" label="Everything" description="The database and all media files" />
            <Radio value="database" label="Database" description="Media files are left unchanged" />
            <Radio
              value="media"
              label="Media files"
              description="The database is left unchanged"
              disabled={backup.mediaFileCount === 0}
            />
            <Radio
              value="tables"
              label="Selected tables"
              description="All other tables and the media files are left unchanged"
              disabled={backup.tables.length === 0}
            />
            <Radio
              value="files"
              label="Selected media files"
              description="All other media files and the database are left unchanged"
              disabled={backup.mediaFileCount === 0}
            />
          </Stack>
        </Radio.Group>
        {what === 'tables' && (
          <Stack gap="sm" mt="sm">
            <MultiSelect
              label="Tables"
              placeholder={choice.tables.length === 0 ? 'Choose tables' : undefined}
              data={backup.tables.map(({ name, rowCount }) => ({
                value: name,
                label: `${name} (${count(rowCount)})`,
              }))}
              value={choice.tables}
              onChange={(tables) => change({ tables })}
              searchable
              clearable
              limit={200}
              error={errorOf('tables')}
            />
            {backup.queryable && (
              <Select
                label="Rows"
                data={[
                  { value: 'REPLACE', label: 'All: replace the tables' },
                  { value: 'MISSING', label: 'Missing rows' },
                  { value: 'CHANGED', label: 'Missing and changed rows' },
                ]}
                value={choice.rows}
                onChange={(rows) => change({ rows: rows as RowsMode })}
                allowDeselect={false}
                description={NEWER[choice.rows]}
              />
            )}
            {choice.rows === 'REPLACE' ? (
              <Checkbox
                label="Include tables linked by foreign keys"
                checked={choice.includeRelated}
                onChange={(event) => change({ includeRelated: event.currentTarget.checked })}
              />
            ) : (
              <>
                {choice.tables.length === 1 && (
                  <TextInput
                    label="Condition"
                    description="In SQL, on the rows of the backup. For example, tenant_id = 5. If empty, all rows"
                    value={choice.where}
                    onChange={(event) => change({ where: event.currentTarget.value })}
                    error={errorOf('where')}
                    spellCheck={false}
                  />
                )}
                <Checkbox
                  label="Bring back missing rows that these refer to"
                  checked={choice.withParents}
                  onChange={(event) => change({ withParents: event.currentTarget.checked })}
                />
              </>
            )}
          </Stack>
        )}
        {what === 'files' && (
          <MediaChoice
            backupId={backup.id}
            identity={choice.identity === '' ? null : choice.identity}
            chosen={choice.media}
            setChosen={(media) => change({ media })}
            error={errorOf('media')}
          />
        )}
        {(what === 'everything' || what === 'media') && backup.mediaFileCount > 0 && (
          <Checkbox
            mt="md"
            label="Remove media files that are not in the backup"
            description="They are kept in the safety backup."
            checked={choice.mirrorMedia}
            onChange={(event) => change({ mirrorMedia: event.currentTarget.checked })}
          />
        )}
        {(what === 'everything' || what === 'database') && (
          <Checkbox
            mt="md"
            label="Rebuild indexes that are out of step"
            description="The backup's warnings name them."
            checked={choice.rebuildIndexes}
            onChange={(event) => change({ rebuildIndexes: event.currentTarget.checked })}
          />
        )}
      </Card>
      <Card withBorder>
        <Radio.Group
          label={
            <Title order={2} size="h4" component="span">
              Target
            </Title>
          }
          value={elsewhere ? 'elsewhere' : 'own'}
          onChange={(value) => change({ elsewhere: value === 'elsewhere' })}
        >
          <Stack gap="sm" mt="sm">
            <Radio
              value="own"
              label={backup.config ? `Original location: ${backup.config.name}` : 'Original location'}
              description={
                backup.config ? 'Replaces the application’s current data' : 'Not available: this backup has no config'
              }
              disabled={backup.config === null}
            />
            {!backup.config && (
              <Text size="sm">
                To bring the application back, use{' '}
                <TextLink href={`/recover/${backup.id}`}>Recover from an archive</TextLink>.
              </Text>
            )}
            <Radio value="elsewhere" label="Another location" description="For example, a copy to inspect" />
          </Stack>
        </Radio.Group>
        {elsewhere && (
          <Stack gap="sm" mt="sm">
            <TextInput
              label="Database"
              description="For example, sqlite:/srv/copy/db.sqlite3 or postgres://user:password@host:5432/copy"
              value={choice.targetDatabaseUrl}
              onChange={(event) => change({ targetDatabaseUrl: event.currentTarget.value })}
              error={errorOf('targetDatabaseUrl')}
              spellCheck={false}
            />
            {(what === 'everything' || what === 'media' || what === 'files') && (
              <TextInput
                label="Media folder"
                description="If empty, media files are not restored"
                value={choice.targetMediaPath}
                onChange={(event) => change({ targetMediaPath: event.currentTarget.value })}
                error={errorOf('targetMediaPath')}
                spellCheck={false}
              />
            )}
            <Checkbox
              label="Overwrite existing data"
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
