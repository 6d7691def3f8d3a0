import { type ClassType, Ctx, FieldResolver, Float, Int, Resolver, Root } from 'type-graphql';
import { paceOf, type PacedRun } from '../core/runs/progress.js';
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
      description: 'Total bytes of the present phase; null where `bytesDone` is null.',
    })
    bytesTotal(@Root() run: PacedRun, @Ctx() { services }: GraphqlContext): number | null {
      return paceOf(run, services.now()).bytesTotal;
    }

    @FieldResolver(() => Float, {
      nullable: true,
      description: 'Speed since the present phase began; null while unknown.',
    })
    bytesPerSecond(@Root() run: PacedRun, @Ctx() { services }: GraphqlContext): number | null {
      return paceOf(run, services.now()).bytesPerSecond;
    }

    @FieldResolver(() => Int, {
      nullable: true,
      description: 'Seconds until it ends, by what was measured so far; null while unknown.',
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
