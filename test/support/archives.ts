import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { crc32, deflateRawSync } from 'node:zlib';
import type { ArchiveMetadata, SourceFile } from '../../src/archive/metadata.js';
import type { ArchiveSource } from '../../src/archive/read.js';
import { writeArchive, type Collected, type WriteOptions } from '../../src/archive/write.js';

/** One entry of a ZIP made by hand. What is not given is told truthfully; what is given may be a lie. */
export interface RawEntry {
  name: string | Buffer;
  data?: Buffer | string;
  deflate?: boolean;
  method?: number;
  flags?: number;
  crc?: number;
  size?: number;
  compressedSize?: number;
  /** Unix mode with type bits, for the external attributes. */
  mode?: number;
  /** The system that says to have made it; default Unix (3). */
  host?: number;
  extra?: Buffer;
  /** What the local header says where it differs. */
  local?: {
    name?: string;
    method?: number;
    flags?: number;
    crc?: number;
    size?: number;
    extra?: Buffer;
    signature?: number;
  };
  /** Where the directory says that the local header starts. */
  offset?: number;
  disk?: number;
  comment?: Buffer;
  /** Bytes after the data. */
  descriptor?: Buffer;
  /** False: only in the directory. */
  stored?: boolean;
}

/** What the end of a ZIP made by hand says where it is not the truth. */
export interface RawEnd {
  count?: number;
  countOnDisk?: number;
  disk?: number;
  directorySize?: number;
  directoryStart?: number;
  comment?: Buffer;
  prefix?: Buffer;
  trailing?: Buffer;
  zip64?: { count?: bigint; directorySize?: bigint; directoryStart?: bigint; recordStart?: bigint; signature?: number };
}

/** Writes ZIP bytes exactly as told. */
export function rawZip(entries: RawEntry[], end: RawEnd = {}): Buffer {
  const parts: Buffer[] = [end.prefix ?? Buffer.alloc(0)];
  const records: Buffer[] = [];
  let at = parts[0]?.length ?? 0;
  for (const entry of entries) {
    const raw = rawEntry(entry, at);
    records.push(raw.record);
    if (entry.stored === false) continue;
    parts.push(raw.local);
    at += raw.local.length;
  }
  const directory = Buffer.concat(records);
  return Buffer.concat([
    ...parts,
    directory,
    rawEnd(entries.length, at, directory.length, end),
    end.trailing ?? Buffer.alloc(0),
  ]);
}

function rawEntry(entry: RawEntry, at: number): { local: Buffer; record: Buffer } {
  const name = Buffer.from(entry.name as string);
  const data = Buffer.from((entry.data ?? '') as string);
  const stored = entry.deflate ? deflateRawSync(data) : data;
  const method = entry.method ?? (entry.deflate ? 8 : 0);
  const flags = entry.flags ?? 0x0800;
  const crc = entry.crc ?? crc32(data);
  const size = entry.size ?? data.length;
  const compressedSize = entry.compressedSize ?? stored.length;
  const extra = entry.extra ?? Buffer.alloc(0);
  const comment = entry.comment ?? Buffer.alloc(0);
  const local = entry.local ?? {};
  const localName = local.name === undefined ? name : Buffer.from(local.name);
  const localExtra = local.extra ?? extra;
  const header = Buffer.alloc(30);
  header.writeUInt32LE(local.signature ?? 0x04034b50, 0);
  header.writeUInt16LE(20, 4);
  header.writeUInt16LE(local.flags ?? flags, 6);
  header.writeUInt16LE(local.method ?? method, 8);
  header.writeUInt32LE(0x58a10000, 10);
  header.writeUInt32LE(local.crc ?? crc, 14);
  header.writeUInt32LE(compressedSize, 18);
  header.writeUInt32LE(local.size ?? size, 22);
  header.writeUInt16LE(localName.length, 26);
  header.writeUInt16LE(localExtra.length, 28);
  const record = Buffer.alloc(46);
  record.writeUInt32LE(0x02014b50, 0);
  record.writeUInt16LE(((entry.host ?? 3) << 8) | 45, 4);
  record.writeUInt16LE(20, 6);
  record.writeUInt16LE(flags, 8);
  record.writeUInt16LE(method, 10);
  record.writeUInt32LE(0x58a10000, 12);
  record.writeUInt32LE(crc, 16);
  record.writeUInt32LE(compressedSize, 20);
  record.writeUInt32LE(size, 24);
  record.writeUInt16LE(name.length, 28);
  record.writeUInt16LE(extra.length, 30);
  record.writeUInt16LE(comment.length, 32);
  record.writeUInt16LE(entry.disk ?? 0, 34);
  record.writeUInt32LE(((entry.mode ?? 0o100644) << 16) >>> 0, 38);
  record.writeUInt32LE(entry.offset ?? at, 42);
  return {
    local: Buffer.concat([header, localName, localExtra, stored, entry.descriptor ?? Buffer.alloc(0)]),
    record: Buffer.concat([record, name, extra, comment]),
  };
}

