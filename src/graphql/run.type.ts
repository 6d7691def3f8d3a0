import { Field, ObjectType } from 'type-graphql';
import { DateTime } from './scalars.js';

@ObjectType({ description: 'When a run entered one of its phases: the log of the run.' })
export class RunPhase {
  @Field(() => String, { description: 'Name of the phase, such as `snapshot`, `archive`, `verify` or `done`.' })
  phase!: string;

  @Field(() => DateTime, { description: 'When it began.' })
  at!: Date;
}
