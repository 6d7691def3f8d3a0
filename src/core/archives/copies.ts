import { type Transaction, UniqueConstraintError } from 'sequelize';
import type { AppError } from '../../errors.js';
import { type BackupRow, type DestinationRow, isGood, type Models, type StoredObjectRow } from '../../models/index.js';
import type { Storage, StorageAddress, Storages } from '../ports.js';
import { seriesOf } from './names.js';

/** The destination at an address; its row is made where there is none, and is there again where it was deleted. */
export async function destinationAt(
  models: Models,
  { storageType, storagePath }: StorageAddress,
  transaction: Transaction,
): Promise<DestinationRow> {
  const [row] = await models.Destination.findOrCreate({ where: { storageType, storagePath }, transaction });
  return (row.deletedAt ?? null) === null ? row : row.update({ deletedAt: null }, { transaction });
}

/** What of a copy follows its backup. */
type CopyValues = Partial<
  Pick<
    StoredObjectRow,
    'name' | 'location' | 'status' | 'size' | 'verifiedAt' | 'errorCode' | 'errorMessage' | 'errorHint'
  >
>;

/**
 * Makes the row of a backup's first copy, under the name that the backup has.
 * @throws UniqueConstraintError if a copy that is not given up lies at the same location
 */
export async function addCopy(
  models: Models,
  backup: BackupRow,
  { storage, address }: { storage: Storage; address: StorageAddress },
  values: CopyValues & Pick<StoredObjectRow, 'status'>,
  transaction: Transaction,
): Promise<void> {
  const destination = await destinationAt(models, address, transaction);
  const { id: backupId, fileName: name } = backup;
  const row = { ...values, backupId, destinationId: destination.id, name, location: storage.locate(name) };
  const copy = await models.StoredObject.create(row, { transaction });
  copy.destination = destination;
  backup.copies = [copy];
}

/** Writes values to all copies of a backup. */
export async function updateCopies(
  models: Models,
  backupId: string,
  values: CopyValues,
  transaction?: Transaction,
): Promise<void> {
  await models.StoredObject.update(values, { where: { backupId }, ...(transaction ? { transaction } : {}) });
}

/** The columns of a copy that waits to be stored. */
const waiting = (now: Date) => ({
  status: 'PENDING' as const,
  attempts: 0,
  nextTryAt: now,
  gaveUpAt: null,
  errorCode: null,
  errorMessage: null,
  errorHint: null,
});

/** After so many taken names something else is wrong. */
const MAX_NUMBER = 1_000;

/** Makes the row of a further copy of a backup, under the first name that no other copy has there. */
export async function addWaitingCopy(
  { models, storages, now }: { models: Models; storages: Storages; now: () => Date },
  { id: backupId, fileName }: BackupRow,
  destination: DestinationRow,
  transaction: Transaction | null = null,
): Promise<StoredObjectRow> {
  const storage = storages.open(destination);
  const nameAt = seriesOf(fileName);
  for (let number = 1; ; number++) {
    const name = number === 1 ? fileName : nameAt(number);
    const row = { ...waiting(now()), backupId, destinationId: destination.id, name, location: storage.locate(name) };
    try {
      // In a transaction of its own (a savepoint inside another), so that a taken name ends nothing else.
      return await models.sequelize.transaction({ transaction }, (inner) =>
        models.StoredObject.create(row, { transaction: inner }),
      );
    } catch (error) {
      if (!(error instanceof UniqueConstraintError) || number >= MAX_NUMBER) throw error;
    }
  }
}

/** Lets a copy be stored anew, as if it had not been tried yet. */
export async function tryAgain(copy: StoredObjectRow, now: Date): Promise<void> {
  await copy.update(waiting(now));
}

/**
 * Notes that a copy is damaged or gone. While another one is good it is FAILED, and is repaired from that one. The last one
 * stays as it is, and its backup is not verified any more. That it is too new for this node says nothing about it.
 */
export async function noteDamaged(
  { models, now, transaction }: { models: Models; now: () => Date; transaction?: Transaction },
  backup: BackupRow,
  copy: StoredObjectRow,
  error: AppError,
): Promise<void> {
  if (error.code === 'ARCHIVE_TOO_NEW') return;
  const options = transaction === undefined ? {} : { transaction };
  const { code: errorCode, message: errorMessage, hint: errorHint } = error;
  const found = { verifiedAt: null, errorCode, errorMessage, errorHint };
  const others = await models.StoredObject.findAll({ where: { backupId: backup.id }, ...options });
  if (others.some((other) => other.id !== copy.id && isGood(other))) {
    await copy.update({ ...found, status: 'FAILED', attempts: 0, nextTryAt: now(), gaveUpAt: null }, options);
    return;
  }
  await copy.update(found, options);
  await backup.update({ ...found, verificationLevel: null }, options);
}

/** What the admin should know of the copies of a backup that is stored. */
export function copyWarnings({ status, copies }: BackupRow): string[] {
  if (status !== 'COMPLETED') return [];
  return copies
    .filter((copy) => copy.status === 'FAILED')
    .map(({ location, errorMessage, gaveUpAt }) => {
      const next = (gaveUpAt ?? null) === null ? 'It is tried again.' : 'It was given up: copy it again.';
      return `The copy ${location} failed: ${errorMessage ?? ''} ${next}`;
    });
}
