import { Button, Card, Group, Text, Title } from '@mantine/core';
import { useState } from 'react';
import { Link, useLocation } from 'wouter';
import { ConfigDocument, type ConfigPartsFragment, DeleteConfigDocument } from '../../client/generated/graphql.js';
import { tellDone, useAction, useApi } from '../api.js';
import { ConfigForm } from '../components/config-form.js';
import { Confirm } from '../components/confirm.js';
import { Answered, Missing, PageHead } from '../components/state.js';
import { setDraft } from '../settings.js';

/** One config: what it protects and how. */
export default function Config({ id }: { id: string | null }) {
  if (id !== null) return <Existing id={id} />;
  return (
    <>
      <PageHead title="New config" />
      <ConfigForm config={null} />
    </>
  );
}

function Existing({ id }: { id: string }) {
  const answer = useApi(ConfigDocument, { id });
  return (
    <Answered answer={answer} height={640}>
      {({ config }) => (config ? <ConfigOf config={config} /> : <Missing noun="config" all="/configs" />)}
    </Answered>
  );
}

function ConfigOf({ config }: { config: ConfigPartsFragment }) {
  return (
    <>
      <PageHead title={config.name}>
        <Button component={Link} href={`/backups?config=${config.id}`} variant="default">
          Its backups
        </Button>
      </PageHead>
      <ConfigForm config={config} />
      <Removal config={config} />
    </>
  );
}

function Removal({ config: { id, name } }: { config: ConfigPartsFragment }) {
  const [asked, setAsked] = useState(false);
  const [, navigate] = useLocation();
  const remove = useAction(DeleteConfigDocument);
  const confirm = async () => {
    const done = await remove.run({ id });
    setAsked(false);
    if (done === null) return;
    setDraft(id, () => ({}));
    tellDone(`${name} was deleted. Its backups are still there.`);
    navigate('/configs');
  };
  return (
    <Card withBorder component="section" aria-label="Delete" mt="md">
      <Group justify="space-between">
        <div>
          <Title order={2} size="h4">
            Delete
          </Title>
          <Text size="sm" c="dimmed">
            Nothing is backed up by this config any more. The backups that exist stay, with their archives.
          </Text>
        </div>
        <Button color="red" variant="light" onClick={() => setAsked(true)}>
          Delete this config …
        </Button>
      </Group>
      {asked && (
        <Confirm
          title="Delete this config?"
          label="Delete the config"
          typed={name}
          busy={remove.busy}
          onConfirm={() => void confirm()}
          onClose={() => setAsked(false)}
        >
          <Text size="sm" className="breakable">
            <b>{name}</b> and its schedule go for good. Its backups stay, with their archives: they can still be
            downloaded and restored.
          </Text>
        </Confirm>
      )}
    </Card>
  );
}
