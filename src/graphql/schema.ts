import 'reflect-metadata';
import type { GraphQLSchema } from 'graphql';
import { buildSchema } from 'type-graphql';
import { adminDirective, assertGuarded, guardAdmin } from './admin.directive.js';
import { ApiTokenResolver } from './api-token.resolver.js';
import { AuditResolver } from './audit.resolver.js';
import { BackupResolver } from './backup.resolver.js';
import { BrowseResolver } from './browse.resolver.js';
import { ConfigTestResolver } from './config-test.resolver.js';
import { ServerResolver } from './server.resolver.js';
import { ConfigResolver } from './config.resolver.js';
import { ChannelResolver } from './channel.resolver.js';
import { EncryptionKeyResolver } from './encryption-key.resolver.js';
import { fitOutput, withRows } from './fit.js';
import { DestinationResolver } from './destination.resolver.js';
import { DownloadResolver } from './download.resolver.js';
import { InsightResolver } from './insight.resolver.js';
import { MediaResolver } from './media.resolver.js';
import { RestorePlanResolver, RestoreResolver } from './restore.resolver.js';
import { RetentionResolver } from './retention.resolver.js';
import { ScheduleResolver } from './schedule.resolver.js';
import { SessionResolver } from './session.resolver.js';
import { ConfigHealthResolver, StatusResolver, StorageHealthResolver } from './status.resolver.js';
import { UserResolver } from './user.resolver.js';
import { VerificationResolver } from './verification.resolver.js';

let schema: Promise<GraphQLSchema> | undefined;

/** The schema, with its guards in place: one for all servers of a process. @throws Error if a root field lacks `@admin` */
export function createSchema(): Promise<GraphQLSchema> {
  return (schema ??= build());
}

async function build(): Promise<GraphQLSchema> {
  const built = await buildSchema({
    resolvers: [
      SessionResolver,
      UserResolver,
      ApiTokenResolver,
      StatusResolver,
      ConfigHealthResolver,
      StorageHealthResolver,
      ConfigResolver,
      ConfigTestResolver,
      ServerResolver,
      DestinationResolver,
      EncryptionKeyResolver,
      ChannelResolver,
      BrowseResolver,
      BackupResolver,
      MediaResolver,
      InsightResolver,
      DownloadResolver,
      RestoreResolver,
      RestorePlanResolver,
      VerificationResolver,
      RetentionResolver,
      ScheduleResolver,
      AuditResolver,
    ],
    directives: [adminDirective],
    validate: { stopAtFirstError: true, validationError: { target: false, value: false } },
    pubSub: unused,
    // Its check is a query for all of the schema; Apollo Server and the tests have GraphQL's own validation look at it.
    skipCheck: true,
  });
  assertGuarded(built);
  return guardAdmin(fitOutput(withRows(built)));
}

/** TypeGraphQL asks for one, but our subscriptions read rows, so that they work from any node. */
const unused = {
  publish: () => undefined,
  subscribe: (): never => {
    throw new Error('Subscriptions read rows: give them `subscribe`.');
  },
};
