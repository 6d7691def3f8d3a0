import { Field, ID, ObjectType } from 'type-graphql';
import { DateTime } from './scalars.js';

@ObjectType({
  description: 'A key that archives are encrypted for, in the age format: a recipient or a passphrase.',
})
export class EncryptionKey {
  @Field(() => ID, { description: 'Number of the key.' })
  id!: number;

  @Field(() => String, { description: 'Name to show, unique.' })
  name!: string;

  @Field(() => String, { nullable: true, description: 'The public part, `age1…`; null for a passphrase.' })
  recipient!: string | null;

  @Field(() => DateTime, { description: 'When it was created.' })
  createdAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When it last encrypted or opened an archive here.' })
  lastUsedAt!: Date | null;
}

@ObjectType({ description: 'A key that was just created.' })
export class NewEncryptionKey {
  @Field(() => EncryptionKey, { description: 'The key.' })
  key!: EncryptionKey;

  @Field(() => String, {
    nullable: true,
    description:
      'The identity that was generated, `AGE-SECRET-KEY-1…`: it opens the archives, and is shown this once. Keep it away from this machine.',
  })
  identity!: string | null;
}
