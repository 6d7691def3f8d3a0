import { setTimeout as sleep } from 'node:timers/promises';
import type { LoadOptions } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { isLeftover, newName, oldName } from '../beside.js';
import { type Connection, withServer } from './connection.js';
import { holdsRows, listTables, shapeOf, tablesOf } from './facts.js';
import { fillDatabase, runStatements } from './fill.js';
import { qualified, quoted, STAMP_TABLE } from './names.js';
import { type DumpRun, openDump } from './snapshot.js';
import type { Tools } from './tools.js';
import type { Place } from './url.js';

/** Bytes of statements that one row of our own table holds: a server takes no longer values than its max_allowed_packet. */
const PART = 256 << 10;
/** How long the renaming is given to stand first in the line of those who wait, in milliseconds. */
const QUEUE_WITHIN = 100;

/** What a load works with. */
export interface LoadTools {
  toolsFor(connection: Connection): Promise<Tools>;
  /** As `ProcessRun.scratch`; a folder of the process's own where a run is tidied up. */
  scratch: string;
}

/** What our own table says: in a database that was switched, or beside one that is about to be. */
interface Note {
  stamp: string;
  /** Of the database, which statements of a dump change on the way. */
  charset: string;
  collation: string;
  /** True once all that is no table is there too. */
  isDone: boolean;
  /** True if the restore made the database. */
  isMade: boolean;
  objects: Buffer;
}

/**
 * Replaces a database: the dump is loaded into a new one beside it, and compared; then the tables of both are renamed in one
 * statement. What cannot be renamed (views, triggers, routines, events) is made right after it, from statements that the same
 * renaming has brought with it, so that recovery can finish.
 * @returns warnings
 */
