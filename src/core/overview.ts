import { hostname } from 'node:os';
import { Op, QueryTypes } from 'sequelize';
import { AppError } from '../errors.js';
import type { BackupConfigRow, BackupRow, Models } from '../models/index.js';
import { humanSize } from './names.js';
import type { StorageAddress, Storages } from './ports.js';

/** The lease that a process which runs jobs holds while it lives. */
export const nodeLease = () => `node:${hostname()}:${process.pid}`;

/** What the overview needs of the process around it. */
export interface OverviewEnvironment {
  models: Models;
  storages: Storages;
  now: () => Date;
}

/** How an installation is doing, in one word. */
export type Health = 'OK' | 'WARNING' | 'CRITICAL';

/** A reason for a word other than OK. */
export interface HealthReason {
  level: 'WARNING' | 'CRITICAL';
  /** One of the codes of the README's troubleshooting table. */
  code: HealthCode;
  message: string;
  hint: string;
  configId: number | null;
}

/** Every reason that `status` may give; the README's troubleshooting table has a row for each. */
export const HEALTH_CODES = [
  'NO_CONFIG',
  'NO_WORKER',
  'NEVER_BACKED_UP',
  'OVERDUE',
  'LAST_BACKUP_FAILED',
  'LAST_BACKUP_UNPROVEN',
  'AUTO_BACKUP_OFF',
  'STORAGE_LOW',
  'STORAGE_UNAVAILABLE',
  'RUN_STUCK',
] as const;
export type HealthCode = (typeof HEALTH_CODES)[number];

/** One config's state. */
export interface ConfigHealth {
  config: BackupConfigRow;
  /** When the newest completed backup was made, proven or not. */
  lastSuccessAt: Date | null;
  /** When the newest backup was made that is proven now. */
  lastProvenAt: Date | null;
  /** The newest completed backup, if it is not proven now. */
  unproven: BackupRow | null;
  lastFailureAt: Date | null;
  lastErrorCode: string | null;
  overdue: boolean;
}

/** One place that archives lie in. */
export interface StorageHealth extends StorageAddress {
  /** Bytes of the archives that lie there. */
  used: number;
  count: number;
  /** Bytes; null where it cannot be told. */
  free: number | null;
  total: number | null;
  error: AppError | null;
}

/** The answer of `status`. */
export interface SystemHealth {
  health: Health;
  reasons: HealthReason[];
  nodes: string[];
  pending: number;
  running: number;
  configs: ConfigHealth[];
  storages: StorageHealth[];
}

/** How late an automatic backup may be before it counts as overdue, in milliseconds. */
const GRACE = 2 * 3_600_000;
/** A waiting run is stuck after this time, in milliseconds. */
const STUCK = 30 * 60_000;

/** Tells how the installation is doing: a few grouped queries, whatever the number of configs and backups. */
export class Overview {
  constructor(private readonly env: OverviewEnvironment) {}

  async read(): Promise<SystemHealth> {
    const [configs, nodes, storages, pending, running, stuck] = await Promise.all([
      this.configs(),
      this.nodes(),
      this.storages(),
      this.countRuns('PENDING'),
      this.countRuns('RUNNING'),
      this.countStuck(),
    ]);
    const reasons = [
      ...installationReasons(configs, nodes, stuck),
      ...configs.flatMap((config) => configReasons(config)),
      ...storages.flatMap((storage) => storageReasons(storage)),
    ];
    const worst = reasons.some(({ level }) => level === 'CRITICAL') ? 'CRITICAL' : 'WARNING';
    return { health: reasons.length === 0 ? 'OK' : worst, reasons, nodes, pending, running, configs, storages };
  }

