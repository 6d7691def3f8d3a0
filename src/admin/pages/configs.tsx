import { Badge, Button, Card, Group, Stack, Table, Text } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { Link } from 'wouter';
import { ConfigsDocument, type ConfigPartsFragment } from '../../client/generated/graphql.js';
import { useFilters } from '../address.js';
import { useApi } from '../api.js';
import { Age } from '../components/exact.js';
import { SearchFilter } from '../components/filter-bar.js';
import { EVERY } from '../components/paged-list.js';
import { Empty, Loading, NoConfig, PageHead, Trouble } from '../components/state.js';
import { TextLink } from '../components/text-link.js';
import { capital, plural } from '../format.js';
import { retentionInWords } from '../retention.js';
import { hasDraft } from '../settings.js';
import { ENGINE, STORAGE } from '../words.js';

/** From so many on, they are searched rather than looked through. */
const MANY = 8;

/** All configs: what is protected, when, where to and for how long. */
export default function Configs() {
  const filters = useFilters();
  const answer = useApi(ConfigsDocument, {}, { every: EVERY });
  const { data, loading } = answer;
  const configs = data?.configs ?? [];
  const found = configs.filter((config) => fits(config, filters.get('search') ?? ''));
  return (
    <>
      <PageHead title="Configs">
        <Button component={Link} href="/configs/new" leftSection={<IconPlus size={18} />}>
          New config
        </Button>
      </PageHead>
      <Trouble answer={answer} />
      {loading && <Loading />}
      {data !== undefined && configs.length === 0 && <NoConfig />}
      {(configs.length > MANY || filters.text !== '') && (
        <Group mb="sm" role="search">
          <SearchFilter filters={filters} label="Search name, database or folder" />
          <Text size="sm" c="dimmed" role="status">
            {found.length === configs.length ? '' : `${found.length} of `}
            {plural(configs.length, 'config')}
          </Text>
        </Group>
      )}
      {found.length > 0 && (
        <Card withBorder p={0}>
          <ConfigTable configs={found} />
        </Card>
      )}
      {configs.length > 0 && found.length === 0 && <Empty title="No config holds this text" />}
    </>
  );
}

function fits({ name, databaseUrl, engine, storagePath, mediaPaths }: ConfigPartsFragment, search: string): boolean {
  const text = [name, databaseUrl, ENGINE[engine], storagePath, ...mediaPaths].join('\n').toLowerCase();
  return text.includes(search.toLowerCase());
}

function ConfigTable({ configs }: { configs: ConfigPartsFragment[] }) {
  return (
    <Table verticalSpacing="sm" highlightOnHover>
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Config</Table.Th>
          <Table.Th visibleFrom="sm">Automatic backup</Table.Th>
          <Table.Th visibleFrom="md">Storage</Table.Th>
          <Table.Th visibleFrom="lg">Kept</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {configs.map((config) => (
          <Table.Tr key={config.id} data-testid={`config-${config.id}`}>
            <Table.Td maw={380}>
              <Name config={config} />
            </Table.Td>
            <Table.Td visibleFrom="sm">
              <Schedule config={config} />
            </Table.Td>
            <Table.Td visibleFrom="md" maw={260}>
              <Text size="sm">{STORAGE[config.storageType]}</Text>
              <Text size="xs" c="dimmed" className="breakable">
                {config.storagePath}
              </Text>
            </Table.Td>
            <Table.Td visibleFrom="lg" maw={220}>
              <Text size="sm">{retentionInWords(config)}</Text>
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

function Name({ config }: { config: ConfigPartsFragment }) {
  const { id, name, engine, databaseUrl, mediaPaths } = config;
  return (
    <Stack gap={2}>
      <Group gap="xs">
        <TextLink href={`/configs/${id}`} fw={600} underline="hover">
          {name}
        </TextLink>
        {hasDraft(id) && (
          <Badge color="yellow" variant="light">
            Not saved
          </Badge>
        )}
      </Group>
      <Text size="xs" c="dimmed" className="breakable">
        {ENGINE[engine]} · {databaseUrl}
        {mediaPaths.length > 0 && ` · ${plural(mediaPaths.length, 'media folder')}`}
      </Text>
      <Stack gap={4} mt={4} hiddenFrom="sm">
        <Schedule config={config} />
        <Text size="xs" c="dimmed">
          {STORAGE[config.storageType]} · {retentionInWords(config)}
        </Text>
      </Stack>
    </Stack>
  );
}

function Schedule({ config }: { config: ConfigPartsFragment }) {
  const { autoBackupEnabled, scheduleInWords, timezone, nextRunAt } = config;
  if (!autoBackupEnabled)
    return (
      <Badge color="gray" variant="light">
        Off
      </Badge>
    );
  return (
    <div>
      <Text size="sm">{capital(scheduleInWords)}</Text>
      <Text size="xs" c="dimmed">
        {timezone}
        {nextRunAt && (
          <>
            {' · next '}
            <Age at={nextRunAt} />
          </>
        )}
      </Text>
    </div>
  );
}