export async function loadDump(path: string, place: Place, with_: LoadTools, options: LoadOptions): Promise<string[]> {
  const { signal, stamp } = options;
  const name = newName(stamp);
  return withServer(place, undefined, async (server) => {
    const tools = await with_.toolsFor(server);
    const run = { tools, isTls: server.isTls, scratch: with_.scratch, signal };
    await dropLeftovers(server).catch(() => undefined);
    await assertUnreferenced(server, place);
    const target = await shapeOf(server, place.database);
    const shape = target ?? shapeFrom(options.source);
    let isBegun = false;
    try {
      await createDatabase(server, name, shape);
      const filled = await fillDatabase({ ...run, place: { ...place, database: name } }, path, options);
      options.onProgress(0.9, 1);
      await compare(server, name, options);
      const old = target === null ? Buffer.alloc(0) : await objectsOf({ ...run, place });
      const kept = (await shapeOf(server, name)) ?? shape;
      const note = { stamp, charset: kept.charset, collation: kept.collation, isDone: false, isMade: false };
      await dropObjects(server, name);
      await writeNote(server, name, { ...note, ...shape, objects: filled.objects });
      signal.throwIfAborted();
      await switchOver(server, place, options, shape, async () => {
        await createDatabase(server, oldName(stamp), shape);
        await writeNote(server, oldName(stamp), { ...note, ...shape, isMade: target === null, objects: old });
        isBegun = true;
      });
      await finish(server, place, { ...run, signal: NEVER });
      options.onProgress(1, 1);
      return [];
    } catch (error) {
      // What is in force is finished by `clearStampAt`.
      if ((await noteAt(server, place.database).catch(() => null))?.stamp !== stamp) {
        await discardAt(place, stamp, with_).catch((left: unknown) => {
          if (isBegun) throw notPutBack(stamp, error, left);
        });
      }
      signal.throwIfAborted();
      throw error;
    }
  });
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

function notPutBack(stamp: string, cause: unknown, left: unknown): AppError {
  const text = `${messageOf(cause)} The tables were not changed, but their triggers could not be made again: ${messageOf(left)}`;
  return new AppError('DATABASE_FAILED', text, {
    hint: `Restore the safety backup. Their statements are also in ${qualified(oldName(stamp), STAMP_TABLE)}.`,
    cause,
  });
}

const NEVER = new AbortController().signal;
const WORD = /^\w+$/;

/** What the dump's own database was like, for a target that is not there yet. */
function shapeFrom({ charset, collation }: Record<string, string | number>): { charset: string; collation: string } {
  if (WORD.test(String(charset ?? '')) && WORD.test(String(collation ?? ''))) {
    return { charset: String(charset), collation: String(collation) };
  }
  return { charset: 'utf8mb4', collation: 'utf8mb4_unicode_ci' };
}

/** Makes an empty database, in place of one of ours of this name. */
export async function createDatabase(
  server: Connection,
  name: string,
  { charset, collation }: { charset: string; collation: string },
): Promise<void> {
  await dropDatabase(server, name);
  await server.run(`CREATE DATABASE ${quoted(name)} CHARACTER SET ${charset} COLLATE ${collation}`);
}

/** Removes what drills and restores of dead processes have left: their names say when they were made. */
export async function dropLeftovers(server: Connection): Promise<void> {
  const rows = await server.rows<{ name: string }>(
    `SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'dbm\\\\_%'`,
  );
  for (const { name } of rows) if (isLeftover(name)) await dropDatabase(server, name);
}

/** Drops a database of ours, if there is one. */
export const dropDatabase = (server: Connection, name: string): Promise<void> =>
  server.run(`DROP DATABASE IF EXISTS ${quoted(name)}`);

/** Tables of other databases would go on to refer to the old ones. */
async function assertUnreferenced(server: Connection, { database }: Place): Promise<void> {
  const rows = await server.rows<{ other: string; name: string }>(
    `SELECT CONSTRAINT_SCHEMA AS other, TABLE_NAME AS name FROM information_schema.REFERENTIAL_CONSTRAINTS
     WHERE UNIQUE_CONSTRAINT_SCHEMA = ? AND CONSTRAINT_SCHEMA <> ? LIMIT 3`,
    [database, database],
  );
  if (rows.length === 0) return;
  const named = rows.map(({ other, name }) => qualified(other, name)).join(', ');
  throw new AppError(
    'DATABASE_FAILED',
    `Foreign keys of ${named} lead into ${quoted(database)}. Nothing was changed.`,
    {
      hint: 'Drop those foreign keys, or restore into another database: targetDatabaseUrl.',
    },
  );
}

/** Fails unless the new database holds the rows that the backup noted. */
async function compare(server: Connection, name: string, { expected }: LoadOptions): Promise<void> {
  const found = new Map((await tablesOf(server, name, null)).map((table) => [table.name, table.rows]));
  for (const table of expected) {
    const loaded = found.get(table.name);
    if (table.rows === null || loaded === table.rows) continue;
    throw new AppError(
      'DATABASE_FAILED',
      `Table ${table.name} has ${loaded ?? 'no'} rows after it was loaded, and the backup noted ${table.rows}. Nothing was changed.`,
      { hint: 'Verify the backup, and restore another one if it is damaged.' },
    );
  }
}

/** The statements that make what is no table in a database, as its own dump has them. */
async function objectsOf(run: DumpRun): Promise<Buffer> {
  const objects: Buffer[] = [];
  const { bytes, tables } = await openDump(run, ['--no-data'], (kind, piece) => {
    if (kind === 'object' || kind === 'event' || kind === 'setting') objects.push(Buffer.from(piece));
  });
  bytes.resume();
  await tables;
  return Buffer.concat(objects);
}

async function writeNote(server: Connection, database: string, note: Note): Promise<void> {
  const table = qualified(database, STAMP_TABLE);
  await server.run(
    `CREATE TABLE ${table} (n INT PRIMARY KEY, stamp VARCHAR(200) NOT NULL, charset VARCHAR(64) NOT NULL,
       collation VARCHAR(64) NOT NULL, is_done INT NOT NULL, is_made INT NOT NULL, part LONGBLOB NOT NULL)
     ENGINE=InnoDB CHARACTER SET utf8mb4`,
  );
  const { stamp, charset, collation, isDone, isMade, objects } = note;
  for (let n = 0; n === 0 || n * PART < objects.length; n++) {
    const part = objects.subarray(n * PART, (n + 1) * PART);
    await server.run(`INSERT INTO ${table} VALUES (?, ?, ?, ?, ?, ?, ?)`, [
      ...[n, stamp, charset, collation, Number(isDone), Number(isMade), part],
    ]);
  }
}

/** What our own table in a database says; null where there is none. */
async function noteAt(server: Connection, database: string): Promise<Note | null> {
  const there = await server.rows('SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?', [
    database,
    STAMP_TABLE,
  ]);
  if (there.length === 0) return null;
  const rows = await server.rows<{
    stamp: string;
    charset: string;
    collation: string;
    is_done: number;
    is_made: number;
    part: Buffer;
  }>(`SELECT * FROM ${qualified(database, STAMP_TABLE)} ORDER BY n`);
  const [first] = rows;
  if (first === undefined || !WORD.test(first.charset) || !WORD.test(first.collation)) return null;
  return {
    ...{ stamp: first.stamp, charset: first.charset, collation: first.collation },
    ...{ isDone: first.is_done === 1, isMade: first.is_made === 1 },
    objects: Buffer.concat(rows.map(({ part }) => part)),
  };
}

/** Drops what is no table: it does not move with tables, or keeps them from moving. */
async function dropObjects(server: Connection, database: string): Promise<void> {
  const drop = async (what: string, sql: string) => {
    for (const { name, kind } of await server.rows<{ name: string; kind: string }>(sql, [database])) {
      if (/^[A-Z ]+$/.test(kind)) await server.run(`DROP ${what || kind} IF EXISTS ${qualified(database, name)}`);
    }
  };
  const from = (table: string, name: string, schema: string, kind = "''") =>
    `SELECT ${name} AS name, ${kind} AS kind FROM information_schema.${table} WHERE ${schema} = ? ORDER BY 2 DESC`;
  await drop('EVENT', from('EVENTS', 'EVENT_NAME', 'EVENT_SCHEMA', "'EVENT'"));
  await drop('TRIGGER', from('TRIGGERS', 'TRIGGER_NAME', 'TRIGGER_SCHEMA', "'TRIGGER'"));
  await drop('VIEW', from('VIEWS', 'TABLE_NAME', 'TABLE_SCHEMA', "'VIEW'"));
  // A package goes with its body.
  await drop('', from('ROUTINES', 'ROUTINE_NAME', 'ROUTINE_SCHEMA', 'ROUTINE_TYPE'));
}

/**
 * Moves the old tables out and the new ones in, in one statement that the server does as a whole or not at all.
 * @param begin called before anything of the target changes
 */
async function switchOver(
  server: Connection,
  place: Place,
  { stamp, lockTimeoutMs, signal, onSwitch }: LoadOptions,
  shape: { charset: string; collation: string },
  begin: () => Promise<void>,
): Promise<void> {
  const { database } = place;
  const seconds = Math.max(1, Math.ceil(lockTimeoutMs / 1_000));
  const make = () =>
    server.run(
      `CREATE DATABASE IF NOT EXISTS ${quoted(database)} CHARACTER SET ${shape.charset} COLLATE ${shape.collation}`,
    );
  await withServer(place, signal, async (locker) => {
    const tables = (await listTables(locker, database)).filter(holdsRows);
    for (const connection of [locker, server]) await connection.run(`SET SESSION lock_wait_timeout = ${seconds}`);
    try {
      // Nobody writes while there are no triggers.
      if (tables.length > 0) {
        await locker.run(`LOCK TABLES ${tables.map(({ name }) => `${qualified(database, name)} WRITE`).join(', ')}`);
      }
      await begin();
      // It would wait for our own lock on tables; a database that has some is there.
      if (tables.length === 0) await make();
      for (const { name } of await triggersOf(locker, database)) {
        await locker.run(`DROP TRIGGER IF EXISTS ${qualified(database, name)}`);
      }
      const moves = await movesOf(server, place, stamp);
      onSwitch();
      const renaming = server.run(`RENAME TABLE ${moves.join(', ')}`);
      renaming.catch(() => undefined);
      // It stands in line now, before all who come later.
      await Promise.race([sleep(QUEUE_WITHIN), renaming]);
      await locker.run('UNLOCK TABLES');
      await renaming;
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'DATABASE_IN_USE') throw error;
      throw new AppError('DATABASE_IN_USE', `${quoted(database)} is still in use. Nothing was changed.`, {
        hint: 'Stop the application, or allow more time with the lock timeout of the config.',
        cause: error,
      });
    }
  });
}

