import { Arg, Ctx, FieldResolver, ID, Int, Query, Resolver, Root } from 'type-graphql';
import { backupHistory } from '../core/status/history.js';
import { countByStatus } from '../models/index.js';
import { Admin } from './admin.directive.js';
import { Backup } from './backup.type.js';
import { BackupConfig } from './config.type.js';
import type { GraphqlContext } from './context.js';
import { withExample } from './example.js';
import { optionalConfigId } from './ids.js';
import { toRefusal } from './refusal.type.js';
import { Restore } from './restore.type.js';
import { ByteSize, DateTime } from './scalars.js';
import { BackupCount, BackupDay, ConfigHealth, RestoreCount, StorageHealth, SystemStatus } from './status.type.js';

@Resolver(() => ConfigHealth)
export class ConfigHealthResolver {
  @FieldResolver(() => BackupConfig, { description: 'The config.' })
  config(@Root() { config }: ConfigHealth, @Ctx() { load }: GraphqlContext): Promise<BackupConfig | null> {
    return load.config(config.id);
  }

  @FieldResolver(() => Backup, {
    nullable: true,
    description: 'Its newest completed backup that a person or the schedule requested; null if there is none.',
  })
  lastBackup(@Root() { lastBackupId }: ConfigHealth, @Ctx() { load }: GraphqlContext): Promise<Backup | null> | null {
    return lastBackupId === null ? null : load.backup(lastBackupId);
  }
}

@Resolver(() => StorageHealth)
export class StorageHealthResolver {
  @FieldResolver(() => Int, { description: 'How many archives it has.' })
  async count(@Root() { destinationId }: StorageHealth, @Ctx() { load }: GraphqlContext): Promise<number> {
    return (await load.usage(destinationId))?.count ?? 0;
  }

  @FieldResolver(() => ByteSize, { description: 'Their bytes.' })
  async used(@Root() { destinationId }: StorageHealth, @Ctx() { load }: GraphqlContext): Promise<number> {
    return (await load.usage(destinationId))?.used ?? 0;
  }
}

@Resolver(() => SystemStatus)
export class StatusResolver {
  @Admin()
  @Query(() => SystemStatus, {
    description: withExample(
      'How this installation is doing.',
      '{ status { health reasons { level code message hint } runningBackups { id progress secondsLeft } } }',
    ),
  })
  async status(@Ctx() { services: { about, overview } }: GraphqlContext): Promise<SystemStatus> {
    const health = await overview.read();
    const storages = health.storages.map((storage) => ({ ...storage, error: toRefusal(storage.error) }));
    return { ...about, nodeVersion: process.version, ...health, storages };
  }

  @Admin()
  @Query(() => [BackupDay], {
    description: withExample(
      'MANUAL and AUTO backups day by day, oldest first; days without any are left out.',
      '{ backupHistory(configId: "1", days: 90, timezone: "Asia/Kolkata") { date completed failed size } }',
    ),
  })
  async backupHistory(
    @Ctx() { services: { models, now } }: GraphqlContext,
    @Arg('configId', () => ID, { nullable: true, description: 'Of this config; of all if left out.' })
    configId?: string | null,
    @Arg('days', () => Int, { nullable: true, defaultValue: 365, description: 'Days up to today, 1 to 1096.' })
    days?: number | null,
    @Arg('timezone', () => String, {
      nullable: true,
      defaultValue: 'UTC',
      description: 'Time zone of the days, such as `Asia/Kolkata`.',
    })
    timezone?: string | null,
  ): Promise<BackupDay[]> {
    const wanted = { configId: optionalConfigId(configId), days: days ?? 365, timezone: timezone ?? 'UTC' };
    return backupHistory(models, wanted, now());
  }

  @FieldResolver(() => [ConfigHealth], {
    description: 'Each config, by id. `configConnection` gives them in pages, with their `health`.',
  })
  configs(@Ctx() { services: { overview } }: GraphqlContext): Promise<ConfigHealth[]> {
    return overview.configs();
  }

  @FieldResolver(() => DateTime, {
    nullable: true,
    description: 'When the newest backup ended, well or not; null if none has.',
  })
  lastBackupEndedAt(@Ctx() { services: { overview } }: GraphqlContext): Promise<Date | null> {
    return overview.lastBackupEndedAt();
  }

  @FieldResolver(() => [BackupCount], { description: 'Backups by state; states without any are left out.' })
  async backupCounts(@Ctx() { services: { models } }: GraphqlContext): Promise<BackupCount[]> {
    return countByStatus(models.Backup);
  }

  @FieldResolver(() => [RestoreCount], { description: 'Restores by state; states without any are left out.' })
  async restoreCounts(@Ctx() { services: { models } }: GraphqlContext): Promise<RestoreCount[]> {
    return countByStatus(models.Restore);
  }

  @FieldResolver(() => [Backup], { description: 'Backups in progress, at most 100.' })
  async runningBackups(@Ctx() { services: { models } }: GraphqlContext): Promise<Backup[]> {
    return models.Backup.findAll({ where: { status: 'RUNNING' }, order: [['createdAt', 'ASC']], limit: 100 });
  }

  @FieldResolver(() => [Restore], { description: 'Restores in progress, at most 100.' })
  async runningRestores(@Ctx() { services: { models } }: GraphqlContext): Promise<Restore[]> {
    return models.Restore.findAll({ where: { status: 'RUNNING' }, order: [['createdAt', 'ASC']], limit: 100 });
  }
}
