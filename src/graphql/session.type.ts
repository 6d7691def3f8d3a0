import { Field, ID, ObjectType } from 'type-graphql';
import { DateTime } from './scalars.js';

@ObjectType({ description: 'A user, or the holder of a token of the host application.' })
export class User {
  @Field(() => ID, { description: 'Id of the user, or the `sub` of the token.' })
  id!: string;

  @Field(() => String, { description: 'The name that the records show, such as `admin@example.org`.' })
  email!: string;

  @Field(() => String, { description: '`ADMIN` or `USER`.' })
  role!: string;
}

@ObjectType({ description: 'Shows that a person has just typed their password.' })
export class Confirmation {
  @Field(() => String, { description: 'Send it as `X-Confirmation: <token>`, beside the token of the login.' })
  token!: string;

  @Field(() => DateTime, { description: 'When it expires: after five minutes, or with the login.' })
  expiresAt!: Date;
}

@ObjectType({ description: 'A login that succeeded.' })
export class Session {
  @Field(() => String, { description: 'Send it as `Authorization: Bearer <token>`.' })
  token!: string;

  @Field(() => DateTime, { description: 'When the token expires.' })
  expiresAt!: Date;

  @Field(() => User, { description: 'Who has logged in.' })
  user!: User;
}
