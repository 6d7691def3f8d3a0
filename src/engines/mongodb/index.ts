import type { Engine, LoadOptions } from '../../core/ports.js';
import { AppError, badInput } from '../../errors.js';
import { isEntry, isOwn, isSystem } from './names.js';
import { keyOf, parseUrl, type Place, placeOnServer, resolveUrl } from './url.js';

/** What the engine gets from the process. */
export interface MongodbOptions {
  /** Seals the password of a URL, and opens it again; left out: it stays as it is. */
  passwords?:
    { sealUrl(url: string, saved?: string): Promise<string>; openUrl(url: string): Promise<string> } | undefined;
}

/** Loads what needs the driver. */
const work = () => import('./work.js');

/** How long a look that a user waits for counts documents, in milliseconds. */
const COUNT_WITHIN = 20_000;

/**
 * Databases of a MongoDB server: documents go into the archive as mongodump lays them, in the server's own bytes, and come
 * back into new collections that then take the names of the old ones.
 */
export function createMongodbEngine({ passwords }: MongodbOptions = {}): Engine {
  const placeOf = async (url: string): Promise<Place> => parseUrl((await passwords?.openUrl(url)) ?? url);
  return {
    kind: 'MONGODB',
    capabilities: {
      selectiveTables: false,
      exactCounts: true,
      snapshotOnDisk: false,
      // Views and validators may hold JavaScript, which the server runs for whoever reads or writes through them.
      runsStatements: true,
    },
    resolve: resolveUrl,
    seal: async (url, saved) => (await passwords?.sealUrl(url, saved)) ?? url,
    keyOf: async (url) => keyOf(url),
    files: async () => [],
    foldName: (name) => name,
    urlOfFile: () => null,
    recognises: async () => false,
    fingerprint: async () => null,
    databases: async (url, signal) => {
      const { databasesOf, withConnection } = await work();
      return withConnection(placeOnServer((await passwords?.openUrl(url)) ?? url), { signal }, databasesOf);
    },
    check: async (url, options) => {
      const { assertRights, assertSettled, assertThere, listingOf, sizeOf, withConnection } = await work();
      return withConnection(await placeOf(url), { signal: options?.signal }, async (connection) => {
        await assertRights(connection, 'read');
        await assertSettled(connection);
        assertThere(connection, await listingOf(connection));
        return { bytes: await sizeOf(connection) };
      });
    },
    exists: async (url) => {
      const { namesIn, withConnection } = await work();
      const names = await withConnection(await placeOf(url), {}, namesIn);
      return names.some((name) => !isOwn(name) && !isSystem(name));
    },
    snapshot: async (url, _folder, step) => (await work()).takeSnapshot(await placeOf(url), step),
    // A dump has no pages that could be compared.
    snapshotChanges: async () => null,
    describe: async (url, signal) => {
      const { describeLive, withConnection } = await work();
      return withConnection(await placeOf(url), { signal }, (connection) => describeLive(connection, COUNT_WITHIN));
    },
    describeDump: async (folder) => {
      const { describedDump, dumpIn } = await work();
      return describedDump(await dumpIn(folder), null);
    },
    inspect: async (folder, step) => {
      const { countDocuments, describedDump, dumpIn } = await work();
      const dump = await dumpIn(folder);
      return describedDump(dump, await countDocuments(dump, step));
    },
    drill: async (folder, step, url) => {
      if (url === null) throw noServer();
      const { drillDump, dumpIn } = await work();
      return drillDump(await dumpIn(folder), await placeOf(url), step);
    },
    rebuild: async (_folder, findings) => findings,
    load: async (folder, url, options) => {
      assertWhole(options);
      const { dumpIn, loadDump } = await work();
      await loadDump(await dumpIn(folder), await placeOf(url), options);
      return [];
    },
    loadNotes: async (_url, live) => [LOADING, ...(live === null ? [] : SWITCHING)],
    rehearse: async () => {
      throw wholeOnly();
    },
    loadSpace: async () => ({ beside: 0, target: 0 }),
    stampOf: async (url) => (await work()).stampAt(await placeOf(url)),
    clearStamp: async (url) => (await work()).clearStampAt(await placeOf(url)),
    discard: async (url, stamp) => (await work()).discardAt(await placeOf(url), stamp),
    checkWritable: async (url) => {
      const { assertWritable, withConnection } = await work();
      await withConnection(await placeOf(url), {}, assertWritable);
    },
    // Who else uses a database is for administrators of the server to see.
    holders: async () => [],
    ownsEntry: isEntry,
    isCompanion: () => false,
  };
}

const LOADING =
  'The backup is loaded into new collections of the database first (dbm_new_…), which need as much room there again.';
const SWITCHING = [
  'MongoDB renames one collection at a time: for some moments the application finds collections of both states, or one missing. Stop it first if that matters.',
  'What the application writes after the safety backup was taken, and before the switch, is lost: stop it first if that matters.',
];

const noServer = () =>
  new AppError(
    'DATABASE_NOT_FOUND',
    'A drill needs the server that the backup was made of, and this backup has none.',
    {
      hint: 'Verify it at level ARCHIVE, or restore it into a new database of a server of your choice.',
    },
  );

const wholeOnly = () =>
  badInput('tables', 'single collections of a MongoDB database cannot be restored.', 'Leave tables out.');

function assertWhole({ tables, damaged }: LoadOptions): void {
  if (tables !== null) throw wholeOnly();
  if (damaged) throw new AppError('DATABASE_CORRUPT', 'A MongoDB database is never kept damaged.');
}