  private async configs(): Promise<ConfigHealth[]> {
    const [rows, completed, failed] = await Promise.all([
      this.env.models.BackupConfig.findAll({ order: [['id', 'ASC']] }),
      this.latest('COMPLETED'),
      this.latest('FAILED'),
    ]);
    const ids = rows.map(({ id }) => id);
    const isFailing = (id: number) => timeOf(failed.get(id)?.at) > timeOf(completed.get(id)?.at);
    const isUnproven = (id: number) => timeOf(completed.get(id)?.at) > timeOf(completed.get(id)?.provenAt);
    const [failures, unproven] = await Promise.all([
      this.backupsAt('FAILED', ids.filter(isFailing), failed),
      this.backupsAt('COMPLETED', ids.filter(isUnproven), completed),
    ]);
    const now = this.env.now().getTime();
    return rows.map((config) => ({
      config,
      lastSuccessAt: completed.get(config.id)?.at ?? null,
      lastProvenAt: completed.get(config.id)?.provenAt ?? null,
      unproven: unproven.get(config.id) ?? null,
      lastFailureAt: failed.get(config.id)?.at ?? null,
      lastErrorCode: isFailing(config.id) ? (failures.get(config.id)?.errorCode ?? 'INTERNAL_ERROR') : null,
      overdue: config.nextRunAt !== null && config.nextRunAt.getTime() + GRACE < now,
    }));
  }

  /** When the newest backup of each config in this state was made, and the newest of those that are proven. */
  private async latest(status: 'COMPLETED' | 'FAILED'): Promise<Map<number, Latest>> {
    const rows = await this.env.models.sequelize.query<{
      configId: number;
      at: string | Date;
      provenAt: string | Date | null;
    }>(
      `SELECT "configId", max("createdAt") AS at,
         max(CASE WHEN "verifiedAt" IS NOT NULL THEN "createdAt" END) AS "provenAt" FROM backups
       WHERE "configId" IS NOT NULL AND status = :status AND "backupType" IN ('MANUAL', 'AUTO') GROUP BY "configId"`,
      { type: QueryTypes.SELECT, replacements: { status } },
    );
    return new Map(
      rows.map(({ configId, at, provenAt }) => [
        configId,
        { at: new Date(at), provenAt: provenAt === null ? null : new Date(provenAt) },
      ]),
    );
  }

  /** The newest backup in this state of each of these configs. */
  private async backupsAt(
    status: 'COMPLETED' | 'FAILED',
    ids: number[],
    latest: Map<number, Latest>,
  ): Promise<Map<number, BackupRow>> {
    if (ids.length === 0) return new Map();
    const rows = await this.env.models.Backup.findAll({
      attributes: ['id', 'configId', 'createdAt', 'errorCode', 'errorMessage'],
      where: {
        configId: ids,
        status,
        backupType: ['MANUAL', 'AUTO'],
        createdAt: { [Op.in]: ids.map((id) => latest.get(id)?.at ?? new Date(0)) },
      },
    });
    const newest = rows.filter(
      ({ configId, createdAt }) => timeOf(latest.get(configId ?? 0)?.at) === timeOf(createdAt),
    );
    return new Map(newest.map((row) => [row.configId ?? 0, row]));
  }

  private async nodes(): Promise<string[]> {
    return (await this.env.models.leases.liveNames('node:')).map((name) => name.slice('node:'.length)).sort();
  }

  private async storages(): Promise<StorageHealth[]> {
    const { sequelize } = this.env.models;
    const groups = await sequelize.query<StorageAddress & { used: number | string; count: number | string }>(
      `SELECT "storageType", "storagePath", sum("fileSize") AS used, count(*) AS count FROM backups
       WHERE status = 'COMPLETED' GROUP BY "storageType", "storagePath" ORDER BY 1, 2`,
      { type: QueryTypes.SELECT },
    );
    return Promise.all(groups.map(({ used, count, ...address }) => this.space(address, Number(used), Number(count))));
  }

  private async space(address: StorageAddress, used: number, count: number): Promise<StorageHealth> {
    try {
      const space = await this.env.storages.open(address).space();
      return { ...address, used, count, free: space?.free ?? null, total: space?.total ?? null, error: null };
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      return { ...address, used, count, free: null, total: null, error };
    }
  }

  private async countRuns(status: 'PENDING' | 'RUNNING'): Promise<number> {
    const { Backup, Restore } = this.env.models;
    return (await Backup.count({ where: { status } })) + (await Restore.count({ where: { status } }));
  }

  private async countStuck(): Promise<number> {
    const where = { status: 'PENDING', createdAt: { [Op.lt]: new Date(this.env.now().getTime() - STUCK) } };
    return (await this.env.models.Backup.count({ where })) + (await this.env.models.Restore.count({ where }));
  }
}

/** Of the backups of one config that are in one state. */
interface Latest {
  at: Date;
  provenAt: Date | null;
}

