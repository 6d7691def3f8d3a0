import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import type { Document } from 'mongodb';
import type { DatabaseInfo, LoadOptions, StepContext } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { type Connection, quoted, withConnection } from './connection.js';
import { tableOf } from './definition.js';
import { documentsOf, type Dump, dumpBytes, type DumpedCollection } from './dump.js';
import { assertRights, countIn, type Listing, listingOf, sourceOf } from './facts.js';
import { newName, timeOf } from './names.js';
import { decidedStamp, dropOwn, rollBack, settle, switchOver } from './switch.js';
import type { Place } from './url.js';

/** How many bytes and documents one insert has at most, and how many are on their way at once. */
const BATCH_BYTES = 8 << 20;
const BATCH_DOCUMENTS = 1_000;
const IN_FLIGHT = 3;
/** Collections of ours that nobody has used up are of a process that died if they are older than this, in milliseconds. */
const LEFT_AFTER = 86_400_000;

/** The driver's own list of documents that are bytes already: they go to the server as they are. */
interface DocumentSequence {
  push(document: Document, bytes: Uint8Array): number;
}
const { DocumentSequence } = createRequire(import.meta.url)('mongodb/lib/cmap/commands.js') as {
  DocumentSequence: new (field: string) => DocumentSequence;
};

/** What a filling needs. */
type Filling = StepContext & { stamp: string };

/**
 * Replaces a database: the dump is loaded into collections beside those of the target, and counted; then all are renamed.
 * Until the switch, nothing that the application reads changes.
 */
export async function loadDump(dump: Dump, place: Place, options: LoadOptions): Promise<void> {
  const { signal, stamp, lockTimeoutMs, onSwitch, expected } = options;
  try {
    await withConnection(place, { signal, isPatient: true }, async (connection) => {
      await assertLoadable(connection, dump);
      await decidedStamp(connection);
      await settle(connection);
      await dropLeftovers(connection, stamp);
      const loaded = await fill(connection, dump, options);
      assertExpected(loaded, expected);
      signal.throwIfAborted();
      const filled = new Map(dump.collections.map(({ name }, index) => [name, newName(stamp, index)]));
      // Of no use to the one who cancels now: from here on it takes moments.
      await withConnection(place, { isPatient: true }, (switching) =>
        switchOver(switching, { stamp, filled, views: dump.views, lockTimeoutMs, onSwitch }),
      );
    });
    options.onProgress(1, 1);
  } catch (error) {
    await discardAt(place, stamp).catch(() => undefined);
    signal.throwIfAborted();
    throw error;
  }
}

/** As `Engine.discard`: also takes back a switch that was not decided. */
export const discardAt = (place: Place, stamp: string): Promise<void> =>
  withConnection(place, {}, async (connection) => {
    await rollBack(connection);
    await dropOwn(connection, (own) => own.kind === 'new' && own.stamp === stamp);
  });

/** As `Engine.stampOf`. */
export const stampAt = (place: Place): Promise<string | null> => withConnection(place, {}, decidedStamp);

/** As `Engine.clearStamp`. */
export const clearStampAt = (place: Place): Promise<void> => withConnection(place, {}, settle);

/** Loads the dump into collections that are dropped again. */
export async function drillDump(dump: Dump, place: Place, step: StepContext): Promise<DatabaseInfo> {
  const at = new Date().toISOString().replace(/[-:]/g, '').slice(0, 15).replace('T', '_');
  const stamp = `drill_${at}_${randomBytes(4).toString('hex')}`;
  try {
    return await withConnection(place, { signal: step.signal, isPatient: true }, async (connection) => {
      await assertLoadable(connection, dump);
      await dropLeftovers(connection, stamp);
      const counts = await fill(connection, dump, { ...step, stamp });
      const tables = dump.collections.map((each) => tableOf(each, counts.get(each.name) ?? 0));
      const { database: name } = place;
      return { engine: 'MONGODB', name, tables, apps: [], source: sourceOf(connection), findings: [] };
    });
  } finally {
    await withConnection(place, {}, (connection) => dropOwn(connection, (own) => own.stamp === stamp));
  }
}

/** Fails unless a restore into this database can be done. Changes nothing. */
export async function assertWritable(connection: Connection): Promise<void> {
  await assertRights(connection, 'write');
  assertUnsharded(await listingOf(connection));
}

function assertUnsharded({ sharded }: Listing): void {
  if (sharded.length === 0) return;
  const named = sharded.slice(0, 3).map(quoted).join(', ');
  throw new AppError(
    'ENGINE_UNSUPPORTED',
    `A restore would replace sharded collections (${named}) by ones that are not.`,
    {
      hint: 'Restore into a new database (targetDatabaseUrl), or shard anew with mongorestore.',
    },
  );
}

async function assertLoadable(connection: Connection, { collections }: Dump): Promise<void> {
  await assertWritable(connection);
  const validators = collections.some(hasValidator);
  await assertRights(connection, 'write', { validators });
}

const hasValidator = ({ options }: DumpedCollection) => options.validator !== undefined;

