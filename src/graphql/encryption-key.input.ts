import { MaxLength } from 'class-validator';
import { Field, InputType } from 'type-graphql';
import type { KeyInput } from '../core/keys/keys.js';

@InputType({ description: 'A new encryption key: exactly one of `generate`, `recipient` and `passphrase`.' })
export class EncryptionKeyInput {
  @MaxLength(200)
  @Field(() => String, { description: 'Unique, 1 to 200 characters.' })
  name!: string;

  @Field(() => Boolean, { nullable: true, description: 'Generates an identity, which is returned once.' })
  generate?: boolean | null;

  @MaxLength(200)
  @Field(() => String, { nullable: true, description: 'The public part of a key that you have: `age1…`.' })
  recipient?: string | null;

  @MaxLength(1_000)
  @Field(() => String, {
    nullable: true,
    description: '12 characters or more. It is kept here, since every backup needs it, and stands alone in a config.',
  })
  passphrase?: string | null;

  @Field(() => Boolean, {
    nullable: true,
    description:
      'With `generate`: keeps the identity here too, so that backups open without asking. Default: false. A passphrase is always kept.',
  })
  keepHere?: boolean | null;
}

/** In the domain, what is left out is undefined; GraphQL may also say null. */
export function keyInput({ name, ...input }: EncryptionKeyInput): KeyInput {
  return { name, ...Object.fromEntries(Object.entries(input).filter(([, value]) => value !== null)) };
}
