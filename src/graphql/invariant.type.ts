import { MaxLength } from 'class-validator';
import { Field, InputType, ObjectType } from 'type-graphql';
import type { Expectation as Expected, Invariant as Row, InvariantResult as Result } from '../models/index.js';
import { Expectation } from './enums.js';

@InputType({ description: 'A query of the database with the answer that it must give, asked in each backup.' })
export class InvariantInput {
  @MaxLength(200)
  @Field(() => String, { description: 'A name of its own, such as `Orders are never lost`.' })
  name!: string;

  @MaxLength(20_000)
  @Field(() => String, { description: 'One SELECT with one value, such as `SELECT count(*) FROM orders`.' })
  sql!: string;

  @Field(() => Expectation, { description: 'What the answer must be.' })
  expect!: Expected;

  @MaxLength(400)
  @Field(() => String, {
    nullable: true,
    description: 'What it is compared with; for `EQUALS`, `AT_LEAST` and `AT_MOST` only.',
  })
  value?: string | null;
}

@ObjectType({ description: 'A query of the database with the answer that it must give, asked in each backup.' })
export class Invariant implements Row {
  @Field(() => String, { description: 'Its name.' })
  name!: string;

  @Field(() => String, { description: 'One SELECT.' })
  sql!: string;

  @Field(() => Expectation, { description: 'What the answer must be.' })
  expect!: Expected;

  @Field(() => String, { nullable: true, description: 'What it is compared with; null for what needs no value.' })
  value!: string | null;
}

@ObjectType({ description: 'What an invariant came to in one state of the database.' })
export class InvariantResult extends Invariant implements Result {
  @Field(() => String, {
    nullable: true,
    description: 'The answer; null if it was NULL, if there was none, or if it could not be asked.',
  })
  actual!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'The answer in the newest good backup before, for `NOT_LESS_THAN_BEFORE`; null if there is none.',
  })
  before!: string | null;

  @Field(() => Boolean, { description: 'Whether it is as expected. One that could not be asked does not hold.' })
  holds!: boolean;

  @Field(() => String, { description: 'What was found, in words.' })
  message!: string;
}
