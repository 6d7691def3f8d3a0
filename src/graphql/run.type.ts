import { Field, ObjectType } from 'type-graphql';
import { DateTime } from './scalars.js';

@ObjectType({ description: 'A phase of a run and when it began.' })
export class RunPhase {
  @Field(() => String, { description: 'Name of the phase, such as `snapshot`, `archive`, `verify` or `done`.' })
  phase!: string;

  @Field(() => DateTime, { description: 'When it began.' })
  at!: Date;
}
