import type { LoadOptions, StepContext, TablesRehearsal } from '../../core/ports.js';
import { AppError, badInput, errnoOf } from '../../errors.js';
import { drillName, newName } from '../beside.js';
import { type Connection, type CopyIn, withConnection, withServer } from './connection.js';
import { type DumpFile, dumpBytes } from './dump.js';
import { definitionsOf, storedTables, type Table } from './facts.js';
import { clearStampAt, stampText } from './load.js';
import { literal, qualified, quoted, type TableName, tableName } from './names.js';
import { rowsIn } from './rows.js';
import { dropLeftovers, inScratch, shapeOf } from './scratch.js';
import { readTool } from './tools.js';
import type { Place } from './url.js';

interface Column {
  name: string;
  type: string;
  /** The server makes its values. */
  generated: boolean;
  /** A row must bring a value for it. */
  required: boolean;
}

/** A table with what is compared of it. */
interface DefinedTable extends Table {
  columns: Column[];
  /** What makes it, as text. */
  definition: string;
}

/** The tables of a database, by the names that lists give them. */
const tablesIn = async (connection: Connection): Promise<Map<string, Table>> =>
  new Map((await storedTables(connection)).map((table) => [tableName(table), table]));

/** As `tablesIn`, with what they are made of. */
async function definedTablesIn(connection: Connection): Promise<Map<string, DefinedTable>> {
  const rows = await connection.rows<{ oid: string; columns: Column[] }>(
    `SELECT attrelid::text AS oid, json_agg(json_build_object('name', attname, 'type', format_type(atttypid, atttypmod),
       'generated', attgenerated <> '', 'required', attnotnull AND NOT atthasdef AND attidentity = '') ORDER BY attnum) AS columns
     FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped GROUP BY attrelid`,
  );
  const columns = new Map(rows.map((row) => [row.oid, row.columns]));
  const definitions = await definitionsOf(connection);
  return new Map(
    (await storedTables(connection)).map((table) => {
      const { oid } = table;
      return [tableName(table), { ...table, columns: columns.get(oid) ?? [], definition: definitions.get(oid) ?? '' }];
    }),
  );
}

/** As `Engine.rehearse`: the definitions of the dump are made in a database beside the target, and compared with it. */
export function rehearseTables(
  dump: DumpFile,
  place: Place,
  { tables, exact, signal }: StepContext & { tables: string[]; exact: boolean },
): Promise<TablesRehearsal> {
  return withServer(place, undefined, async (server) => {
    await dropLeftovers(server).catch(() => undefined);
    const shape = await shapeOf(server, place.database);
    if (shape === null) throw noTarget(place);
    const scratch = { place: { ...place, database: drillName() }, shape, part: 'definitions' as const };
    const inDump = await inScratch(server, dump, scratch, definedTablesIn);
    return withConnection(place, signal, async (connection) => {
      const live = await definedTablesIn(connection);
      const found = tables.map((name) => compared(name, inDump.get(name), live.get(name), exact));
      const warnings = found.flatMap((each) => each.warnings);
      const replaced = tables.flatMap((name) => live.get(name) ?? []);
      const foreign = await foreignTables(connection, replaced);
      const clones = await clonedTriggers(
        connection,
        replaced.map(({ oid }) => oid),
      );
      return {
        tables,
        related: [],
        repairs: [],
        warnings: [...warnings, ...(await staleViews(connection, replaced))],
        refusals: [
          ...found.flatMap((each) => each.refusals),
          ...foreign.map((owned) => noOwner(place, owned)),
          ...clones,
        ],
      };
    });
  });
}

const noTarget = ({ database }: Place) =>
  new AppError('DATABASE_NOT_FOUND', `There is no database "${database}" that single tables could come back to.`, {
    hint: 'Restore the whole backup into it first, or leave tables out.',
  });

/** Who owns tables of these, or with foreign keys to or from them, that the user must not act for. */
async function foreignTables(connection: Connection, tables: Table[]): Promise<{ owner: string; names: string }[]> {
  return connection.rows(
    `SELECT pg_get_userbyid(relowner) AS owner, string_agg(DISTINCT relname, ', ') AS names FROM pg_class
     WHERE NOT pg_has_role(relowner, 'USAGE') AND (oid = ANY ($1::oid[]) OR oid IN (SELECT conrelid FROM pg_constraint
       WHERE contype = 'f' AND (conrelid = ANY ($1::oid[]) OR confrelid = ANY ($1::oid[])))) GROUP BY 1 ORDER BY 1`,
    [tables.map(({ oid }) => oid)],
  );
}

