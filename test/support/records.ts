import { QueryTypes } from 'sequelize';
import type { BackupRow, Models } from '../../src/models/index.js';

/** A backup's columns together with where its archive lies. */
export type BackupValues = Parameters<typeof BackupRow.create>[0] & {
  storageType: 'LOCAL' | 'SYSTEM';
  storagePath: string;
  filePath: string;
};

/** Writes backups as runs leave them, each with its one copy. */
export async function addBackups(models: Models, rows: BackupValues[]): Promise<void> {
  await models.Backup.bulkCreate(rows as never[]);
  const places = new Map<string, number>();
  for (const { storageType, storagePath } of rows) {
    const key = `${storageType} ${storagePath}`;
    if (places.has(key)) continue;
    const [place] = await models.Destination.findOrCreate({ where: { storageType, storagePath } });
    places.set(key, place.id);
  }
  await models.StoredObject.bulkCreate(
    rows.map((row) => ({
      backupId: String(row.id),
      destinationId: places.get(`${row.storageType} ${row.storagePath}`) ?? 0,
      name: String(row.fileName),
      location: row.filePath,
      status: row.status as 'COMPLETED',
      size: (row.fileSize ?? null) as number | null,
      verifiedAt: (row.verifiedAt ?? null) as Date | null,
    })),
  );
}

/** Gives backups that were inserted by SQL the copies that they lack: all in one folder. */
export async function addCopies(models: Pick<Models, 'sequelize'>, folder: string): Promise<void> {
  const { sequelize } = models;
  const replacements = { folder };
  await sequelize.query(
    `INSERT INTO destinations ("storageType", "storagePath") SELECT 'LOCAL', :folder
     WHERE NOT EXISTS (SELECT 1 FROM destinations WHERE "storageType" = 'LOCAL' AND "storagePath" = :folder)`,
    { replacements, type: QueryTypes.INSERT },
  );
  await sequelize.query(
    `INSERT INTO stored_objects ("backupId", "destinationId", name, location, status, size, "verifiedAt")
     SELECT b.id, d.id, b."fileName", :folder || '/' || b."fileName", b.status, b."fileSize", b."verifiedAt"
     FROM backups b JOIN destinations d ON d."storageType" = 'LOCAL' AND d."storagePath" = :folder
     WHERE b.id NOT IN (SELECT "backupId" FROM stored_objects)`,
    { replacements, type: QueryTypes.INSERT },
  );
}
