import { Arg, Ctx, ID, Mutation, Resolver } from 'type-graphql';
import { Admin } from './admin.directive.js';
import { BackupConfigInput, configInput } from './config.input.js';
import { ConnectionTest, StorageTest } from './config-test.type.js';
import type { GraphqlContext } from './context.js';
import { withExample } from './example.js';
import { optionalConfigId } from './ids.js';
import { toProperties } from './property.type.js';
import { toRefusal } from './refusal.type.js';

const CONFIG_ID = {
  nullable: true,
  description: 'The config that is changed: what `input` leaves out, and a password shown as `***`, is taken from it.',
};

@Resolver()
export class ConfigTestResolver {
  @Admin()
  @Mutation(() => ConnectionTest, {
    description: withExample(
      'Tests the database (read only) and the media folders of settings that need not be saved. Problems are part of the answer.',
      'mutation { testConnection(input: {databaseUrl: "sqlite:/srv/shop/db.sqlite3", mediaPaths: ["/srv/shop/media"]}) { ok error { message hint } tables media { path files bytes error { message hint } } warnings } }',
    ),
  })
  async testConnection(
    @Ctx() { services, signal }: GraphqlContext,
    @Arg('input', () => BackupConfigInput, { description: '`databaseUrl`, `mediaPaths` and `invariants` matter.' })
    input: BackupConfigInput,
    @Arg('configId', () => ID, CONFIG_ID) configId?: string | null,
  ): Promise<ConnectionTest> {
    const test = await services.configTests.connection(configInput(input), optionalConfigId(configId), signal);
    return {
      ...test,
      error: toRefusal(test.error),
      facts: toProperties(test.facts),
      media: test.media.map((path) => ({ ...path, error: toRefusal(path.error) })),
    };
  }

  @Admin()
  @Mutation(() => StorageTest, {
    description: withExample(
      'Tests the storage of settings that need not be saved: writes, reads, lists and deletes a few bytes. A missing folder is created, named in `warnings`, and removed again if it is still empty. Problems are part of the answer.',
      'mutation { testStorage(configId: "1", input: {storageType: LOCAL, storagePath: "before-update"}) { ok error { message hint } location free warnings } }',
    ),
  })
  async testStorage(
    @Ctx() { services, signal }: GraphqlContext,
    @Arg('input', () => BackupConfigInput, { description: '`storageType` and `storagePath` matter.' })
    input: BackupConfigInput,
    @Arg('configId', () => ID, CONFIG_ID) configId?: string | null,
  ): Promise<StorageTest> {
    const test = await services.configTests.storage(configInput(input), optionalConfigId(configId), signal);
    return { ...test, error: toRefusal(test.error) };
  }
}
