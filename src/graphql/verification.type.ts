import { Field, Float, ID, Int, ObjectType } from 'type-graphql';
import type { DrillCommandResult, DrillFacts, RunStatus, VerificationLevel as Level } from '../models/index.js';
import { BackupTable } from './backup.type.js';
import { RestoreStatus, VerificationLevel } from './enums.js';
import { InvariantResult } from './invariant.type.js';
import { connectionOf } from './page.type.js';
import { ByteSize, DateTime } from './scalars.js';

@ObjectType({ description: 'How the command of a drill ended.' })
export class DrillCommand implements DrillCommandResult {
  @Field(() => String, { description: 'Its file name.' })
  name!: string;

  @Field(() => Int, { nullable: true, description: 'What it ended with; null if a signal ended it.' })
  exitCode!: number | null;

  @Field(() => Float, { description: 'How long it took.' })
  seconds!: number;

  @Field(() => String, { description: 'The last 16 KiB of what it wrote, without passwords of URLs.' })
  output!: string;
}

@ObjectType({ description: 'What a drill restored.' })
export class Drill implements Omit<DrillFacts, 'tables'> {
  @Field(() => String, {
    nullable: true,
    description: 'The scratch database, without a password; null where the backup holds none.',
  })
  target!: string | null;

  @Field(() => String, { description: 'Where the copy lies that was restored.' })
  location!: string;

  @Field(() => String, { nullable: true, description: 'SHA-256 of the archive; null if none was noted.' })
  checksum!: string | null;

  @Field(() => ByteSize, { description: 'Bytes of all that was restored.' })
  bytes!: number;

  @Field(() => Int, { description: 'Media files that were restored.' })
  mediaFiles!: number;

  @Field(() => [BackupTable], { description: 'Tables and rows that were found in the restored database.' })
  tables!: BackupTable[];

  @Field(() => DrillCommand, { nullable: true, description: 'Its command; null if none has run.' })
  command!: DrillCommand | null;
}

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
    description:
      'What the invariants came to, asked again at the levels CONTENT (those of the backup) and DRILL (those that its config has now); otherwise empty.',
  })
  invariants!: InvariantResult[];

  @Field(() => Float, {
    nullable: true,
    description:
      'How long the restore of a drill took, without what checked it afterwards; null at other levels, and if it failed.',
  })
  restoreSeconds!: number | null;

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
