import { createHash, type Hash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { isSealedName } from '../../archive/format.js';
import { type DirectoryRecord, readDirectory } from '../../archive/directory.js';
import { type ChainMember, openChain } from '../../archive/chain.js';
import { type Archive, openArchive } from '../../archive/read.js';
import { FILE_KEY_BYTES, readHeader } from '../../archive/seal-header.js';
import { UnsealedSource } from '../../archive/seal.js';
import { compareWithUnzipper } from '../../archive/second-reader.js';
import type { ArchiveSource } from '../../archive/source.js';
import { AppError, fromErrno } from '../../errors.js';
import { type BackupRow, isGood, type StoredObjectRow } from '../../models/index.js';
import type { Storage, Storages } from '../ports.js';

/** A part of the stored bytes; both ends are included, and without `end` it reaches to the last byte. */
export interface ByteRange {
  start: number;
  end?: number;
}

/** Finds the file key in the header of a sealed archive. @throws AppError ENCRYPTION_KEY_…, ARCHIVE_… */
export type Unseal = (header: Buffer) => Promise<Buffer>;

/** How the copies of a backup are read. */
export interface Reading {
  /** Ids of copies that are not wanted. */
  without?: readonly number[];
  /** Asked when a sealed archive is opened. */
  unseal?: Unseal | undefined;
  /** What an incremental backup builds on; not needed by who only handles its stored bytes. */
  parents?: Parents | undefined;
  /** True for its own bytes alone, whatever they build on. */
  alone?: boolean;
}

/** A backup that another one builds on, and how it is opened. */
export interface Parent {
  row: BackupRow;
  unseal?: Unseal | undefined;
}

/** Finds what an incremental backup builds on, the full one first. @throws AppError CHAIN_BROKEN if one is missing */
export type Parents = () => Promise<Parent[]>;

/** An entry of an archive's list. */
export type Listed = Pick<DirectoryRecord, 'path' | 'size' | 'directory'> &
  ({ dosTime: number } | { mtime: Date | null });

/** What stands for the file key of an archive that is not sealed. */
export const NO_FILE_KEY = Buffer.alloc(FILE_KEY_BYTES);

/** For whoever only handles stored bytes. */
const NO_KEY: Unseal = () => {
  throw new AppError('ENCRYPTION_KEY_MISSING', 'The archive is encrypted, and was opened without a key.');
};

/**
 * The stored bytes of one backup. Everything that reads an archive from a storage (download, verify, restore, extract, list)
 * goes through this class, so only this file knows how stored bytes become an archive.
 */
export class StoredArchive {
  private opened: Promise<Archive> | null = null;
  private own: Promise<Archive> | null = null;
  private unsealed: Promise<{ source: UnsealedSource; fileKey: Buffer }> | null = null;
  /** The copy that this is of; null where it is of none yet. */
  copy: StoredObjectRow | null = null;
  /** Why nearer copies were passed over. */
  passedOver: AppError[] = [];
  /** Opens what it builds on, the full backup first; null where only its own bytes count. */
  below: ((signal: AbortSignal) => Promise<OpenedParent[]>) | null = null;
  private opening: Promise<OpenedParent[]> | null = null;

  constructor(
    private readonly storage: Storage,
    /** The object's name in its storage. */
    readonly name: string,
    /** Size in bytes. */
    readonly size: number,
    private readonly unseal: Unseal = NO_KEY,
  ) {}

  /** True if the stored bytes are the archive in the age format. */
  get isSealed(): boolean {
    return isSealedName(this.name);
  }

  /**
   * The bytes of the ZIP, whether it is sealed or not.
   * @throws AppError ENCRYPTION_KEY_…, ARCHIVE_…, STORAGE_…
   */
  async content(signal: AbortSignal): Promise<ArchiveSource> {
    return this.isSealed ? (await this.openSeal(signal)).source : this.stored;
  }

  /** The file key of its own archive; null if that is not sealed. @throws AppError as `content` */
  async fileKey(signal: AbortSignal): Promise<Buffer | null> {
    return this.isSealed ? (await this.openSeal(signal)).fileKey : null;
  }

  /**
   * The file keys of the archive and of what it builds on, for a later run: the full backup's first, and nothing but zeros
   * for one that is not sealed. Null if none is.
   * @throws AppError as `content`
   */
  async fileKeys(signal: AbortSignal): Promise<Buffer | null> {
    const all = [...(await this.parents(signal)).map(({ stored }) => stored), this];
    if (!all.some(({ isSealed }) => isSealed)) return null;
    const keys: Buffer[] = [];
    for (const stored of all) keys.push((await stored.fileKey(signal)) ?? NO_FILE_KEY);
    return Buffer.concat(keys);
  }

  /** The stored bytes, or a range of them. @throws AppError ARCHIVE_MISSING, STORAGE_… */
  bytes(range?: ByteRange): Promise<Readable> {
    return this.storage.get(this.name, range);
  }

  /** Where a person finds the object. */
  get location(): string {
    return this.storage.locate(this.name);
  }

  /**
   * The archive, opened at the first call; every caller gets the same one. An incremental one is that of the whole state,
   * put together from what it builds on.
   * @throws AppError ENCRYPTION_KEY_…, ARCHIVE_…, STORAGE_…; CHAIN_BROKEN
   */
  archive(signal: AbortSignal): Promise<Archive> {
    const opening = async () => {
      const parents = await this.parents(signal);
      const own = await this.piece(signal);
      if (parents.length === 0) return own;
      const below = await Promise.all(parents.map((parent) => parent.member(signal)));
      return openChain([...below, { archive: own }], signal);
    };
    return (this.opened ??= opening().catch((error: unknown) => {
      this.opened = null;
      throw error;
    }));
  }

  /**
   * What the archive stands for, as one full archive that is written on the way, the same each time.
   * @returns a stream that fails with AppError ARCHIVE_…, STORAGE_…
   */
  async full(signal: AbortSignal): Promise<Readable> {
    // What writes archives is slow to load.
    const { writeFull } = await import('../../archive/full.js');
    return writeFull(await this.archive(signal), { signal }).stream;
  }

  /** What is stored under this name alone, whatever it builds on. @throws AppError as `archive` */
  piece(signal: AbortSignal): Promise<Archive> {
    const opening = async () => openArchive(await this.content(signal), { signal });
    return (this.own ??= opening().catch((error: unknown) => {
      this.own = null;
      throw error;
    }));
  }

  private parents(signal: AbortSignal): Promise<OpenedParent[]> {
    if (this.below === null) return Promise.resolve([]);
    return (this.opening ??= this.below(signal).catch((error: unknown) => {
      this.opening = null;
      throw error;
    }));
  }

  /**
   * The archive's list of entries. Reads no metadata and no content, as long as it builds on no other.
   * @throws AppError as `archive`
   */
  async directory(signal: AbortSignal): Promise<Listed[]> {
    if (this.below === null) return readDirectory(await this.content(signal), signal);
    const { entries } = await this.archive(signal);
    return entries.map(({ path, size, directory, mtime }) => ({ path, size, directory, mtime }));
  }

  /** Compares what an independent ZIP reader sees. Only after `archive` was verified. @throws AppError ARCHIVE_CORRUPT */
  async compareReaders(signal: AbortSignal): Promise<void> {
    for (const { stored } of await this.parents(signal)) await stored.compareReaders(signal);
    await compareWithUnzipper(await this.content(signal), await this.piece(signal), signal);
  }

  /**
   * Works through the archive in one pass that is given every byte, and compares the SHA-256 of all that is stored.
   * @param checksum SHA-256 that the stored bytes must have, in hex; null if none was noted
   * @param pass must read the archive from its first byte to its last, and hand each to `onBytes`
   * @throws AppError ARCHIVE_CORRUPT if the bytes are others, whatever else `pass` found wrong with them; ARCHIVE_…, STORAGE_…
   */
  async whole(
    checksum: string | null,
    signal: AbortSignal,
    pass: (archive: Archive, onBytes: (chunk: Buffer) => void) => Promise<void>,
  ): Promise<Archive> {
    const hash = createHash('sha256');
    try {
      const archive = await this.archive(signal);
      await this.hashing(hash, signal, (onBytes) => pass(archive, onBytes));
      if (checksum !== null && hash.digest('hex') !== checksum) throw otherChecksum(this);
      return archive;
    } catch (error) {
      const isBad = error instanceof AppError && error.code.startsWith('ARCHIVE_') && error.code !== 'ARCHIVE_MISSING';
      // Bytes that were damaged can look like anything: that they are not those that were stored says more.
      if (isBad && checksum !== null && (await this.hash(signal)) !== checksum) throw otherChecksum(this, error);
      throw error;
    }
  }

  /**
   * SHA-256 of the stored bytes, in hex.
   * @param onBytes called with the number of bytes read so far
   * @throws AppError ARCHIVE_MISSING, STORAGE_…
   */
  async hash(signal: AbortSignal, onBytes: (bytes: number) => void = () => undefined): Promise<string> {
    const hash = createHash('sha256');
    let done = 0;
    try {
      for await (const chunk of await this.bytes()) {
        signal.throwIfAborted();
        hash.update(chunk as Buffer);
        onBytes((done += (chunk as Buffer).length));
      }
    } catch (error) {
      throw fromErrno(error, `read ${this.name}`, 'STORAGE_UNAVAILABLE', 'ARCHIVE_MISSING') ?? error;
    }
    return hash.digest('hex');
  }

  /** What is hashed are the stored bytes: of a sealed archive others than the pass sees. */
  private async hashing(
    hash: Hash,
    signal: AbortSignal,
    pass: (onBytes: (chunk: Buffer) => void) => Promise<void>,
  ): Promise<void> {
    if (!this.isSealed) return pass((chunk) => hash.update(chunk));
    const { source } = await this.openSeal(signal);
    hash.update(source.preamble);
    source.onSealed = (chunk) => hash.update(chunk);
    try {
      await pass(() => undefined);
    } finally {
      source.onSealed = null;
    }
  }

  private openSeal(signal: AbortSignal): Promise<{ source: UnsealedSource; fileKey: Buffer }> {
    const opening = async () => {
      const header = await readHeader(this.stored, signal);
      const fileKey = await this.unseal(header);
      return { source: await UnsealedSource.open(this.stored, { header, fileKey }, signal), fileKey };
    };
    return (this.unsealed ??= opening().catch((error: unknown) => {
      this.unsealed = null;
      throw error;
    }));
  }

  /** The stored bytes as a source. */
  get stored(): ArchiveSource {
    return { size: this.size, read: (start: number, end: number) => this.bytes({ start, end }) };
  }
}

/** The error for stored bytes that are not those that were stored. @param cause what else shows it */
export function otherChecksum({ name }: StoredArchive, cause?: unknown): AppError {
  const also = cause instanceof AppError ? ` ${cause.message}` : '';
  return new AppError(
    'ARCHIVE_CORRUPT',
    `${name} does not have the SHA-256 that was noted when it was stored.${also}`,
    { cause },
  );
}

/** The object of this name in a storage. @throws AppError ARCHIVE_MISSING, STORAGE_… */
export async function findStored(storage: Storage, name: string, unseal?: Unseal): Promise<StoredArchive> {
  const stored = await storage.stat(name);
  if (stored === null) throw new AppError('ARCHIVE_MISSING', `${storage.locate(name)} is not there.`);
  return new StoredArchive(storage, name, stored.size, unseal);
}

/**
 * The stored bytes of a COMPLETED backup: of the nearest copy that is there as it was stored. Folders of this machine come
 * first, then the order of the config; copies that are known to be damaged come last.
 * @throws AppError BACKUP_NOT_COMPLETED, BACKUP_DELETED; as `openCopy`, of the nearest copy, if none is there
 */
export async function openStored(
  storages: Storages,
  backup: BackupRow,
  { without = [], ...reading }: Reading = {},
): Promise<StoredArchive> {
  assertCompleted(backup);
  const passedOver: AppError[] = [];
  for (const copy of nearestFirst(storages, backup)) {
    if (without.includes(copy.id)) continue;
    try {
      const stored = await openCopy(storages, backup, copy, reading);
      stored.passedOver = passedOver;
      return stored;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      passedOver.push(error);
    }
  }
  throw passedOver[0] ?? new AppError('ARCHIVE_MISSING', `No copy of ${backup.id} is there.`);
}

/**
 * As `openStored`, opened as an archive: a copy that cannot be is passed over too, but a missing key is one for all of them.
 * @throws AppError as `openStored`; ENCRYPTION_KEY_…; ARCHIVE_… of the nearest copy, if none opens
 */
export async function openReadable(
  storages: Storages,
  backup: BackupRow,
  signal: AbortSignal,
  reading: Omit<Reading, 'without'> = {},
): Promise<StoredArchive> {
  const tried: number[] = [];
  const failures: AppError[] = [];
  for (;;) {
    const stored = await openStored(storages, backup, { ...reading, without: tried }).catch((error: unknown) => {
      throw failures[0] ?? error;
    });
    try {
      await stored.archive(signal);
      stored.passedOver = [...failures, ...stored.passedOver];
      return stored;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof AppError) || stored.copy === null || /^(ENCRYPTION_|CHAIN_)/.test(error.code)) {
        throw error;
      }
      failures.push(error);
      tried.push(stored.copy.id);
    }
  }
}

