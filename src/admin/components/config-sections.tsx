import {
  Card,
  Code,
  Grid,
  Group,
  MultiSelect,
  NativeSelect,
  Radio,
  Select,
  SimpleGrid,
  Stack,
  Switch,
  TagsInput,
  Text,
  Title,
  UnstyledButton,
} from '@mantine/core';
import { IconChevronDown, IconChevronRight } from '@tabler/icons-react';
import { type ReactNode, useId } from 'react';
import {
  type Compression,
  type DestinationPartsFragment,
  DestinationsDocument,
  EncryptionKeysDocument,
  type StorageType,
} from '../../client/generated/graphql.js';
import { useApi } from '../api.js';
import { ownZone, ZONES } from '../format.js';
import { settingsOf } from '../settings.js';
import { COMPRESSION, options, STORAGE } from '../words.js';
import { RunScheduleNow } from './back-up-now.js';
import { CleanUp } from './clean-up.js';
import { TextLink } from './page.js';
import { CronField } from './cron-field.js';
import { InvariantsSetting } from './invariants.js';
import { MediaPaths } from './media-paths.js';
import { RetentionSimulator } from './retention-simulator.js';
import { type Form, setting, TextSetting, WholeSetting } from './setting.js';
import { TestConnection, TestStorage } from './settings-tests.js';
import { SizeInput } from './size-input.js';

function Section({ title, children }: { title: string; children: ReactNode }) {
  const id = useId();
  return (
    <Card withBorder component="section" aria-labelledby={id}>
      <Title order={2} size="h4" id={id} mb="sm">
        {title}
      </Title>
      <Stack>{children}</Stack>
    </Card>
  );
}

/** The database and the media folders. */
export function What({ form }: { form: Form }) {
  return (
    <Section title="Database and media">
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="xl" verticalSpacing="md">
        <Stack>
          <TextSetting form={form} field="name" maxLength={200} />
          <TextSetting
            form={form}
            field="databaseUrl"
            description={<DatabaseHelp form={form} />}
            placeholder="sqlite:/srv/okpuja/db.sqlite3"
          />
        </Stack>
        <MediaPaths form={form} />
      </SimpleGrid>
      <OnServer form={form} />
      <InvariantsSetting form={form} />
      <SimpleGrid cols={{ base: 1, md: 2 }}>
        <TextSetting
          form={form}
          field="drillSchedule"
          description="When the newest good backup is restored on trial: cron, or daily, weekly, monthly. Empty: never by itself."
          placeholder="weekly"
          maxLength={200}
        />
        <TextSetting
          form={form}
          field="drillCommand"
          description="An executable in the server's DRILL_COMMANDS_DIR that each drill runs on what it restored."
          placeholder="check-orders.sh"
          maxLength={100}
        />
      </SimpleGrid>
      <TestConnection form={form} />
    </Section>
  );
}

/** What only a database on a server has: tables that are left out, and others beside it. */
function OnServer({ form }: { form: Form }) {
  const { databaseUrl, excludeTables, excludeTableData, autoInclude } = form.settings;
  const isFile = databaseUrl === '' || databaseUrl.startsWith('sqlite:');
  const isEmpty = excludeTables.length + excludeTableData.length === 0 && autoInclude === '';
  if (isFile && isEmpty) return null;
  return (
    <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="xl" verticalSpacing="md">
      <TagsInput
        {...setting(form, 'excludeTables')}
        description="Not in backups at all: names such as log_*. A restore removes them from the database."
        value={excludeTables}
        onChange={(value) => form.set('excludeTables', value)}
      />
      <TagsInput
        {...setting(form, 'excludeTableData')}
        description="In backups without their rows. A restore makes them empty."
        value={excludeTableData}
        onChange={(value) => form.set('excludeTableData', value)}
      />
      <TextSetting
        form={form}
        field="autoInclude"
        maxLength={300}
        placeholder="shop_*"
        description="Databases of this server with such names are backed up like this one when they appear. Optional."
      />
    </SimpleGrid>
  );
}

/** How addresses are written, and what becomes of a password that is not shown. */
function DatabaseHelp({ form: { config, settings, changed } }: { form: Form }) {
  const masked = settings.databaseUrl.includes(':***@');
  return (
    <>
      <Code>sqlite:</Code> followed by the path of the file on the server, such as{' '}
      <Code>sqlite:/srv/okpuja/db.sqlite3</Code>; <Code>postgres://user:password@host:5432/database</Code>;{' '}
      <Code>mysql://user:password@host:3306/database</Code>; or <Code>mongodb://user:password@host:27017/database</Code>
      , with special characters percent-encoded.
      {config !== null && masked && (
        <Text span inherit fw={600}>
          {' '}
          {changed.includes('databaseUrl')
            ? 'The address has changed: type the password in place of ***.'
            : 'The stored password is shown as ***.'}
        </Text>
      )}
    </>
  );
}

