import { mkdir, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import type { CheckOptions, DatabaseInfo, Engine, StepContext } from '../../core/ports.js';
import { assertScratch, drillName, newName, scratchName } from '../beside.js';
import { NOTHING } from '../exclusions.js';
import {
  assertWhole,
  COUNT_WITHIN,
  ifThere,
  lookedUp,
  LOST_WRITES,
  noServer,
  onServer,
  openedUrl,
  type Passwords,
  type ServerWords,
} from '../on-server.js';
import { type Connection, type ServerVersion, withConnection, withServer } from './connection.js';
import { leftOut } from './exclusions.js';
import {
  assertReadable,
  assertReplaceable,
  countFindings,
  databasesOf,
  factsOf,
  shapeOf,
  sizeOf,
  tablesOf,
} from './facts.js';
import { assertDump, fillDatabase, readDump } from './fill.js';
import { clearStampAt, createDatabase, discardAt, dropDatabase, dropLeftovers, loadDump, stampAt } from './load.js';
import { quoted } from './names.js';
import { type DumpTable, ENTRY } from './scan.js';
import { takeSnapshot } from './snapshot.js';
import { findTools, type Tools, toolsFor } from './tools.js';
import { keyOf, parseUrl, type Place, resolveUrl, urlBeside } from './url.js';

/** What the engine gets from the process. */
export interface MysqlOptions {
  /** MYSQL_BIN_DIR: the folder of the client programs; null or left out: they are looked for. */
  binDir?: string | null | undefined;
  /** A folder for the private files of programs that no run has started. */
  scratch?: string | undefined;
  /** Seals the password of a URL, and opens it again; left out: it stays as it is. */
  passwords?: Passwords | undefined;
}

/** How messages name what it protects. */
const WORDS: ServerWords = { named: 'MySQL or MariaDB', parts: 'tables' };

/**
 * Databases of a MySQL or MariaDB server: mysqldump reads one state, and the tables of a new database, which the client has
 * filled, take the place of the old ones in one statement.
 */
export function createMysqlEngine({ binDir = null, scratch = tmpdir(), passwords }: MysqlOptions = {}): Engine {
  const placeOf = async (url: string): Promise<Place> => parseUrl(await openedUrl(passwords, url));
  const known = lookedUp(() => findTools(binDir));
  const fitting = async (server: ServerVersion): Promise<Tools> => toolsFor(await known(), server, binDir);
  /** The folder of the run is gone when a process that died is tidied up. */
  const tidying = async () => {
    await mkdir(scratch, { recursive: true });
    return { toolsFor: fitting, scratch };
  };
  return {
    kind: 'MYSQL',
    ...onServer(WORDS, passwords),
    scratch: {
      urlFor: async (runId, _folder, url) => {
        if (url === null) throw noServer();
        return urlBeside(await placeOf(url), scratchName(runId));
      },
      readAll: async (url, { signal }) => {
        const place = await placeOf(url);
        const { database: name } = place;
        return withConnection(place, signal, async (connection) => {
          const tables = await tablesOf(connection, name, null);
          return { engine: 'MYSQL', name, tables, ...(await factsOf(connection, name)), findings: [] };
        });
      },
      drop: async (url, runId) => {
        const place = await placeOf(url);
        assertScratch(place.database, runId);
        await withServer(place, undefined, async (server) => {
          await dropDatabase(server, newName(runId));
          await dropDatabase(server, place.database);
        });
      },
    },
    resolve: resolveUrl,
    keyOf: async (url) => keyOf(url),
    databases: async (url, signal) => {
      const place = parseUrl(await openedUrl(passwords, url), 'test');
      return withServer(place, signal, (server) => databasesOf(server, place));
    },
    check: async (url, options) => check(await placeOf(url), fitting, options),
    exists: async (url) => (await openIfThere(await placeOf(url), undefined, async () => true)) ?? false,
    snapshot: async (url, folder, step, _damage, exclusions = NOTHING) =>
      takeSnapshot(await placeOf(url), { toolsFor: fitting, scratch: folder }, step, exclusions),
    exclusions: async (url, exclusions, signal) => {
      const place = await placeOf(url);
      const find = async (connection: Connection) => (await leftOut(connection, place.database, exclusions)).matches;
      return withConnection(place, signal, find);
    },
    describe: async (url, signal) => describe(await placeOf(url), signal),
    describeDump: async (folder, step) => described(await readDump(await assertDump(folder), step.signal)),
    inspect: async (folder, step) => inspect(folder, step),
    inspectContent: async (folder, step, url) => {
      if (url === null) throw noServer();
      return drill(await assertDump(folder), await placeOf(url), { toolsFor: fitting, scratch: folder }, step);
    },
    load: async (folder, url, options) => {
      assertWhole(WORDS, options);
      const path = await assertDump(folder);
      // All of it is looked at before anything of it is run.
      await readDump(path, options.signal);
      return loadDump(path, await placeOf(url), { toolsFor: fitting, scratch: folder }, options);
    },
    loadNotes: async (_url, live) => (live === null ? [MAKING] : [MAKING, ...REPLACING]),
    stampOf: async (url) => stampAt(await placeOf(url)),
    clearStamp: async (url) => clearStampAt(await placeOf(url), await tidying()),
    discard: async (url, stamp) => discardAt(await placeOf(url), stamp, await tidying()),
    checkWritable: async (url) => {
      const place = await placeOf(url);
      await withServer(place, undefined, async (server) => {
        await assertReplaceable(server, place, newName('restore'));
        await fitting(server);
      });
    },
    holders: async (url) => {
      const place = await placeOf(url);
      return withServer(place, undefined, (server) => sessionsOf(server, place.database)).catch(() => []);
    },
    ownsEntry: (path) => path === ENTRY,
    isCompanion: () => false,
  };
}

const MAKING = 'The backup is loaded into a new database on the server first, which needs as much room there again.';
const REPLACING = [
  'The tables are replaced in one statement; views, triggers, routines and events follow within moments. What writes meanwhile meets none of them: stop the application if that matters.',
  LOST_WRITES,
];

/** Null where the server has no such database. */
const openIfThere = <T>(
  place: Place,
  signal: AbortSignal | undefined,
  work: (connection: Connection) => Promise<T>,
): Promise<T | null> => ifThere('ER_BAD_DB_ERROR', () => withConnection(place, signal, work));

async function check(
  place: Place,
  fitting: (server: ServerVersion) => Promise<Tools>,
  { signal, exclusions = NOTHING }: CheckOptions = {},
): Promise<{ bytes: number }> {
  return withConnection(place, signal, async (connection) => {
    await assertReadable(connection, place);
    await fitting(connection);
    const { gone, emptied } = await leftOut(connection, place.database, exclusions);
    return { bytes: await sizeOf(connection, place.database, new Set([...gone, ...emptied])) };
  });
}

async function describe(place: Place, signal: AbortSignal | undefined): Promise<DatabaseInfo | null> {
  return openIfThere(place, signal, async (connection) => {
    const tables = await tablesOf(connection, place.database, Date.now() + COUNT_WITHIN);
    const facts = await factsOf(connection, place.database);
    const findings = [...facts.findings, ...countFindings(tables)];
    return { engine: 'MYSQL', name: place.database, tables, ...facts, findings };
  });
}

const described = (tables: DumpTable[]): DatabaseInfo => ({
  ...{ engine: 'MYSQL', name: ENTRY, tables, apps: [], source: {}, findings: [] },
});

async function inspect(folder: string, step: StepContext): Promise<DatabaseInfo> {
  const path = await assertDump(folder);
  const { size } = await stat(path);
  return described(await readDump(path, step.signal, (bytes) => step.onProgress(Math.min(bytes, size), size)));
}

async function drill(
  path: string,
  place: Place,
  with_: { toolsFor(server: ServerVersion): Promise<Tools>; scratch: string },
  { signal }: StepContext,
): Promise<DatabaseInfo> {
  const database = drillName();
  // All of it is looked at before anything of it is run.
  await readDump(path, signal);
  return withServer(place, undefined, async (server) => {
    await dropLeftovers(server).catch(() => undefined);
    const shape = (await shapeOf(server, place.database)) ?? { charset: 'utf8mb4', collation: 'utf8mb4_unicode_ci' };
    const tools = await with_.toolsFor(server);
    const run = { tools, place: { ...place, database }, isTls: server.isTls, scratch: with_.scratch, signal };
    try {
      await createDatabase(server, database, shape);
      await fillDatabase(run, path);
      const tables = await tablesOf(server, database, null);
      return { engine: 'MYSQL', name: database, tables, ...(await factsOf(server, database)), findings: [] };
    } finally {
      await dropDatabase(server, database);
    }
  });
}

async function sessionsOf(server: Connection, database: string): Promise<{ pid: number; command: string }[]> {
  const rows = await server.rows<{ id: string | number; user: string }>(
    `SELECT ID AS id, USER AS user FROM information_schema.PROCESSLIST
     WHERE DB = ? AND ID <> CONNECTION_ID() ORDER BY ID LIMIT 100`,
    [database],
  );
  return rows.map(({ id, user }) => ({ pid: Number(id), command: `session of ${quoted(user)}` }));
}
