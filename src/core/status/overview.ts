import type { CoreEnvironment } from '../environment.js';
import { hostname } from 'node:os';
import { Op, QueryTypes } from 'sequelize';
import { AppError } from '../../errors.js';
import { ArchiveWatch } from './archive-watch.js';
import { channelReasons } from './channel-states.js';
import { controlReasons } from './control-states.js';
import { copyNotices, copyReasons } from './copy-states.js';
import { databaseStates } from './database-states.js';
import { deletionNotices } from './deletion-states.js';
import { kitNotices } from './kit-states.js';
import { drillReasons, drillStates } from './drill-states.js';
import { proofReasons } from './proof-states.js';
import { configStates, hasUnkeptSchedule, suspectConfigs } from './config-states.js';
import {
  type ConfigHealth,
  type Health,
  type HealthReason,
  reasonsOf,
  type StorageHealth,
  type StorageUsage,
} from './health.js';
import { readPlain } from '../../models/index.js';
import type { Storage, StorageAddress } from '../ports.js';

/** The lease that a process which runs jobs holds while it lives. */
export const nodeLease = () => `node:${hostname()}:${process.pid}`;

/** What the overview needs of the process around it. */
export type OverviewEnvironment = Pick<CoreEnvironment, 'models' | 'storages' | 'now'>;

/** The answer of `status`. */
export interface SystemHealth {
  health: Health;
  reasons: HealthReason[];
  /** What to know although nothing is wrong. */
  notices: HealthReason[];
  nodes: string[];
  pending: number;
  running: number;
  configCount: number;
  storages: StorageHealth[];
}

/** A waiting run is stuck after this time, in milliseconds. */
const STUCK = 30 * 60_000;
/** How many of a storage's newest archives say what an archive typically takes. */
const SAMPLE = 100;
/** How long the answer of a distant storage holds, in milliseconds: the page asks every few seconds. */
const DISTANT_LIFE = 60_000;

type Space = Pick<StorageHealth, 'free' | 'total' | 'error'>;

/**
 * Tells how the installation is doing. `read`, which the page asks for every few seconds, costs no more with more backups:
 * what does is asked for apart.
 */
export class Overview {
  private readonly archives: ArchiveWatch;
  /** What distant storages have answered, by destination. */
  private readonly distant = new Map<number, { at: number; space: Space }>();

  constructor(private readonly env: OverviewEnvironment) {
    this.archives = new ArchiveWatch(env);
  }

  async read(): Promise<SystemHealth> {
    const { models } = this.env;
    const [
      databases,
      copies,
      proof,
      drills,
      control,
      channels,
      copyNotes,
      kitNotes,
      deletions,
      configCount,
      configs,
      nodes,
      storages,
      pending,
      running,
      stuck,
    ] = await Promise.all([
      databaseStates(models),
      copyReasons(models, this.env.now()),
      proofReasons(models, this.env.now()),
      drillReasons(models, this.env.now()),
      controlReasons(models),
      channelReasons(models),
      copyNotices(models),
      kitNotices(models),
      deletionNotices(models),
      models.BackupConfig.count(),
      this.suspects(),
      this.nodes(),
      this.storages(),
      this.countRuns({ status: 'PENDING' }),
      this.countRuns({ status: 'RUNNING' }),
      this.countRuns({ status: 'PENDING', createdAt: { [Op.lt]: new Date(this.env.now().getTime() - STUCK) } }),
    ]);
    const withoutWorker = nodes.length === 0 && (await hasUnkeptSchedule(models));
    const installation = { hasConfig: configCount > 0, withoutWorker, stuck };
    const own = reasonsOf(installation, configs, storages);
    const reasons = [...own, ...copies, ...proof, ...drills, ...control, ...databases.reasons, ...channels];
    const worst = reasons.some(({ level }) => level === 'CRITICAL') ? 'CRITICAL' : 'WARNING';
    const health = reasons.length === 0 ? 'OK' : worst;
    const notices = [...copyNotes, ...kitNotes, ...databases.notices, ...deletions];
    return { health, reasons, notices, nodes, pending, running, configCount, storages };
  }

