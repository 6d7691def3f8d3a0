import { Arg, Ctx, Field, Int, ObjectType, Query, Resolver } from 'type-graphql';
import { assertRunCount, assertSchedule, describeSchedule, nextRuns } from '../core/schedules/cron.js';
import { Admin } from './admin.directive.js';
import type { GraphqlContext } from './context.js';
import { withExample } from './example.js';
import { DateTime } from './scalars.js';

@ObjectType({ description: 'What a schedule means.' })
export class SchedulePreview {
  @Field(() => String, { description: 'In words, such as `every day at 02:00`.' })
  inWords!: string;

  @Field(() => [DateTime], { description: 'Its next times.' })
  nextRuns!: Date[];
}

@Resolver()
export class ScheduleResolver {
  @Admin()
  @Query(() => SchedulePreview, {
    description: withExample(
      'What a schedule means before it is saved: in words, and when it would run next.',
      '{ schedulePreview(schedule: "30 3 * * 1", timezone: "Asia/Kolkata", count: 3) { inWords nextRuns } }',
    ),
  })
  schedulePreview(
    @Ctx() { services }: GraphqlContext,
    @Arg('schedule', () => String, { description: 'As for a config, such as `30 3 * * 1` or `daily`.' })
    schedule: string,
    @Arg('timezone', () => String, { description: 'Such as `Asia/Kolkata`.' }) timezone: string,
    @Arg('count', () => Int, { defaultValue: 5, description: 'How many times, at most 50.' }) count: number,
  ): SchedulePreview {
    assertRunCount(count);
    assertSchedule(schedule, timezone);
    return {
      inWords: describeSchedule(schedule),
      nextRuns: nextRuns(schedule, timezone, services.now(), count),
    };
  }
}