/** The stored bytes of one copy. @throws AppError ARCHIVE_MISSING, STORAGE_…, ARCHIVE_CORRUPT if the size is another */
export async function openCopy(
  storages: Storages,
  backup: BackupRow,
  copy: StoredObjectRow,
  { unseal, parents, alone = false }: Omit<Reading, 'without'> = {},
): Promise<StoredArchive> {
  const stored = await findStored(storages.open(copy.destination), copy.name, unseal);
  if (backup.fileSize !== null) assertSize(stored, backup.fileSize);
  stored.copy = copy;
  if (!alone && (backup.parentArchiveId ?? null) !== null)
    stored.below = (signal) => openParents(storages, backup, parents, signal);
  return stored;
}

/** A backup that another one builds on, opened. */
interface OpenedParent {
  stored: StoredArchive;
  /** Its own archive. @throws AppError CHAIN_BROKEN */
  member(signal: AbortSignal): Promise<ChainMember>;
}

/**
 * An archive that is not stored yet, together with what it builds on.
 * @param id names it in errors
 * @throws AppError CHAIN_BROKEN, ARCHIVE_…, ENCRYPTION_KEY_…, STORAGE_…
 */
export async function openOnParents(
  storages: Storages,
  own: { id: string; archive: Archive },
  parents: Parent[],
  signal: AbortSignal,
): Promise<Archive> {
  const opened = await openParents(storages, own, async () => parents, signal);
  const below = await Promise.all(opened.map((parent) => parent.member(signal)));
  return openChain([...below, { archive: own.archive }], signal);
}