const triggersOf = (server: Connection, database: string) =>
  server.rows<{ name: string }>(
    'SELECT TRIGGER_NAME AS name FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = ?',
    [database],
  );

async function movesOf(server: Connection, { database }: Place, stamp: string): Promise<string[]> {
  const [from, to] = [newName(stamp), oldName(stamp)];
  const isMoved = ({ type }: { type: string }) => !/VIEW/.test(type);
  const old = (await listTables(server, database)).filter(isMoved).map(({ name }) => name);
  const fresh = (await listTables(server, from)).filter(isMoved).map(({ name }) => name);
  return [
    ...old.map((name) => `${qualified(database, name)} TO ${qualified(to, name)}`),
    ...[...fresh, STAMP_TABLE].map((name) => `${qualified(from, name)} TO ${qualified(database, name)}`),
  ];
}

/** Makes what is no table, after the switch. May be done again. */
async function finish(server: Connection, place: Place, run: Omit<DumpRun, 'place'>): Promise<void> {
  const note = await noteAt(server, place.database);
  if (note === null || note.isDone) return;
  await makeObjects(server, { ...run, place }, note);
  await server.run(`UPDATE ${qualified(place.database, STAMP_TABLE)} SET is_done = 1`);
}

async function makeObjects(server: Connection, run: DumpRun, { charset, collation, objects }: Note): Promise<void> {
  const { database } = run.place;
  await dropObjects(server, database);
  if (objects.length > 0) await runStatements(run, objects);
  await server.run(`ALTER DATABASE ${quoted(database)} CHARACTER SET ${charset} COLLATE ${collation}`);
}

