import { Arg, Ctx, ID, Int, Query, Resolver } from 'type-graphql';
import type { Cell } from '../core/ports.js';
import { badInput } from '../errors.js';
import { Admin } from './admin.directive.js';
import type { GraphqlContext } from './context.js';
import { withExample } from './example.js';
import { IDENTITY } from './identity.js';
import { configId, runId } from './ids.js';
import { Invariant } from './invariant.type.js';
import { AnswerChange, BackupComparison, FileReferences, QueryResult, RowVersion } from './insight.type.js';
import { JsonValue } from './scalars.js';

@Resolver()
export class InsightResolver {
  @Admin()
  @Query(() => BackupComparison, {
    description: withExample(
      'Compares a backup with a later one, or with what is live now: rows by their primary key, definitions, media. Changes nothing; of a large database it takes a while. Of SQLite and PostgreSQL.',
      '{ compareBackups(from: "backup_20250724_143022_a1b2c3d4", samples: 3) { tables { name added removed changed schemaChanges samples { key before after } } media { added removed changed } } }',
    ),
  })
  async compareBackups(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('from', () => ID, { description: 'The earlier backup, COMPLETED.' }) from: string,
    @Arg('to', () => ID, {
      nullable: true,
      description: 'The later backup, COMPLETED; left out: the live database and media of the config.',
    })
    to?: string | null,
    @Arg('tables', () => [String], { nullable: true, description: 'Only these tables; all if left out.' })
    tables?: string[] | null,
    @Arg('samples', () => Int, {
      nullable: true,
      defaultValue: 10,
      description: 'How many rows of each table, and files, are shown of each kind of difference, 0 to 100.',
    })
    samples?: number | null,
    @Arg('identity', () => String, IDENTITY) identity?: string | null,
  ): Promise<BackupComparison> {
    const { email } = await admin();
    const comparison = {
      from: runId(from, 'from'),
      to: to ? runId(to, 'to') : null,
      tables: tables ?? null,
      samples: samples ?? 10,
      identity: identity ?? undefined,
    };
    return services.insight.compare(comparison, email, signal);
  }

  @Admin()
  @Query(() => QueryResult, {
    description: withExample(
      'Runs one SELECT on a private copy of the database in a backup. Nothing can be written, and it may take 30 seconds. Of SQLite and PostgreSQL.',
      '{ queryBackup(id: "backup_20250724_143022_a1b2c3d4", sql: "SELECT count(*) AS bookings FROM puja_booking") { columns rows truncated seconds } }',
    ),
  })
  async queryBackup(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('id', () => ID, { description: 'A COMPLETED backup.' }) id: string,
    @Arg('sql', () => String, { description: 'One SELECT, in the SQL of the database.' }) sql: string,
    @Arg('limit', () => Int, {
      nullable: true,
      defaultValue: 100,
      description: 'How many rows at most, 1 to 1,000.',
    })
    limit?: number | null,
    @Arg('identity', () => String, IDENTITY) identity?: string | null,
  ): Promise<QueryResult> {
    const { email } = await admin();
    const query = { id: runId(id), sql, limit: limit ?? 100, identity: identity ?? undefined };
    return services.insight.query(query, email, signal);
  }

  @Admin()
  @Query(() => FileReferences, {
    description: withExample(
      'Looks for rows of a backup that name media files which are not in it, and for files that no row names. Deletes nothing. Of SQLite and PostgreSQL.',
      '{ fileReferences(id: "backup_20250724_143022_a1b2c3d4", samples: 3) { columns { table column rows missing samples { key path } } unreferenced unreferencedSamples } }',
    ),
  })
  async fileReferences(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('id', () => ID, { description: 'A COMPLETED backup with media.' }) id: string,
    @Arg('columns', () => [String], {
      nullable: true,
      description:
        'Columns that name files, such as `["puja_service.image"]`; left out: those whose values are mostly paths of media files.',
    })
    columns?: string[] | null,
    @Arg('samples', () => Int, {
      nullable: true,
      defaultValue: 10,
      description: 'How many rows of each column, and files, are shown, 0 to 100.',
    })
    samples?: number | null,
    @Arg('identity', () => String, IDENTITY) identity?: string | null,
  ): Promise<FileReferences> {
    const { email } = await admin();
    const wanted = { id: runId(id), columns: columns ?? null, samples: samples ?? 10, identity: identity ?? undefined };
    return services.insight.references(wanted, email, signal);
  }