async function openParents(
  storages: Storages,
  { id }: { id: string },
  parents: Parents | undefined,
  signal: AbortSignal,
): Promise<OpenedParent[]> {
  if (parents === undefined) throw new AppError('INTERNAL_ERROR', `Backup ${id} was opened without what it builds on.`);
  const opened: OpenedParent[] = [];
  for (const { row, unseal } of await parents()) {
    const broken = (error: unknown) => Promise.reject(brokenBy(row, id, error));
    const stored = await openReadable(storages, row, signal, { unseal, alone: true }).catch(broken);
    const whole: ChainMember['whole'] = (stop, pass) =>
      stored.whole(row.checksum, stop, (_archive, onBytes) => pass(onBytes)).then(() => undefined, broken);
    opened.push({ stored, member: async (stop) => ({ archive: await stored.piece(stop).catch(broken), whole }) });
  }
  return opened;
}

/** Damage of a parent is not damage of what builds on it. */
function brokenBy(parent: BackupRow, id: string, error: unknown): unknown {
  const isOfParent = error instanceof AppError && /^(ARCHIVE_|BACKUP_)/.test(error.code);
  if (!isOfParent) return error;
  return new AppError('CHAIN_BROKEN', `Backup ${id} builds on ${parent.id}, which cannot be read: ${error.message}`, {
    cause: error,
  });
}

function nearestFirst(storages: Storages, { copies }: BackupRow): StoredObjectRow[] {
  const distance = (copy: StoredObjectRow) =>
    (isGood(copy) ? 0 : 2) + (storages.open(copy.destination).folder() === null ? 1 : 0);
  return copies
    .filter(({ status }) => status === 'COMPLETED')
    .sort((one, other) => distance(one) - distance(other) || one.id - other.id);
}

/** Stored bytes of another size were cut off, or another file lies in their place. @throws AppError ARCHIVE_CORRUPT */
export function assertSize({ location, size }: StoredArchive, noted: number): void {
  if (size === noted) return;
  throw new AppError('ARCHIVE_CORRUPT', `${location} has ${size} bytes, but ${noted} were stored.`, {
    hint: `Put the whole file back at ${location}, or choose another backup and make a new one.`,
  });
}

/** @throws AppError BACKUP_NOT_COMPLETED, BACKUP_DELETED */
export function assertCompleted({ id, status }: BackupRow): void {
  if (status === 'DELETED') throw new AppError('BACKUP_DELETED', `Backup ${id} was deleted.`);
  if (status !== 'COMPLETED') throw new AppError('BACKUP_NOT_COMPLETED', `Backup ${id} is ${status}.`);
}
