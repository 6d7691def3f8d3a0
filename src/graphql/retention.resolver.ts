import { Arg, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql';
import type { RetentionItem as Item } from '../core/retention/cleanup.js';
import { badInput } from '../errors.js';
import { Admin } from './admin.directive.js';
import { Backup } from './backup.type.js';
import { BackupConfigInput, configInput } from './config.input.js';
import type { GraphqlContext } from './context.js';
import { withExample } from './example.js';
import { configId as toConfigId } from './ids.js';
import { Refusal, toRefusal } from './refusal.type.js';
import { RetentionItem, RetentionPlan } from './retention.type.js';
import { DateTime } from './scalars.js';

@Resolver(() => RetentionItem)
export class RetentionResolver {
  @Admin()
  @Query(() => RetentionPlan, {
    description: withExample(
      'What the policy would delete and keep, with the reasons: now, or at another moment. Changes nothing.',
      '{ retentionPlan(configId: "1", at: "2030-01-01T00:00:00Z", input: {keepDaily: 7, maxBackupFiles: 10}) { deleteCount hash items { keep reasons { text } backup { id } } } }',
    ),
  })
  async retentionPlan(
    @Ctx() { services }: GraphqlContext,
    @Arg('configId', () => ID, { description: 'The config.' }) configId: string,
    @Arg('at', () => DateTime, { nullable: true, description: 'Default: now.' }) at?: Date | null,
    @Arg('input', () => BackupConfigInput, {
      nullable: true,
      description: 'Settings to try, as for `updateConfig`, in place of the saved ones. They are not saved.',
    })
    input?: BackupConfigInput | null,
  ): Promise<RetentionPlan> {
    const { configs, cleanup, now } = services;
    const id = toConfigId(configId, 'configId');
    return cleanup.plan(await (input ? configs.preview(id, configInput(input)) : configs.get(id)), at ?? now());
  }

  @Admin()
  @Mutation(() => [RetentionPlan], {
    description: withExample(
      'Deletes what `retentionPlan` of this moment shows, and nothing else; answers with what was done. Where the plan consolidates backups, that is done first, and what they let go is deleted, too. What stops one config is an error that names it, once all have been tried.',
      'mutation { cleanupBackups(configId: "1") { deleteCount deleteSize items { backup { id status } keep error { message hint } } } }',
    ),
  })
  async cleanupBackups(
    @Ctx() { services, admin, signal: stop }: GraphqlContext,
    @Arg('configId', () => ID, { nullable: true, description: 'Only this config; all if left out.' })
    configId?: string | null,
    @Arg('hash', () => String, {
      nullable: true,
      description: 'Of the plan that was shown, with `configId`: if it is another one by now, nothing is deleted.',
    })
    hash?: string | null,
  ): Promise<RetentionPlan[]> {
    const { email } = await admin();
    if (configId !== undefined && configId !== null) {
      return [await services.cleanup.run(toConfigId(configId, 'configId'), email, { hash: hash ?? undefined, stop })];
    }
    if (hash) throw badInput('hash', 'needs configId: a plan is of one config.');
    return services.cleanup.runAll(email, stop);
  }

  /** Read anew: a plan knows only the columns that it is made of, and after `cleanupBackups` the backup may be DELETED. */
  @FieldResolver(() => Backup, { description: 'The backup.' })
  async backup(@Root() { backup }: Item, @Ctx() { load }: GraphqlContext): Promise<Backup> {
    return (await load.backup(backup.id)) ?? backup;
  }

  @FieldResolver(() => Refusal, {
    nullable: true,
    description: 'Why it could not be deleted, in the answer of `cleanupBackups`. It is tried again the next time.',
  })
  error(@Root() { error }: Item): Refusal | null {
    return toRefusal(error);
  }
}
