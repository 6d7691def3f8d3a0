import { ActionIcon, Badge, Box, Button, Group, Menu, Stack, Table, Text } from '@mantine/core';
import { IconArchive, IconDatabaseExport, IconDots, IconPencil, IconPlus } from '@tabler/icons-react';
import { Link } from 'wouter';
import {
  ConfigPageDocument,
  type ConfigPageQuery,
  type ConfigPartsFragment,
  CreateBackupDocument,
  StatusDocument,
} from '../../client/generated/graphql.js';
import { tellDone, useAction, useApi } from '../api.js';
import { Age } from '../components/exact.js';
import { SearchFilter, useFilters } from '../components/filter-bar.js';
import { PageHead, TextLink } from '../components/page.js';
import { EVERY, PAGE, PagedList } from '../components/paged-list.js';
import { usePaging } from '../components/pager.js';
import { NoConfig } from '../components/state.js';
import { HealthBadge, healthOf, type Status } from '../components/status-badge.js';
import { capital, plural } from '../format.js';
import { retentionInWords } from '../retention.js';
import { hasDraft } from '../settings.js';
import { ENGINE, STORAGE } from '../words.js';

type Config = ConfigPageQuery['configConnection']['nodes'][number];

/** The configs: what is protected, how well, when, where to and for how long. */
export default function Configs() {
  const filters = useFilters();
  const paging = usePaging(filters.text);
  const answer = useApi(
    ConfigPageDocument,
    { search: filters.get('search'), first: PAGE, after: paging.after },
    { every: EVERY },
  );
  const status = useApi(StatusDocument, {}, { every: EVERY });
  const page = answer.data?.configConnection;
  return (
    <>
      <PageHead title="Configs">
        <Button component={Link} href="/configs/new" leftSection={<IconPlus size={18} />}>
          New config
        </Button>
      </PageHead>
      {((page?.totalCount ?? 0) > MANY || filters.text !== '') && (
        <Group mb="sm" role="search">
          <SearchFilter filters={filters} label="Search name, database or folder" />
        </Group>
      )}
      <PagedList
        answer={answer}
        page={page}
        paging={paging}
        noun="config"
        all="/configs"
        filtered={filters.any}
        none={<NoConfig />}
      >
        {(rows) => <ConfigTable configs={rows} status={status.data?.status} refresh={status.refresh} />}
      </PagedList>
    </>
  );
}

/** From this number on there is a search. */
const MANY = 8;

interface ConfigTableProps {
  configs: Config[];
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
              <HealthOf config={config} status={status} />
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
function HealthOf({ config: { id, health }, status }: { config: Config; status: Status | undefined }) {
  if (status === undefined || !health) return null;
  return (
    <div>
      <HealthBadge health={healthOf(status, id)} />
      <Text size="xs" c="dimmed" mt={2}>
        {health.lastSuccessAt ? (
          <>
            {'Last backup '}
            <Age at={health.lastSuccessAt} />
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

function Name({ config, status }: { config: Config; status: Status | undefined }) {
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
        <HealthOf config={config} status={status} />
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
