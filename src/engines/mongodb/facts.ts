import type { Document } from 'mongodb';
import type { DatabaseInfo, ExclusionMatches, Exclusions, Finding, ServerDatabase } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { type Excludable, matchesOf, namesOf } from '../exclusions.js';
import { type Connection, grantOf, mongoCode, quoted, serverOf } from './connection.js';
import { type Definition, exactDocument, readDocument, tableOf, timeSeries } from './definition.js';
import { isOwn, isSystem } from './names.js';
import { isServersOwn, urlBeside } from './url.js';

/** What a database holds. */
export interface Listing {
  collections: Definition[];
  views: Definition[];
  /** Collections of the server's own and of db-manager's. */
  others: string[];
  /** Collections that are spread over several shards. */
  sharded: string[];
}

/** Names of all collections and views, without their definitions. @throws what the driver throws */
export async function namesIn({ db }: Connection): Promise<string[]> {
  return (await db.listCollections({}, { nameOnly: true }).toArray()).map(({ name }) => name);
}

/**
 * Lists the database with all definitions.
 * @throws AppError ENGINE_UNSUPPORTED for what cannot be kept
 */
export async function listingOf(connection: Connection): Promise<Listing> {
  const { db, topology } = connection;
  const listing: Listing = { collections: [], views: [], others: [], sharded: [] };
  const entries: Uint8Array[] = [];
  // The driver's types do not know that it gives bytes then.
  for await (const entry of db.listCollections({}, { raw: true })) entries.push(entry as unknown as Uint8Array);
  for (const bytes of entries) {
    const { name } = readDocument(bytes) as { name: string };
    if (isSystem(name) || isOwn(name)) {
      listing.others.push(name);
      continue;
    }
    const { type = 'collection', options = {}, info } = exactDocument(bytes, name);
    if (type === 'timeseries') throw timeSeries(name);
    const uuid = (info as { uuid?: { toHexString(dashes: boolean): string } } | undefined)?.uuid ?? null;
    const common = { name, options, uuid: uuid?.toHexString(false) ?? null };
    if (type === 'view') {
      listing.views.push({ ...common, type: 'view', indexes: [] });
      continue;
    }
    listing.collections.push({ ...common, type: 'collection', indexes: await indexesOf(connection, name) });
    if (topology === 'SHARDED' && (await isSharded(connection, name))) listing.sharded.push(name);
  }
  const byName = (one: Definition, other: Definition) => (one.name < other.name ? -1 : 1);
  listing.collections.sort(byName);
  listing.views.sort(byName);
  return listing;
}

async function indexesOf({ db }: Connection, name: string): Promise<Definition['indexes']> {
  const indexes: Definition['indexes'] = [];
  try {
    for await (const bytes of db.collection(name).listIndexes({ raw: true })) {
      indexes.push(exactDocument(bytes as unknown as Uint8Array, name));
    }
  } catch (error) {
    // NamespaceNotFound: it was dropped meanwhile, which is noticed once all is read.
    if (mongoCode(error) !== 26) throw error;
  }
  return indexes;
}

async function isSharded(connection: Connection, name: string): Promise<boolean> {
  const { sharded = false } = await connection.run({ collStats: name });
  return sharded === true;
}

/** What exclusions leave of a listing. */
export interface Kept {
  listing: Listing;
  matches: ExclusionMatches;
  /** Collections whose documents are left out. */
  emptied: ReadonlySet<string>;
}

/** Leaves collections and views out of a listing. A view can be made without what it reads. */
export function keptOf(listing: Listing, exclusions: Exclusions): Kept {
  const { collections, views } = listing;
  const excludable = [...collections, ...views].map(({ name, type }): Excludable => {
    return { name, hasRows: type === 'collection' };
  });
  const matches = matchesOf(excludable, exclusions);
  const gone = new Set(namesOf(matches, 'TABLE'));
  const stays = ({ name }: Definition) => !gone.has(name);
  return {
    listing: { ...listing, collections: collections.filter(stays), views: views.filter(stays) },
    matches,
    emptied: new Set(namesOf(matches, 'ROWS')),
  };
}

