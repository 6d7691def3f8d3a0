import type { DatabaseInfo } from '../../core/ports.js';
import { isLeftover } from '../beside.js';
import { type Connection, mongoCode, withConnection } from './connection.js';
import { tableOf } from './definition.js';
import { databasesOf, listingOf, sourceOf } from './facts.js';
import { isSystem } from './names.js';
import type { Place } from './url.js';

/** As `ScratchDatabases.readAll`: every document comes here, so that the server must read all of it. */
export const readAllAt = (place: Place, signal: AbortSignal): Promise<DatabaseInfo> =>
  withConnection(place, { signal }, async (connection) => {
    const { collections } = await listingOf(connection);
    const tables = [];
    for (const collection of collections) {
      let count = 0;
      for await (const _ of connection.db.collection(collection.name).find({}, { raw: true })) {
        if (++count % 1_000 === 0) signal.throwIfAborted();
      }
      tables.push(tableOf(collection, count));
    }
    return { engine: 'MONGODB', name: place.database, tables, apps: [], source: sourceOf(connection), findings: [] };
  });

/** Drops the database, and those that drills and looks have left whose process died a day ago. */
export const dropScratchAt = (place: Place): Promise<void> =>
  withConnection(place, {}, async (connection) => {
    await drop(connection, place.database);
    // A user who may see or drop no others is no reason to fail.
    await dropLeftovers(connection).catch(() => undefined);
  });

async function dropLeftovers(connection: Connection): Promise<void> {
  for (const { name } of await databasesOf(connection)) {
    if (isLeftover(name)) await drop(connection, name);
  }
}

/** A user who may write may not drop a database, but all that is in it: one without a collection is none. */
async function drop({ client }: Connection, name: string): Promise<void> {
  const db = client.db(name);
  try {
    await db.dropDatabase();
  } catch (error) {
    // Unauthorized
    if (mongoCode(error) !== 13) throw error;
    const listed = await db.listCollections({}, { nameOnly: true }).toArray();
    for (const one of listed.filter((each) => !isSystem(each.name))) await db.dropCollection(one.name);
  }
}