const PLACES: { value: string; label: string; description: string }[] = [
  {
    value: 'LOCAL',
    label: 'Backups folder',
    description: 'The backups folder of this installation, or a folder inside it.',
  },
  { value: 'SYSTEM', label: 'Folder on this server', description: 'Any folder, such as a mounted disk.' },
];

/** Where archives are stored: in a folder, or in a destination away from this machine. */
export function Where({ form }: { form: Form }) {
  const { storageType, storagePath } = form.settings;
  const { id, ...rest } = setting(form, 'storageType');
  const { data } = useApi(DestinationsDocument, {});
  const isFolder = PLACES.some(({ value }) => value === storageType);
  const distant = (data?.destinations ?? []).filter((one) => !PLACES.some(({ value }) => value === one.storageType));
  const choose = (value: string) => {
    const saved = settingsOf(form.config);
    const chosen = distant.find((one) => one.location === value);
    form.set('storageType', chosen?.storageType ?? (value as StorageType));
    // A path belongs to its type.
    form.set('storagePath', chosen?.location ?? (value === saved.storageType ? saved.storagePath : ''));
  };
  const places = [
    ...PLACES,
    ...distant.map(({ location, name, storageType: type }) => ({
      value: location,
      label: name,
      description: location === name ? STORAGE[type] : `${STORAGE[type]} · ${location}`,
    })),
  ];
  return (
    <Section title="Storage">
      <Radio.Group {...rest} value={isFolder ? storageType : storagePath} onChange={choose}>
        <Stack gap="xs" mt={4}>
          {places.map(({ value, label, description }, index) => (
            <Radio
              key={value}
              id={index === 0 ? id : undefined}
              value={value}
              label={label}
              description={description}
            />
          ))}
        </Stack>
      </Radio.Group>
      <Text size="sm" c="dimmed">
        Add places away from this machine, such as a bucket, under{' '}
        <TextLink href="/destinations">Destinations</TextLink>.
      </Text>
      {isFolder && (
        <TextSetting
          form={form}
          field="storagePath"
          description={
            storageType === 'LOCAL'
              ? 'A folder inside the backups folder, such as okpuja. Optional.'
              : 'An absolute path, such as /mnt/disk/backups.'
          }
        />
      )}
      <TestStorage form={form} />
      <Copies form={form} destinations={data?.destinations ?? []} />
      <Encryption form={form} />
    </Section>
  );
}

/** The keys that backups are encrypted for. */
function Encryption({ form }: { form: Form }) {
  const { data } = useApi(EncryptionKeysDocument, {});
  const keys = data?.encryptionKeys ?? [];
  if (keys.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        To encrypt backups, first add a key under <TextLink href="/keys">Encryption keys</TextLink>.
      </Text>
    );
  }
  return (
    <MultiSelect
      {...setting(form, 'encryptionKeyIds')}
      description="Any of these keys opens a backup. Without one, backups are not encrypted."
      placeholder={form.settings.encryptionKeyIds.length === 0 ? 'Not encrypted' : undefined}
      data={keys.map(({ id, name }) => ({ value: id, label: name }))}
      value={form.settings.encryptionKeyIds}
      onChange={(ids) => form.set('encryptionKeyIds', ids)}
      clearable
    />
  );
}

/** The further destinations, which get a copy of each backup. */
function Copies({ form, destinations }: { form: Form; destinations: DestinationPartsFragment[] }) {
  const { storageType, storagePath, copyTo } = form.settings;
  const isFirst = (one: DestinationPartsFragment) => one.storageType === storageType && one.location === storagePath;
  const places = destinations.filter((one) => !isFirst(one)).map(({ id, name }) => ({ value: id, label: name }));
  if (places.length === 0) return null;
  return (
    <>
      <MultiSelect
        {...setting(form, 'copyTo')}
        description="Each backup is copied there and verified once it is complete. A copy that fails is tried again."
        data={places}
        value={copyTo}
        onChange={(ids) => {
          form.set('copyTo', ids);
          if (Number(form.settings.minimumCopies) > ids.length + 1) form.set('minimumCopies', ids.length + 1);
        }}
        placeholder={copyTo.length === 0 ? 'Choose destinations' : undefined}
        searchable
        clearable
      />
      {copyTo.length > 0 && (
        <WholeSetting
          form={form}
          field="minimumCopies"
          description="Retention counts a backup only with so many copies, and keeps older ones until then."
        />
      )}
    </>
  );
}

/** When automatic backups run. */
export function When({ form }: { form: Form }) {
  const { autoBackupEnabled } = form.settings;
  return (
    <Section title="Schedule">
      <Switch
        {...setting(form, 'autoBackupEnabled')}
        checked={autoBackupEnabled}
        onChange={(event) => form.set('autoBackupEnabled', event.currentTarget.checked)}
      />
      <CronField form={form} />
      <TimeZone form={form} />
      {form.config !== null && <RunScheduleNow configId={form.config.id} unsaved={form.changed.length > 0} />}
    </Section>
  );
}