/** Bytes of the documents and indexes of these collections. */
export async function sizeIn(connection: Connection, { excluded }: ExclusionMatches): Promise<number> {
  let bytes = 0;
  for (const { table } of excluded) {
    // A view has no size.
    const { size = 0, totalIndexSize = 0 } = await connection.run({ collStats: table }).catch(() => ({}) as Document);
    bytes += Number(size) + Number(totalIndexSize);
  }
  return bytes;
}

/** Bytes of the documents and indexes of the database. */
export async function sizeOf(connection: Connection): Promise<number> {
  const { dataSize = 0, indexSize = 0 } = await connection.run({ dbStats: 1 });
  return Number(dataSize) + Number(indexSize);
}

interface Privilege {
  resource: { db?: string; collection?: string; anyResource?: boolean };
  actions: string[];
}

const TO_READ = ['find', 'listCollections', 'listIndexes', 'dbStats'];
const TO_WRITE = ['insert', 'remove', 'createCollection', 'createIndex', 'dropCollection', 'renameCollectionSameDB'];
/** Only where a collection has a validator: documents that were there before it must come back. */
const TO_BYPASS = ['bypassDocumentValidation'];

/**
 * Fails unless the user may do what a backup or a restore does.
 * @throws AppError DATABASE_UNREADABLE with the command that gives the right
 */
export async function assertRights(
  connection: Connection,
  purpose: 'read' | 'write',
  { validators = false }: { validators?: boolean } = {},
): Promise<void> {
  const { place } = connection;
  const status = await connection.run({ connectionStatus: 1, showPrivileges: true }).catch((error: unknown) => {
    // CommandNotFound: a server without rights.
    if (mongoCode(error) === 59) return null;
    throw error;
  });
  const info = status?.authInfo as
    { authenticatedUsers?: unknown[]; authenticatedUserPrivileges?: Privilege[] } | undefined;
  if ((info?.authenticatedUsers ?? []).length === 0) return assertOpen(connection);
  const allowed = new Set(
    (info?.authenticatedUserPrivileges ?? [])
      .filter(({ resource }) => covers(resource, place.database))
      .flatMap(({ actions }) => actions),
  );
  const lacks = (wanted: string[]) => wanted.filter((action) => !allowed.has(action) && !allowed.has('anyAction'));
  const refuse = (missing: string[], role: 'read' | 'readWrite' | 'dbAdmin') => {
    const who = `The user ${quoted(place.user ?? '')} of ${serverOf(place).replace('The', 'the')}`;
    return new AppError(
      'DATABASE_UNREADABLE',
      `${who} lacks rights in ${quoted(place.database)}: ${missing.join(', ')}.`,
      {
        hint: grantOf(place, role),
      },
    );
  };
  const missing = lacks(purpose === 'read' ? TO_READ : [...TO_READ, ...TO_WRITE]);
  if (missing.length > 0) throw refuse(missing, purpose === 'read' ? 'read' : 'readWrite');
  if (purpose === 'read' || !validators) return;
  const bypass = lacks(TO_BYPASS);
  if (bypass.length > 0) throw refuse(bypass, 'dbAdmin');
}

/** Of a server that asks no one who they are, or that asks and was told nothing. */
async function assertOpen(connection: Connection): Promise<void> {
  await connection.run({ listCollections: 1, nameOnly: true, cursor: { batchSize: 0 } });
}

const covers = ({ anyResource, db, collection }: Privilege['resource'], database: string) =>
  anyResource === true || ((db === '' || db === database) && collection === '');