/** In milliseconds; 0 for a moment that never was. */
const timeOf = (at: Date | null | undefined) => at?.getTime() ?? 0;

function installationReasons(configs: ConfigHealth[], nodes: string[], stuck: number): HealthReason[] {
  const reasons: HealthReason[] = [];
  const add = (level: 'WARNING' | 'CRITICAL', code: HealthCode, message: string, hint: string) =>
    reasons.push({ level, code, message, hint, configId: null });
  if (configs.length === 0) {
    add('WARNING', 'NO_CONFIG', 'Nothing is protected yet.', 'Make a config, or set DATABASE_URL and start again.');
  }
  if (nodes.length === 0 && configs.some(({ config }) => config.autoBackupEnabled)) {
    const hint = 'Start the server or a worker, or run auto-backup by a timer (db-manager setup-schedule).';
    add('WARNING', 'NO_WORKER', 'No server or worker is running, so no schedule is kept.', hint);
  }
  if (stuck > 0) {
    add(
      'WARNING',
      'RUN_STUCK',
      `${stuck} run(s) have waited for more than half an hour.`,
      'Look in the log of the workers.',
    );
  }
  return reasons;
}

function configReasons(health: ConfigHealth): HealthReason[] {
  const { config, lastSuccessAt, lastProvenAt, unproven, lastFailureAt, lastErrorCode, overdue } = health;
  const reasons: HealthReason[] = [];
  const add = (level: 'WARNING' | 'CRITICAL', code: HealthCode, message: string, hint: string) =>
    reasons.push({ level, code, message: `"${config.name}": ${message}`, hint, configId: config.id });
  if (timeOf(lastFailureAt) > timeOf(lastSuccessAt)) {
    const never = lastSuccessAt === null ? 'there has never been a good one' : 'none before it is proven';
    const since = lastProvenAt === null ? never : `the last good one is of ${lastProvenAt.toISOString()}`;
    const hint = 'The backup row has the message and what to do.';
    add('CRITICAL', 'LAST_BACKUP_FAILED', `the last backup failed (${lastErrorCode ?? 'unknown'}); ${since}.`, hint);
  } else if (lastSuccessAt === null) {
    add(
      'CRITICAL',
      'NEVER_BACKED_UP',
      'there is no backup yet.',
      'Make one now: createBackup, or `db-manager backup`.',
    );
  }
  if (unproven !== null) {
    const { id, errorCode, errorMessage } = unproven;
    const found = errorCode === null ? '' : ` Verifying it found ${errorCode}: ${errorMessage ?? ''}`;
    const since =
      lastProvenAt === null ? 'No older one is proven.' : `The newest proven one is of ${lastProvenAt.toISOString()}.`;
    const message = `the newest backup, ${id}, is not proven.${found} ${since}`;
    const hint = `Verify it again (verifyBackup, or \`db-manager verify ${id}\`), or back up now.`;
    add('CRITICAL', 'LAST_BACKUP_UNPROVEN', message, hint);
  }
  if (overdue) {
    const hint = 'Check that a server or worker is running, and its log.';
    add('CRITICAL', 'OVERDUE', `the backup of ${config.nextRunAt?.toISOString() ?? ''} has not begun.`, hint);
  }
  if (!config.autoBackupEnabled) {
    add(
      'WARNING',
      'AUTO_BACKUP_OFF',
      'automatic backup is off.',
      'Switch it on: updateConfig(autoBackupEnabled: true).',
    );
  }
  return reasons;
}

function storageReasons({ storageType, storagePath, used, count, free, error }: StorageHealth): HealthReason[] {
  const place = `${storageType} ${storagePath}`;
  if (error !== null) {
    return [
      {
        level: 'CRITICAL',
        code: 'STORAGE_UNAVAILABLE',
        message: `${place}: ${error.message}`,
        hint: error.hint,
        configId: null,
      },
    ];
  }
  const typical = count === 0 ? 0 : used / count;
  if (free === null || free > typical * 3) return [];
  const message = `${place} has ${humanSize(free)} left, less than three backups of ${humanSize(Math.round(typical))}.`;
  return [
    { level: 'WARNING', code: 'STORAGE_LOW', message, hint: 'Free space, or keep fewer backups.', configId: null },
  ];
}
