import { Arg, Ctx, ID, Mutation, Resolver } from 'type-graphql';
import { badInput } from '../errors.js';
import { Admin } from './admin.directive.js';
import { ServerDatabase } from './config-test.type.js';
import { BackupConfig } from './config.type.js';
import type { GraphqlContext } from './context.js';
import { withExample } from './example.js';
import { configId as toConfigId, optionalConfigId } from './ids.js';

/** As many databases as are made configs of at once. */
const MOST = 500;

function serverOf(url: string | undefined, configId: number | undefined): { url: string } | { configId: number } {
  if (url !== undefined && url.length > 4_000) throw badInput('url', 'has more than 4,000 characters.');
  if (url !== undefined && configId === undefined) return { url };
  if (configId !== undefined && url === undefined) return { configId };
  if (url === undefined) throw badInput('url', 'is missing.', 'Give the URL of the server, or configId.');
  throw badInput('url', 'cannot be combined with configId.');
}

@Resolver()
export class ServerResolver {
  @Admin()
  @Mutation(() => [ServerDatabase], {
    description: withExample(
      'The databases of a server, by name, but for the server’s own and db-manager’s. Changes nothing. Give either `url` or `configId`.',
      'mutation { discoverDatabases(configId: "2") { name size configId } }',
    ),
  })
  async discoverDatabases(
    @Ctx() { services, signal }: GraphqlContext,
    @Arg('url', () => String, {
      nullable: true,
      description: 'Of the server, such as `postgres://user:password@host:5432`; it may name a database.',
    })
    url?: string | null,
    @Arg('configId', () => ID, { nullable: true, description: 'The config of a database that is on the server.' })
    configId?: string | null,
  ): Promise<ServerDatabase[]> {
    const found = await services.servers.discover(serverOf(url ?? undefined, optionalConfigId(configId)), signal);
    return found.map((database) => ({
      ...database,
      configId: database.configId === null ? null : String(database.configId),
    }));
  }

  @Admin()
  @Mutation(() => [BackupConfig], {
    description: withExample(
      'Makes a config for each of these databases of the server that the database of a config is on, with the schedule, retention, destinations and keys of that config. All are tested before the first is made.',
      'mutation { protectDatabases(configId: "2", names: ["shop", "wiki"]) { id name databaseUrl nextRunAt } }',
    ),
  })
  async protectDatabases(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('configId', () => ID, { description: 'The config whose server it is, and whose settings they get.' })
    configId: string,
    @Arg('names', () => [String], {
      description: 'At least one, at most 500, as `discoverDatabases` names them; none that a config backs up.',
    })
    names: string[],
  ): Promise<BackupConfig[]> {
    if (names.length > MOST) throw badInput('names', `holds ${names.length} names, more than ${MOST}.`);
    const actor = (await admin()).email;
    return services.servers.protect({ configId: toConfigId(configId), names, actor }, signal);
  }
}