/** How many documents a collection holds, counted one by one. @param within milliseconds; null: however long it takes */
export async function countIn({ db }: Connection, name: string, within: number | null): Promise<number | null> {
  const pipeline = [{ $count: 'n' }];
  const options = within === null ? {} : { maxTimeMS: Math.max(1, Math.ceil(within)) };
  try {
    const [found] = await db.collection(name).aggregate(pipeline, options).toArray();
    return Number(found?.n ?? 0);
  } catch (error) {
    // MaxTimeMSExpired
    if (within !== null && mongoCode(error) === 50) return null;
    throw error;
  }
}

/** What the metadata note of the database. */
export const sourceOf = ({ version, topology }: Connection): Record<string, string | number> => ({
  server_version: version,
  topology: topology.toLowerCase(),
});

/** What a user should know of a listing; empty if there is nothing to say. */
export function listingFindings({ others, sharded }: Listing): Finding[] {
  const findings: Finding[] = [];
  if (others.includes('system.js')) {
    const message = 'The functions stored in system.js are not backed up: keep them with the code of the application.';
    findings.push({ kind: 'unchecked', table: 'system.js', message });
  }
  if (sharded.length > 0) {
    const named = sharded.slice(0, 5).map(quoted).join(', ');
    const message = `How ${named} ${sharded.length === 1 ? 'is' : 'are'} sharded is not backed up; the documents are.`;
    findings.push({ kind: 'unchecked', table: null, message });
  }
  return findings;
}

/** What is said of a backup that is not of one moment; null where all collections are read in one snapshot. */
export function consistencyFinding({ topology, version, hasSnapshots }: Connection): Finding | null {
  if (hasSnapshots) return null;
  const why =
    topology === 'STANDALONE'
      ? 'The server is a standalone'
      : `MongoDB ${version} reads no snapshot of several collections`;
  const message = `${why}: each collection was read at another moment, so references between them may not fit if the application wrote meanwhile.`;
  return { kind: 'unchecked', table: null, message };
}

/** A live database as lists show it; null if there is none. @param countWithin milliseconds for all counts */
export async function describeLive(connection: Connection, countWithin: number): Promise<DatabaseInfo | null> {
  const listing = await listingOf(connection);
  const { collections, views } = listing;
  if (collections.length + views.length === 0) return null;
  const deadline = Date.now() + countWithin;
  const tables = [];
  for (const collection of collections) {
    const left = deadline - Date.now();
    tables.push(tableOf(collection, left <= 0 ? null : await countIn(connection, collection.name, left)));
  }
  const findings = listingFindings(listing);
  const uncounted = tables.filter(({ rows }) => rows === null).length;
  if (uncounted > 0) {
    const message = `The documents of ${uncounted} collections were not counted: that takes too long here. A backup counts all of them.`;
    findings.push({ kind: 'uncounted', table: null, message });
  }
  const { database } = connection.place;
  return { engine: 'MONGODB', name: database, tables, apps: [], source: sourceOf(connection), findings };
}

/** @throws AppError DATABASE_NOT_FOUND for a database without a collection: MongoDB has no empty ones */
export function assertThere({ place }: Connection, { collections, views }: Listing): void {
  if (collections.length + views.length > 0) return;
  throw new AppError(
    'DATABASE_NOT_FOUND',
    `${serverOf(place)} has no database ${quoted(place.database)}, or it is empty.`,
    {
      hint: 'Check the name of the database at the end of databaseUrl, and authSource.',
    },
  );
}

/** As `Engine.databases`: those that the user may see. */
export async function databasesOf({ place, admin }: Connection): Promise<ServerDatabase[]> {
  const { databases } = (await admin({ listDatabases: 1, authorizedDatabases: true })) as {
    databases: { name: string; sizeOnDisk?: unknown }[];
  };
  return databases
    .filter(({ name }) => !isServersOwn(name))
    .map(({ name, sizeOnDisk }) => ({
      name,
      url: urlBeside(place, name),
      bytes: sizeOnDisk === undefined ? null : Number(sizeOnDisk),
    }))
    .sort((one, other) => (one.name < other.name ? -1 : 1));
}
