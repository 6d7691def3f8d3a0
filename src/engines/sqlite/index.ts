import { realFile } from '../../disk.js';
import { createReadStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { BLOCK_BYTES } from '../../archive/block.js';
import type {
  ChangedSnapshot,
  CheckOptions,
  DamagePolicy,
  DatabaseInfo,
  Engine,
  Finding,
  FormerState,
  LoadOptions,
  Snapshot,
  SnapshotContents,
  StepContext,
} from '../../core/ports.js';
import { AppError, badInput, errnoOf } from '../../errors.js';
import { withChanges } from './changes.js';
import { assertUndamaged, type CheckedPages, checkIndexes, checkPages } from './check.js';
import { type SqliteConnection, withConnection } from './connection.js';
import { whileGrowing } from './growth.js';
import { assertSqliteFile, checkWritable, hasContent, hasHeader, holders, pageSizeOf } from './file.js';
import { shortened } from './findings.js';
import { compareRows, findRow, queryRows, readReferences, suggestInvariants } from './rows.js';
import { describeConnection, foreignKeyFindings } from './info.js';
import { loadDump } from './load.js';
import { rehearseTables } from './rehearsal.js';
import { clearRawStamp, copyRaw, ENTRY, loadRaw, ownsEntry, rawStampOf, replaceFiles } from './raw.js';
import { rebuildIndexes } from './rebuild.js';
import { assertPlainSchema, folded, schemaProblem } from './schema.js';
import { rightsOf } from './rights.js';
import {
  accessFindings,
  assertReadable,
  fingerprintOf,
  PARTS,
  readSource,
  shareCompanions,
  wouldLeaveFiles,
} from './source.js';
import { loadSpace } from './space.js';
import { clearStamp, stampOf } from './stamp.js';

/** How long a snapshot waits for a writer in rollback mode, in milliseconds. */
const SNAPSHOT_PATIENCE = 60_000;
/** The same for a look that a user waits for. */
const LOOK_PATIENCE = 5_000;

/**
 * SQLite files: snapshots and loads go through SQLite's online backup, and through copies of the files only where SQLite
 * cannot read or write them: after a crash, and where they are damaged.
 * @param scratch where a private copy of a database may be made to look at it; by default the system's temporary folder
 */
export function createSqliteEngine({ scratch }: { scratch?: string } = {}): Engine {
  return {
    kind: 'SQLITE',
    capabilities: {
      selectiveTables: true,
      onServer: false,
      exactCounts: true,
      snapshotOnDisk: true,
      runsStatements: false,
      repairsRows: true,
    },
    rows: {
      query: (folder, sql, { limit, signal }) => queryRows(join(folder, ENTRY), { sql, limit }, signal),
      references: (folder, options) => readReferences(join(folder, ENTRY), options),
      suggest: (folder, growing, signal) => suggestInvariants(join(folder, ENTRY), growing, signal),
      row: (folder, table, key, signal) => findRow(join(folder, ENTRY), { table, key }, signal),
      compare: (before, after, options) => compareRows(join(before, ENTRY), join(after, ENTRY), options),
    },
    scratch: {
      urlFor: async (_runId, folder) => `sqlite:${join(folder, ENTRY)}`,
      readAll: (url, step) => inspect(dirname(pathOf(url)), step),
      drop: async (url) => {
        for (const suffix of BESIDE) await rm(pathOf(url) + suffix, { force: true });
      },
    },
    resolve: resolveUrl,
    seal: async (url) => url,
    foldName: folded,
    keyOf: async (url) => `SQLITE:${await realFile(pathOf(url))}`,
    files,
    recognises: hasHeader,
    urlOfFile: (path) => `sqlite:${path}`,
    check,
    exists: (url) => hasContent(pathOf(url)),
    databases: async () => null,
    fingerprint: (url) => fingerprintOf(pathOf(url)),
    snapshot,
    snapshotChanges,
    exclusions: async () => {
      throw new AppError(
        'ENGINE_UNSUPPORTED',
        'The pages of a SQLite database are copied as they are: all of its tables.',
      );
    },
    describe: (url, signal) => describe(url, signal, scratch),
    describeDump,
    inspect,
    // The dump is the database: opening and checking it says what a restore would find.
    inspectContent: inspect,
    rebuild: (folder, findings, { signal }) => rebuildIndexes(join(folder, ENTRY), findings, signal),
    load: (folder, url, options) => load(folder, pathOf(url), options),
    rehearse: (folder, url, options) => rehearseTables(join(folder, ENTRY), pathOf(url), options),
    loadNotes: async () => [],
    // A load is one transaction, and what lies in the work folder goes with that.
    discard: async () => undefined,
    loadSpace: (dump, url, live, tables) => loadSpace(dump, pathOf(url), live, tables),
    stampOf: async (url) => (await rawStampOf(pathOf(url))) ?? stampOf(pathOf(url), scratch).catch(noneIfDamaged),
    clearStamp: async (url, lockTimeoutMs) => {
      if (!(await clearRawStamp(pathOf(url)))) await clearStamp(pathOf(url), lockTimeoutMs);
    },
    checkWritable: (url) => checkWritable(pathOf(url)),
    holders: (url) => holders(pathOf(url)),
    ownsEntry,
    isCompanion: (path) => COMPANION.test(path),
  };
}

/** On a case-insensitive disk other spellings would be found as well. */
const COMPANION = /^database\.sqlite3[-_./]/i;

/** `sqlite:./path`, `sqlite:path`, `sqlite:/path` and `sqlite:///path`. */
function resolveUrl(url: string) {
  const match = /^sqlite:(?:\/\/\/*(?=\/))?(.+)$/.exec(url);
  const written = match?.[1];
  if (written === undefined || written.startsWith('//') || written.includes('\0') || written.includes('?')) {
    throw badInput('databaseUrl', `"${url}" is not of the form sqlite:./path or sqlite:///absolute/path.`);
  }
  const path = resolve(written);
  return { url: `sqlite:${path}`, display: `sqlite:${path}`, name: basename(path) };
}

/** SQLite names the companions after the real file, not after a link to it. */
async function files(url: string): Promise<string[]> {
  const path = pathOf(url);
  return [...new Set([path, await realFile(path)])].flatMap((file) => BESIDE.map((suffix) => file + suffix));
}

/** A database and what may lie beside it. */
const BESIDE = ['', '-wal', '-shm', '-journal'];

const pathOf = (url: string) => url.slice('sqlite:'.length);

async function check(url: string, options: CheckOptions = {}): Promise<{ bytes: number }> {
  const path = pathOf(url);
  const { wait, signal, damage = 'refuse' } = options;
  try {
    await assertSqliteFile(path);
    await assertReadable(path, { wait: patience(wait ?? LOOK_PATIENCE, signal), signal });
  } catch (error) {
    if (damage === 'refuse' || !isDamaged(error)) throw error;
  }
  let bytes = 0;
  for (const part of PARTS) {
    bytes += await stat(path + part).then(
      (found) => found.size,
      () => 0,
    );
  }
  return { bytes };
}

/** With a signal the wait ends early. */
const patience = (lockTimeoutMs: number, signal: AbortSignal | undefined) =>
  signal === undefined ? lockTimeoutMs : { lockTimeoutMs, signal };

/** A database that a load has reached is none that SQLite cannot read. */
function noneIfDamaged(error: unknown): null {
  if (isDamaged(error)) return null;
  throw error;
}

const isDamaged = (error: unknown): error is AppError =>
  error instanceof AppError && (error.code === 'DATABASE_CORRUPT' || error.code === 'DATABASE_WRONG_KIND');

async function snapshot(
  url: string,
  folder: string,
  step: StepContext,
  damage: DamagePolicy = 'refuse',
): Promise<Snapshot> {
  const path = pathOf(url);
  const copy = join(folder, ENTRY);
  const lost = await takeCopy(path, copy, folder, step).catch((error: unknown) => {
    if (damage === 'refuse' || !isDamaged(error)) throw error;
    return error;
  });
  const pages = lost === null ? checkedPages(copy, step.signal) : Promise.resolve(unreadable(lost));
  const contents = contentsOf(path, copy, pages, damage, step.signal);
  contents.catch(() => undefined);
  const base = { engine: 'SQLITE' as const, name: basename(path), contents };
  // Of the files as they are, nothing else is archived: that is decided before the archive is begun.
  if (lost !== null || (damage === 'keep-raw' && (await pages).findings.some(isPages))) {
    await contents;
    await rm(copy, { force: true });
    return { ...base, files: await copyRaw(path, folder, step.signal) };
  }
  const { size, mtime } = await stat(copy);
  const open = async () => createReadStream(copy, { highWaterMark: BLOCK_BYTES });
  const pageSize = await pageSizeOf(copy);
  const files = [{ path: ENTRY, size, mtime, mode: 0o600, open }];
  return { ...base, files, pages: { file: copy, pageSize, entry: ENTRY } };
}

/** Reads past SQLite, in its own transaction: see `withChanges`. What stands in the way of that, `snapshot` meets as well. */
async function snapshotChanges(
  url: string,
  folder: string,
  { signal, onProgress }: StepContext,
  { hashes, findings, mostChanged }: FormerState,
): Promise<ChangedSnapshot | null> {
  const path = pathOf(url);
  const file = join(folder, ENTRY);
  const wait = { lockTimeoutMs: SNAPSHOT_PATIENCE, signal };
  try {
    if (await wouldLeaveFiles(path)) return null;
    const taken = await withConnection(
      path,
      'readonly',
      signal,
      (connection) =>
        withChanges(connection, path, { before: hashes, file, mostChanged }, { signal, onProgress }, async () => {
          const pages = await checkPages(connection, signal);
          // Its indexes are compared with their tables when the next full one is taken.
          const known = pages.pending ? findings.filter(({ kind }) => kind === 'index') : [];
          const checked = { ...pages, findings: [...pages.findings, ...known], pending: false };
          return examineOpen(connection, checked, signal);
        }),
      wait,
    );
    if (taken === null || taken.result.findings.some(isPages)) return null;
    const source = { ...taken.result.source, ...rightsOf(await stat(path)) };
    const contents = Promise.resolve({ ...taken.result, source, damaged: false });
    const pages = { file, pageSize: taken.hashes.pageSize, entry: ENTRY };
    return { engine: 'SQLITE', name: basename(path), files: [], contents, pages, hashes: taken.hashes };
  } catch (error) {
    signal.throwIfAborted();
    if (errnoOf(error) === undefined) throw error;
    return null;
  }
}

async function contentsOf(
  path: string,
  copy: string,
  pages: Promise<CheckedPages>,
  damage: DamagePolicy,
  signal: AbortSignal,
): Promise<SnapshotContents> {
  const checked = await pages;
  if (damage === 'refuse') assertUndamaged(checked.findings, path);
  // Someone waits for a state that is kept before it is replaced: whoever restores it compares its indexes.
  const info = await examine(copy, damage === 'keep-raw' ? { ...checked, pending: false } : checked, signal);
  if (damage === 'refuse') assertUndamaged(info.findings, path);
  const source = { ...info.source, ...rightsOf(await stat(path)) };
  return { ...info, source, damaged: info.findings.some(isPages) };
}

/** Copies one committed state to `copy`. @returns null @throws an error for which `isDamaged` is true if SQLite cannot */
async function takeCopy(path: string, copy: string, folder: string, step: StepContext): Promise<null> {
  await assertSqliteFile(path);
  const options = { lockTimeoutMs: SNAPSHOT_PATIENCE, signal: step.signal };
  await readSource(path, { wait: options, signal: step.signal, scratch: folder }, async (source) => {
    await rm(copy, { force: true });
    const bytes = (await source.value<number>('PRAGMA page_count')) * (await source.value<number>('PRAGMA page_size'));
    await whileGrowing([copy], bytes, step, () => source.copy(copy, 'to-file', options));
  });
  return null;
}

const checkedPages = (path: string, signal: AbortSignal): Promise<CheckedPages> =>
  withConnection(path, 'immutable', signal, (connection) => checkPages(connection, signal)).catch((error: unknown) => {
    if (!isDamaged(error)) throw error;
    return unreadable(error);
  });

const unreadable = ({ message }: AppError): CheckedPages => ({
  findings: [{ kind: 'pages', table: null, message }],
  pending: false,
  readable: false,
});

const isPages = ({ kind }: Finding) => kind === 'pages';

/** What a private copy holds and all that is wrong with it: the same list for a backup and a restore. */
async function examine(copy: string, pages: CheckedPages, signal: AbortSignal): Promise<Contents> {
  if (!pages.readable) return unknownContents(pages.findings);
  try {
    return await withConnection(copy, 'immutable', signal, (connection) => examineOpen(connection, pages, signal));
  } catch (error) {
    if (!isDamaged(error)) throw error;
    return unknownContents(unreadable(error).findings);
  }
}

/** @param connection all of it sees one state */
async function examineOpen(connection: SqliteConnection, pages: CheckedPages, signal: AbortSignal): Promise<Contents> {
  const info = await describeConnection(connection, signal);
  const findings = [
    ...pages.findings,
    ...(pages.pending ? await checkIndexes(connection, signal) : []),
    ...info.findings,
    ...(await foreignKeyFindings(connection)),
    ...(await unsafe(connection)),
  ];
  return { ...info, findings: shortened(findings) };
}

type Contents = Omit<DatabaseInfo, 'engine' | 'name'>;

const unknownContents = (findings: Finding[]): Contents => ({ tables: [], apps: [], source: {}, findings });

/** What a restore would refuse, the backup says. Its bytes are kept all the same: they are all that there is. */
async function unsafe(connection: SqliteConnection): Promise<Finding[]> {
  const problem = await schemaProblem(connection);
  if (problem === null) return [];
  const message = `A restore will refuse this database: ${problem} Find out who changed the schema, and make the object anew.`;
  return [{ kind: 'schema', table: null, message }];
}

async function describe(url: string, signal: AbortSignal | undefined, scratch?: string): Promise<DatabaseInfo | null> {
  const path = pathOf(url);
  if (!(await hasContent(path))) return null;
  await assertSqliteFile(path);
  const options = { wait: patience(LOOK_PATIENCE, signal), signal, scratch };
  const info = await readSource(path, options, (connection) => describeConnection(connection, signal));
  const findings = [...info.findings, ...(await accessFindings(path))];
  return { engine: 'SQLITE', ...info, findings, name: basename(path) };
}

async function describeDump(folder: string, step: StepContext): Promise<DatabaseInfo> {
  const path = join(folder, ENTRY);
  await assertSqliteFile(path);
  return withConnection(path, 'immutable', step.signal, async (connection) => {
    await assertPlainSchema(connection, IN_ARCHIVE);
    return { engine: 'SQLITE', ...(await describeConnection(connection, step.signal)), name: ENTRY };
  });
}

async function inspect(folder: string, step: StepContext): Promise<DatabaseInfo> {
  const path = join(folder, ENTRY);
  await assertSqliteFile(path);
  await withConnection(path, 'immutable', step.signal, (connection) => assertPlainSchema(connection, IN_ARCHIVE));
  const pages = await checkedPages(path, step.signal);
  assertUndamaged(pages.findings, IN_ARCHIVE);
  const info = await examine(path, pages, step.signal);
  assertUndamaged(info.findings, IN_ARCHIVE);
  return { engine: 'SQLITE', ...info, name: ENTRY };
}

const IN_ARCHIVE = 'The database in the archive';

/** Loads a dump. A target that is too damaged for SQLite to write through it is replaced as a file. */
async function load(folder: string, target: string, options: LoadOptions): Promise<string[]> {
  const dump = join(folder, ENTRY);
  if (options.damaged) return loadRaw(folder, target, options);
  try {
    const warnings = await loadDump(dump, target, options);
    await shareCompanions(target);
    return warnings;
  } catch (error) {
    if (options.tables !== null || !isDamaged(error)) throw error;
    const fresh = join(folder, 'fresh.sqlite3');
    await loadDump(dump, fresh, options);
    await replaceFiles(target, { file: fresh, beside: new Map(), stamp: null });
    return [];
  }
}