export const noOwner = ({ user }: Place, { owner, names }: { owner: string; names: string }) =>
  new AppError(
    'DATABASE_UNREADABLE',
    `The user ${quoted(user)} must not change ${names}, which belong to ${quoted(owner)}.`,
    {
      hint: `As a superuser, run: GRANT ${quoted(owner)} TO ${quoted(user)};`,
    },
  );

type Compared = Pick<TablesRehearsal, 'warnings' | 'refusals'>;

/** What stands against the rows of one table, and what to know of them. */
function compared(
  name: string,
  dumped: DefinedTable | undefined,
  live: DefinedTable | undefined,
  exact: boolean,
): Compared {
  const none: Compared = { warnings: [], refusals: [] };
  // An undo drops what the restore has made.
  if (dumped === undefined && exact) return none;
  if (dumped === undefined)
    return { ...none, refusals: [badInput('tables', `the dump does not define ${name}.`, WHOLE)] };
  if (live === undefined) {
    const text = `${name} is made anew. Views, rules and foreign keys of other tables that were dropped with it stay away.`;
    return exact ? none : { ...none, warnings: [text] };
  }
  const lives = new Map(live.columns.map((column) => [column.name, column]));
  const gone = dumped.columns.filter((column) => !column.generated && !fits(column, lives.get(column.name)));
  const names = new Set(dumped.columns.map((column) => column.name));
  const added = live.columns.filter((column) => !names.has(column.name) && !column.generated);
  const required = added.filter((column) => column.required);
  const refused = [
    ...gone.map((column) => `${column.name} ${column.type} of the backup has no place`),
    ...required.map((column) => `${column.name} ${column.type} must have a value and the backup has none`),
  ];
  if (refused.length > 0) {
    const text = `the columns of ${name} have changed since the backup: ${refused.slice(0, 5).join('; ')}.`;
    return { ...none, refusals: [badInput('tables', text, ELSEWHERE)] };
  }
  if (added.length > 0) {
    const list = added.map((column) => column.name).join(', ');
    return {
      ...none,
      warnings: [`${name} has columns that the backup does not know, and they get their defaults: ${list}.`],
    };
  }
  if (dumped.definition === live.definition || exact) return none;
  const text = `${name} keeps the constraints, indexes, triggers and rights that it has now; some of them differ from the backup's.`;
  return { ...none, warnings: [text] };
}

const fits = (dumped: Column, live: Column | undefined) =>
  live !== undefined && !live.generated && live.type === dumped.type;

const WHOLE = 'Leave tables out, or choose tables that the backup lists.';
const ELSEWHERE =
  'Restore the backup into a new database (targetDatabaseUrl), and bring the rows over by hand, or restore the whole database.';

/** Materialized views keep what they have read. */
export async function staleViews(connection: Connection, tables: Pick<Table, 'oid'>[]): Promise<string[]> {
  const views = await connection.rows<TableName>(
    `WITH RECURSIVE hangs AS (SELECT unnest($1::oid[]) AS oid
       UNION SELECT r.ev_class FROM hangs JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = hangs.oid
         JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid)
     SELECT n.nspname AS schema, c.relname AS name FROM hangs JOIN pg_class c USING (oid)
       JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' ORDER BY 1, 2`,
    [tables.map(({ oid }) => oid)],
  );
  if (views.length === 0) return [];
  const statements = views.slice(0, 10).map((view) => `REFRESH MATERIALIZED VIEW ${qualified(view)};`);
  return [`Materialized views of these tables keep the old rows until you run: ${statements.join(' ')}`];
}

/**
 * Replaces the rows of single tables in one transaction, which holds them locked until it ends: the rows of the dump come as
 * they were copied, triggers do not fire, and foreign keys are taken away before and compared with all rows when they come
 * back. A table that is not there is made as the dump defines it; one that the dump lacks is dropped.
 * @returns warnings
 */