  @Admin()
  @Query(() => [RowVersion], {
    description: withExample(
      'One row through the backups of a config, oldest first: a version for each stretch of backups that have it alike. Only as many are read as it takes to find where two that differ meet. Of SQLite and PostgreSQL.',
      '{ rowHistory(configId: "1", table: "puja_booking", key: { id: 17 }) { backup { id createdAt } lastBackup { id } row changed } }',
    ),
  })
  async rowHistory(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('configId', () => ID, { description: 'The config.' }) configIdText: string,
    @Arg('table', () => String, { description: 'Name of the table.' }) table: string,
    @Arg('key', () => JsonValue, {
      // It is of no class, whose rules it could be held against.
      validate: false,
      description: 'The values of its primary key by column, such as `{ id: 17 }` or the `key` of a sample.',
    })
    key: unknown,
    @Arg('every', () => Boolean, {
      nullable: true,
      defaultValue: false,
      description:
        'Reads every backup, which takes longer: otherwise what a row held for a while between two backups that have it alike is not seen.',
    })
    every?: boolean | null,
    @Arg('identity', () => String, IDENTITY) identity?: string | null,
  ): Promise<RowVersion[]> {
    const { email } = await admin();
    const question = {
      configId: configId(configIdText, 'configId'),
      table,
      key: keyOf(key),
      every: every ?? false,
      identity: identity ?? undefined,
    };
    return services.insight.rowHistory(question, email, signal);
  }

  @Admin()
  @Query(() => AnswerChange, {
    nullable: true,
    description: withExample(
      'Between which backups of a config the answer to a query last changed, with few of them read; null if the oldest gives the same as the newest. Of SQLite and PostgreSQL.',
      '{ findChange(configId: "1", sql: "SELECT count(*) FROM puja_booking WHERE id = 17") { before { id } after { id createdAt } answerBefore answerAfter read } }',
    ),
  })
  async findChange(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('configId', () => ID, { description: 'The config.' }) configIdText: string,
    @Arg('sql', () => String, { description: 'One SELECT that gives one value, in the SQL of the database.' })
    sql: string,
    @Arg('identity', () => String, IDENTITY) identity?: string | null,
  ): Promise<AnswerChange | null> {
    const { email } = await admin();
    const question = { configId: configId(configIdText, 'configId'), sql, identity: identity ?? undefined };
    return services.insight.findChange(question, email, signal);
  }

  @Admin()
  @Query(() => [Invariant], {
    description: withExample(
      'Invariants that the newest backup of a config keeps and that the config does not have yet: a super-user, foreign keys, tables that have not lost a row in the backups so far. To be chosen from. Of SQLite and PostgreSQL.',
      '{ suggestInvariants(configId: "1") { name sql expect value } }',
    ),
  })
  async suggestInvariants(
    @Ctx() { services, signal }: GraphqlContext,
    @Arg('configId', () => ID, { description: 'The config.' }) configIdText: string,
    @Arg('identity', () => String, IDENTITY) identity?: string | null,
  ): Promise<Invariant[]> {
    return services.insight.suggestInvariants(configId(configIdText, 'configId'), signal, identity ?? undefined);
  }
}

/** @throws AppError BAD_USER_INPUT naming `key` */
function keyOf(given: unknown): Record<string, Cell> {
  const isCell = (value: unknown) => value === null || typeof value === 'string' || Number.isFinite(value);
  const isKey = typeof given === 'object' && given !== null && !Array.isArray(given);
  if (isKey && Object.values(given).every(isCell)) return { ...given } as Record<string, Cell>;
  throw badInput('key', 'is no object of texts and numbers.', 'Give it such as { id: 17 }.');
}
