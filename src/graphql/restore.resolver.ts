import { Arg, Args, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root, Subscription } from 'type-graphql';
import { listRestores } from '../core/lists/lists.js';
import type { RestorePlan as Plan } from '../core/restores/plan.js';
import type { RestoreRequest } from '../core/restores/restores.js';
import type { RowsMode } from '../core/ports.js';
import type { RestoreRow } from '../models/index.js';
import { Admin } from './admin.directive.js';
import { Backup } from './backup.type.js';
import type { GraphqlContext } from './context.js';
import { RowsModeEnum } from './enums.js';
import { withExample } from './example.js';
import { IDENTITY } from './identity.js';
import { isRunId, optionalConfigId, runId } from './ids.js';
import { type Connection, PageArgs, pageRequest, toConnection } from './page.type.js';
import { Property, toProperties } from './property.type.js';
import { RestoreBackupInput, RestoreFilter } from './restore.input.js';
import { Refusal, toRefusal } from './refusal.type.js';
import { Restore, RestoreConnection, RestorePlan } from './restore.type.js';
import { runFieldsOf } from './run.resolver.js';
import { watchRun } from './watch.js';

@Resolver(() => Restore)
export class RestoreResolver extends runFieldsOf(Restore) {
  @Admin()
  @Query(() => RestoreConnection, {
    description: withExample(
      'A page of restores, newest first.',
      '{ restores(filter: {status: [FAILED]}, first: 10) { nodes { id backup { id } errorMessage errorHint } } }',
    ),
  })
  async restores(
    @Ctx() { services }: GraphqlContext,
    @Args(() => PageArgs) page: PageArgs,
    @Arg('filter', () => RestoreFilter, { nullable: true, description: 'Filter; all if left out.' })
    filter?: RestoreFilter | null,
  ): Promise<Connection<Restore>> {
    const wanted = { ...filter, configId: optionalConfigId(filter?.configId) };
    return toConnection(await listRestores(services.models, wanted, pageRequest(page)));
  }

  @Admin()
  @Query(() => Restore, {
    nullable: true,
    description: withExample(
      'One restore; null if no restore has this id.',
      '{ restore(id: "restore_20250724_150000_a1b2c3d4") { status phase progress safetyBackup { id } } }',
    ),
  })
  async restore(
    @Ctx() { services }: GraphqlContext,
    @Arg('id', () => ID, { description: 'Such as `restore_20250724_150000_a1b2c3d4`.' }) id: string,
  ): Promise<Restore | null> {
    return isRunId(id) ? services.restores.find(id) : null;
  }

  @Admin()
  @Query(() => RestorePlan, {
    description: withExample(
      'A dry run: what `restoreBackup` with this input would change. Changes nothing.',
      '{ restorePlan(input: {backupId: "backup_20250724_143022_a1b2c3d4", tables: ["booking"], confirm: false}) { allowed refusals { code message hint } tables { name backupRows targetRows change } } }',
    ),
  })
  async restorePlan(
    @Ctx() { services }: GraphqlContext,
    @Arg('input', () => RestoreBackupInput, { description: 'As for `restoreBackup`.' }) input: RestoreBackupInput,
  ): Promise<RestorePlan> {
    return services.restores.plan(toRequest(input));
  }

  @Admin()
  @Mutation(() => Restore, {
    description: withExample(
      'Restores a backup and returns at once, PENDING. Before anything changes, the archive is verified and a pinned SAFETY backup is made.',
      'mutation { restoreBackup(input: {backupId: "backup_20250724_143022_a1b2c3d4", tables: ["booking"], includeRelated: true, restoreMedia: false, confirm: true}) { id status } }',
    ),
  })
  async restoreBackup(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('input', () => RestoreBackupInput, { description: 'What, and where to.' }) input: RestoreBackupInput,
  ): Promise<Restore> {
    return services.restores.request(toRequest(input), (await admin()).email);
  }