export async function loadTables(dump: DumpFile, place: Place, options: LoadOptions): Promise<string[]> {
  const chosen = options.tables ?? [];
  const missing = await withConnection(place, options.signal, async (connection) => {
    const live = await tablesIn(connection);
    return chosen.filter((name) => !live.has(name));
  });
  const definitions = missing.length === 0 ? '' : await definitionsFrom(dump, place, options.stamp, missing);
  let tables: Table[] = [];
  const warnings = await inStampedTransaction(place, options, async (connection, wait) => {
    const dumped = new Set(options.expected.map(({ name }) => name));
    await dropTables(
      connection,
      chosen.filter((name) => !dumped.has(name)),
    );
    if (definitions !== '') await connection.run(definitions);
    await wait();
    const live = await tablesIn(connection);
    tables = chosen.filter((name) => dumped.has(name)).map((name) => live.get(name) ?? notMade(name));
    return tables.length > 0 ? await replaceRows(connection, dump, tables, options) : [];
  });
  await withConnection(place, undefined, async (connection) => {
    for (const table of tables) await connection.run(`ANALYZE ${qualified(table)}`).catch(() => undefined);
  }).catch(() => undefined);
  options.onProgress(1, 1);
  return warnings;
}

/**
 * Runs `work` in one transaction that leaves the stamp of the restore. Where it fails, nothing is changed.
 * @param work `wait` has it wait for locks as long as the restore may
 * @throws AppError DATABASE_NOT_FOUND
 */
export async function inStampedTransaction<T>(
  place: Place,
  { signal, stamp, lockTimeoutMs, onSwitch }: Pick<LoadOptions, 'signal' | 'stamp' | 'lockTimeoutMs' | 'onSwitch'>,
  work: (connection: Connection, wait: () => Promise<void>) => Promise<T>,
): Promise<T> {
  // What an earlier restore could not tidy up would be taken for a comment of the application's.
  await clearStampAt(place).catch(() => undefined);
  const comment = await withServer(
    place,
    undefined,
    async (server) => (await shapeOf(server, place.database))?.comment,
  );
  if (comment === undefined) throw noTarget(place);
  return withConnection(place, signal, async (connection) => {
    try {
      // Whatever the database sets: each statement must see what was committed before its locks were granted.
      await connection.run('BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE');
      const wait = () => connection.run(`SET LOCAL lock_timeout = ${Math.max(1_000, lockTimeoutMs)}`);
      await wait();
      const done = await work(connection, wait);
      await connection.run(`COMMENT ON DATABASE ${quoted(place.database)} IS ${literal(stampText(stamp, comment))}`);
      signal.throwIfAborted();
      onSwitch();
      await connection.run('COMMIT');
      return done;
    } catch (error) {
      await connection.run('ROLLBACK').catch(() => undefined);
      throw error;
    }
  });
}

const notMade = (name: string) => {
  throw new AppError('DATABASE_FAILED', `The dump does not define ${name}. Nothing was changed.`);
};

/** What makes these tables, with their indexes, triggers, constraints, sequences and rights, as SQL. */
function definitionsFrom(dump: DumpFile, place: Place, stamp: string, missing: string[]): Promise<string> {
  return withServer(place, undefined, async (server) => {
    const shape = await shapeOf(server, place.database);
    const scratch = { ...place, database: newName(stamp) };
    return inScratch(server, dump, { place: scratch, shape, part: 'definitions' }, async (connection) => {
      const known = await tablesIn(connection);
      const tables = missing.flatMap((name) => known.get(name) ?? []);
      if (tables.length === 0) return '';
      const { tools, scratch: folder, signal } = dump;
      const args = ['--schema-only', ...tables.map((table) => `--table=${qualified(table)}`)];
      const sql = await readTool({ tools, program: 'pg_dump', args, place: scratch, scratch: folder, signal });
      return withoutCommands(sql);
    });
  });
}

/** Without the two commands for psql that keep others like them out: the first one follows the comments at the beginning. */
function withoutCommands(sql: string): string {
  const key = /^(?:(?:--.*)?\n)*\\restrict (\S+)\n/.exec(sql)?.[1];
  return key === undefined ? sql : sql.replace(`\\restrict ${key}\n`, '').replace(`\\unrestrict ${key}\n`, '');
}