/** Drops what restores and drills have left whose process died long ago. Never what was put aside: it may be the only state. */
const dropLeftovers = (connection: Connection, stamp: string) =>
  dropOwn(
    connection,
    ({ kind, stamp: own }) => kind === 'new' && (own === stamp || Date.now() - timeOf(own) > LEFT_AFTER),
  );

/** @returns how many documents each collection has */
async function fill(
  connection: Connection,
  dump: Dump,
  { stamp, signal, onProgress }: Filling,
): Promise<Map<string, number>> {
  const total = dumpBytes(dump);
  const counts = new Map<string, number>();
  let done = 0;
  for (const [index, collection] of dump.collections.entries()) {
    const to = newName(stamp, index);
    await connection.run({ ...createOptions(collection, to), writeConcern: { w: 'majority' } });
    const inserted = await insertAll(connection, collection, to, (bytes) => {
      signal.throwIfAborted();
      onProgress((done += bytes) * 0.9, total);
    });
    // Before its indexes are there: one of them may have the server remove what has expired.
    const counted = await countIn(connection, to, null);
    if (counted !== inserted) throw otherCount(collection.name, counted, inserted);
    await buildIndexes(connection, collection, to);
    counts.set(collection.name, inserted);
  }
  return counts;
}

/** Older servers had collections without an index on _id, which newer ones refuse to make. */
function createOptions({ options }: DumpedCollection, to: string): Document {
  const { autoIndexId: _, ...wanted } = options;
  return { create: to, ...wanted };
}

async function insertAll(
  connection: Connection,
  collection: DumpedCollection,
  to: string,
  onBytes: (bytes: number) => void,
): Promise<number> {
  // The documents of a capped collection have an order.
  const most = collection.options.capped === true ? 1 : IN_FLIGHT;
  const running = new Set<Promise<void>>();
  const failures: unknown[] = [];
  let [batch, bytes, count] = [[] as Uint8Array[], 0, 0];
  const send = async () => {
    if (running.size >= most) await Promise.race(running);
    if (failures.length > 0) throw failures[0];
    const size = bytes;
    const sent: Promise<void> = insert(connection, to, batch, hasValidator(collection))
      .then(() => onBytes(size))
      .catch((error: unknown) => void failures.push(error))
      .finally(() => running.delete(sent));
    running.add(sent);
    [batch, bytes] = [[], 0];
  };
  try {
    for await (const document of documentsOf(collection)) {
      if (batch.length > 0 && (bytes + document.length > BATCH_BYTES || batch.length >= BATCH_DOCUMENTS)) await send();
      batch.push(document);
      bytes += document.length;
      count++;
    }
    if (batch.length > 0) await send();
  } finally {
    await Promise.all(running);
  }
  if (failures.length > 0) throw failures[0];
  return count;
}

async function insert(
  connection: Connection,
  to: string,
  batch: Uint8Array[],
  bypassDocumentValidation: boolean,
): Promise<void> {
  const documents = new DocumentSequence('documents');
  for (const bytes of batch) documents.push({}, bytes);
  const answer = (await connection.run({
    ...{ insert: to, ordered: true, documents, writeConcern: { w: 'majority' } },
    ...(bypassDocumentValidation && { bypassDocumentValidation }),
  })) as { writeErrors?: { errmsg?: string }[]; writeConcernError?: { errmsg?: string } };
  const error = answer.writeErrors?.[0] ?? answer.writeConcernError;
  if (error === undefined) return;
  throw new AppError('DATABASE_FAILED', `The server did not take all documents: ${error.errmsg ?? 'no reason given'}`, {
    hint: 'See the log of MongoDB for why. Nothing was changed.',
  });
}

/** All but that on _id, which is there, and those that the collection itself is made of. */
async function buildIndexes(connection: Connection, { name, indexes }: DumpedCollection, to: string): Promise<void> {
  const wanted = indexes.filter((index) => index.name !== '_id_' && index.clustered === undefined).map(withoutPlace);
  if (wanted.length === 0) return;
  try {
    await connection.run({ createIndexes: to, indexes: wanted, writeConcern: { w: 'majority' } });
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'DATABASE_FAILED') throw error;
    const text = `The indexes of ${quoted(name)} cannot be built: ${error.message} Nothing was changed.`;
    throw new AppError('DATABASE_FAILED', text, {
      hint: 'A server of the version that the backup is of builds them. Restore there.',
      cause: error,
    });
  }
}

/** Servers before 4.4 noted in an index what it is of. */
const withoutPlace = ({ ns: _, ...index }: Document): Document => index;

function assertExpected(loaded: Map<string, number>, expected: LoadOptions['expected']): void {
  for (const { name, rows } of expected) {
    const count = loaded.get(name) ?? null;
    if (rows !== null && count !== rows) throw otherCount(name, count, rows);
  }
}

const otherCount = (name: string, found: number | null, wanted: number) =>
  new AppError(
    'DATABASE_FAILED',
    `Collection ${quoted(name)} has ${found ?? 'no'} documents after it was loaded, and the backup ${wanted}. Nothing was changed.`,
    { hint: 'Try again. If it happens again, look in the log of MongoDB for what changes collections beside us.' },
  );
