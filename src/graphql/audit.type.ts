import { Field, ID, ObjectType } from 'type-graphql';
import { connectionOf } from './page.type.js';
import { DateTime } from './scalars.js';

@ObjectType({ description: 'Who did what to which record, and when.' })
export class AuditEvent {
  @Field(() => ID, { description: 'Number of the entry.' })
  id!: string | number;

  @Field(() => DateTime, { description: 'When.' })
  at!: Date;

  @Field(() => String, { description: 'Who: an e-mail, `cli:<system user>` or `system`.' })
  actor!: string;

  @Field(() => String, { description: 'What: noun and verb, such as `backup.delete`.' })
  action!: string;

  @Field(() => String, { nullable: true, description: 'Id of the record that it was done to.' })
  subject!: string | null;
}

export const AuditEventConnection = connectionOf('AuditEvent', 'audit events', AuditEvent);