/** How long backups are kept, with a preview. */
export function HowLong({ form }: { form: Form }) {
  return (
    <Section title="Retention">
      <Grid gap="xl">
        <Grid.Col span={{ base: 12, lg: 6 }}>
          <Stack>
            <Text size="sm">
              A backup is deleted when it exceeds a limit and no keep rule applies to it. The newest verified backup and
              all pinned or uploaded backups are always kept.
            </Text>
            <Title order={3} size="h5">
              Limits
            </Title>
            <SimpleGrid cols={{ base: 1, xs: 2 }}>
              <WholeSetting form={form} field="backupRetentionDays" />
              <WholeSetting form={form} field="maxBackupFiles" />
            </SimpleGrid>
            <SizeInput form={form} />
            <Title order={3} size="h5">
              Keep rules
            </Title>
            <Text size="sm" c="dimmed">
              How many backups to keep regardless of the limits: the newest ones, and the newest of each hour, day,
              week, month and year. Leave a field empty for no rule.
            </Text>
            <SimpleGrid cols={{ base: 2, xs: 3 }}>
              <WholeSetting form={form} field="keepLast" />
              <WholeSetting form={form} field="keepHourly" />
              <WholeSetting form={form} field="keepDaily" />
              <WholeSetting form={form} field="keepWeekly" />
              <WholeSetting form={form} field="keepMonthly" />
              <WholeSetting form={form} field="keepYearly" />
            </SimpleGrid>
            <TextSetting
              form={form}
              field="keepWithin"
              description="A time before the newest backup, such as 12h, 30d, 2w, 6m or 1y. Optional."
            />
            {form.config !== null && (
              <Group>
                <CleanUp configId={form.config.id} unsaved={form.changed.length > 0} />
              </Group>
            )}
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 6 }}>
          <RetentionSimulator form={form} />
        </Grid.Col>
      </Grid>
    </Section>
  );
}

/** What few people ever change; closed at first. */
export function Advanced({ form, open, setOpen }: { form: Form; open: boolean; setOpen: (open: boolean) => void }) {
  const id = useId();
  const Icon = open ? IconChevronDown : IconChevronRight;
  return (
    <Card withBorder component="section" aria-label="Advanced">
      <Title order={2} size="h4">
        <UnstyledButton
          type="button"
          fw="inherit"
          fz="inherit"
          w="100%"
          aria-expanded={open}
          aria-controls={id}
          onClick={() => setOpen(!open)}
        >
          <Group gap={6}>
            Advanced <Icon size={18} aria-hidden />
          </Group>
        </UnstyledButton>
      </Title>
      <SimpleGrid id={id} cols={{ base: 1, sm: 2 }} mt="sm" display={open ? undefined : 'none'}>
        <Switch
          {...setting(form, 'incremental')}
          description="Backups hold only what changed since the one before. Restoring one needs those it builds on."
          checked={form.settings.incremental}
          onChange={(event) => form.set('incremental', event.currentTarget.checked)}
        />
        <WholeSetting
          form={form}
          field="fullEveryDays"
          description="After so many days the next incremental backup is a full one."
        />
        <CompressionSetting form={form} />
        <WholeSetting
          form={form}
          field="compressionLevel"
          description="0 is fastest, 9 is smallest. Above 1, backups take much longer and shrink little."
        />
        <WholeSetting
          form={form}
          field="jitterSeconds"
          description="Spreads the start of many configs. Fixed for each config; 0 starts on the minute."
        />
        <WholeSetting
          form={form}
          field="restoreLockTimeout"
          description="How long a restore waits for another program to release the database."
        />
        <WholeSetting
          form={form}
          field="safetyRetentionDays"
          description="Safety backups made before a restore stay pinned for this long."
        />
        <TextSetting
          form={form}
          field="archivePrefix"
          description={
            form.config === null
              ? 'How the file names of archives begin. If empty, it is chosen automatically.'
              : 'How the file names of new archives begin. If empty, the prefix of this installation.'
          }
          maxLength={40}
        />
      </SimpleGrid>
    </Card>
  );
}

/** How archives are compressed. */
function CompressionSetting({ form }: { form: Form }) {
  return (
    <NativeSelect
      {...setting(form, 'compression')}
      data={options(COMPRESSION)}
      value={form.settings.compression}
      description="Any ZIP tool unpacks DEFLATE. ZSTD needs Node 22.15 on the server and 7-Zip 24 to unpack without db-manager."
      onChange={(event) => form.set('compression', event.currentTarget.value as Compression)}
    />
  );
}

/** On whose clock the schedule runs: any zone, this device's first. */
function TimeZone({ form }: { form: Form }) {
  const { timezone } = form.settings;
  const first = [...new Set([ownZone, timezone])];
  return (
    <Select
      {...setting(form, 'timezone')}
      data={[
        { group: 'This device and current', items: first },
        { group: 'All', items: ZONES.filter((name) => !first.includes(name)) },
      ]}
      value={timezone}
      onChange={(value) => value !== null && form.set('timezone', value)}
      allowDeselect={false}
      searchable
      nothingFoundMessage="No such time zone"
      maxDropdownHeight={280}
    />
  );
}
