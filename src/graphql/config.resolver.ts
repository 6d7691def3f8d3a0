import { Arg, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql';
import { nextRun } from '../core/schedules.js';
import type { BackupConfigRow } from '../models/index.js';
import { Admin } from './admin.directive.js';
import { BackupConfigInput } from './config.input.js';
import { BackupConfig } from './config.type.js';
import type { GraphqlContext } from './context.js';
import { configId } from './ids.js';
import { DateTime } from './scalars.js';

@Resolver(() => BackupConfig)
export class ConfigResolver {
  @Admin()
  @Query(() => [BackupConfig], { description: 'All configs, the oldest first.' })
  async configs(@Ctx() { services }: GraphqlContext): Promise<BackupConfig[]> {
    return services.configs.list();
  }

  @Admin()
  @Query(() => BackupConfig, { nullable: true, description: 'One config; null if no config has this id.' })
  async config(
    @Ctx() { services }: GraphqlContext,
    @Arg('id', () => ID, { description: 'Such as `1`.' }) id: string,
  ): Promise<BackupConfig | null> {
    return /^\d{1,9}$/.test(id) ? services.configs.find(Number(id)) : null;
  }

  @Admin()
  @Mutation(() => BackupConfig, { description: 'Makes a config; `name` and `databaseUrl` are needed.' })
  async createConfig(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('input', () => BackupConfigInput, { description: 'Its settings.' }) input: BackupConfigInput,
  ): Promise<BackupConfig> {
    return services.configs.create(input, (await admin()).email);
  }

  @Admin()
  @Mutation(() => BackupConfig, { description: 'Changes a config; fields that are left out stay as they are.' })
  async updateConfig(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'The config.' }) id: string,
    @Arg('input', () => BackupConfigInput, { description: 'What to change.' }) input: BackupConfigInput,
  ): Promise<BackupConfig> {
    return services.configs.update(configId(id), input, (await admin()).email);
  }

  @Admin()
  @Mutation(() => BackupConfig, {
    description: 'Deletes a config and answers with what it was. Its backups stay, with their archives.',
  })
  async deleteConfig(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'The config.' }) id: string,
  ): Promise<BackupConfig> {
    return services.configs.remove(configId(id), (await admin()).email);
  }

  @FieldResolver(() => String, { description: 'Address of the database, a password in it replaced by `***`.' })
  databaseUrl(@Root() row: BackupConfigRow, @Ctx() { services }: GraphqlContext): string {
    return services.configs.maskedUrl(row);
  }

  @FieldResolver(() => DateTime, {
    nullable: true,
    description: 'When the schedule makes the next one; null if it is off.',
  })
  nextRunAt(
    @Root() { autoBackupEnabled, schedule, timezone }: BackupConfigRow,
    @Ctx() { services }: GraphqlContext,
  ): Date | null {
    return autoBackupEnabled ? nextRun(schedule, timezone, services.now()) : null;
  }
}
