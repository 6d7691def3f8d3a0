import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatabaseInfo, StepContext } from '../../core/ports.js';
import { AppError, errnoOf } from '../../errors.js';
import { documentsIn } from './bson.js';
import { quoted } from './connection.js';
import { type Definition, readDefinition, tableOf } from './definition.js';
import { collectionOf, DATA, DEFINITION, fileNameOf, FOLDER, isCollectionName } from './names.js';

/** Largest definition that is read, in bytes. Those of a server fit into one document. */
const MAX_DEFINITION = 64 * 1024 * 1024;

/** A collection in an extracted dump. */
export interface DumpedCollection extends Definition {
  /** Path of its documents. */
  path: string;
  /** Bytes of them. */
  bytes: number;
}

/** A database as mongodump lays it, in a folder. */
export interface Dump {
  collections: DumpedCollection[];
  views: Definition[];
}

const corrupt = (text: string) =>
  new AppError('DATABASE_CORRUPT', text, { hint: 'Do not rely on this backup. Restore another one.' });

/**
 * Reads all definitions of an extracted dump, and makes sure that each fits its documents. Reads no document.
 * @throws AppError DATABASE_NOT_FOUND, DATABASE_CORRUPT, ENGINE_UNSUPPORTED
 */
export async function dumpIn(folder: string): Promise<Dump> {
  const root = join(folder, FOLDER);
  const names = await readdir(root).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new AppError('DATABASE_NOT_FOUND', `There is no ${FOLDER} in the archive.`, { cause: error });
  });
  const data = new Set(names.filter((name) => name.endsWith(DATA)));
  const dump: Dump = { collections: [], views: [] };
  const seen = new Set<string>();
  for (const name of names.filter((each) => each.endsWith(DEFINITION)).sort()) {
    const definition = await definitionIn(root, name);
    const { name: collection, type } = definition;
    const file = name.slice(0, -DEFINITION.length);
    if (!isCollectionName(collection) || file !== fileNameOf(collection)) {
      throw corrupt(`${FOLDER}${name} in the archive is of a collection that cannot have this file.`);
    }
    if (seen.has(collection)) throw corrupt(`The archive holds the collection ${quoted(collection)} twice.`);
    seen.add(collection);
    const hasData = data.delete(`${file}${DATA}`);
    if (type === 'view') {
      if (hasData) throw corrupt(`The archive holds documents of the view ${quoted(collection)}.`);
      dump.views.push(definition);
      continue;
    }
    if (!hasData) throw corrupt(`The archive lacks the documents of the collection ${quoted(collection)}.`);
    const path = join(root, `${file}${DATA}`);
    dump.collections.push({ ...definition, path, bytes: (await stat(path)).size });
  }
  const [left] = data;
  if (left !== undefined) throw corrupt(`The archive lacks the definition that belongs to ${FOLDER}${left}.`);
  return dump;
}

async function definitionIn(root: string, name: string): Promise<Definition> {
  const path = join(root, name);
  if ((await stat(path)).size > MAX_DEFINITION) throw corrupt(`${FOLDER}${name} in the archive is too large.`);
  const fallback = collectionOf(name.slice(0, -DEFINITION.length));
  return readDefinition(await readFile(path, 'utf8'), `${FOLDER}${name}`, fallback);
}

/** The documents of a collection in the dump, each checked. */
export async function* documentsOf({ path, name }: DumpedCollection): AsyncGenerator<Buffer> {
  const chunks = createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>;
  yield* documentsIn(chunks, `${FOLDER}${fileNameOf(name)}${DATA}`);
}

/** Bytes of all documents of a dump. */
export const dumpBytes = ({ collections }: Dump): number => collections.reduce((sum, { bytes }) => sum + bytes, 0);

/** Reads every document of a dump. @returns how many each collection has */
export async function countDocuments(dump: Dump, { signal, onProgress }: StepContext): Promise<Map<string, number>> {
  const total = dumpBytes(dump);
  const counts = new Map<string, number>();
  let done = 0;
  for (const collection of dump.collections) {
    let count = 0;
    for await (const document of documentsOf(collection)) {
      count++;
      done += document.length;
      if (count % 1_000 !== 0) continue;
      signal.throwIfAborted();
      onProgress(done, total);
    }
    counts.set(collection.name, count);
  }
  return counts;
}

/** A dump as `Engine.describeDump` shows it. @param counts null: the documents were not counted */
export function describedDump({ collections }: Dump, counts: Map<string, number> | null): DatabaseInfo {
  const tables = collections.map((each) => tableOf(each, counts === null ? null : (counts.get(each.name) ?? 0)));
  return { engine: 'MONGODB', name: FOLDER, tables, apps: [], source: {}, findings: [] };
}