async function dropTables(connection: Connection, names: string[]): Promise<void> {
  if (names.length === 0) return;
  const live = await tablesIn(connection);
  const tables = names.flatMap((name) => live.get(name) ?? []);
  if (tables.length > 0) await connection.run(`DROP TABLE ${tables.map(qualified).join(', ')}`);
}

async function replaceRows(
  connection: Connection,
  dump: DumpFile,
  tables: Table[],
  { expected, exact, onProgress }: LoadOptions,
): Promise<string[]> {
  await connection.run(`LOCK TABLE ONLY ${tables.map(qualified).join(', ONLY ')} IN ACCESS EXCLUSIVE MODE`);
  const oids = tables.map(({ oid }) => oid);
  const keys = await foreignKeysAt(connection, oids);
  for (const { table, name } of keys) await connection.run(`ALTER TABLE ${table} DROP CONSTRAINT ${name}`);
  const triggers = await triggersOf(connection, oids);
  for (const { table, name } of triggers) await connection.run(`ALTER TABLE ${table} DISABLE TRIGGER ${name}`);
  await connection.run(`TRUNCATE ONLY ${tables.map(qualified).join(', ONLY ')}`);
  await copyRows(connection, dump, tables, await sequencesOf(connection, oids), onProgress);
  await assertCounts(connection, tables, expected);
  for (const { table, name, how } of triggers) await connection.run(`ALTER TABLE ${table} ENABLE ${how} ${name}`);
  const warnings: string[] = [];
  for (const key of keys) warnings.push(...(await addKey(connection, key, exact)));
  return warnings;
}

/** An undo brings rows back that did not fit before either. @returns warnings */
async function addKey(connection: Connection, key: ForeignKey, exact: boolean): Promise<string[]> {
  const { table, name, definition, comment } = key;
  const add = `ALTER TABLE ${table} ADD CONSTRAINT ${name} ${definition}`;
  const warnings: string[] = [];
  await connection.run('SAVEPOINT foreign_key');
  try {
    await connection.run(add);
  } catch (error) {
    if (!(error instanceof AppError) || errnoOf(error.cause) !== FOREIGN_KEY_VIOLATION) throw error;
    if (!exact) throw unfit(error);
    await connection.run('ROLLBACK TO SAVEPOINT foreign_key');
    await connection.run(`${add} NOT VALID`);
    warnings.push(
      `Rows of ${table} do not agree with its foreign key ${name}, as before the restore: it is NOT VALID now.`,
    );
  }
  if (comment !== null) await connection.run(`COMMENT ON CONSTRAINT ${name} ON ${table} IS ${literal(comment)}`);
  return warnings;
}

const FOREIGN_KEY_VIOLATION = '23503';

const unfit = (cause: AppError) =>
  new AppError(
    'DATABASE_FAILED',
    `The restored rows do not fit those of other tables: ${cause.message} Nothing was changed.`,
    {
      hint: 'Choose the tables that the message names as well, or set includeRelated: true.',
      cause,
    },
  );

interface ForeignKey {
  /** As SQL takes them. */
  table: string;
  name: string;
  definition: string;
  comment: string | null;
}

/** The foreign keys of these tables and to them; of a partitioned table its own, which its partitions share. */
function foreignKeysAt(connection: Connection, oids: string[]): Promise<ForeignKey[]> {
  return connection.rows<ForeignKey>(
    `WITH RECURSIVE touched AS (
       SELECT oid, conparentid FROM pg_constraint WHERE contype = 'f' AND (conrelid = ANY ($1::oid[]) OR confrelid = ANY ($1::oid[]))
       UNION SELECT k.oid, k.conparentid FROM pg_constraint k JOIN touched ON k.oid = touched.conparentid)
     SELECT format('%I.%I', n.nspname, c.relname) AS table, quote_ident(k.conname) AS name, pg_get_constraintdef(k.oid) AS definition,
       obj_description(k.oid, 'pg_constraint') AS comment
     FROM touched JOIN pg_constraint k USING (oid) JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE k.conparentid = 0 ORDER BY 1, 2`,
    [oids],
  );
}

