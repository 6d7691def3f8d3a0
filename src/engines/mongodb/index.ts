import type { Engine } from '../../core/ports.js';
import { assertScratch, isOurs, scratchName } from '../beside.js';
import { isNothing, NOTHING } from '../exclusions.js';
import {
  assertWhole,
  COUNT_WITHIN,
  LOST_WRITES,
  noServer,
  onServer,
  openedUrl,
  type Passwords,
  type ServerWords,
} from '../on-server.js';
import { isEntry, isOwn, isSystem } from './names.js';
import { keyOf, parseUrl, type Place, placeOnServer, resolveUrl, urlBeside } from './url.js';

/** What the engine gets from the process. */
export interface MongodbOptions {
  /** Seals the password of a URL, and opens it again; left out: it stays as it is. */
  passwords?: Passwords | undefined;
}

/** Loads what needs the driver. */
const work = () => import('./work.js');

/** How messages name what it protects. */
const WORDS: ServerWords = { named: 'MongoDB', parts: 'collections' };

/**
 * Databases of a MongoDB server: documents go into the archive as mongodump lays them, in the server's own bytes, and come
 * back into new collections that then take the names of the old ones.
 */
export function createMongodbEngine({ passwords }: MongodbOptions = {}): Engine {
  const placeOf = async (url: string): Promise<Place> => parseUrl(await openedUrl(passwords, url));
  return {
    kind: 'MONGODB',
    ...onServer(WORDS, passwords),
    scratch: {
      urlFor: async (runId, _folder, url) => {
        if (url === null) throw noServer();
        return urlBeside(await placeOf(url), scratchName(runId));
      },
      readAll: async (url, { signal }) => (await work()).readAllAt(await placeOf(url), signal),
      drop: async (url, runId) => {
        const place = await placeOf(url);
        assertScratch(place.database, runId);
        await (await work()).dropScratchAt(place);
      },
    },
    resolve: resolveUrl,
    keyOf: async (url) => keyOf(url),
    databases: async (url, signal) => {
      const { databasesOf, withConnection } = await work();
      const found = await withConnection(placeOnServer(await openedUrl(passwords, url)), { signal }, databasesOf);
      return found.filter(({ name }) => !isOurs(name));
    },
    check: async (url, options) => {
      const { assertRights, assertSettled, assertThere, keptOf, listingOf, sizeIn, sizeOf, withConnection } =
        await work();
      const exclusions = options?.exclusions ?? NOTHING;
      return withConnection(await placeOf(url), { signal: options?.signal }, async (connection) => {
        await assertRights(connection, 'read');
        await assertSettled(connection);
        const listing = await listingOf(connection);
        assertThere(connection, listing);
        const without = isNothing(exclusions) ? 0 : await sizeIn(connection, keptOf(listing, exclusions).matches);
        return { bytes: Math.max(0, (await sizeOf(connection)) - without) };
      });
    },
    exists: async (url) => {
      const { namesIn, withConnection } = await work();
      const names = await withConnection(await placeOf(url), {}, namesIn);
      return names.some((name) => !isOwn(name) && !isSystem(name));
    },
    snapshot: async (url, _folder, step, _damage, exclusions = NOTHING) =>
      (await work()).takeSnapshot(await placeOf(url), step, exclusions),
    exclusions: async (url, exclusions, signal) => {
      const { keptOf, listingOf, withConnection } = await work();
      return keptOf(await withConnection(await placeOf(url), { signal }, listingOf), exclusions).matches;
    },
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
    inspectContent: async (folder, step, url) => {
      if (url === null) throw noServer();
      const { drillDump, dumpIn } = await work();
      return drillDump(await dumpIn(folder), await placeOf(url), step);
    },
    load: async (folder, url, options) => {
      assertWhole(WORDS, options);
      const { dumpIn, loadDump } = await work();
      await loadDump(await dumpIn(folder), await placeOf(url), options);
      return [];
    },
    loadNotes: async (_url, live) => [LOADING, ...(live === null ? [] : SWITCHING)],
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
  LOST_WRITES,
];
