import { Alert, Button, Card, Group, Text, Title } from '@mantine/core';
import { useEffect, useState } from 'react';
import { Link, useLocation } from 'wouter';
import { ConfigDocument, type ConfigPartsFragment, DeleteConfigDocument } from '../../client/generated/graphql.js';
import { tellDone, useAction, useApi } from '../api.js';
import { ConfigForm, hideReminder } from '../components/config-form.js';
import { Confirm } from '../components/confirm.js';
import { OtherDatabases } from '../components/other-databases.js';
import { PageHead } from '../components/page.js';
import { Answered, Missing } from '../components/state.js';
import { hasDraft, setDraft } from '../settings.js';
import { isServerUrl } from '../words.js';

/** How often it is asked for again, in milliseconds: others change it, too. */
const EVERY = 10_000;

/** One config: what it protects and how. */
export default function Config({ id }: { id: string | null }) {
  if (id !== null) return <Existing id={id} />;
  return (
    <>
      <PageHead title="New config" back={{ href: '/configs', label: 'Configs' }} />
      <ConfigForm config={null} />
    </>
  );
}

function Existing({ id }: { id: string }) {
  const answer = useApi(ConfigDocument, { id }, { every: EVERY });
  return (
    <Answered answer={answer} height={640}>
      {({ config }) => (config ? <ConfigOf config={config} /> : <Gone id={id} />)}
    </Answered>
  );
}

/** The config is gone, so unsaved input is dropped, with a notice. */
function Gone({ id }: { id: string }) {
  const [lost] = useState(() => hasDraft(id));
  useEffect(() => {
    setDraft(id, () => ({}));
    hideReminder(id);
  }, [id]);
  return (
    <>
      <Missing noun="config" all="/configs" />
      {lost && (
        <Alert color="yellow" title="Your changes were not saved">
          This config was deleted. Your unsaved changes were discarded.
        </Alert>
      )}
    </>
  );
}

function ConfigOf({ config }: { config: ConfigPartsFragment }) {
  return (
    <>
      <PageHead title={config.name} back={{ href: '/configs', label: 'Configs' }}>
        <Button component={Link} href={`/backups?config=${config.id}`} variant="default">
          Backups
        </Button>
      </PageHead>
      <ConfigForm config={config} />
      {isServerUrl(config.databaseUrl) && <OtherDatabases config={config} />}
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
    tellDone(`${name} was deleted. Its backups are kept.`);
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
            Stops backing up this application. Existing backups and their archives are kept.
          </Text>
        </div>
        <Button color="red" variant="light" onClick={() => setAsked(true)}>
          Delete config …
        </Button>
      </Group>
      {asked && (
        <Confirm
          title="Delete this config?"
          label="Delete config"
          typed={name}
          busy={remove.busy}
          onConfirm={() => void confirm()}
          onClose={() => setAsked(false)}
        >
          <Text size="sm" className="breakable">
            <b>{name}</b> and its schedule are deleted permanently. Existing backups and their archives are kept and can
            still be downloaded and restored.
          </Text>
        </Confirm>
      )}
    </Card>
  );
}
