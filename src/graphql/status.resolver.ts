import { Ctx, FieldResolver, Query, Resolver } from 'type-graphql';
import { Admin } from './admin.directive.js';
import { Backup } from './backup.type.js';
import type { GraphqlContext } from './context.js';
import { Restore } from './restore.type.js';
import { BackupCount, RestoreCount, SystemStatus } from './status.type.js';

@Resolver(() => SystemStatus)
export class StatusResolver {
  @Admin()
  @Query(() => SystemStatus, { description: 'How this installation is doing.' })
  async status(@Ctx() { services: { about, overview } }: GraphqlContext): Promise<SystemStatus> {
    return { ...about, nodeVersion: process.version, ...(await overview.read()) };
  }

  @FieldResolver(() => [BackupCount], { description: 'Backups by state; states without any are left out.' })
  async backupCounts(@Ctx() { services: { models } }: GraphqlContext): Promise<BackupCount[]> {
    return (await models.Backup.count({ attributes: ['status'], group: ['status'] })) as unknown as BackupCount[];
  }

  @FieldResolver(() => [RestoreCount], { description: 'Restores by state; states without any are left out.' })
  async restoreCounts(@Ctx() { services: { models } }: GraphqlContext): Promise<RestoreCount[]> {
    return (await models.Restore.count({ attributes: ['status'], group: ['status'] })) as unknown as RestoreCount[];
  }

  @FieldResolver(() => [Backup], { description: 'Backups that are under way now, at most 100.' })
  async runningBackups(@Ctx() { services: { models } }: GraphqlContext): Promise<Backup[]> {
    return models.Backup.findAll({ where: { status: 'RUNNING' }, order: [['createdAt', 'ASC']], limit: 100 });
  }

  @FieldResolver(() => [Restore], { description: 'Restores that are under way now, at most 100.' })
  async runningRestores(@Ctx() { services: { models } }: GraphqlContext): Promise<Restore[]> {
    return models.Restore.findAll({ where: { status: 'RUNNING' }, order: [['createdAt', 'ASC']], limit: 100 });
  }
}
