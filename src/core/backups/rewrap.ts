import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { newFileKey, readHeader, sealedHeader } from '../../archive/seal-header.js';
import { AppError, badInput } from '../../errors.js';
import type { BackupRow, EncryptionKeyRow, StoredObjectRow } from '../../models/index.js';
import { firstFree, seriesOf } from '../archives/names.js';
import { findStored, otherChecksum, type StoredArchive } from '../archives/stored-archive.js';
import { sealHeaderOf, verifyBytes } from '../archives/verify.js';
import type { Storage } from '../ports.js';
import type { BackupsEnvironment } from './run-backup.js';

/** An archive under its new header. */
interface Rewrapped {
  fileName: string;
  fileSize: number;
  checksum: string;
  sealHeader: string;
}

/**
 * Writes an encrypted archive anew for other keys: a new header in front of the same blocks, which are neither opened nor
 * compressed again. The old object goes only once the new one is stored, read back and on record; a crash between leaves one
 * of them as an archive without a record. Called while the backup is held.
 * @param row COMPLETED
 * @param stored opens with a key that is given or held here
 * @throws AppError BAD_USER_INPUT, ENCRYPTION_KEY_…, ARCHIVE_…, STORAGE_…
 */
export async function rewrap(
  env: BackupsEnvironment,
  row: BackupRow,
  stored: StoredArchive,
  keys: EncryptionKeyRow[],
  signal: AbortSignal,
): Promise<void> {
  if (!stored.isSealed) {
    throw badInput('id', `${row.id} is not encrypted.`, 'Choose encryption keys for its config and make a new backup.');
  }
  const fileKey = (await stored.fileKey(signal)) ?? newFileKey();
  const header = await sealedHeader(fileKey, await env.keys.sealedFor(keys));
  const copies = row.copies.filter(({ status }) => status === 'COMPLETED');
  const storages = copies.map(({ destination }) => env.storages.open(destination));
  const fileName = await freeName(env, row, storages);
  const sealHeader = sealHeaderOf(header);
  const written: Storage[] = [];
  try {
    let archive: Rewrapped | null = null;
    for (const storage of storages) {
      written.push(storage);
      archive = { fileName, sealHeader, ...(await write(row, stored, { storage, fileName, header, signal })) };
    }
    if (archive === null) throw new AppError('ARCHIVE_MISSING', `No copy of ${row.id} is there.`);
    await note(env, row, { archive, copies, storages, keys });
  } catch (error) {
    for (const storage of written) {
      await storage.remove(fileName).catch((cause: unknown) => {
        env.log.error({ err: cause, file: storage.locate(fileName) }, 'an archive that was not finished is left');
      });
    }
    throw error;
  }
}

/** A name of the same series that is free wherever the backup has a copy. */
async function freeName({ models }: BackupsEnvironment, { fileName }: BackupRow, storages: Storage[]): Promise<string> {
  const nameAt = seriesOf(fileName);
  let number = 2;
  for (const storage of storages) number = await firstFree(models, storage, nameAt, { from: number, stored: true });
  return nameAt(number);
}

/** Stores the archive under its new header, compares what is read with what was noted, and reads the new object back. */
async function write(
  row: BackupRow,
  stored: StoredArchive,
  { storage, fileName, header, signal }: { storage: Storage; fileName: string; header: Buffer; signal: AbortSignal },
): Promise<{ fileSize: number; checksum: string }> {
  const before = await readHeader(stored.stored, signal);
  const [read, made] = [createHash('sha256').update(before), createHash('sha256').update(header)];
  const bytes = async function* () {
    yield header;
    for await (const chunk of await stored.bytes({ start: before.length })) {
      read.update(chunk as Buffer);
      made.update(chunk as Buffer);
      yield chunk as Buffer;
    }
    // Before the new object becomes visible: a damaged archive must not get a checksum that fits.
    if (row.checksum !== null && read.digest('hex') !== row.checksum) throw otherChecksum(stored);
  };
  const size = stored.size - before.length + header.length;
  const body = Readable.from(bytes(), { objectMode: false });
  const object = await storage.put(fileName, body, { owner: row.id, signal, size });
  const checksum = made.digest('hex');
  await verifyBytes(await findStored(storage, fileName), checksum, { signal, onProgress: () => undefined });
  return { fileSize: object.size, checksum };
}

/** Puts the new object in the place of the old one, in all records at once, then removes the old one. */
async function note(
  env: BackupsEnvironment,
  row: BackupRow,
  {
    archive,
    copies,
    storages,
    keys,
  }: { archive: Rewrapped; copies: StoredObjectRow[]; storages: Storage[]; keys: EncryptionKeyRow[] },
): Promise<void> {
  const { fileName, fileSize: size } = archive;
  const old = copies.map(({ name }) => name);
  await env.models.sequelize.transaction(async (transaction) => {
    await row.update({ ...archive }, { transaction });
    for (const [index, copy] of copies.entries()) {
      const location = storages[index]?.locate(fileName) ?? copy.location;
      await copy.update({ name: fileName, location, size }, { transaction });
    }
    await env.keys.setForBackup(
      row.id,
      keys.map(({ id }) => id),
      transaction,
    );
  });
  for (const [index, storage] of storages.entries()) {
    const name = old[index] ?? '';
    await storage.remove(name).catch(async (error: unknown) => {
      env.log.error({ err: error, file: storage.locate(name) }, 'an archive for the former keys could not be removed');
      const left = `${storage.locate(name)}, which opens with the former keys, could not be removed.`;
      await row.update({ warnings: [...row.warnings, left] });
    });
  }
}
