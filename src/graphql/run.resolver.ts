import { type ClassType, Ctx, FieldResolver, Float, Int, Resolver, Root } from 'type-graphql';
import { paceOf, type PacedRun } from '../core/progress.js';
import type { GraphqlContext } from './context.js';
import { RunPhase } from './run.type.js';
import { ByteSize } from './scalars.js';

/** The fields that every run has beside its columns. @param runType the object type of the run */
export function runFieldsOf(runType: ClassType<object>) {
  @Resolver(() => runType)
  abstract class RunFields {
    @FieldResolver(() => ByteSize, {
      nullable: true,
      description: 'Bytes of the present phase that are done; null unless RUNNING, and where a phase has no bytes.',
    })
    bytesDone(@Root() run: PacedRun, @Ctx() { services }: GraphqlContext): number | null {
      return paceOf(run, services.now()).bytesDone;
    }

    @FieldResolver(() => ByteSize, {
      nullable: true,
      description: 'Bytes that the present phase has in all; null where `bytesDone` is.',
    })
    bytesTotal(@Root() run: PacedRun, @Ctx() { services }: GraphqlContext): number | null {
      return paceOf(run, services.now()).bytesTotal;
    }

    @FieldResolver(() => Float, {
      nullable: true,
      description: 'How fast it has been since the present phase began; null where it cannot be told (yet).',
    })
    bytesPerSecond(@Root() run: PacedRun, @Ctx() { services }: GraphqlContext): number | null {
      return paceOf(run, services.now()).bytesPerSecond;
    }

    @FieldResolver(() => Int, {
      nullable: true,
      description:
        'Seconds until it ends, if it goes on as it did so far; null unless RUNNING, and while that would be a guess.',
    })
    secondsLeft(@Root() run: PacedRun, @Ctx() { services }: GraphqlContext): number | null {
      return paceOf(run, services.now()).secondsLeft;
    }

    @FieldResolver(() => [RunPhase], { description: 'The phases of the run with their times.' })
    phases(@Root() { phases }: PacedRun): RunPhase[] {
      return phases.map(({ phase, at }) => ({ phase, at: new Date(at) }));
    }
  }
  return RunFields;
}
