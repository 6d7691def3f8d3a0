import { Button, Code, Group, Loader, SegmentedControl, Stack, Text } from '@mantine/core';
import { useEffect, useState } from 'react';
import { useLocation } from 'wouter';
import { ImportBackupDocument } from '../../client/generated/graphql.js';
import { useAction } from '../api.js';
import { DropZone } from '../components/drop-zone.js';
import { FolderBrowser } from '../components/folder-browser.js';
import { IdentityRetry, isOfTheKey } from '../components/identity-retry.js';
import { PageHead, Step } from '../components/page.js';
import { ProblemAlert } from '../components/state.js';
import { UploadList } from '../components/upload-list.js';
import { folderOf, nameOf } from '../format.js';
import { addUploads, useUploads } from '../uploads.js';

/** The first step after the loss of a machine: an archive, uploaded or from a folder of this server. */
export default function Recover() {
  const [from, setFrom] = useState('upload');
  return (
    <>
      <PageHead title="Recover from an archive" back={{ href: '/', label: 'Overview' }} />
      <Stack maw={860}>
        <Text size="sm">
          Bring an application back from a backup archive, for example on a new server. You see what the archive holds
          and choose where it goes before anything is restored.
        </Text>
        <Step title="1. Archive">
          <SegmentedControl
            aria-label="Where the archive is"
            value={from}
            onChange={setFrom}
            data={[
              { value: 'upload', label: 'Upload' },
              { value: 'server', label: 'On this server' },
            ]}
          />
          {from === 'upload' ? <FromHere /> : <FromServer />}
        </Step>
      </Stack>
    </>
  );
}

/** From the device that the page is shown on. */
function FromHere() {
  const [, go] = useLocation();
  const [added, setAdded] = useState<readonly number[]>([]);
  const uploads = useUploads().filter(({ id }) => added.includes(id));
  const done = uploads.find(({ state }) => state === 'done')?.backup;
  useEffect(() => {
    if (done !== undefined) go(`/recover/${done.id}`);
  }, [done, go]);
  return (
    <>
      <DropZone onFiles={(files) => setAdded([...added, ...addUploads(files, null)])} />
      <UploadList uploads={uploads} />
    </>
  );
}

/** From a folder of the server, such as a mounted disk. */
function FromServer() {
  const [, go] = useLocation();
  const [chosen, setChosen] = useState<string | null>(null);
  const take = useAction(ImportBackupDocument, { quiet: true });
  const use = async (path: string, identity?: string) => {
    const done = await take.run({ path, identity });
    if (done !== null) go(`/recover/${done.importBackup.id}`);
  };
  if (take.busy)
    return (
      <Group gap="sm" wrap="nowrap" role="status">
        <Loader size="sm" />
        <Text size="sm" className="breakable">
          Verifying and storing {nameOf(chosen ?? '')} …
        </Text>
      </Group>
    );
  return (
    <>
      <Text size="sm">Choose a backup archive, or enter its path.</Text>
      <FolderBrowser
        start={chosen === null ? null : folderOf(chosen)}
        choose="archive"
        chosen={chosen}
        onChoose={(path) => {
          take.clear();
          setChosen(path);
        }}
      />
      {take.problem && <ProblemAlert problem={take.problem} />}
      {chosen !== null && isOfTheKey(take.problem) && (
        <IdentityRetry busy={take.busy} onTry={(identity) => void use(chosen, identity)} />
      )}
      {chosen !== null && (
        <Group gap="xs">
          <Button onClick={() => void use(chosen)}>Use this archive</Button>
          <Code className="breakable">{chosen}</Code>
        </Group>
      )}
    </>
  );
}
