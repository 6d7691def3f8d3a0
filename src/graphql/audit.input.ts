import { MaxLength } from 'class-validator';
import { Field, InputType } from 'type-graphql';
import { DateTime } from './scalars.js';

@InputType({ description: 'Filter for audit events. All conditions apply; fields that are left out do not restrict.' })
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

  @Field(() => DateTime, { nullable: true, description: 'At this time or later.' })
  createdAfter?: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'Before this time.' })
  createdBefore?: Date | null;
}
