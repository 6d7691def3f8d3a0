import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { DatabaseInfo, Engine, Snapshot, StepContext } from '../core/ports.js';
import { badInput, errnoOf, fromErrno } from '../errors.js';
import { assertSound } from './sqlite-check.js';
import { SqliteConnection, withConnection } from './sqlite-connection.js';
import { whileGrowing } from './sqlite-growth.js';
import { assertSqliteFile, checkWritable, holders } from './sqlite-file.js';
import { describeConnection, foreignKeyWarnings } from './sqlite-info.js';
import { loadDump } from './sqlite-load.js';
import { rehearseTables } from './sqlite-rehearsal.js';
import { assertPlainSchema, folded, schemaProblem } from './sqlite-schema.js';
import { rightsOf } from './sqlite-rights.js';
import { loadSpace } from './sqlite-space.js';
import { clearStamp, stampOf } from './sqlite-stamp.js';

/** The archive's entry that holds the database: the file itself, opened by any SQLite. */
const ENTRY = 'database.sqlite3';
/** How long a snapshot waits for a writer in rollback mode, in milliseconds. */
const SNAPSHOT_PATIENCE = 60_000;

/** SQLite files: snapshots and loads go through SQLite's online backup, never through a copy of the file. */
export function createSqliteEngine(): Engine {
  return {
    kind: 'SQLITE',
    resolve: resolveUrl,
    foldName: folded,
    fileOf: pathOf,
    urlOfFile: (path) => `sqlite:${path}`,
    check,
    snapshot,
    describe,
    describeDump,
    inspect,
    load: (folder, url, options) => loadDump(join(folder, ENTRY), pathOf(url), options),
    rehearse: (folder, url, options) => rehearseTables(join(folder, ENTRY), pathOf(url), options),
    loadSpace: (dump, url, live, tables) => loadSpace(dump, pathOf(url), live, tables),
    stampOf: (url) => stampOf(pathOf(url)),
    clearStamp: (url, lockTimeoutMs) => clearStamp(pathOf(url), lockTimeoutMs),
    checkWritable: (url) => checkWritable(pathOf(url)),
    holders: (url) => holders(pathOf(url)),
    ownsEntry,
    isCompanion: (path) => COMPANION.test(path),
  };
}

/** On a disk that does not tell upper from lower case, other spellings would be found as well. */
const COMPANION = /^database\.sqlite3[-_./]/i;
const ownsEntry = (path: string) => path === ENTRY;

/** `sqlite:./path`, `sqlite:path`, `sqlite:/path` and `sqlite:///path`. */
function resolveUrl(url: string) {
  const match = /^sqlite:(?:\/\/\/*(?=\/))?(.+)$/.exec(url);
  const written = match?.[1];
  if (written === undefined || written.startsWith('//') || written.includes('\0') || written.includes('?')) {
    throw badInput('databaseUrl', `"${url}" is not of the form sqlite:./path or sqlite:///absolute/path.`);
  }
  const path = resolve(written);
  return { url: `sqlite:${path}`, key: `sqlite:${path}`, display: `sqlite:${path}`, name: basename(path) };
}

const pathOf = (url: string) => url.slice('sqlite:'.length);

async function check(url: string): Promise<{ bytes: number }> {
  const path = pathOf(url);
  const size = await assertSqliteFile(path);
  const connection = await SqliteConnection.open(path, 'readonly', 5_000);
  try {
    await connection.value('PRAGMA schema_version');
    const wal = await stat(`${path}-wal`).then(
      (found) => found.size,
      () => 0,
    );
    return { bytes: size + wal };
  } finally {
    await connection.close();
  }
}

async function snapshot(url: string, folder: string, step: StepContext): Promise<Snapshot> {
  const path = pathOf(url);
  await assertSqliteFile(path);
  const copy = join(folder, ENTRY);
  const source = await SqliteConnection.open(path, 'readonly', SNAPSHOT_PATIENCE);
  try {
    const bytes = (await source.value<number>('PRAGMA page_count')) * (await source.value<number>('PRAGMA page_size'));
    const options = { lockTimeoutMs: SNAPSHOT_PATIENCE, signal: step.signal };
    await whileGrowing([copy], bytes, step, () => source.copy(copy, 'to-file', options));
  } finally {
    await source.close();
  }
  const info = await withConnection(copy, 'immutable', step.signal, async (connection) => {
    const warnings = await assertSound(connection, 'quick_check', path, step.signal);
    const found = await describeConnection(connection);
    return { ...found, warnings: [...warnings, ...found.warnings, ...(await refusedLater(connection))] };
  });
  const { size, mtime } = await stat(copy);
  return {
    engine: 'SQLITE',
    ...info,
    source: { ...info.source, ...rightsOf(await stat(path)) },
    name: basename(path),
    files: [
      { path: ENTRY, size, mtime, mode: 0o600, open: async () => createReadStream(copy, { highWaterMark: 1 << 20 }) },
    ],
  };
}

/** What a restore would refuse, the backup says. Its bytes are kept all the same: they are all that there is. */
async function refusedLater(connection: SqliteConnection): Promise<string[]> {
  const problem = await schemaProblem(connection);
  if (problem === null) return [];
  return [`A restore will refuse this database: ${problem} Find out who changed the schema, and make the object anew.`];
}

async function describe(url: string, signal?: AbortSignal): Promise<DatabaseInfo | null> {
  const path = pathOf(url);
  try {
    if ((await stat(path)).size === 0) return null;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw fromErrno(error, `read the database ${path}`, 'DATABASE_UNREADABLE', 'DATABASE_NOT_FOUND') ?? error;
  }
  await assertSqliteFile(path);
  const info = await withConnection(path, 'readonly', signal, (connection) => describeConnection(connection, signal));
  return { engine: 'SQLITE', ...info, name: basename(path) };
}

async function describeDump(folder: string, step: StepContext): Promise<DatabaseInfo> {
  const path = join(folder, ENTRY);
  await assertSqliteFile(path);
  return withConnection(path, 'immutable', step.signal, async (connection) => {
    await assertPlainSchema(connection, 'The database in the archive');
    return { engine: 'SQLITE', ...(await describeConnection(connection, step.signal)), name: ENTRY };
  });
}

async function inspect(folder: string, step: StepContext): Promise<DatabaseInfo> {
  const path = join(folder, ENTRY);
  await assertSqliteFile(path);
  return withConnection(path, 'immutable', step.signal, async (connection) => {
    await assertPlainSchema(connection, 'The database in the archive');
    const unchecked = await assertSound(connection, 'integrity_check', 'The database in the archive', step.signal);
    const info = await describeConnection(connection);
    const broken = await foreignKeyWarnings(connection);
    return { engine: 'SQLITE', ...info, name: ENTRY, warnings: [...unchecked, ...info.warnings, ...broken] };
  });
}
