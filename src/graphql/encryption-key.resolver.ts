import { Arg, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql';
import type { EncryptionKeyRow } from '../models/index.js';
import { Admin } from './admin.directive.js';
import type { GraphqlContext } from './context.js';
import { EncryptionKeyInput, keyInput } from './encryption-key.input.js';
import { EncryptionKey, NewEncryptionKey } from './encryption-key.type.js';
import { withExample } from './example.js';
import { keyId } from './ids.js';

@Resolver(() => EncryptionKey)
export class EncryptionKeyResolver {
  @Admin()
  @Query(() => [EncryptionKey], {
    description: withExample(
      'All encryption keys, the oldest first. Their secrets are never returned.',
      '{ encryptionKeys { id name recipient passphrase heldHere lastUsedAt } }',
    ),
  })
  async encryptionKeys(@Ctx() { services }: GraphqlContext): Promise<EncryptionKey[]> {
    return services.keys.list();
  }

  @Admin()
  @Mutation(() => NewEncryptionKey, {
    description: withExample(
      'Adds an encryption key. A generated identity is returned once: whoever loses it loses the backups that are encrypted for it alone.',
      'mutation { createEncryptionKey(input: {name: "Office safe", generate: true}) { identity key { id recipient heldHere } } }',
    ),
  })
  async createEncryptionKey(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('input', () => EncryptionKeyInput, { description: 'What kind of key.' }) input: EncryptionKeyInput,
  ): Promise<NewEncryptionKey> {
    return services.keys.create(keyInput(input), (await admin()).email);
  }

  @Admin()
  @Mutation(() => EncryptionKey, {
    description: withExample(
      'Deletes an encryption key and returns it; refused while a config names it or a backup opens with no other key.',
      'mutation { deleteEncryptionKey(id: "9") { id name } }',
    ),
  })
  async deleteEncryptionKey(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'The key.' }) id: string,
  ): Promise<EncryptionKey> {
    return services.keys.remove(keyId(id), (await admin()).email);
  }

  @FieldResolver(() => Boolean, { description: 'Whether it is a passphrase, not a recipient.' })
  passphrase(@Root() { recipient }: EncryptionKeyRow): boolean {
    return recipient === null;
  }

  @FieldResolver(() => Boolean, {
    description:
      'Whether what opens its archives is held here. If not, only someone who has the identity can open them.',
  })
  heldHere(@Root() { secret }: EncryptionKeyRow): boolean {
    return (secret ?? null) !== null;
  }
}
