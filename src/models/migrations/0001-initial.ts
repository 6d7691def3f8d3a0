import { DataTypes, literal, type ModelAttributes } from 'sequelize';
import type { Migration } from './migration.js';

const id = { type: DataTypes.STRING(64), primaryKey: true };
const serial = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
const word = { type: DataTypes.STRING(32), allowNull: false };
const text = { type: DataTypes.TEXT, allowNull: false };
const flag = { type: DataTypes.BOOLEAN, allowNull: false, defaultValue: false };
const at = { type: DataTypes.DATE, allowNull: false };
const optional = (type: unknown) => ({ type: type as typeof DataTypes.TEXT, allowNull: true });

const configReference = {
  type: DataTypes.INTEGER,
  allowNull: true,
  references: { model: 'backup_configs', key: 'id' },
  onDelete: 'SET NULL',
};

/** The columns that every run has, a backup as well as a restore. */
const run: ModelAttributes = {
  status: word,
  progress: { type: DataTypes.DOUBLE, allowNull: false, defaultValue: 0 },
  phase: optional(DataTypes.STRING(32)),
  phases: { type: DataTypes.JSON, allowNull: false, defaultValue: [] },
  errorCode: optional(DataTypes.STRING(64)),
  errorMessage: optional(DataTypes.TEXT),
  errorHint: optional(DataTypes.TEXT),
  warnings: { type: DataTypes.JSON, allowNull: false, defaultValue: [] },
  cancelRequested: flag,
  leaseHolder: optional(DataTypes.STRING(100)),
  createdBy: optional(DataTypes.STRING(320)),
  createdAt: at,
  startedAt: optional(DataTypes.DATE),
  completedAt: optional(DataTypes.DATE),
};

export const initial: Migration = {
  name: '0001-initial',
  async up({ queryInterface, transaction }) {
    await queryInterface.createTable(
      'users',
      {
        id: serial,
        email: { type: DataTypes.STRING(320), allowNull: false, unique: true },
        passwordHash: text,
        role: word,
        tokenVersion: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 1 },
        createdAt: at,
      },
      { transaction },
    );
    await queryInterface.createTable(
      'backup_configs',
      {
        id: serial,
        name: { type: DataTypes.STRING(200), allowNull: false, unique: true },
        engine: word,
        databaseUrl: text,
        databaseKey: text,
        mediaPaths: { type: DataTypes.JSON, allowNull: false },
        storageType: word,
        storagePath: text,
        autoBackupEnabled: flag,
        schedule: { type: DataTypes.STRING(200), allowNull: false },
        timezone: { type: DataTypes.STRING(64), allowNull: false },
        backupRetentionDays: { type: DataTypes.INTEGER, allowNull: false },
        maxBackupFiles: { type: DataTypes.INTEGER, allowNull: false },
        restoreLockTimeout: { type: DataTypes.INTEGER, allowNull: false },
        safetyRetentionDays: { type: DataTypes.INTEGER, allowNull: false },
        createdAt: at,
        updatedAt: at,
      },
      { transaction },
    );
    await queryInterface.createTable(
      'backups',
      {
        id,
        configId: configReference,
        backupType: word,
        mode: word,
        ...run,
        engine: word,
        databaseName: text,
        storageType: word,
        storagePath: text,
        fileName: text,
        filePath: text,
        fileSize: optional(DataTypes.BIGINT),
        checksum: optional(DataTypes.STRING(64)),
        note: optional(DataTypes.TEXT),
        pinned: flag,
        verifiedAt: optional(DataTypes.DATE),
        verificationLevel: optional(DataTypes.STRING(16)),
        tables: { type: DataTypes.JSON, allowNull: false, defaultValue: [] },
        mediaFileCount: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
        deletedAt: optional(DataTypes.DATE),
        deletedBy: optional(DataTypes.STRING(320)),
        deleteReason: optional(DataTypes.TEXT),
      },
      { transaction },
    );
    await queryInterface.createTable(
      'restores',
      {
        id,
        backupId: { ...id, primaryKey: false, allowNull: false, references: { model: 'backups', key: 'id' } },
        configId: configReference,
        ...run,
        safetyBackupId: {
          ...optional(DataTypes.STRING(64)),
          references: { model: 'backups', key: 'id' },
        },
        engine: word,
        targetUrl: text,
        targetKey: text,
        restoreDatabase: flag,
        restoreMedia: flag,
        tables: optional(DataTypes.JSON),
        media: optional(DataTypes.JSON),
        mediaMode: word,
        mediaTargets: { type: DataTypes.JSON, allowNull: false, defaultValue: [] },
        lockTimeout: { type: DataTypes.INTEGER, allowNull: false },
        undoOf: {
          ...optional(DataTypes.STRING(64)),
          references: { model: 'restores', key: 'id' },
        },
        changes: { type: DataTypes.JSON, allowNull: false, defaultValue: {} },
      },
      { transaction },
    );
    await queryInterface.createTable(
      'audit_events',
      {
        id: serial,
        at,
        actor: { type: DataTypes.STRING(320), allowNull: false },
        action: { type: DataTypes.STRING(64), allowNull: false },
        subject: optional(DataTypes.STRING(100)),
        details: { type: DataTypes.JSON, allowNull: false, defaultValue: {} },
      },
      { transaction },
    );
    await queryInterface.createTable(
      'leases',
      {
        name: { type: DataTypes.STRING(500), primaryKey: true },
        holder: { type: DataTypes.STRING(100), allowNull: false },
        expiresAt: { type: DataTypes.BIGINT, allowNull: false },
      },
      { transaction },
    );
    const index = (table: string, fields: string[], options = {}) =>
      queryInterface.addIndex(table, fields, { ...options, transaction });
    await index('backups', ['createdAt', 'id']);
    await index('backups', ['fileSize', 'id']);
    await index('backups', ['configId', 'createdAt', 'id']);
    await index('backups', ['status', 'createdAt', 'id']);
    await index('backups', ['filePath'], {
      name: 'backups_file_path_reserved',
      unique: true,
      where: literal(`"status" IN ('PENDING', 'RUNNING', 'COMPLETED')`),
    });
    await index('restores', ['createdAt', 'id']);
    await index('restores', ['status', 'createdAt', 'id']);
    await index('restores', ['backupId']);
    await index('audit_events', ['at', 'id']);
    await index('leases', ['holder']);
  },
};
