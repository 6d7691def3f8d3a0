import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Fingerprint, MediaState } from '../../archive/media-state.js';
import { PAGE_HASH_BYTES, type PageHashes } from '../../archive/page-hashes.js';
import { flush, flushFolder } from '../../disk.js';
import { errnoOf } from '../../errors.js';
import type { SnapshotContents } from '../ports.js';

/*
 * What the last backup of a config held, kept beside the control database so that no archive is read to make the next one.
 * A file: "DBMPAGES", the length of a JSON text as u32 (little-endian), that text, the hashes of all pages in order, and the
 * SHA-256 of all before it.
 */

/** What the next incremental backup is compared with. */
export interface PageIndex {
  /** The backup that it is of. */
  backupId: string;
  fileName: string;
  metadataSha256: string;
  mediaPaths: string[];
  /** `Engine.fingerprint` from before the database was read; null where there was none. */
  fingerprint: string | null;
  /** The snapshot's name, and the entry that its pages are in a full archive. */
  name: string;
  entry: string;
  contents: SnapshotContents;
  hashes: PageHashes;
  media: MediaState;
}

const MAGIC = Buffer.from('DBMPAGES');
const VERSION = 2;
const START_BYTES = MAGIC.length + 4;
const CHECKSUM_BYTES = 32;

/** The index of a config. */
export const indexPath = (dataDir: string, configId: number): string => join(dataDir, 'pages', `${configId}.index`);

/** Replaces the index in one step. @throws an error of the file system */
export async function writeIndex(path: string, index: PageIndex): Promise<void> {
  const { hashes, media, ...about } = index;
  const { pages, ...database } = hashes;
  const files = [...media].map(([name, { size, print }]) => [name, size, print]);
  const text = Buffer.from(JSON.stringify({ version: VERSION, ...about, database, files }));
  const start = Buffer.alloc(START_BYTES);
  MAGIC.copy(start);
  start.writeUInt32LE(text.length, MAGIC.length);
  const parts = [start, text, pages];
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${randomUUID()}`;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writev([...parts, hash.digest()]);
      await flush(handle);
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
    await flushFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/**
 * The index as it was written.
 * @returns null if there is none; 'doubtful' if it is not whole
 * @throws an error of the file system
 */
export async function readIndex(path: string): Promise<PageIndex | 'doubtful' | null> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  }
  const body = bytes.subarray(0, -CHECKSUM_BYTES);
  const sum = createHash('sha256').update(body).digest();
  if (!sum.equals(bytes.subarray(-CHECKSUM_BYTES)) || !body.subarray(0, MAGIC.length).equals(MAGIC)) return 'doubtful';
  const textEnd = START_BYTES + body.readUInt32LE(MAGIC.length);
  const { version, database, files, ...about } = JSON.parse(body.toString('utf8', START_BYTES, textEnd)) as Written;
  const pages = body.subarray(textEnd);
  if (version !== VERSION || pages.length !== database.pageCount * PAGE_HASH_BYTES) return 'doubtful';
  const media: MediaState = new Map(files.map(([name, size, print]) => [name, { size, print }]));
  return { ...about, hashes: { ...database, pages }, media };
}

/** The JSON of an index whose checksum was right. */
interface Written extends Omit<PageIndex, 'hashes' | 'media'> {
  version: number;
  database: Omit<PageHashes, 'pages'>;
  files: [string, number, Fingerprint | null][];
}
