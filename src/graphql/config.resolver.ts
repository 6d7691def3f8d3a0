import type { GraphQLResolveInfo } from 'graphql';
import type { Attributes } from 'sequelize';
import { Arg, Args, Ctx, FieldResolver, ID, Info, Int, Mutation, Query, Resolver, Root } from 'type-graphql';
import { configFromBackup } from '../core/backups/recover.js';
import { assertRunCount, describeSchedule, jitter, nextRuns } from '../core/schedules/cron.js';
import { listConfigs } from '../core/lists/lists.js';
import type { BackupConfigRow, Models } from '../models/index.js';
import { Admin } from './admin.directive.js';
import { BackupConfigInput, configInput, ConfigPageArgs } from './config.input.js';
import { BackupConfig, BackupConfigConnection } from './config.type.js';
import { type GraphqlContext, placeKey } from './context.js';
import { EncryptionKey } from './encryption-key.type.js';
import { Destination } from './destination.type.js';
import { withExample } from './example.js';
import { configId, runId } from './ids.js';
import { type Connection, pageRequest, toConnection } from './page.type.js';
import { DateTime } from './scalars.js';
import { selectedFields } from './selection.js';
import { ConfigHealth } from './status.type.js';

/** What a field is made of, where that is not the column of its name. */
const SOURCES: Record<string, (keyof Attributes<BackupConfigRow>)[]> = {
  databaseUrl: ['engine', 'databaseUrl'],
  isSample: ['databaseUrl'],
  nextRuns: ['autoBackupEnabled', 'schedule', 'timezone', 'jitterSeconds'],
  scheduleInWords: ['schedule'],
  destinations: ['storageType', 'storagePath', 'copyTo'],
};

/** The columns that these fields are made of. */
function columnsOf({ BackupConfig: model }: Models, fields: Set<string>): (keyof Attributes<BackupConfigRow>)[] {
  const known = model.getAttributes();
  const named = [...fields].flatMap((field) => SOURCES[field] ?? (field in known ? [field as keyof typeof known] : []));
  return [...new Set(['id' as const, ...named])];
}

const SAVE_UNTESTED = {
  nullable: true,
  defaultValue: false,
  description: 'Save also what does not work, such as a database that is still to come: see `testError`.',
};

@Resolver(() => BackupConfig)
export class ConfigResolver {
  @Admin()
  @Query(() => [BackupConfig], {
    description: withExample(
      'All configs, the oldest first.',
      '{ configs { id name databaseUrl scheduleInWords nextRunAt } }',
    ),
  })
  async configs(@Ctx() { services }: GraphqlContext, @Info() info: GraphQLResolveInfo): Promise<BackupConfig[]> {
    const rows = await services.configs.columns(columnsOf(services.models, selectedFields(info)));
    return rows as BackupConfig[];
  }

  @Admin()
  @Query(() => BackupConfigConnection, {
    description: withExample(
      'A page of configs, the oldest first.',
      '{ configConnection(search: "shop", first: 20) { totalCount nodes { id name health { lastSuccessAt lastErrorCode overdue } } pageInfo { endCursor hasNextPage } } }',
    ),
  })
  async configConnection(
    @Ctx() { services }: GraphqlContext,
    @Args(() => ConfigPageArgs) page: ConfigPageArgs,
  ): Promise<Connection<BackupConfig>> {
    return toConnection(await listConfigs(services.models, page.search, pageRequest(page)));
  }

  @Admin()
  @Query(() => BackupConfig, {
    nullable: true,
    description: withExample(
      'One config; null if no config has this id.',
      '{ config(id: "1") { name nextRuns(count: 3) keepDaily keepWeekly } }',
    ),
  })
  async config(
    @Ctx() { services }: GraphqlContext,
    @Arg('id', () => ID, { description: 'Such as `1`.' }) id: string,
  ): Promise<BackupConfig | null> {
    return /^\d{1,9}$/.test(id) ? services.configs.find(Number(id)) : null;
  }

  @Admin()
  @Mutation(() => BackupConfig, {
    description: withExample(
      'Adds a config; `name` and `databaseUrl` are required.',
      'mutation { createConfig(input: {name: "Shop", databaseUrl: "sqlite:/srv/shop/db.sqlite3", mediaPaths: ["/srv/shop/media"], schedule: "30 2 * * *", timezone: "Asia/Kolkata", keepDaily: 7, keepWeekly: 4}) { id nextRunAt } }',
    ),
  })
  async createConfig(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('input', () => BackupConfigInput, { description: 'Its settings.' }) input: BackupConfigInput,
    @Arg('saveUntested', () => Boolean, SAVE_UNTESTED) saveUntested?: boolean | null,
  ): Promise<BackupConfig> {
    return services.configTests.create(configInput(input), saveUntested ?? false, (await admin()).email, signal);
  }

