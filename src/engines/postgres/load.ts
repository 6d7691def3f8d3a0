import { setTimeout as sleep } from 'node:timers/promises';
import type { LoadOptions } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { newName, oldName } from '../beside.js';
import { type Connection, failureAt, serverOf, withConnection, withServer } from './connection.js';
import type { DumpFile } from './dump.js';
import { factsOf } from './facts.js';
import { literal, quoted } from './names.js';
import {
  createDatabase,
  type DatabaseShape,
  dropDatabase,
  dropLeftovers,
  endSessions,
  closeToOthers,
  fillDatabase,
  shapeOf,
} from './scratch.js';
import type { Place } from './url.js';

/** How often those who came back are ended while a database is waited for, in milliseconds. */
const END_EVERY = 100;

/**
 * Replaces a database: the dump is loaded into a new one beside it, and compared; then both are renamed in one transaction. A
 * target that is not there is made. Until the switch, nothing of the target changes.
 * @returns warnings
 */
export async function loadDump(dump: DumpFile, place: Place, options: LoadOptions): Promise<string[]> {
  const { signal, stamp, isScratch } = options;
  const name = newName(stamp);
  // What an earlier restore could not tidy up would be taken for a comment of the application's.
  await clearStampAt(place).catch(() => undefined);
  return withServer(place, undefined, async (server) => {
    await dropLeftovers(server).catch(() => undefined);
    const target = await shapeOf(server, place.database);
    const shape = target ?? shapeFrom(options.source);
    try {
      await makeBeside(server, place, name, shape);
      if (isScratch) await closeToOthers(server, name);
      const filling = { owner: shape.owner ?? null, isScratch, source: options.source };
      const warnings = await fillDatabase(server, dump, { ...place, database: name }, filling);
      options.onProgress(0.9, 1);
      await compare({ ...place, database: name }, options);
      await server.run(`COMMENT ON DATABASE ${quoted(name)} IS ${literal(stampText(stamp, target?.comment ?? null))}`);
      warnings.push(...(await giveSettings(server, name, target)));
      signal.throwIfAborted();
      await switchOver(server, place, target, options);
      options.onProgress(1, 1);
      return warnings;
    } catch (error) {
      // After a switch whose answer was lost there is no database of this name any more.
      const drop = (connection: Connection) => dropDatabase(connection, name);
      await drop(server).catch(() => withServer(place, undefined, drop).catch(() => undefined));
      signal.throwIfAborted();
      throw error;
    }
  });
}

/** @returns a warning for each that cannot be given: some take the rights of a superuser */
async function giveSettings(server: Connection, name: string, target: DatabaseShape | null): Promise<string[]> {
  const warnings: string[] = [];
  for (const statement of target?.settings ?? []) {
    await server.run(statement(name)).catch((error: unknown) => {
      if (!(error instanceof AppError) || /^DATABASE_(NOT_FOUND|IN_USE)$/.test(error.code)) throw error;
      warnings.push(
        `The database had a setting that the new one could not get: ${statement('database')}. ${error.message}`,
      );
    });
  }
  return warnings;
}

async function makeBeside(
  server: Connection,
  place: Place,
  name: string,
  shape: Partial<DatabaseShape>,
): Promise<void> {
  await dropDatabase(server, name);
  await createDatabase(server, name, shape).catch((error: unknown) => {
    const { message } = failureAt(place, error);
    throw new AppError('DATABASE_FAILED', `No new database could be made: ${message} Nothing was changed.`, {
      hint: CREATE_HINT,
      cause: error,
    });
  });
}

const CREATE_HINT =
  'See the message of PostgreSQL. A locale that the server does not have must be installed there first.';

/** What the dump's own database was like, for a target that is not there yet. Its owner may be a role of another server. */
function shapeFrom(source: Record<string, string | number>): Partial<DatabaseShape> {
  const text = (field: string) => (source[field] === undefined ? {} : { [field]: String(source[field]) });
  const provider = source.locale_provider === undefined ? {} : { provider: String(source.locale_provider) };
  return { ...text('encoding'), ...text('collate'), ...text('ctype'), ...text('locale'), ...provider };
}

/** Fails unless the new database holds the rows that the backup noted; then has the server look at how they are spread. */
async function compare(place: Place, { expected, signal }: LoadOptions): Promise<void> {
  await withConnection(place, signal, async (connection) => {
    const { tables } = await factsOf(connection, { deadline: null });
    const found = new Map(tables.map(({ name, rows }) => [name, rows]));
    for (const { name, rows } of expected) {
      const loaded = found.get(name);
      if (rows === null || loaded === rows) continue;
      throw new AppError(
        'DATABASE_FAILED',
        `Table ${name} has ${loaded ?? 'no'} rows after it was loaded, and the backup noted ${rows}. Nothing was changed.`,
        { hint: 'Look for triggers or rules of the backup that change rows while they are loaded.' },
      );
    }
    await connection.run('ANALYZE');
  });
}

/**
 * Gives the new database the target's name, and the old one another, in one transaction. Those who are connected are ended;
 * who comes while it runs waits at the server's door and finds the new one.
 */
