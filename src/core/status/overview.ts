import { REGULAR_TYPES, type BackupRow } from '../../models/index.js';
import type { CoreEnvironment } from '../environment.js';
import { hostname } from 'node:os';
import { Op, QueryTypes } from 'sequelize';
import { AppError } from '../../errors.js';
import { type ConfigHealth, type Health, type HealthReason, reasonsOf, type StorageHealth, timeOf } from './health.js';
import type { StorageAddress } from '../ports.js';

/** The lease that a process which runs jobs holds while it lives. */
export const nodeLease = () => `node:${hostname()}:${process.pid}`;

/** What the overview needs of the process around it. */
export type OverviewEnvironment = Pick<CoreEnvironment, 'models' | 'storages' | 'now'>;

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
/** How many archives are looked for at the same time. */
const LOOKS = 32;
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
    const unkept = nodes.length === 0 ? await this.withoutTimer(configs) : [];
    const reasons = reasonsOf(configs, storages, unkept, stuck);
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
    const isFailing = (id: number) => timeOf(failed.get(id)?.at) > timeOf(completed.get(id)?.goodAt);
    const isUnverified = (id: number) => timeOf(completed.get(id)?.at) > timeOf(completed.get(id)?.verifiedAt);
    const [failures, unverified, verified] = await Promise.all([
      this.backupsAt('FAILED', ids.filter(isFailing), failed),
      this.backupsAt('COMPLETED', ids.filter(isUnverified), completed),
      this.verified([...completed.values()].flatMap(({ verifiedId }) => verifiedId ?? [])),
    ]);
    const now = this.env.now().getTime();
    return rows.map((config) => ({
      config,
      lastSuccessAt: completed.get(config.id)?.goodAt ?? null,
      lastBackupId: completed.get(config.id)?.newestId ?? null,
      lastProvenAt: completed.get(config.id)?.verifiedAt ?? null,
      unverified: unverified.get(config.id) ?? null,
      lost: verified.get(config.id)?.lost ?? null,
      mediaGone:
        config.mediaPaths.length > 0 &&
        verified.get(config.id)?.mediaFileCount === 0 &&
        (completed.get(config.id)?.mostMedia ?? 0) > 0,
      lastFailureAt: failed.get(config.id)?.at ?? null,
      lastErrorCode: isFailing(config.id) ? (failures.get(config.id)?.errorCode ?? 'INTERNAL_ERROR') : null,
      overdue: config.nextRunAt !== null && config.nextRunAt.getTime() + GRACE < now,
    }));
  }

  /** When the newest backup of each config in this state was made, and the newest of those that are verified. */
  private async latest(status: 'COMPLETED' | 'FAILED'): Promise<Map<number, Latest>> {
    const rows = await this.env.models.sequelize.query<{
      configId: number;
      at: string | Date;
      goodAt: string | Date | null;
      verifiedAt: string | Date | null;
      verifiedId: string | null;
      newestId: string;
      mostMedia: number | null;
    }>(
      `SELECT "configId", max("createdAt") AS at, max(id) AS "newestId",
         max(CASE WHEN damaged THEN NULL ELSE "createdAt" END) AS "goodAt",
         max(CASE WHEN "verifiedAt" IS NOT NULL THEN "createdAt" END) AS "verifiedAt",
         max(CASE WHEN "verifiedAt" IS NOT NULL THEN id END) AS "verifiedId", max("mediaFileCount") AS "mostMedia" FROM backups
       WHERE "configId" IS NOT NULL AND status = :status AND "backupType" IN (:types) GROUP BY "configId"`,
      { type: QueryTypes.SELECT, replacements: { status, types: REGULAR_TYPES } },
    );
    return new Map(
      rows.map(({ configId, at, goodAt, verifiedAt, ...rest }) => {
        const moment = (time: string | Date | null) => (time === null ? null : new Date(time));
        return [configId, { at: new Date(at), goodAt: moment(goodAt), verifiedAt: moment(verifiedAt), ...rest }];
      }),
    );
  }

  /** The newest backup in this state of each of these configs. */
  private async backupsAt(
    status: 'COMPLETED' | 'FAILED',
    ids: number[],
    latest: Map<number, Latest>,
  ): Promise<Map<number, BackupRow>> {
    if (ids.length === 0) return new Map();
    const rows = await this.env.models.Backup.unscoped().findAll({
      attributes: ['id', 'configId', 'createdAt', 'damaged', 'errorCode', 'errorMessage'],
      where: {
        configId: ids,
        status,
        backupType: REGULAR_TYPES,
        createdAt: { [Op.in]: ids.map((id) => latest.get(id)?.at ?? new Date(0)) },
      },
    });
    const newest = rows.filter(
      ({ configId, createdAt }) => timeOf(latest.get(configId ?? 0)?.at) === timeOf(createdAt),
    );
    return new Map(newest.map((row) => [row.configId ?? 0, row]));
  }

  /** These backups by config, with what is wrong with the archive of each. An unreachable storage has a reason of its own. */
  private async verified(ids: string[]): Promise<Map<number, Verified>> {
    const attributes = ['id', 'configId', 'fileName', 'fileSize', 'mediaFileCount'];
    const rows = await this.env.models.Backup.findAll({ attributes, where: { id: ids } });
    const verified = new Map<number, Verified>();
    const next = rows.values();
    const look = async () => {
      for (const backup of next) {
        const error = await this.archiveError(backup);
        const lost = error === null ? null : { backup, error };
        verified.set(backup.configId ?? 0, { mediaFileCount: backup.mediaFileCount, lost });
      }
    };
    await Promise.all(Array.from({ length: LOOKS }, look));
    return verified;
  }

  private async archiveError({ address, fileName, filePath, fileSize }: BackupRow): Promise<AppError | null> {
    try {
      const stored = await this.env.storages.open(address).stat(fileName);
      if (stored === null) return new AppError('ARCHIVE_MISSING', `${filePath} is not there.`);
      if (fileSize === null || stored.size === fileSize) return null;
      return new AppError('ARCHIVE_CORRUPT', `${filePath} has ${stored.size} bytes instead of ${fileSize}.`);
    } catch (error) {
      if (error instanceof AppError) return null;
      throw error;
    }
  }

  /** The configs whose schedule no process runs where no worker runs: a timer of the system leaves backups made by commands. */
  private async withoutTimer(configs: ConfigHealth[]): Promise<ConfigHealth[]> {
    const rows = await this.env.models.sequelize.query<{ configId: number; at: string; byCommand: string | null }>(
      `SELECT "configId", max(id) AS at, max(CASE WHEN "createdBy" LIKE 'cli:%' THEN id END) AS "byCommand" FROM backups
       WHERE "configId" IS NOT NULL AND "backupType" = 'AUTO' GROUP BY "configId"`,
      { type: QueryTypes.SELECT },
    );
    const kept = new Set(rows.filter(({ at, byCommand }) => at === byCommand).map(({ configId }) => configId));
    return configs.filter(({ config }) => config.autoBackupEnabled && !kept.has(config.id));
  }

  private async nodes(): Promise<string[]> {
    return (await this.env.models.leases.liveNames('node:')).map((name) => name.slice('node:'.length)).sort();
  }

  private async storages(): Promise<StorageHealth[]> {
    const { sequelize } = this.env.models;
    const groups = await sequelize.query<StorageAddress & { used: number | string; count: number | string }>(
      `SELECT d."storageType", d."storagePath", sum(o.size) AS used, count(*) AS count
       FROM stored_objects o JOIN destinations d ON d.id = o."destinationId"
       WHERE o.status = 'COMPLETED' GROUP BY d.id, d."storageType", d."storagePath" ORDER BY 1, 2`,
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
  /** The newest that is not of a damaged database. */
  goodAt: Date | null;
  verifiedAt: Date | null;
  verifiedId: string | null;
  /** An id begins with the time of its backup. */
  newestId: string;
  /** How many media files the one with most of them has. */
  mostMedia: number | null;
}

/** The newest verified backup of a config. */
interface Verified {
  mediaFileCount: number | null;
  lost: ConfigHealth['lost'];
}
