import { MaxLength } from 'class-validator';
import { Field, InputType } from 'type-graphql';
import { DateTime } from './scalars.js';

@InputType({ description: 'Which entries. All parts must be met; what is left out restricts nothing.' })
export class AuditFilter {
  @MaxLength(320)
  @Field(() => String, { nullable: true, description: 'Done by, such as `admin@example.org`.' })
  actor?: string | null;

  @MaxLength(64)
  @Field(() => String, {
    nullable: true,
    description: 'An action such as `backup.delete`, or all of a noun: `backup`.',
  })
  action?: string | null;

  @MaxLength(100)
  @Field(() => String, { nullable: true, description: 'Done to the record of this id.' })
  subject?: string | null;

  @Field(() => DateTime, { nullable: true, description: 'At this moment or later.' })
  createdAfter?: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'Before this moment.' })
  createdBefore?: Date | null;
}
