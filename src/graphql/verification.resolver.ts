import { Arg, Args, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root, Subscription } from 'type-graphql';
import { listVerifications } from '../core/lists/lists.js';
import type { VerificationLevel as Level, VerificationRow } from '../models/index.js';
import { Admin } from './admin.directive.js';
import { Backup } from './backup.type.js';
import type { GraphqlContext } from './context.js';
import { Destination } from './destination.type.js';
import { VerificationLevel } from './enums.js';
import { withExample } from './example.js';
import { destinationId, isRunId, optionalConfigId, runId } from './ids.js';
import { type Connection, PageArgs, pageRequest, toConnection } from './page.type.js';
import { runFieldsOf } from './run.resolver.js';
import { Drill, Verification, VerificationConnection } from './verification.type.js';
import { watchRun } from './watch.js';

@Resolver(() => Verification)
export class VerificationResolver extends runFieldsOf(Verification) {
  @Admin()
  @Query(() => VerificationConnection, {
    description: withExample(
      'A page of verifications, newest first: those that were requested, and those of the schedule.',
      '{ verifications(configId: "1", first: 10) { nodes { id level status errorMessage backup { id } } } }',
    ),
  })
  async verifications(
    @Ctx() { services }: GraphqlContext,
    @Args(() => PageArgs) page: PageArgs,
    @Arg('configId', () => ID, { nullable: true, description: 'Only of backups of this config.' })
    configId?: string | null,
    @Arg('backupId', () => ID, { nullable: true, description: 'Only of this backup.' }) backupId?: string | null,
  ): Promise<Connection<Verification>> {
    const wanted = {
      configId: optionalConfigId(configId),
      backupId: backupId ? runId(backupId, 'backupId') : undefined,
    };
    return toConnection(await listVerifications(services.models, wanted, pageRequest(page)));
  }

  @Admin()
  @Query(() => Verification, {
    nullable: true,
    description: withExample(
      'One verification; null if no verification has this id.',
      '{ verification(id: "verify_20250724_150000_a1b2c3d4") { status phase progress warnings errorMessage } }',
    ),
  })
  async verification(
    @Ctx() { services }: GraphqlContext,
    @Arg('id', () => ID, { description: 'Such as `verify_20250724_150000_a1b2c3d4`.' }) id: string,
  ): Promise<Verification | null> {
    return isRunId(id) ? services.verifications.find(id) : null;
  }

  @Admin()
  @Mutation(() => Verification, {
    description: withExample(
      'Requests a verification and returns at once, PENDING. Follow it with `verificationProgress`. While it runs, the backup cannot be deleted.',
      'mutation { startVerification(backupId: "backup_20250724_143022_a1b2c3d4", level: CONTENT) { id status } }',
    ),
  })
  async startVerification(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('backupId', () => ID, { description: 'A COMPLETED backup.' }) backupId: string,
    @Arg('level', () => VerificationLevel, { description: 'Verification level.' }) level: Level,
    @Arg('destinationId', () => ID, { nullable: true, description: 'Only the copy there; every copy if left out.' })
    destination?: string | null,
  ): Promise<Verification> {
    const request = {
      backupId: runId(backupId, 'backupId'),
      level,
      destinationId: destination ? destinationId(destination, 'destinationId') : undefined,
    };
    return services.verifications.request(request, (await admin()).email);
  }

  @Admin()
  @Mutation(() => Verification, {
    description: withExample(
      'Cancels a verification that is PENDING or RUNNING; it becomes FAILED (CANCELLED). The backup stays as it is.',
      'mutation { cancelVerification(id: "verify_20250724_150000_a1b2c3d4") { status errorCode } }',
    ),
  })
  async cancelVerification(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'The verification.' }) id: string,
  ): Promise<Verification> {
    return services.verifications.cancel(runId(id), (await admin()).email);
  }

  @Admin()
  @Subscription(() => Verification, {
    description: withExample(
      'A verification as it is now, then on each change; ends when its run has ended.',
      'subscription { verificationProgress(id: "verify_20250724_150000_a1b2c3d4") { status phase progress } }',
    ),
    subscribe: ({ args: { id }, context: { services, signal } }: { args: { id: string }; context: GraphqlContext }) =>
      watchRun(id, () => services.verifications.find(runId(id)), signal),
  })
  verificationProgress(
    @Root() row: VerificationRow,
    @Arg('id', () => ID, { description: 'The verification.' }) _id: string,
  ): Verification {
    return row;
  }

  @FieldResolver(() => Backup, { description: 'What is verified.' })
  async backup(@Root() row: VerificationRow, @Ctx() { load, services }: GraphqlContext): Promise<Backup> {
    return (await load.backup(row.backupId)) ?? services.backups.get(row.backupId);
  }

  @FieldResolver(() => Drill, {
    nullable: true,
    description: 'What a drill restored, as far as it came; null at other levels, and if it restored nothing.',
  })
  drill(@Root() { drill }: VerificationRow): Drill | null {
    if (drill === null) return null;
    const tables = drill.tables.flatMap(({ name, rows }) => (rows === null ? [] : [{ name, rowCount: rows }]));
    return { ...drill, tables };
  }

  @FieldResolver(() => String, {
    nullable: true,
    description:
      'Where the signed report of a drill is: JSON, or a page where `Accept` asks for HTML; null at other levels, and until it has ended.',
  })
  reportUrl(@Root() { id, report }: VerificationRow, @Ctx() { services }: GraphqlContext): string | null {
    return report === null ? null : `${services.about.basePath}/api/db-manager/verifications/${id}/report/`;
  }

  @FieldResolver(() => Destination, {
    nullable: true,
    description: 'Where the one copy lies that is verified; null if every copy is.',
  })
  async destination(
    @Root() { destinationId: id }: VerificationRow,
    @Ctx() { load }: GraphqlContext,
  ): Promise<Destination | null> {
    return id === null ? null : ((await load.destinationById(id))?.row ?? null);
  }
}
