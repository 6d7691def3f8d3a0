import { DataTypes, literal } from 'sequelize';
import type { Migration } from './migration.js';

/**
 * Where archives lie is a row of its own, one for each copy, and the place one that copies share. Moves what the backups
 * noted themselves.
 */
export const storedObjects: Migration = {
  name: '0011-stored-objects',
  async up({ sequelize, queryInterface, transaction }) {
    const run = (statement: string) => sequelize.query(statement, { transaction });
    const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
    const text = { type: DataTypes.TEXT, allowNull: false };
    const kind = { type: DataTypes.STRING(32), allowNull: false };
    const date = { type: DataTypes.DATE, allowNull: true };
    const destinations = { id, storageType: kind, storagePath: text };
    await queryInterface.createTable('destinations', destinations, { transaction });
    await queryInterface.createTable(
      'stored_objects',
      {
        id,
        backupId: { type: DataTypes.STRING(64), allowNull: false },
        destinationId: { type: DataTypes.INTEGER, allowNull: false },
        name: text,
        location: text,
        status: kind,
        size: { type: DataTypes.BIGINT, allowNull: true },
        verifiedAt: date,
        errorCode: { type: DataTypes.STRING(64), allowNull: true },
        errorMessage: { type: DataTypes.TEXT, allowNull: true },
        errorHint: { type: DataTypes.TEXT, allowNull: true },
      },
      { transaction },
    );
    await run(`INSERT INTO destinations ("storageType", "storagePath")
      SELECT DISTINCT "storageType", "storagePath" FROM backups ORDER BY 1, 2`);
    await run(`INSERT INTO stored_objects ("backupId", "destinationId", name, location, status, size, "verifiedAt",
        "errorCode", "errorMessage", "errorHint")
      SELECT b.id, d.id, b."fileName", b."filePath", b.status, b."fileSize", b."verifiedAt",
        b."errorCode", b."errorMessage", b."errorHint"
      FROM backups b JOIN destinations d ON d."storageType" = b."storageType" AND d."storagePath" = b."storagePath"`);
    await run('DROP INDEX backups_file_path_reserved');
    for (const column of ['filePath', 'storageType', 'storagePath']) {
      await run(`ALTER TABLE backups DROP COLUMN "${column}"`);
    }
    // No job exists any more that only looks for what is due.
    await run(`DELETE FROM jobs WHERE name = 'daily-backup'`);
    const index = (table: string, fields: string[], options = {}) =>
      queryInterface.addIndex(table, fields, { ...options, transaction });
    await index('destinations', ['storageType', 'storagePath'], { unique: true });
    await index('stored_objects', ['backupId']);
    await index('stored_objects', ['destinationId', 'status']);
    await index('stored_objects', ['location'], {
      name: 'stored_objects_location_reserved',
      unique: true,
      where: literal(`"status" IN ('PENDING', 'RUNNING', 'COMPLETED')`),
    });
  },
};
