import type { CoreEnvironment } from '../environment.js';
import { type Transaction, UniqueConstraintError } from 'sequelize';
import type { BackupMode, BackupRow, BackupType, Origin } from '../../models/index.js';
import { archiveNames, type NameSeries, firstFree } from '../archives/names.js';
import { addCopy } from '../archives/copies.js';
import type { DatabaseEngine, StorageAddress } from '../ports.js';
import type { Keys } from '../keys/keys.js';
import { newId } from '../text/ids.js';

/** The row of a backup that is about to be made. */
export interface NewBackup {
  configId: number | null;
  backupType: BackupType;
  address: StorageAddress;
  engine: DatabaseEngine;
  databaseName: string;
  note: string | null;
  actor: string;
  dueAt?: Date | null;
  attempt?: number;
  /** How the name begins; null: as the installation's do. */
  archivePrefix?: string | null;
  /** The archive's name; by default made of the prefix and the present time. */
  names?: NameSeries;
  applicationId: string | null;
  origin: Origin | null;
  allowDamaged?: boolean;
  mode?: BackupMode;
  /** Of when its data is, where that is not now. */
  createdAt?: Date;
  /** The incremental backup that it is to be the full form of, and that one's place in its chain. */
  consolidates?: string;
  chainArchiveId?: string | null;
  chainPosition?: number;
  /** The keys that the archive is sealed for; none: it is not. */
  keyIds?: number[];
}

/** What making a row needs of the process around it. */
type InsertEnvironment = Pick<CoreEnvironment, 'models' | 'storages' | 'now' | 'prefix'> & { keys: Keys };

/** After so many taken names something else is wrong. */
const MAX_NUMBER = 10_000;

/** Makes the PENDING row of a backup under the first archive name that no other row has. */
export async function insertBackup(
  env: InsertEnvironment,
  { address, archivePrefix, actor, names, keyIds = [], mode = 'FULL', createdAt, ...values }: NewBackup,
  transaction?: Transaction,
): Promise<BackupRow> {
  const now = env.now();
  const storage = env.storages.open(address);
  const nameAt = names ?? archiveNames(archivePrefix ?? env.prefix, now, keyIds.length > 0);
  for (let number = await firstFree(env.models, storage, nameAt, { transaction }); ; number++) {
    const id = newId('backup', now);
    const row = {
      ...values,
      id,
      mode,
      // An archive that comes from elsewhere has an id of its own.
      archiveId: values.backupType === 'UPLOADED' && values.consolidates === undefined ? null : id,
      status: 'PENDING' as const,
      pinned: values.backupType === 'SAFETY',
      fileName: nameAt(number),
      createdBy: actor,
      createdAt: createdAt ?? now,
    };
    try {
      // In a transaction of its own (a savepoint inside another), so that a taken name ends nothing else.
      return await env.models.sequelize.transaction({ transaction: transaction ?? null }, async (inner) => {
        const backup = await env.models.Backup.create(row, { transaction: inner });
        await addCopy(env.models, backup, { storage, address }, { status: 'PENDING' }, inner);
        await env.keys.setForBackup(backup.id, keyIds, inner);
        return backup;
      });
    } catch (error) {
      if (!(error instanceof UniqueConstraintError) || number >= MAX_NUMBER) throw error;
    }
  }
}
