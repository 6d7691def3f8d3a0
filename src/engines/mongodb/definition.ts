import { createHash } from 'node:crypto';
import { BSON, type Document } from 'mongodb';
import type { TableInfo } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { quoted } from './connection.js';

/** What makes a collection or a view, as the server lists it and mongodump writes it. */
export interface Definition {
  name: string;
  type: 'collection' | 'view';
  /** As `create` takes them. */
  options: Document;
  /** As `createIndexes` takes them. */
  indexes: Document[];
  /** The server's own name for the collection, hex; null where it has none. */
  uuid: string | null;
}

const EXACT = { promoteValues: false, promoteBuffers: false, bsonRegExp: true } as const;

/** A document of which every value keeps its type. */
export const readDocument = (bytes: Uint8Array): Document => BSON.deserialize(bytes, EXACT);

/**
 * A definition from the server's own bytes. What a JavaScript object cannot hold in its order, such as an index on the fields
 * "2" and "1", is refused: it would come back as another.
 * @throws AppError ENGINE_UNSUPPORTED
 */
export function exactDocument(bytes: Uint8Array, of: string): Document {
  const document = readDocument(bytes);
  const again = readText(textOf(document));
  if (Buffer.compare(BSON.serialize(again, { ignoreUndefined: false }), bytes) === 0) return document;
  throw new AppError('ENGINE_UNSUPPORTED', `The definition of ${quoted(of)} cannot be kept exactly.`, {
    hint: 'Rename fields of it whose names are numbers, or back this database up with mongodump.',
  });
}

/** As mongodump writes it: canonical Extended JSON. */
const textOf = (document: Document): string => BSON.EJSON.stringify(document, { relaxed: false });
const readText = (text: string): Document => BSON.EJSON.parse(text, { relaxed: false }) as Document;

/** The content of a `.metadata.json`, as mongodump writes it. */
export function writeDefinition({ name, type, options, indexes, uuid }: Definition): string {
  return textOf({
    ...(Object.keys(options).length > 0 && { options }),
    indexes,
    ...(uuid !== null && { uuid }),
    collectionName: name,
    type,
  });
}

const isDocument = (value: unknown): value is Document =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !('_bsontype' in value);

/**
 * Reads a `.metadata.json`. @param fallback the collection's name, where an older mongodump has not written it
 * @throws AppError DATABASE_CORRUPT, ENGINE_UNSUPPORTED
 */
export function readDefinition(text: string, entry: string, fallback: string | null): Definition {
  let read: Document;
  try {
    read = readText(text);
  } catch (error) {
    throw damaged(entry, `it is no Extended JSON: ${(error as Error).message.slice(0, 200)}`);
  }
  if (!isDocument(read)) throw damaged(entry, 'it holds no object');
  const { options = {}, indexes = [], uuid = null, collectionName = fallback, type = 'collection' } = read;
  if (typeof collectionName !== 'string') throw damaged(entry, 'it names no collection');
  if (!isDocument(options)) throw damaged(entry, 'its options are no object');
  if (!Array.isArray(indexes) || !indexes.every(isIndex)) throw damaged(entry, 'its indexes are no list of indexes');
  if (uuid !== null && typeof uuid !== 'string') throw damaged(entry, 'its uuid is no text');
  if (type === 'timeseries' || options.timeseries !== undefined) throw timeSeries(collectionName);
  const isView = options.viewOn !== undefined;
  if ((type !== 'collection' && type !== 'view') || (type === 'view') !== isView) {
    throw damaged(entry, 'it is neither of a collection nor of a view');
  }
  return { name: collectionName, type, options, indexes, uuid };
}

const isIndex = (index: unknown): index is Document =>
  isDocument(index) && isDocument(index.key) && typeof index.name === 'string';

const damaged = (entry: string, what: string) =>
  new AppError('DATABASE_CORRUPT', `${entry} in the archive cannot be read: ${what}.`, {
    hint: 'Do not rely on this backup. Restore another one.',
  });

/** @returns the refusal of a time-series collection: none can be renamed, so a restore could not switch it */
export const timeSeries = (name: string): AppError =>
  new AppError('ENGINE_UNSUPPORTED', `${quoted(name)} is a time-series collection, which is not supported.`, {
    hint: 'Keep time-series collections in a database of their own, and back that up with mongodump.',
  });

/** A collection as lists show it. */
export function tableOf({ name, options, indexes }: Definition, rows: number | null): TableInfo {
  const sorted = indexes.toSorted((one, other) => (String(one.name) < String(other.name) ? -1 : 1));
  const schema = createHash('sha256')
    .update(textOf({ options, indexes: sorted }))
    .digest('hex')
    .slice(0, 16);
  return { name, rows, schema, references: [] };
}
