import { ActionIcon, Badge, Box, Button, Card, Group, Menu, Stack, Table, Text } from '@mantine/core';
import { IconArchive, IconDatabaseExport, IconDots, IconPencil, IconPlus } from '@tabler/icons-react';
import { Link } from 'wouter';
import {
  ConfigsDocument,
  type ConfigPartsFragment,
  CreateBackupDocument,
  StatusDocument,
} from '../../client/generated/graphql.js';
import { tellDone, useAction, useApi } from '../api.js';
import { Age } from '../components/exact.js';
import { SearchFilter, useFilters } from '../components/filter-bar.js';
import { PageHead, TextLink } from '../components/page.js';
import { EVERY } from '../components/paged-list.js';
import { Empty, Loading, NoConfig, Trouble } from '../components/state.js';
import { HealthBadge, healthOf, type Status } from '../components/status-badge.js';
import { capital, plural } from '../format.js';
import { retentionInWords } from '../retention.js';
import { hasDraft } from '../settings.js';
import { ENGINE, STORAGE } from '../words.js';

/** From this number on there is a search. */
const MANY = 8;

/** All configs: what is protected, how well, when, where to and for how long. */
export default function Configs() {
  const filters = useFilters();
  const answer = useApi(ConfigsDocument, {}, { every: EVERY });
  const status = useApi(StatusDocument, {}, { every: EVERY });
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
          <ConfigTable configs={found} status={status.data?.status} refresh={status.refresh} />
        </Card>
      )}
      {configs.length > 0 && found.length === 0 && <Empty title="No configs match the search" />}
    </>
  );
}

function fits({ name, databaseUrl, engine, storagePath, mediaPaths }: ConfigPartsFragment, search: string): boolean {
  const text = [name, databaseUrl, ENGINE[engine], storagePath, ...mediaPaths].join('\n').toLowerCase();
  return text.includes(search.toLowerCase());
}

interface ConfigTableProps {
  configs: ConfigPartsFragment[];
  status: Status | undefined;
  refresh: () => void;
}

function ConfigTable({ configs, status, refresh }: ConfigTableProps) {
  return (
    <Table verticalSpacing="sm" highlightOnHover>
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Config</Table.Th>
          <Table.Th visibleFrom="sm">Health</Table.Th>
          <Table.Th visibleFrom="md">Schedule</Table.Th>
          <Table.Th visibleFrom="lg">Storage</Table.Th>
          <Table.Th visibleFrom="lg">Retention</Table.Th>
          <Table.Th w={48}>
            <span className="spoken">Actions</span>
          </Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {configs.map((config) => (
          <Table.Tr key={config.id} data-testid={`config-${config.id}`}>
            <Table.Td maw={380}>
              <Name config={config} status={status} />
            </Table.Td>
            <Table.Td visibleFrom="sm">
              <HealthOf id={config.id} status={status} />
            </Table.Td>
            <Table.Td visibleFrom="md">
              <Schedule config={config} />
            </Table.Td>
            <Table.Td visibleFrom="lg" maw={260}>
              <Text size="sm">{STORAGE[config.storageType]}</Text>
              <Text size="xs" c="dimmed" className="breakable">
                {config.storagePath}
              </Text>
            </Table.Td>
            <Table.Td visibleFrom="lg" maw={220}>
              <Text size="sm">{retentionInWords(config)}</Text>
            </Table.Td>
            <Table.Td>
              <Actions config={config} refresh={refresh} />
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

/** How a config is doing, and when its newest backup was made. */
function HealthOf({ id, status }: { id: string; status: Status | undefined }) {
  const row = status?.configs.find(({ config }) => config.id === id);
  if (status === undefined || row === undefined) return null;
  return (
    <div>
      <HealthBadge health={healthOf(status, id)} />
      <Text size="xs" c="dimmed" mt={2}>
        {row.lastSuccessAt ? (
          <>
            {'Last backup '}
            <Age at={row.lastSuccessAt} />
          </>
        ) : (
          'No backup yet'
        )}
      </Text>
    </div>
  );
}

/** What is done with a config most often. */
function Actions({ config: { id, name }, refresh }: { config: ConfigPartsFragment; refresh: () => void }) {
  const create = useAction(CreateBackupDocument);
  const backUp = async () => {
    const answer = await create.run({ input: { configId: id } });
    if (answer === null) return;
    refresh();
    tellDone(
      <>
        Backup of {name} requested. <TextLink href={`/backups/${answer.createBackup.id}`}>Show the run</TextLink>
      </>,
    );
  };
  return (
    <Menu position="bottom-end" withinPortal>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label={`Actions for ${name}`} loading={create.busy}>
          <IconDots size={18} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item leftSection={<IconDatabaseExport size={16} />} onClick={() => void backUp()}>
          Back up now
        </Menu.Item>
        <Menu.Item component={Link} href={`/backups?config=${id}`} leftSection={<IconArchive size={16} />}>
          Show backups
        </Menu.Item>
        <Menu.Item component={Link} href={`/configs/${id}`} leftSection={<IconPencil size={16} />}>
          Edit
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

function Name({ config, status }: { config: ConfigPartsFragment; status: Status | undefined }) {
  const { id, name, engine, databaseUrl, mediaPaths } = config;
  return (
    <Stack gap={2}>
      <Group gap="xs">
        <TextLink href={`/configs/${id}`} fw={600} underline="hover">
          {name}
        </TextLink>
        {hasDraft(id) && (
          <Badge color="yellow" variant="light" miw="max-content">
            Unsaved changes
          </Badge>
        )}
      </Group>
      <Text size="xs" c="dimmed" className="breakable">
        {ENGINE[engine]} · {databaseUrl}
        {mediaPaths.length > 0 && ` · ${plural(mediaPaths.length, 'media folder')}`}
      </Text>
      <Box mt={4} hiddenFrom="sm">
        <HealthOf id={id} status={status} />
      </Box>
      <Box mt={4} hiddenFrom="md">
        <Schedule config={config} />
      </Box>
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
