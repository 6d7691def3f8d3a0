import type { Transaction } from 'sequelize';
import type { BackupRow, DestinationRow, Models, StoredObjectRow } from '../../models/index.js';
import type { Storage, StorageAddress } from '../ports.js';

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
