import { QueryTypes } from 'sequelize';
import type { CoreEnvironment } from '../environment.js';
import { countByStatus, readPlain } from '../../models/index.js';
import { NEWEST_COMPLETED, NEWEST_VERIFIED } from './config-states.js';
import { drillStates } from './drill-states.js';
import { type DrillState, type Health, HEALTH_CODES, type StorageHealth } from './health.js';
import type { Overview } from './overview.js';

/** What metrics need of the process around them. */
export type MetricsEnvironment = Pick<CoreEnvironment, 'models' | 'now'> & { overview: Overview; version: string };

/** A quantity, named as Prometheus asks for: base units, and the unit at the end of the name. */
export interface Metric {
  name: string;
  help: string;
  /** The names of the labels, the same for all values. */
  labels: readonly string[];
  values: { labels: Record<string, string>; value: number }[];
}

const HEALTH: Record<Health, number> = { OK: 0, WARNING: 1, CRITICAL: 2 };
const STATES = ['PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'DELETED'];

/**
 * What a monitoring system may want to know and be alarmed by, as it stands in the records now. All are gauges: several
 * processes share the records, and each tells the same. A config is named by its id; its name is in `config_info`.
 */
export async function readMetrics(env: MetricsEnvironment): Promise<Metric[]> {
  const { models, overview } = env;
  const [health, usage, backups, restores, verifications, configs, waiting] = await Promise.all([
    overview.read(),
    overview.usage(),
    countByStatus(models.Backup),
    countByStatus(models.Restore),
    countByStatus(models.Verification),
    readConfigs(env),
    waitingMessages(env),
  ]);
  const problems = (code: string) => health.reasons.filter((reason) => reason.code === code).length;
  return [
    one('build_info', 'The version of db-manager; always 1.', 1, { version: env.version, node: process.versions.node }),
    one('health', '0: OK, 1: WARNING, 2: CRITICAL.', HEALTH[health.health]),
    many(
      'problems',
      'Reasons why the health is not OK, by code.',
      ['code'],
      HEALTH_CODES.map((code) => [{ code }, problems(code)]),
    ),
    one('configs', 'Configs.', health.configCount),
    one('nodes', 'Processes that run jobs.', health.nodes.length),
    many(
      'queue_runs',
      'Backups, restores and verifications that wait or run.',
      ['state'],
      [
        [{ state: 'PENDING' }, health.pending],
        [{ state: 'RUNNING' }, health.running],
      ],
    ),
    many('backups', 'Backups on record, by state.', ['state'], states(backups, STATES)),
    many('restores', 'Restores on record, by state.', ['state'], states(restores, STATES.slice(0, -1))),
    many('verifications', 'Verifications on record, by state.', ['state'], states(verifications, STATES.slice(0, -1))),
    many('messages_waiting', 'Messages that their channel has not taken yet.', ['channel'], waiting),
    ...configMetrics(configs),
    ...storageMetrics(health.storages, new Map(usage.map((row) => [row.id, row]))),
  ];
}

type Value = [labels: Record<string, string>, value: number];

function many(name: string, help: string, labels: readonly string[], values: Value[]): Metric {
  return { name: `db_manager_${name}`, help, labels, values: values.map(([own, value]) => ({ labels: own, value })) };
}

const one = (name: string, help: string, value: number, labels: Record<string, string> = {}): Metric =>
  many(name, help, Object.keys(labels), [[labels, value]]);

/** States without any are told, too. */
const states = (counts: { status: string; count: number }[], all: string[]): Value[] =>
  all.map((state) => [{ state }, counts.find(({ status }) => status === state)?.count ?? 0]);

/** What is measured of one config. Times are seconds since 1970. */
interface ConfigState {
  id: string;
  name: string;
  engine: string;
  nextRunAt: Date | null;
  backup: BackupState | undefined;
  proven: BackupState | undefined;
  restore: RestoreState | undefined;
  drill: DrillState | undefined;
}

interface BackupState {
  createdAt: Date;
  startedAt: Date | null;
  completedAt: Date | null;
  fileSize: number | null;
  verifiedAt: Date | null;
  verificationLevel: string | null;
}

type RestoreState = Pick<BackupState, 'startedAt' | 'completedAt'>;

/** Of each channel, also of those for which none waits. */
async function waitingMessages({ models }: MetricsEnvironment): Promise<Value[]> {
  const rows = await models.sequelize.query<{ id: number; count: number | string }>(
    `SELECT c.id, count(d.id) AS count FROM channels c LEFT JOIN deliveries d ON d."channelId" = c.id
     GROUP BY c.id ORDER BY c.id`,
    { type: QueryTypes.SELECT },
  );
  return rows.map(({ id, count }) => [{ channel: String(id) }, Number(count)]);
}

const NEWEST_RESTORE = `(SELECT r.id FROM restores r WHERE r."configId" = c.id AND r.status = 'COMPLETED'
  ORDER BY r."createdAt" DESC, r.id DESC LIMIT 1)`;

/** A few looks into indexes for each config, however many backups there are. */
async function readConfigs({ models }: MetricsEnvironment): Promise<ConfigState[]> {
  const rows = await models.sequelize.query<{
    id: number;
    name: string;
    engine: string;
    nextRunAt: string | Date | null;
    backupId: string | null;
    provenId: string | null;
    restoreId: string | null;
  }>(
    `SELECT c.id, c.name, c.engine, c."nextRunAt", ${NEWEST_COMPLETED} AS "backupId", ${NEWEST_VERIFIED} AS "provenId",
       ${NEWEST_RESTORE} AS "restoreId" FROM backup_configs c ORDER BY c.id`,
    { type: QueryTypes.SELECT },
  );
  const ids = [...new Set(rows.flatMap(({ backupId, provenId }) => [backupId, provenId]))];
  const backups = await byId(ids, (some) =>
    readPlain(
      models.Backup,
      ['id', 'createdAt', 'startedAt', 'completedAt', 'fileSize', 'verifiedAt', 'verificationLevel'],
      { where: { id: some } },
    ),
  );
  const restores = await byId(
    rows.map(({ restoreId }) => restoreId),
    (some) => readPlain(models.Restore, ['id', 'startedAt', 'completedAt'], { where: { id: some } }),
  );
  const drills = await drillStates(
    models,
    rows.map(({ id }) => id),
  );
  return rows.map(({ id, name, engine, nextRunAt, backupId, provenId, restoreId }) => ({
    id: String(id),
    name,
    engine,
    nextRunAt: nextRunAt === null ? null : new Date(nextRunAt),
    backup: backups.get(backupId ?? ''),
    proven: backups.get(provenId ?? ''),
    restore: restores.get(restoreId ?? ''),
    drill: drills.get(id),
  }));
}

/** How many ids a statement names at most. */
const AT_ONCE = 1_000;

async function byId<Row extends { id: string }>(
  ids: (string | null)[],
  read: (ids: string[]) => Promise<Row[]>,
): Promise<Map<string, Row>> {
  const wanted = ids.filter((id) => id !== null);
  const found = new Map<string, Row>();
  for (let from = 0; from < wanted.length; from += AT_ONCE) {
    for (const row of await read(wanted.slice(from, from + AT_ONCE))) found.set(row.id, row);
  }
  return found;
}

function configMetrics(configs: ConfigState[]): Metric[] {
  const of = (name: string, help: string, valueOf: (config: ConfigState) => number | null) =>
    many(
      name,
      help,
      ['config'],
      configs.flatMap((config): Value[] => {
        const value = valueOf(config);
        return value === null ? [] : [[{ config: config.id }, value]];
      }),
    );
  return [
    many(
      'config_info',
      'Name and kind of a config; always 1.',
      ['config', 'name', 'engine'],
      configs.map(({ id, name, engine }) => [{ config: id, name, engine }, 1]),
    ),
    of(
      'backup_last_success_timestamp_seconds',
      'When the newest completed backup was made; 0: never.',
      ({ backup }) => seconds(backup?.createdAt) ?? 0,
    ),
    of(
      'backup_last_proven_timestamp_seconds',
      'When the newest verified backup was made; 0: never.',
      ({ proven }) => seconds(proven?.createdAt) ?? 0,
    ),
    of('backup_last_duration_seconds', 'How long the newest completed backup took.', ({ backup }) => duration(backup)),
    of('backup_last_size_bytes', 'Size of the newest completed backup.', ({ backup }) => backup?.fileSize ?? null),
    of('backup_next_run_timestamp_seconds', 'When the next automatic backup is due.', ({ nextRunAt }) =>
      seconds(nextRunAt),
    ),
    many(
      'verification_timestamp_seconds',
      'When the newest verified backup was verified, and at which level.',
      ['config', 'level'],
      configs.flatMap(({ id, proven }): Value[] => {
        const at = seconds(proven?.verifiedAt);
        return at === null ? [] : [[{ config: id, level: proven?.verificationLevel ?? '' }, at]];
      }),
    ),
    of('restore_last_duration_seconds', 'How long the newest completed restore took.', ({ restore }) =>
      duration(restore),
    ),
    of(
      'drill_last_success_timestamp_seconds',
      'When the newest drill that passed ended; 0: never.',
      ({ drill }) => seconds(drill?.passedAt) ?? 0,
    ),
    of(
      'drill_state_timestamp_seconds',
      'When the backup was made that it restored; 0: never.',
      ({ drill }) => seconds(drill?.stateAt) ?? 0,
    ),
    of('drill_restore_seconds', 'How long its restore took.', ({ drill }) => drill?.restoreSeconds ?? null),
    of(
      'restore_forecast_seconds',
      'How long a restore of the newest good backup would take, by its bytes.',
      ({ drill }) => drill?.forecastSeconds ?? null,
    ),
  ];
}

const seconds = (at: Date | null | undefined): number | null => (at ? at.getTime() / 1000 : null);

function duration(run: RestoreState | undefined): number | null {
  const [start, end] = [seconds(run?.startedAt), seconds(run?.completedAt)];
  return start === null || end === null ? null : Math.max(0, end - start);
}

function storageMetrics(storages: StorageHealth[], usage: Map<number, { used: number; count: number }>): Metric[] {
  const labels = ['destination', 'type', 'path'];
  const of = (name: string, help: string, valueOf: (storage: StorageHealth) => number | null) =>
    many(
      name,
      help,
      labels,
      storages.flatMap((storage): Value[] => {
        const value = valueOf(storage);
        const { destinationId, storageType: type, storagePath: path } = storage;
        return value === null ? [] : [[{ destination: String(destinationId), type, path }, value]];
      }),
    );
  return [
    of('storage_up', '1 if the destination answers.', ({ error }) => (error === null ? 1 : 0)),
    of(
      'storage_used_bytes',
      'Bytes of the archives in a destination.',
      ({ destinationId: id }) => usage.get(id)?.used ?? 0,
    ),
    of('storage_archives', 'Archives in a destination.', ({ destinationId: id }) => usage.get(id)?.count ?? 0),
    of('storage_free_bytes', 'Free bytes of a destination.', ({ free }) => free),
    of('storage_size_bytes', 'Bytes of a destination in all.', ({ total }) => total),
  ];
}