/** As `Engine.stampOf`. */
export async function stampAt(place: Place): Promise<string | null> {
  return withServer(place, undefined, async (server) => (await noteAt(server, place.database))?.stamp ?? null);
}

/** Finishes a switch, and drops what it has put aside; then takes the stamp away. */
export async function clearStampAt(place: Place, with_: LoadTools): Promise<void> {
  await withServer(place, undefined, async (server) => {
    const note = await noteAt(server, place.database);
    if (note === null) return;
    if (!note.isDone) {
      const tools = await with_.toolsFor(server);
      const run = { tools, isTls: server.isTls, scratch: with_.scratch, signal: NEVER };
      await finish(server, place, run).catch((error: unknown) => {
        throw new AppError(
          'DATABASE_FAILED',
          `The tables were restored, but not all views, triggers, routines and events: ${messageOf(error)}`,
          { hint: `Correct the cause, then restore again. The old tables are in ${quoted(oldName(note.stamp))}.` },
        );
      });
    }
    await dropDatabase(server, newName(note.stamp));
    await dropDatabase(server, oldName(note.stamp));
    await server.run(`DROP TABLE IF EXISTS ${qualified(place.database, STAMP_TABLE)}`);
  });
}

/** As `Engine.discard`: puts back what was taken away for a switch that did not happen. */
export async function discardAt(place: Place, stamp: string, with_: LoadTools): Promise<void> {
  await withServer(place, undefined, async (server) => {
    const note = await noteAt(server, oldName(stamp));
    if (note?.isMade === true) {
      const left = await listTables(server, place.database);
      if (left.length === 0) await dropDatabase(server, place.database);
    } else if (note !== null) {
      const run = { tools: await with_.toolsFor(server), isTls: server.isTls, scratch: with_.scratch, signal: NEVER };
      await makeObjects(server, { ...run, place }, note);
    }
    await dropDatabase(server, newName(stamp));
    await dropDatabase(server, oldName(stamp));
  });
}