  @Admin()
  @Mutation(() => Restore, {
    description: withExample(
      'Undoes a restore by restoring the state before it.',
      'mutation { undoRestore(id: "restore_20250724_150000_a1b2c3d4") { id status } }',
    ),
  })
  async undoRestore(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'The COMPLETED restore to undo.' }) id: string,
    @Arg('identity', () => String, IDENTITY) identity?: string | null,
  ): Promise<Restore> {
    return services.restores.undo(runId(id), (await admin()).email, identity ?? undefined);
  }

  @Admin()
  @Mutation(() => Restore, {
    description: withExample(
      'Cancels a restore that has not changed anything yet; it becomes FAILED (CANCELLED).',
      'mutation { cancelRestore(id: "restore_20250724_150000_a1b2c3d4") { status errorCode } }',
    ),
  })
  async cancelRestore(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'The restore.' }) id: string,
  ): Promise<Restore> {
    return services.restores.cancel(runId(id), (await admin()).email);
  }

  @Admin()
  @Subscription(() => Restore, {
    description: withExample(
      'A restore as it is now, then on each change; ends when its run has ended.',
      'subscription { restoreProgress(id: "restore_20250724_150000_a1b2c3d4") { status phase progress secondsLeft } }',
    ),
    subscribe: ({ args: { id }, context: { services, signal } }: { args: { id: string }; context: GraphqlContext }) =>
      watchRun(id, () => services.restores.find(runId(id)), signal),
  })
  restoreProgress(@Root() row: RestoreRow, @Arg('id', () => ID, { description: 'The restore.' }) _id: string): Restore {
    return row;
  }

  @FieldResolver(() => Backup, { description: 'What is restored.' })
  async backup(@Root() row: RestoreRow, @Ctx() { load, services }: GraphqlContext): Promise<Backup> {
    return (await load.backup(row.backupId)) ?? services.backups.get(row.backupId);
  }

  @FieldResolver(() => Backup, {
    nullable: true,
    description:
      "The backup of the state before, pinned for the config's `safetyRetentionDays`; null until it is made, or where " +
      'nothing was there before. Once it is DELETED, the restore can no longer be undone.',
  })
  async safetyBackup(@Root() row: RestoreRow, @Ctx() { load }: GraphqlContext): Promise<Backup | null> {
    return row.safetyBackupId === null || row.safetyBackupId === undefined ? null : load.backup(row.safetyBackupId);
  }

  @FieldResolver(() => RowsModeEnum, { description: 'Which rows of the tables are restored.' })
  rows(@Root() { repair }: RestoreRow): RowsMode {
    return repair?.mode ?? 'REPLACE';
  }

  @FieldResolver(() => String, { nullable: true, description: 'The condition on the rows; null for all.' })
  where(@Root() { repair }: RestoreRow): string | null {
    return repair?.where ?? null;
  }

  @FieldResolver(() => Boolean, { description: 'Whether rows that the restored ones refer to come along.' })
  withParents(@Root() { repair }: RestoreRow): boolean {
    return repair?.withParents ?? false;
  }

  @FieldResolver(() => String, { description: 'The database that is written, a password in it replaced by `***`.' })
  targetDatabaseUrl(@Root() row: RestoreRow, @Ctx() { services }: GraphqlContext): string {
    return services.restores.maskedTarget(row);
  }
}

@Resolver(() => RestorePlan)
export class RestorePlanResolver {
  @FieldResolver(() => Backup, { description: 'What would be restored.' })
  backup(@Root() { backup }: Plan): Backup {
    return backup;
  }

  @FieldResolver(() => [Refusal], { description: 'Every reason why it would be refused.' })
  refusals(@Root() { refusals }: Plan): Refusal[] {
    return refusals.map((refusal) => toRefusal(refusal));
  }

  @FieldResolver(() => [Property], { description: 'Page size, journal mode, versions, … of the backup.' })
  backupSource(@Root() { backupSource }: Plan): Property[] {
    return toProperties(backupSource);
  }

  @FieldResolver(() => [Property], { description: 'The same of the target; empty if there is none.' })
  targetSource(@Root() { targetSource }: Plan): Property[] {
    return toProperties(targetSource);
  }
}

/** In the domain, what is left out is undefined; GraphQL may also say null. */
function toRequest({ backupId, confirm, ...input }: RestoreBackupInput): RestoreRequest {
  const given = Object.entries(input).filter(([, value]) => value !== null);
  return { backupId: runId(backupId, 'backupId'), confirm, ...Object.fromEntries(given) };
}
