import { Field, ID, Int, ObjectType } from 'type-graphql';
import type { BackupRow, CopyStatus as Status } from '../models/index.js';
import { Destination } from './destination.type.js';
import { CopyStatus } from './enums.js';
import { DateTime } from './scalars.js';

@ObjectType({ description: "One copy of a backup's archive." })
export class BackupCopy {
  @Field(() => ID, { description: 'Number of the copy.' })
  id!: number;

  @Field(() => Destination, { description: 'Where it lies.' })
  destination!: Destination;

  @Field(() => CopyStatus, { description: 'Its state.' })
  status!: Status;

  @Field(() => String, { description: 'Full path of the copy, for people.' })
  filePath!: string;

  @Field(() => DateTime, { nullable: true, description: 'When it was last verified; null if it is not verified now.' })
  verifiedAt!: Date | null;

  @Field(() => String, { nullable: true, description: 'Why it failed: a code of the error catalogue.' })
  errorCode!: string | null;

  @Field(() => String, { nullable: true, description: 'Why it failed, in words.' })
  errorMessage!: string | null;

  @Field(() => String, { nullable: true, description: 'What to do about the error.' })
  errorHint!: string | null;

  @Field(() => Int, { description: 'How often it was tried without success.' })
  attempts!: number;

  @Field(() => DateTime, {
    nullable: true,
    description: 'When it is tried next; null if it need not be, or was given up.',
  })
  nextTryAt!: Date | null;
}

/** The copies of a backup as the API shows them, the first written first. */
export const copiesOf = ({ copies }: BackupRow): BackupCopy[] =>
  copies.map((copy) => ({
    id: copy.id,
    destination: copy.destination,
    status: copy.status,
    filePath: copy.location,
    verifiedAt: copy.verifiedAt,
    errorCode: copy.errorCode,
    errorMessage: copy.errorMessage,
    errorHint: copy.errorHint,
    attempts: copy.attempts,
    nextTryAt: copy.nextTryAt,
  }));
