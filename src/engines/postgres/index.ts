import type { CheckOptions, DatabaseInfo, Engine, ServerDatabase, StepContext } from '../../core/ports.js';
import { assertScratch, drillName, isOurs, newName, scratchName } from '../beside.js';
import { NOTHING } from '../exclusions.js';
import {
  assertSound,
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
import { type Connection, withConnection, withServer } from './connection.js';
import { assertDump, countRows, describedDump, dumpBytes, type DumpFile, ENTRY, outlineOf } from './dump.js';
import { leftOut } from './exclusions.js';
import { assertReadable, countFindings, factsOf, sizeOf } from './facts.js';
import { assertWritable, clearStampAt, loadDump, sessionsOf, stampAt } from './load.js';
import { quoted } from './names.js';
import { createReader } from './reader.js';
import { dropDatabase, dropLeftovers, inScratch, shapeOf } from './scratch.js';
import { loadTables, rehearseTables } from './tables.js';
import { loadRows, rehearseRows } from './repair.js';
import { takeSnapshot } from './snapshot.js';
import { findTools, newestTools, type Tools, toolsFor } from './tools.js';
import { keyOf, parseUrl, type Place, resolveUrl, urlBeside } from './url.js';

/** What the engine gets from the process. */
export interface PostgresOptions {
  /** PG_BIN_DIR: the folder of pg_dump and pg_restore; null or left out: they are looked for. */
  binDir?: string | null | undefined;
  /** Seals the password of a URL, and opens it again; left out: it stays as it is. */
  passwords?: Passwords | undefined;
}

/** The database that every server has for whoever names none. */
const SERVERS_OWN = 'postgres';
/** How messages name what it protects. */
const WORDS: ServerWords = { named: 'PostgreSQL', parts: 'tables' };

/**
 * Databases of a PostgreSQL server: pg_dump reads a snapshot that our own connection holds, and pg_restore fills a new
 * database that then takes the old one's name.
 */
export function createPostgresEngine({ binDir = null, passwords }: PostgresOptions = {}): Engine {
  const placeOf = async (url: string): Promise<Place> => parseUrl(await openedUrl(passwords, url));
  const known = lookedUp(() => findTools(binDir));
  const fitting = async (major: number): Promise<Tools> => toolsFor(await known(), major, binDir);
  const dumpIn = async (folder: string, signal: AbortSignal): Promise<DumpFile> => {
    const path = await assertDump(folder);
    return { path, tools: newestTools(await known(), binDir), scratch: folder, signal };
  };
  /** For a load: the programs of the server's own version, because newer ones set what an older server does not know. */
  const dumpFor = async (folder: string, server: Connection, signal: AbortSignal): Promise<DumpFile> => ({
    ...(await dumpIn(folder, signal)),
    tools: await fitting(server.major),
  });
  return {
    kind: 'POSTGRES',
    ...onServer(WORDS, passwords, { selectiveTables: true, repairsRows: true }),
    rows: createReader(placeOf),
    scratch: {
      urlFor: async (runId, _folder, url) => {
        if (url === null) throw noServer();
        return urlBeside(await placeOf(url), scratchName(runId));
      },
      readAll: async (url, { signal }) => {
        const place = await placeOf(url);
        return withConnection(place, signal, async (connection) => {
          const facts = await factsOf(connection, { deadline: null });
          return { engine: 'POSTGRES', name: place.database, ...facts, findings: [] };
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
    databases: async (url, signal) => databases(parseUrl(await openedUrl(passwords, url), SERVERS_OWN), signal),
    check: async (url, options) => check(await placeOf(url), fitting, options),
    exists: async (url) => (await openIfThere(await placeOf(url), undefined, async () => true)) ?? false,
    snapshot: async (url, folder, step, _damage, exclusions = NOTHING) =>
      takeSnapshot(await placeOf(url), { toolsFor: fitting, scratch: folder }, step, exclusions),
    exclusions: async (url, exclusions, signal) =>
      withConnection(await placeOf(url), signal, async (connection) => (await leftOut(connection, exclusions)).matches),
    describe: async (url, signal) => describe(await placeOf(url), signal),
    describeDump: async (folder, step) => describedDump(await outlineOf(await dumpIn(folder, step.signal)), null),
    inspect: async (folder, step) => inspect(await dumpIn(folder, step.signal), step),
    inspectContent: async (folder, step, url) => {
      if (url === null) throw noServer();
      const place = await placeOf(url);
      return withServer(place, undefined, async (server) =>
        drill(server, place, await dumpFor(folder, server, step.signal)),
      );
    },
    rehearse: async (folder, url, options) => {
      const place = await placeOf(url);
      const dump = await withServer(place, options.signal, (server) => dumpFor(folder, server, options.signal));
      const { repair } = options;
      return repair === undefined
        ? rehearseTables(dump, place, options)
        : rehearseRows(dump, place, { ...options, repair });
    },
    load: async (folder, url, options) => {
      assertSound(WORDS, options);
      const place = await placeOf(url);
      const dump = await withServer(place, options.signal, (server) => dumpFor(folder, server, options.signal));
      const { tables, repair } = options;
      if (tables === null) return loadDump(dump, place, options);
      return repair === undefined
        ? loadTables(dump, place, options)
        : loadRows(dump, place, { ...options, tables, repair });
    },
    loadNotes: async (url, live, tables, repair) =>
      repair ? [ROWS_LAID] : loadNotes(await placeOf(url), live, tables),
    stampOf: async (url) => stampAt(await placeOf(url)),
    clearStamp: async (url) => clearStampAt(await placeOf(url)),
    discard: async (url, stamp) =>
      withServer(await placeOf(url), undefined, (server) => dropDatabase(server, newName(stamp))),
    checkWritable: async (url) => {
      const place = await placeOf(url);
      await assertWritable(place);
      await withServer(place, undefined, ({ major }) => fitting(major));
    },
    holders: async (url) => {
      const place = await placeOf(url);
      return withServer(place, undefined, (server) => sessionsOf(server, place.database)).catch(() => []);
    },
    ownsEntry: (path) => path === ENTRY,
    isCompanion: () => false,
  };
}

/** Null where the server has no such database. */
const openIfThere = <T>(
  place: Place,
  signal: AbortSignal | undefined,
  work: (connection: Connection) => Promise<T>,
): Promise<T | null> => ifThere('3D000', () => withConnection(place, signal, work));

/** As `Engine.databases`. What a restore or a drill has made for itself is left out, too. */
async function databases(place: Place, signal: AbortSignal): Promise<ServerDatabase[]> {
  return withServer(place, signal, async (server) => {
    const found = await server.rows<{ name: string; bytes: string | null }>(
      `SELECT datname AS name,
         CASE WHEN has_database_privilege(oid, 'CONNECT') THEN pg_database_size(oid)::text END AS bytes
       FROM pg_database WHERE NOT datistemplate AND datallowconn AND datname <> $1 ORDER BY datname`,
      [SERVERS_OWN],
    );
    return found
      .filter(({ name }) => !isOurs(name))
      .map(({ name, bytes }) => ({ name, url: urlBeside(place, name), bytes: bytes === null ? null : Number(bytes) }));
  });
}

async function check(
  place: Place,
  fitting: (major: number) => Promise<Tools>,
  { signal, exclusions = NOTHING }: CheckOptions = {},
): Promise<{ bytes: number }> {
  return withConnection(place, signal, async (connection) => {
    await assertReadable(connection, place);
    await fitting(connection.major);
    return { bytes: (await sizeOf(connection)) - (await leftOut(connection, exclusions)).bytes };
  });
}

async function describe(place: Place, signal: AbortSignal | undefined): Promise<DatabaseInfo | null> {
  return openIfThere(place, signal, async (connection) => {
    const facts = await factsOf(connection, { deadline: Date.now() + COUNT_WITHIN });
    return { engine: 'POSTGRES', name: place.database, ...facts, findings: countFindings(facts.tables) };
  });
}

async function inspect(dump: DumpFile, step: StepContext): Promise<DatabaseInfo> {
  const outline = await outlineOf(dump);
  const total = await dumpBytes(dump.path);
  return describedDump(outline, await countRows(dump, (bytes) => step.onProgress(Math.min(bytes, total), total)));
}

async function drill(server: Connection, place: Place, dump: DumpFile): Promise<DatabaseInfo> {
  await dropLeftovers(server).catch(() => undefined);
  const shape = await shapeOf(server, place.database);
  const scratch = { place: { ...place, database: drillName() }, shape, part: 'all' as const };
  return inScratch(server, dump, scratch, async (connection) => {
    const facts = await factsOf(connection, { deadline: null });
    return { engine: 'POSTGRES', name: scratch.place.database, ...facts, findings: [] };
  });
}

async function loadNotes(place: Place, live: DatabaseInfo | null, tables: string[] | null): Promise<string[]> {
  if (tables !== null) return [TABLES_LOCKED];
  const making = 'The backup is loaded into a new database on the server first, which needs as much room there again.';
  if (live === null) return [making];
  const count = await withServer(place, undefined, (server) => sessionsOf(server, place.database));
  const open =
    count.length === 0 ? 'Connections' : `The ${count.length} connections that are open now, and later ones,`;
  return [
    making,
    `${open} to ${quoted(place.database)} are ended when the new database takes its place: the application must connect again.`,
    LOST_WRITES,
  ];
}

const TABLES_LOCKED =
  'The chosen tables, and those that refer to them, are locked while their rows are loaded: the application waits. No trigger fires.';

const ROWS_LAID =
  "The backup's rows of the chosen tables are laid beside them on the server first, which needs room there. Then the application can read the tables, and waits to write them until the rows are back.";
