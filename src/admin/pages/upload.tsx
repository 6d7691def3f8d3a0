import { Button, Select, Stack } from '@mantine/core';
import { useState } from 'react';
import { Link } from 'wouter';
import { ConfigsDocument } from '../../client/generated/graphql.js';
import { useApi } from '../api.js';
import { DropZone } from '../components/drop-zone.js';
import { EVERY } from '../components/paged-list.js';
import { Empty, Loading, PageHead, Trouble } from '../components/state.js';
import { UploadList } from '../components/upload-list.js';
import { addUploads, useUploads } from '../uploads.js';

/** Uploads archives that were downloaded before or made elsewhere. */
export default function Upload() {
  const answer = useApi(ConfigsDocument, {}, { every: EVERY });
  const { data, loading } = answer;
  const uploads = useUploads();
  const [chosen, setChosen] = useState<string | null>(null);
  const configs = data?.configs ?? [];
  const config = configs.find(({ id }) => id === chosen) ?? configs[0];
  return (
    <>
      <PageHead title="Upload" />
      <Stack maw={760}>
        {loading && <Loading />}
        <Trouble answer={answer} />
        {data !== undefined && config === undefined && <NoConfig />}
        {config !== undefined && (
          <>
            {configs.length > 1 && (
              <Select
                label="Config"
                description="The application that the archives belong to. They are stored with its backups."
                data={configs.map(({ id, name }) => ({ value: id, label: name }))}
                value={config.id}
                onChange={setChosen}
                allowDeselect={false}
                searchable={configs.length > 8}
                limit={100}
              />
            )}
            <DropZone onFiles={(files) => addUploads(files, { id: config.id, name: config.name })} />
          </>
        )}
        <UploadList uploads={uploads} />
      </Stack>
    </>
  );
}

function NoConfig() {
  return (
    <Empty
      title="No config yet"
      action={
        <Button component={Link} href="/configs/new">
          Add config
        </Button>
      }
    >
      An archive belongs to a config, which names the database and the storage.
    </Empty>
  );
}