async function switchOver(
  server: Connection,
  place: Place,
  target: DatabaseShape | null,
  { stamp, lockTimeoutMs, signal, onSwitch }: LoadOptions,
): Promise<void> {
  const [name, old, own] = [newName(stamp), oldName(stamp), place.database].map(quoted);
  const deadline = Date.now() + lockTimeoutMs;
  for (;;) {
    signal.throwIfAborted();
    const stop = new AbortController();
    const ending = target === null ? null : keepEnding(place, stop.signal);
    try {
      await server.run('BEGIN');
      await server.run(`SET LOCAL lock_timeout = ${Math.max(1_000, deadline - Date.now())}`);
      if (target !== null) {
        await server.run(`ALTER DATABASE ${own} RENAME TO ${old}`);
        await assertSame(server, place, oldName(stamp), target);
      }
      await server.run(`ALTER DATABASE ${name} RENAME TO ${own}`);
      onSwitch();
      await server.run('COMMIT');
      return;
    } catch (error) {
      await server.run('ROLLBACK').catch(() => undefined);
      const isHeld = error instanceof AppError && error.code === 'DATABASE_IN_USE';
      if (!isHeld) throw error;
      if (Date.now() >= deadline) throw await stillHeld(server, place, error);
    } finally {
      stop.abort();
      await ending;
    }
    await sleep(END_EVERY, undefined, { signal }).catch(() => undefined);
  }
}

/** The database that was made ready for must be the one that is replaced. */
async function assertSame(server: Connection, place: Place, name: string, { oid }: DatabaseShape): Promise<void> {
  const found = await shapeOf(server, name);
  if (found?.oid === oid) return;
  throw new AppError('DATABASE_FAILED', `${quoted(place.database)} was replaced by another program meanwhile.`, {
    hint: 'Find out what else restores into this database, then restore again.',
  });
}

/** Ends all that is connected to the target again and again, over a connection of its own. */
async function keepEnding(place: Place, signal: AbortSignal): Promise<void> {
  await withServer(place, undefined, async (other) => {
    while (!signal.aborted) {
      await endSessions(other, place.database).catch(() => 0);
      await sleep(END_EVERY, undefined, { signal }).catch(() => undefined);
    }
  }).catch(() => undefined);
}

async function stillHeld(server: Connection, place: Place, cause: AppError): Promise<AppError> {
  const sessions = await sessionsOf(server, place.database).catch(() => []);
  const who = sessions.slice(0, 5).map(({ pid, command }) => `${command} (${pid})`);
  const text = `${quoted(place.database)} is still in use${who.length === 0 ? '' : ` by ${who.join(', ')}`}. Nothing was changed.`;
  return new AppError('DATABASE_IN_USE', text, {
    hint: `Stop the application, or let db-manager end its connections: GRANT pg_signal_backend TO ${quoted(place.user)};`,
    cause,
  });
}

/** Who is connected to a database of the server. */
export function sessionsOf(connection: Connection, name: string): Promise<{ pid: number; command: string }[]> {
  return connection.rows(
    `SELECT pid, concat(coalesce(nullif(application_name, ''), 'session'), ' of ', usename) AS command
     FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid() AND backend_type = 'client backend'
     ORDER BY pid LIMIT 100`,
    [name],
  );
}

/** The comment that a switched database carries until its restore is tidied up; what it had before stands behind it. */
export const stampText = (stamp: string, before: string | null) =>
  `db-manager: ${stamp}${before === null ? '' : `\n${before}`}`;
const STAMP = /^db-manager: (\S+)(?:\n([\s\S]*))?$/;

/** As `Engine.stampOf`. */
export async function stampAt(place: Place): Promise<string | null> {
  const shape = await withServer(place, undefined, (server) => shapeOf(server, place.database));
  return STAMP.exec(shape?.comment ?? '')?.[1] ?? null;
}

/** Drops what the switch has put aside, then takes the stamp away. */
export async function clearStampAt(place: Place): Promise<void> {
  await withServer(place, undefined, async (server) => {
    const shape = await shapeOf(server, place.database);
    const [, stamp, before = null] = STAMP.exec(shape?.comment ?? '') ?? [];
    if (stamp === undefined) return;
    const left = await dropDatabase(server, oldName(stamp)).then(
      () => null,
      (error: unknown) => error as AppError,
    );
    const comment = before === null ? 'NULL' : literal(before);
    await server.run(`COMMENT ON DATABASE ${quoted(place.database)} IS ${comment}`);
    if (left === null) return;
    throw new AppError(left.code, `The replaced database ${quoted(oldName(stamp))} is still there: ${left.message}`, {
      hint: `It does no harm. Remove it with \`DROP DATABASE ${quoted(oldName(stamp))}\`.`,
      cause: left,
    });
  });
}

/**
 * Fails unless the user may replace the database.
 * @throws AppError DATABASE_UNREADABLE with the statement that gives the right; DATABASE_NOT_FOUND
 */
export async function assertWritable(place: Place): Promise<void> {
  await withServer(place, undefined, async (server) => {
    const { database, user } = place;
    const refuse = (text: string, hint: string) => new AppError('DATABASE_UNREADABLE', text, { hint });
    const who = `The user ${quoted(user)} of ${serverOf(place).replace('The', 'the')}`;
    if (/^template[01]$/.test(database)) {
      throw refuse(`${quoted(database)} is the server's own.`, 'Restore into another database: targetDatabaseUrl.');
    }
    const [role] = await server.rows<{ may: boolean }>(
      'SELECT rolcreatedb OR rolsuper AS may FROM pg_roles WHERE rolname = current_user',
    );
    if (role?.may !== true) {
      const why = 'must not create databases, and a restore makes a new one before it replaces the old one.';
      throw refuse(`${who} ${why}`, `As a superuser, run: ALTER ROLE ${quoted(user)} CREATEDB;`);
    }
    const shape = await shapeOf(server, database);
    if (shape === null) return;
    const right = server.major >= 16 ? 'SET' : 'MEMBER';
    const [owner] = await server.rows<{ may: boolean }>('SELECT pg_has_role($1, $2) AS may', [shape.owner, right]);
    if (owner?.may === true) return;
    throw refuse(
      `${who} must not replace ${quoted(database)}, which belongs to ${quoted(shape.owner)}.`,
      `As a superuser, run: GRANT ${quoted(shape.owner)} TO ${quoted(user)};`,
    );
  });
}
