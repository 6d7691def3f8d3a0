import { Alert, Badge, Button, List, Stack, Text } from '@mantine/core';
import { useState } from 'react';
import { AcknowledgeAnomaliesDocument, type BackupPartsFragment } from '../../client/generated/graphql.js';
import { tellDone, useAction } from '../api.js';
import { moment } from '../format.js';
import { isStored } from '../words.js';
import { Confirm } from './confirm.js';

type Unlike = Pick<BackupPartsFragment, 'status' | 'anomaliesAcknowledgedAt'> & { anomalies: readonly object[] };

/** Whether a backup is unlike those before it, and no one has said that this is right. */
export const isSuspicious = (backup: Unlike) =>
  isStored(backup) && backup.anomalies.length > 0 && !backup.anomaliesAcknowledgedAt;

/** Marks a suspicious backup; nothing for any other. */
export function SuspiciousBadge({ backup }: { backup: Unlike }) {
  if (!isSuspicious(backup)) return null;
  return (
    <Badge color="orange" variant="light" miw="max-content">
      Suspicious
    </Badge>
  );
}

/** How a backup is unlike those before it, and the button that says that this is right; nothing if it is not. */
export function Anomalies({ backup, refresh }: { backup: BackupPartsFragment; refresh: () => void }) {
  const [asked, setAsked] = useState(false);
  const acknowledge = useAction(AcknowledgeAnomaliesDocument);
  const { id, anomalies, anomaliesAcknowledgedAt } = backup;
  if (anomalies.length === 0 || !isStored(backup)) return null;
  const open = isSuspicious(backup);
  const confirm = async () => {
    if ((await acknowledge.run({ id })) !== null) tellDone('The anomalies are acknowledged.');
    setAsked(false);
    refresh();
  };
  return (
    <Alert
      color={open ? 'orange' : 'gray'}
      variant="light"
      title={open ? 'This backup is unlike those before it' : 'Anomalies, acknowledged'}
    >
      <Stack gap="xs" align="flex-start">
        <List size="sm">
          {anomalies.map(({ code, table, message }) => (
            <List.Item key={`${code} ${table ?? ''}`}>{message}</List.Item>
          ))}
        </List>
        {anomaliesAcknowledgedAt ? (
          <Text size="sm">Acknowledged: {moment(anomaliesAcknowledgedAt)}.</Text>
        ) : (
          <>
            <Text size="sm">
              Until someone acknowledges this, no backup of this config is deleted automatically. If data was lost,
              restore an older backup.
            </Text>
            <Button size="xs" color="orange" variant="light" onClick={() => setAsked(true)}>
              Acknowledge …
            </Button>
          </>
        )}
      </Stack>
      {asked && (
        <Confirm
          title="Is the data as it should be?"
          label="Acknowledge"
          busy={acknowledge.busy}
          onConfirm={() => void confirm()}
          onClose={() => setAsked(false)}
        >
          <Text size="sm">
            This backup counts again, and so do the older suspicious ones. Later backups are compared with it, and old
            backups are deleted again as the config says.
          </Text>
        </Confirm>
      )}
    </Alert>
  );
}
