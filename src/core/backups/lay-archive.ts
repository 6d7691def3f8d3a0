import { createHash } from 'node:crypto';
import { Transform } from 'node:stream';
import { UniqueConstraintError } from 'sequelize';
import { isSealedName } from '../../archive/format.js';
import type { ArchiveMetadata } from '../../archive/metadata.js';
import { newFileKey, sealedHeader } from '../../archive/seal-header.js';
import { Sealing, type SealKey } from '../../archive/seal.js';
import type { WrittenArchive } from '../../archive/write.js';
import { AppError } from '../../errors.js';
import type { BackupRow, EncryptionKeyRow } from '../../models/index.js';
import { updateCopies } from '../archives/copies.js';
import { firstFree, seriesOf } from '../archives/names.js';
import { assertSize, findStored } from '../archives/stored-archive.js';
import { sealHeaderOf, verifyWritten } from '../archives/verify.js';
import { trailHead } from '../audit-trail.js';
import type { Keys } from '../keys/keys.js';
import type { Storage } from '../ports.js';
import type { Run, RunEnvironment } from '../runs/run.js';

/** What laying an archive needs of the process around it. */
type LayEnvironment = RunEnvironment & { keys: Keys };

/** What a run seals its archive with, and for whom. Forgotten when the run ends. */
export interface Seal extends SealKey {
  keys: EncryptionKeyRow[];
}

/** Null for an archive that is not sealed. The header is noted before anything is stored: see `isOwnObject`. */
export async function sealFor(env: LayEnvironment, run: Run, row: BackupRow): Promise<Seal | null> {
  if (!isSealedName(row.fileName)) return null;
  const keys = await env.keys.ofBackup(row.id);
  if (keys.length === 0) {
    throw new AppError('ENCRYPTION_KEY_MISSING', 'The keys that this backup was to be encrypted for were deleted.', {
      hint: 'Choose encryption keys for the config, then start the backup again.',
    });
  }
  const fileKey = newFileKey();
  const header = await sealedHeader(fileKey, await env.keys.sealedFor(keys));
  const noted = await run.update({ sealHeader: sealHeaderOf(header) });
  if (!noted) throw new AppError('INTERRUPTED', 'The run was lost.');
  return { header, fileKey, keys };
}

/** An archive that lies in its storage. */
export interface LaidArchive {
  /** Bytes. */
  size: number;
  /** SHA-256 of the stored bytes, hex. */
  checksum: string;
  /** `WrittenArchive.sums`. */
  made: readonly number[];
  metadata: ArchiveMetadata;
  /** SHA-256 of the metadata entry, hex. */
  metadataSha256: string;
}

/**
 * Streams an archive into its storage, under the name of its row or the next free one like it.
 * @param laying `size`: bytes that it can come to at most. `make`: begins to write it, once for each name that is tried.
 * `onStored`: called with the name under which it lies
 * @throws what the writing throws; AppError STORAGE_…, NAME_TAKEN, INTERRUPTED
 */
export async function layArchive(
  env: LayEnvironment,
  run: Run,
  row: BackupRow,
  {
    storage,
    seal,
    size,
    make,
    onStored,
  }: {
    storage: Storage;
    seal: Seal | null;
    size: number;
    make: () => WrittenArchive;
    onStored: (name: string) => void;
  },
): Promise<LaidArchive> {
  for (;;) {
    const hash = createHash('sha256');
    const archive = make();
    try {
      const sealing = seal === null ? [] : [new Sealing(seal)];
      const body = [...sealing, hashing(hash)].reduce((from, into) => from.pipe(into), archive.stream);
      archive.stream.on('error', (error) => body.destroy(error));
      const object = await storage.put(row.fileName, body, { owner: row.id, signal: run.signal, size });
      onStored(row.fileName);
      return {
        size: object.size,
        checksum: hash.digest('hex'),
        made: archive.sums,
        metadata: await archive.done,
        metadataSha256: archive.metadataSha256(),
      };
    } catch (error) {
      archive.stream.destroy();
      if (!(error instanceof AppError) || error.code !== 'NAME_TAKEN') throw error;
      await takeNextName(env, run, row, storage);
    }
  }
}

/** Reads back what `layArchive` has stored. @throws AppError ARCHIVE_…, STORAGE_…; the reason of the run's signal */
export async function verifyLaid(
  env: LayEnvironment,
  run: Run,
  row: BackupRow,
  storage: Storage,
  { size, checksum, made, seal }: LaidArchive & { seal: Seal | null },
): Promise<void> {
  const stored = await findStored(storage, row.fileName, (header) => ownFileKey(env, seal, header));
  assertSize(stored, size);
  await verifyWritten(stored, { checksum, made }, await run.phase('verify'));
  run.signal.throwIfAborted();
}

/**
 * The file key of the archive that this run has sealed. A key of which the secret is held here must open the header, too: of
 * the others, only the people who have them can find out.
 */
async function ownFileKey(env: LayEnvironment, seal: Seal | null, header: Buffer): Promise<Buffer> {
  const opens = seal?.header.equals(header) === true && (await env.keys.opensHere(header, seal.keys, seal.fileKey));
  if (seal === null || opens === false) {
    throw new AppError('ARCHIVE_CORRUPT', 'The header of the stored archive is not the one that was written.');
  }
  await env.keys.used(seal.keys.map(({ id }) => id));
  return seal.fileKey;
}

/** Archive names are reserved among the rows; a foreign file may still have one. */
async function takeNextName(env: LayEnvironment, run: Run, row: BackupRow, storage: Storage): Promise<void> {
  const nameAt = seriesOf(row.fileName);
  for (let number = 2; number < 1000; number++) {
    number = await firstFree(env.models, storage, nameAt, { from: number, stored: true });
    const fileName = nameAt(number);
    try {
      await updateCopies(env.models, row.id, { name: fileName, location: storage.locate(fileName) });
      if (!(await run.update({ fileName }))) throw new AppError('INTERRUPTED', 'The run was lost.');
      await row.reload();
      return;
    } catch (error) {
      if (!(error instanceof UniqueConstraintError)) throw error;
    }
  }
  throw new AppError('NAME_TAKEN', `No free name like ${row.fileName} in ${storage.place}.`);
}

/** What an archive can come to where nothing in it compresses and media grow a little: a storage sizes its parts by it. */
export function mostBytes(content: number, files: number): number {
  return Math.ceil(content * 1.05) + files * 2_048 + (1 << 20);
}

/** What the archive will know of the audit trail, so that a trail that is written anew shows. */
export async function auditHead({ models }: Pick<LayEnvironment, 'models'>): Promise<Pick<ArchiveMetadata, 'audit'>> {
  const head = await trailHead(models);
  return head === null ? {} : { audit: head };
}

/** For whom the archive is sealed, as far as anyone may know who has opened it. */
export function statedKeys({ keys }: Seal): NonNullable<ArchiveMetadata['encryption']> {
  return {
    recipients: keys.flatMap(({ recipient }) => recipient ?? []),
    passphrase: keys.some(({ recipient }) => recipient === null),
  };
}

function hashing(hash: ReturnType<typeof createHash>): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      hash.update(chunk);
      callback(null, chunk);
    },
  });
}
