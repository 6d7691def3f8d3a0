import { Arg, Ctx, ID, Mutation, Query, Resolver } from 'type-graphql';
import { badInput } from '../errors.js';
import { Admin } from './admin.directive.js';
import type { GraphqlContext } from './context.js';
import { configId as toConfigId } from './ids.js';
import { RetentionPlan } from './retention.type.js';
import { DateTime } from './scalars.js';

@Resolver()
export class RetentionResolver {
  @Admin()
  @Query(() => RetentionPlan, {
    description: 'What the policy would delete and keep, with the reasons: now, or at another moment. Changes nothing.',
  })
  async retentionPlan(
    @Ctx() { services }: GraphqlContext,
    @Arg('configId', () => ID, { description: 'The config.' }) configId: string,
    @Arg('at', () => DateTime, { nullable: true, description: 'Default: now.' }) at?: Date | null,
  ): Promise<RetentionPlan> {
    return services.cleanup.plan(toConfigId(configId), at ?? services.now());
  }

  @Admin()
  @Mutation(() => [RetentionPlan], {
    description: 'Deletes what `retentionPlan` of this moment shows, and nothing else; answers with what was done.',
  })
  async cleanupBackups(
    @Ctx() { services, admin }: GraphqlContext,
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
      return [await services.cleanup.run(toConfigId(configId), email, hash ?? undefined)];
    }
    if (hash) throw badInput('hash', 'needs configId: a plan is of one config.');
    return services.cleanup.runAll(email);
  }
}