  @Admin()
  @Mutation(() => BackupConfig, {
    description: withExample(
      'Makes a config for the application that a backup was made of, as after the loss of a machine. What is left out is as the archive says. Then restore the backup.',
      'mutation { createConfigFromBackup(backupId: "backup_20250724_143022_a1b2c3d4", input: {databaseUrl: "sqlite:/srv/okpuja/db.sqlite3", mediaPaths: ["/srv/okpuja/media"]}) { id name } }',
    ),
  })
  async createConfigFromBackup(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('backupId', () => ID, { description: 'A COMPLETED backup of an application that has no config here.' })
    backupId: string,
    @Arg('input', () => BackupConfigInput, { nullable: true, description: 'What shall be other than in the archive.' })
    input?: BackupConfigInput | null,
  ): Promise<BackupConfig> {
    return configFromBackup(services, runId(backupId, 'backupId'), configInput(input ?? {}), (await admin()).email);
  }

  @Admin()
  @Mutation(() => BackupConfig, {
    description: withExample(
      'Changes a config; fields that are left out stay as they are.',
      'mutation { updateConfig(id: "1", input: {schedule: "0 3 * * *", keepMonthly: 12, maxTotalSize: 50000000000}) { scheduleInWords nextRunAt } }',
    ),
  })
  async updateConfig(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('id', () => ID, { description: 'The config.' }) id: string,
    @Arg('input', () => BackupConfigInput, { description: 'What to change.' }) input: BackupConfigInput,
    @Arg('saveUntested', () => Boolean, SAVE_UNTESTED) saveUntested?: boolean | null,
  ): Promise<BackupConfig> {
    return services.configTests.update(
      configId(id),
      configInput(input),
      saveUntested ?? false,
      (await admin()).email,
      signal,
    );
  }

  @Admin()
  @Mutation(() => BackupConfig, {
    description: withExample(
      'Deletes a config and returns it. Its backups and their archives are kept.',
      'mutation { deleteConfig(id: "7") { id name } }',
    ),
  })
  async deleteConfig(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'The config.' }) id: string,
  ): Promise<BackupConfig> {
    return services.configs.remove(configId(id), (await admin()).email);
  }

  @FieldResolver(() => ConfigHealth, {
    nullable: true,
    description: 'How it is doing; null if it was deleted in the meantime.',
  })
  health(@Root() { id }: BackupConfigRow, @Ctx() { load }: GraphqlContext): Promise<ConfigHealth | null> {
    return load.configHealth(id);
  }

  @FieldResolver(() => String, { description: 'Address of the database, a password in it replaced by `***`.' })
  databaseUrl(@Root() row: BackupConfigRow, @Ctx() { services }: GraphqlContext): string {
    return services.configs.maskedUrl(row);
  }

  @FieldResolver(() => [Destination], {
    description: 'Where its archives are stored: the run itself writes the first, the others get copies.',
  })
  async destinations(@Root() row: BackupConfigRow, @Ctx() { load }: GraphqlContext): Promise<Destination[]> {
    const found = await Promise.all([
      load.destination(placeKey(row)),
      ...row.copyTo.map((id) => load.destinationById(id)),
    ]);
    return found.flatMap((one) => one?.row ?? []);
  }

  @FieldResolver(() => [EncryptionKey], {
    description: 'The keys that its backups are encrypted for; empty if they are not encrypted.',
  })
  async encryptionKeys(@Root() { id }: BackupConfigRow, @Ctx() { load }: GraphqlContext): Promise<EncryptionKey[]> {
    return (await load.configKeys(id))?.keys ?? [];
  }

  @FieldResolver(() => Boolean, {
    description: 'Whether it protects the sample application that comes with db-manager, not one of yours.',
  })
  isSample(@Root() row: BackupConfigRow, @Ctx() { services }: GraphqlContext): boolean {
    return row.databaseUrl === services.about.sampleUrl;
  }

  @FieldResolver(() => DateTime, {
    nullable: true,
    description: 'When the next automatic backup runs; null if they are off.',
  })
  nextRunAt(@Root() row: BackupConfigRow): Date | null {
    return row.nextRunAt;
  }

  @FieldResolver(() => [DateTime], { description: 'The next times of the schedule; empty if it is off.' })
  nextRuns(
    @Root() row: BackupConfigRow,
    @Ctx() { services }: GraphqlContext,
    @Arg('count', () => Int, { defaultValue: 5, description: 'How many, at most 50.' }) count: number,
  ): Date[] {
    assertRunCount(count);
    if (!row.autoBackupEnabled) return [];
    const delay = jitter(row.id, row.jitterSeconds);
    const from = new Date(services.now().getTime() - delay);
    return nextRuns(row.schedule, row.timezone, from, count).map((at) => new Date(at.getTime() + delay));
  }

  @FieldResolver(() => String, { description: 'The schedule in words, such as `every day at 02:00`.' })
  scheduleInWords(@Root() row: BackupConfigRow): string {
    return describeSchedule(row.schedule);
  }
}
