import { Alert, Badge, Button, Group, Stack, Text } from '@mantine/core';
import { IconArchive } from '@tabler/icons-react';
import { useState } from 'react';
import { Link } from 'wouter';
import type { BackupPartsFragment, BackupType } from '../../client/generated/graphql.js';
import { applicationOf, type Belonging, isHomeless } from '../words.js';
import { AssignBackup } from './assign-backup.js';

/** Says that a backup has no config, or that its data is not known to be of its config's application. */
export function OriginBadge({ backup }: { backup: Pick<Belonging, 'config' | 'foreign'> }) {
  if (!isHomeless(backup)) return null;
  return (
    <Badge color={backup.config ? 'yellow' : 'gray'} variant="light" miw="max-content">
      {backup.config ? 'From another application' : 'No config'}
    </Badge>
  );
}

/** Where the data of a backup came from, as its archive says. */
export function originFacts({ origin }: Pick<Belonging, 'origin'>): [name: string, value: string][] {
  return [
    ['Application', origin?.config ?? 'Not stated in the archive'],
    ['Server', origin?.host ?? '–'],
    ['Its database', origin?.database ?? '–'],
    ['Its media folders', origin?.mediaPaths.length ? origin.mediaPaths.join(', ') : '–'],
  ];
}

/** Whether a backup can be filed under another config: a safety backup belongs to its restore. */
export const isAssignable = ({ backupType }: { backupType: BackupType }) => backupType !== 'SAFETY';

/** What to do with a backup that no config can just restore; nothing for any other. */
export function Homeless({ backup }: { backup: BackupPartsFragment }) {
  const [asked, setAsked] = useState(false);
  if (!isHomeless(backup)) return null;
  const { id, config } = backup;
  return (
    <Alert
      color={config ? 'yellow' : 'blue'}
      variant="light"
      icon={<IconArchive />}
      title={config ? 'This backup is from another application' : 'This backup has no config'}
    >
      <Stack gap="xs" align="flex-start">
        <Text size="sm" className="breakable">
          {sourceOf(backup)}
          {config
            ? ` It is filed under ${config.name}, but it does not count among the backups of that config, and restoring it there needs your confirmation.`
            : ' Recover its application here, or file it under a config.'}
        </Text>
        <Group gap="xs">
          <Button component={Link} href={`/recover/${id}`} size="xs">
            Recover …
          </Button>
          {isAssignable(backup) && (
            <Button size="xs" variant="default" onClick={() => setAsked(true)}>
              File under a config …
            </Button>
          )}
        </Group>
      </Stack>
      {asked && <AssignBackup backup={backup} onClose={() => setAsked(false)} />}
    </Alert>
  );
}

/** Whose data it is, as a sentence. */
function sourceOf(backup: Belonging): string {
  const { origin } = backup;
  if (!origin?.config)
    return `The archive does not say which application it was made of (database ${backup.databaseName}).`;
  const on = origin.host ? ` on ${origin.host}` : '';
  return `It was made of ${applicationOf(backup)}${on}${origin.database ? ` (${origin.database})` : ''}.`;
}