/** Before PostgreSQL 15 only a superuser can switch off what a partition has of its table's triggers: they would fire. */
async function clonedTriggers(connection: Connection, oids: string[]): Promise<AppError[]> {
  const clones = await connection.rows<TableName & { trigger: string }>(
    `SELECT n.nspname AS schema, c.relname AS name, t.tgname AS trigger
     FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
       LEFT JOIN pg_constraint k ON k.oid = t.tgconstraint
     WHERE t.tgrelid = ANY ($1::oid[]) AND t.tgisinternal AND t.tgenabled <> 'D' AND coalesce(k.contype, 't') = 't' ORDER BY 1, 2, 3`,
    [oids],
  );
  const hint = 'Update to PostgreSQL 15, or restore the whole database, or into another one (targetDatabaseUrl).';
  return clones.map(({ trigger, ...table }) =>
    badInput('tables', `the trigger ${trigger} of the partition ${tableName(table)} would fire.`, hint),
  );
}

/**
 * The triggers of these tables that can fire.
 * @throws AppError BAD_USER_INPUT for one that cannot be switched off
 */
export async function triggersOf(
  connection: Connection,
  oids: string[],
): Promise<{ table: string; name: string; how: string }[]> {
  const [clone] = await clonedTriggers(connection, oids);
  if (clone !== undefined) throw clone;
  return connection.rows(
    `SELECT format('%I.%I', n.nspname, c.relname) AS table, quote_ident(tgname) AS name,
       CASE tgenabled WHEN 'A' THEN 'ALWAYS TRIGGER' WHEN 'R' THEN 'REPLICA TRIGGER' ELSE 'TRIGGER' END AS how
     FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE tgrelid = ANY ($1::oid[]) AND NOT tgisinternal AND tgenabled <> 'D' ORDER BY 1, 2`,
    [oids],
  );
}

/** The sequences that give these tables their numbers. */
function sequencesOf(connection: Connection, oids: string[]): Promise<TableName[]> {
  return connection.rows<TableName>(
    `SELECT DISTINCT n.nspname AS schema, s.relname AS name
     FROM pg_class s JOIN pg_namespace n ON n.oid = s.relnamespace JOIN pg_depend d ON
       (d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ($1::oid[]))
       OR (d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid
         AND d.objid IN (SELECT oid FROM pg_attrdef WHERE adrelid = ANY ($1::oid[])))
     WHERE s.relkind = 'S' ORDER BY 1, 2`,
    [oids],
  );
}

async function copyRows(
  connection: Connection,
  dump: DumpFile,
  tables: Table[],
  sequences: TableName[],
  onProgress: LoadOptions['onProgress'],
): Promise<void> {
  const total = await dumpBytes(dump.path);
  let done = 0;
  let into: CopyIn | null = null;
  try {
    for await (const part of rowsIn(dump, tables, sequences)) {
      switch (part.kind) {
        case 'table':
          into = await connection.copyIn(`COPY ${qualified(part.table)} ${part.columns} FROM STDIN`);
          break;
        case 'rows':
          await into?.write(part.bytes);
          onProgress(Math.min((done += part.bytes.length), total) * 0.9, total);
          break;
        case 'end':
          await into?.end();
          break;
        case 'sequence':
          await placeSequence(connection, part);
      }
    }
  } catch (error) {
    await into?.abort();
    throw error;
  }
}

/** A sequence that was begun anew has a file of its own until the transaction ends: what is set in it is taken back with it. */
async function placeSequence(
  connection: Connection,
  { sequence, last, isCalled }: { sequence: TableName; last: bigint; isCalled: boolean },
): Promise<void> {
  await connection.run(`ALTER SEQUENCE ${qualified(sequence)} RESTART`);
  await connection.run(`SELECT setval(${literal(qualified(sequence))}::regclass, ${last}, ${isCalled})`);
}

async function assertCounts(connection: Connection, tables: Table[], expected: LoadOptions['expected']): Promise<void> {
  const noted = new Map(expected.map(({ name, rows }) => [name, rows]));
  for (const table of tables) {
    const [found] = await connection.rows<{ rows: string }>(
      `SELECT count(*)::text AS rows FROM ONLY ${qualified(table)}`,
    );
    const rows = noted.get(tableName(table)) ?? null;
    if (rows === null || Number(found?.rows) === rows) continue;
    throw new AppError(
      'DATABASE_FAILED',
      `Table ${tableName(table)} has ${found?.rows ?? 'no'} rows after it was loaded, and the backup noted ${rows}. Nothing was changed.`,
    );
  }
}
