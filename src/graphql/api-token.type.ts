import { ArrayMaxSize, MaxLength } from 'class-validator';
import { Field, ID, InputType, ObjectType } from 'type-graphql';
import type { Scope } from '../auth/index.js';
import { ApiTokenScope } from './enums.js';
import { DateTime } from './scalars.js';

@ObjectType({
  description: 'A token that a program uses in place of a login. The token itself is shown once and not kept.',
})
export class ApiToken {
  @Field(() => ID, { description: 'Its id.' })
  id!: string;

  @Field(() => String, { description: 'Its name, which the records show.' })
  name!: string;

  @Field(() => [ApiTokenScope], { description: 'What it may be used for.' })
  scopes!: Scope[];

  @Field(() => String, {
    description:
      'Who made it. It stops working when that user is removed here; one of the command line, or of a user of the host application, does not.',
  })
  createdBy!: string;

  @Field(() => DateTime, { description: 'When it was made.' })
  createdAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'From then on it is refused; null: it does not expire.' })
  expiresAt!: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'When it was last used, to the minute; null: never.' })
  lastUsedAt!: Date | null;
}

@ObjectType({ description: 'An API token that was just made.' })
export class NewApiToken {
  @Field(() => String, {
    description: 'The token, for `Authorization: Bearer …`. Keep it now: nobody can read it again.',
  })
  token!: string;

  @Field(() => ApiToken, { description: 'What is kept of it.' })
  apiToken!: ApiToken;
}

@InputType({ description: 'A new API token.' })
export class ApiTokenInput {
  @MaxLength(200)
  @Field(() => String, { description: 'Unique, 1 to 100 characters, such as `Deployment`.' })
  name!: string;

  @ArrayMaxSize(10)
  @Field(() => [ApiTokenScope], { description: 'What it may be used for: at least one.' })
  scopes!: Scope[];

  @Field(() => DateTime, { nullable: true, description: 'From then on it is refused; left out: it does not expire.' })
  expiresAt?: Date | null;
}