function rawEnd(count: number, start: number, size: number, end: RawEnd): Buffer {
  const parts: Buffer[] = [];
  if (end.zip64 !== undefined) {
    const record = Buffer.alloc(56);
    record.writeUInt32LE(end.zip64.signature ?? 0x06064b50, 0);
    record.writeBigUInt64LE(44n, 4);
    record.writeUInt16LE(45, 12);
    record.writeUInt16LE(45, 14);
    record.writeBigUInt64LE(end.zip64.count ?? BigInt(count), 24);
    record.writeBigUInt64LE(end.zip64.count ?? BigInt(count), 32);
    record.writeBigUInt64LE(end.zip64.directorySize ?? BigInt(size), 40);
    record.writeBigUInt64LE(end.zip64.directoryStart ?? BigInt(start), 48);
    const locator = Buffer.alloc(20);
    locator.writeUInt32LE(0x07064b50, 0);
    locator.writeBigUInt64LE(end.zip64.recordStart ?? BigInt(start + size), 8);
    locator.writeUInt32LE(1, 16);
    parts.push(record, locator);
  }
  const magic = end.zip64 !== undefined;
  const tail = Buffer.alloc(22);
  tail.writeUInt32LE(0x06054b50, 0);
  tail.writeUInt16LE(end.disk ?? 0, 4);
  tail.writeUInt16LE(end.countOnDisk ?? end.count ?? (magic ? 0xffff : count), 8);
  tail.writeUInt16LE(end.count ?? (magic ? 0xffff : count), 10);
  tail.writeUInt32LE(end.directorySize ?? (magic ? 0xffffffff : size), 12);
  tail.writeUInt32LE(end.directoryStart ?? (magic ? 0xffffffff : start), 16);
  tail.writeUInt16LE(end.comment?.length ?? 0, 20);
  return Buffer.concat([...parts, tail, end.comment ?? Buffer.alloc(0)]);
}

/** Metadata of version 2.0 for entries made by hand, or for what a writer collected. */
export function buildMetadata(
  collected: Partial<Collected> = {},
  overrides: Partial<ArchiveMetadata> = {},
): ArchiveMetadata {
  return {
    backup_version: '2.0',
    backup_id: 'backup_20250724_143022_a1b2c3d4',
    backup_type: 'MANUAL',
    backup_date: '2025-07-24T14:30:22.123456+00:00',
    database_engine: 'SQLITE',
    database_name: 'db.sqlite3',
    app_version: '0.1.0',
    node_version: process.version,
    apps: [{ app: 'auth', latest_migration: '0012_alter_user_first_name_max_length' }],
    tables: [{ name: 'auth_user', row_count: 3 }],
    source: { page_size: 4096, journal_mode: 'wal' },
    damaged: false,
    findings: [],
    entries: [],
    media: [],
    renamed: [],
    symlinks: [],
    skipped: [],
    ...collected,
    ...overrides,
  };
}

/** The metadata entry that truthfully lists these entries, to be put last. */
export function metadataEntry(entries: RawEntry[], overrides: Partial<ArchiveMetadata> = {}): RawEntry {
  const listed = entries
    .filter(({ name }) => !name.toString().endsWith('/'))
    .map(({ name, data, size }) => ({
      path: name.toString(),
      size: size ?? Buffer.from((data ?? '') as string).length,
      sha256: createHash('sha256')
        .update(data ?? '')
        .digest('hex'),
    }));
  return {
    name: 'backup_metadata.json',
    data: JSON.stringify(buildMetadata({ entries: listed }, overrides)),
    deflate: true,
  };
}

/** A version 2.0 archive of entries made by hand, with their metadata behind them. */
export function rawArchive(entries: RawEntry[], end: RawEnd = {}): Buffer {
  return rawZip([...entries, metadataEntry(entries)], end);
}

/** An archive as the older Django system wrote it: metadata first or last, no hashes. */
export function djangoArchive(overrides: Record<string, unknown> = {}, metadataFirst = false): Buffer {
  const metadata = {
    backup_version: '1.0',
    backup_date: '2025-01-02T03:04:05.678901',
    django_version: '5.2.1',
    database_engine: 'django.db.backends.sqlite3',
    database_name: '/srv/app/db.sqlite3',
    apps: ['auth', 'sessions'],
    ...overrides,
  };
  const entry: RawEntry = { name: 'backup_metadata.json', data: JSON.stringify(metadata), deflate: true };
  const files: RawEntry[] = [
    { name: 'database.sqlite3', data: 'SQLite format 3\0 and more', deflate: true, mode: 0 },
    { name: 'media/uploads/a.txt', data: 'a', mode: 0 },
  ];
  return rawZip(metadataFirst ? [entry, ...files] : [...files, entry]);
}

/** Bytes in memory as the source of an archive. `claimed` bytes are declared, whatever there is. */
export function bufferSource(bytes: Buffer, claimed = bytes.length): ArchiveSource {
  return {
    size: claimed,
    read: async (start, end) => Readable.from([bytes.subarray(start, end + 1)], { objectMode: false }),
  };
}

/** A database file with this content. */
export function sourceFile(path: string, content: Buffer | string): SourceFile {
  const bytes = Buffer.from(content as string);
  return {
    path,
    size: bytes.length,
    mtime: new Date('2025-07-24T14:30:20.500Z'),
    open: async () => Readable.from([bytes]),
  };
}

/** Options for a writer with everything in place; a test names what it cares about. */
export function writeOptions(overrides: Partial<WriteOptions> = {}): WriteOptions {
  return {
    files: [sourceFile('database.sqlite3', 'SQLite format 3\0')],
    mediaPaths: [],
    describe: (collected) => buildMetadata(collected),
    signal: new AbortController().signal,
    onProgress: () => undefined,
    ...overrides,
  };
}

/** Writes an archive into memory. */
export async function archiveBytes(overrides: Partial<WriteOptions> = {}): Promise<Buffer> {
  const { stream, done } = writeArchive(writeOptions(overrides));
  const [bytes] = await Promise.all([buffer(stream), done]);
  return bytes;
}
