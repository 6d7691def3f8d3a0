import { Button, Text } from '@mantine/core';
import { useState } from 'react';
import { useLocation } from 'wouter';
import { ConsolidateBackupDocument } from '../../client/generated/graphql.js';
import { useAction } from '../api.js';
import { plural } from '../format.js';
import { Confirm } from './confirm.js';

/** Makes a full backup of an incremental one, after having asked, and leads to it. */
export function ConsolidateBackup({ backup }: { backup: { id: string; chainLength: number } }) {
  const [asked, setAsked] = useState(false);
  const [, go] = useLocation();
  const consolidate = useAction(ConsolidateBackupDocument);
  const confirm = async () => {
    const answer = await consolidate.run({ id: backup.id });
    setAsked(false);
    if (answer !== null) go(`/backups/${answer.consolidateBackup.id}`);
  };
  return (
    <>
      <Button size="xs" variant="default" onClick={() => setAsked(true)}>
        Consolidate …
      </Button>
      {asked && (
        <Confirm
          title="Consolidate this backup?"
          label="Consolidate"
          color="blue"
          busy={consolidate.busy}
          onConfirm={() => void confirm()}
          onClose={() => setAsked(false)}
        >
          <Text size="sm">
            A full backup of the same state is made of {plural(backup.chainLength, 'archive')}. The database is not
            read. Later backups build on it from then on, and the next clean-up deletes this one and what is no longer
            needed.
          </Text>
        </Confirm>
      )}
    </>
  );
}