  /** The state of each config, or of those with these ids, by id. No archive is looked for. */
  async configs(ids?: readonly number[]): Promise<ConfigHealth[]> {
    const wanted = ids ?? (await this.allIds());
    const { models, now } = this.env;
    const [states, drills] = await Promise.all([
      configStates(models, wanted, new Map(), now()),
      drillStates(models, wanted),
    ]);
    return states.map((state) => ({ ...state, drill: drills.get(state.config.id) ?? null }));
  }

  /** What lies in each destination that has archives. Reads an index of all archives. */
  async usage(): Promise<StorageUsage[]> {
    const rows = await this.env.models.sequelize.query<{ id: number; used: number | string; count: number | string }>(
      `SELECT "destinationId" AS id, sum(size) AS used, count(*) AS count FROM stored_objects
       WHERE status = 'COMPLETED' GROUP BY "destinationId"`,
      { type: QueryTypes.SELECT },
    );
    return rows.map(({ id, used, count }) => ({ id, used: Number(used), count: Number(count) }));
  }

  /** When the newest backup ended, well or not: what is computed of ended backups changes only then. */
  async lastBackupEndedAt(): Promise<Date | null> {
    const row = await this.env.models.Backup.unscoped().findOne({
      attributes: ['completedAt'],
      where: { completedAt: { [Op.ne]: null } },
      order: [['completedAt', 'DESC']],
    });
    return row?.completedAt ?? null;
  }

  private async allIds(): Promise<number[]> {
    const rows = await readPlain(this.env.models.BackupConfig, ['id']);
    return rows.map(({ id }) => id);
  }

  /** The state of each config that there is a reason about, and of some others. */
  private async suspects(): Promise<ConfigHealth[]> {
    const { models } = this.env;
    const lost = await this.archives.look();
    return configStates(models, await suspectConfigs(models, lost, this.env.now()), lost, this.env.now());
  }

  private async nodes(): Promise<string[]> {
    return (await this.env.models.leases.liveNames('node:')).map((name) => name.slice('node:'.length)).sort();
  }

  /** The destinations with archives. */
  private async storages(): Promise<StorageHealth[]> {
    const rows = await this.env.models.sequelize.query<
      StorageAddress & { id: number; offline: boolean | 0 | 1; typical: number | string | null }
    >(
      `SELECT d.id, d."storageType", d."storagePath", d.offline, (
         SELECT avg(size) FROM (
           SELECT o.size FROM stored_objects o WHERE o."destinationId" = d.id AND o.status = 'COMPLETED'
           ORDER BY o.id DESC LIMIT ${SAMPLE}) AS newest) AS typical
       FROM destinations d
       WHERE EXISTS (SELECT 1 FROM stored_objects o WHERE o."destinationId" = d.id AND o.status = 'COMPLETED')
       ORDER BY 2, 3`,
      { type: QueryTypes.SELECT },
    );
    return Promise.all(
      rows.map(async ({ id, typical, offline, ...address }) => ({
        destinationId: id,
        ...address,
        typical: Number(typical ?? 0),
        ...unlessAway(Boolean(offline), await this.space(id, address)),
      })),
    );
  }

  private async space(id: number, address: StorageAddress): Promise<Space> {
    const storage = this.env.storages.open(address);
    if (storage.folder() !== null) return spaceOf(storage);
    const now = this.env.now().getTime();
    const known = this.distant.get(id);
    if (known !== undefined && now - known.at < DISTANT_LIFE) return known.space;
    const space = await spaceOf(storage);
    this.distant.set(id, { at: now, space });
    return space;
  }

  private async countRuns(where: Record<string, unknown>): Promise<number> {
    const { Backup, Restore, Verification } = this.env.models;
    const counts = [Backup.unscoped().count({ where }), Restore.count({ where }), Verification.count({ where })];
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  }
}

async function spaceOf(storage: Storage): Promise<Space> {
  try {
    const space = await storage.space();
    return { free: space?.free ?? null, total: space?.total ?? null, error: null };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return { free: null, total: null, error };
  }
}

/** A disk that is away most of the time is no error while it is. */
const unlessAway = (offline: boolean, space: Space): Space =>
  offline && space.error?.code === 'STORAGE_UNAVAILABLE' ? { ...space, error: null } : space;
