import { Field, Float, ID, ObjectType } from 'type-graphql';
import type { RunStatus, VerificationLevel as Level } from '../models/index.js';
import { RestoreStatus, VerificationLevel } from './enums.js';
import { InvariantResult } from './invariant.type.js';
import { connectionOf } from './page.type.js';
import { ByteSize, DateTime } from './scalars.js';

@ObjectType({
  description: 'One run that verifies a stored backup. What it found is also on the backup and its copies.',
})
export class Verification {
  @Field(() => ID, { description: 'Such as `verify_20250724_150000_a1b2c3d4`: date and time are UTC.' })
  id!: string;

  @Field(() => VerificationLevel, { description: 'How thoroughly, as requested.' })
  level!: Level;

  @Field(() => RestoreStatus, { description: 'Its state.' })
  status!: RunStatus;

  @Field(() => Float, { description: 'How much is done, 0 to 1.' })
  progress!: number;

  @Field(() => String, { nullable: true, description: 'The present phase; null when the run is not active.' })
  phase!: string | null;

  @Field(() => String, { nullable: true, description: 'Why it failed: a code of the error catalogue.' })
  errorCode!: string | null;

  @Field(() => String, { nullable: true, description: 'Why it failed, in words.' })
  errorMessage!: string | null;

  @Field(() => String, { nullable: true, description: 'What to do about the error.' })
  errorHint!: string | null;

  @Field(() => [String], { description: 'Warnings although a copy is good, such as another copy that is not.' })
  warnings!: string[];

  @Field(() => ByteSize, { description: 'Stored bytes of the copies that it reads.' })
  bytes!: number;

  @Field(() => [InvariantResult], {
    description: 'What the invariants of the backup came to, asked again at level CONTENT; otherwise empty.',
  })
  invariants!: InvariantResult[];

  @Field(() => String, {
    nullable: true,
    description: 'Who requested it: an e-mail, `cli:<system user>`, or `system` for the schedule.',
  })
  createdBy!: string | null;

  @Field(() => DateTime, { description: 'When it was requested.' })
  createdAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When the run began.' })
  startedAt!: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'When the run ended, successfully or not.' })
  completedAt!: Date | null;
}

export const VerificationConnection = connectionOf('Verification', 'verifications', Verification);
