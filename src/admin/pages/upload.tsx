import { Select, Stack, Text } from '@mantine/core';
import { useState } from 'react';
import { ConfigNamesDocument } from '../../client/generated/graphql.js';
import { useApi } from '../api.js';
import { DropZone } from '../components/drop-zone.js';
import { PageHead, TextLink } from '../components/page.js';
import { Loading, Trouble } from '../components/state.js';
import { UploadList } from '../components/upload-list.js';
import { addUploads, useUploads } from '../uploads.js';

/** Leaves it to each archive where it belongs. */
const BY_ARCHIVE = 'archive';

/** Uploads archives that were downloaded before or made elsewhere. */
export default function Upload() {
  const answer = useApi(ConfigNamesDocument, {});
  const { data, loading } = answer;
  const uploads = useUploads();
  const [chosen, setChosen] = useState<string | null>(null);
  const configs = data?.configs ?? [];
  const config = configs.find(({ id }) => id === chosen) ?? null;
  const options = configs.map(({ id, name }) => ({ value: id, label: name }));
  return (
    <>
      <PageHead title="Upload" />
      <Stack maw={760}>
        <Text size="sm">
          To bring an application back, for example on a new server, use{' '}
          <TextLink href="/recover">Recover from an archive</TextLink>.
        </Text>
        {loading && <Loading />}
        <Trouble answer={answer} />
        {data !== undefined && (
          <>
            {configs.length > 0 && (
              <Select
                label="Config"
                description="Where the archives are filed. An archive names its application: it is filed under the config of that application, or under none."
                data={[{ value: BY_ARCHIVE, label: 'As the archive says' }, ...options]}
                value={config?.id ?? BY_ARCHIVE}
                onChange={setChosen}
                allowDeselect={false}
                searchable={configs.length > 8}
                limit={100}
              />
            )}
            <DropZone onFiles={(files) => void addUploads(files, config && { id: config.id, name: config.name })} />
          </>
        )}
        <UploadList uploads={uploads} />
      </Stack>
    </>
  );
}
