import type { Command } from 'commander';
import type { Overview, SystemHealth } from '../core/status/overview.js';
import type { ConfigHealth, HealthReason, StorageHealth, StorageUsage } from '../core/status/health.js';
import { humanSize } from '../core/text/format.js';
import { type Column, type Document, fields, moment, table, type GlobalOptions } from './print.js';
import { inSession } from './session.js';

/** What `status --check` ends with, as monitoring programs expect it. */
const CHECK_CODES = { OK: 0, WARNING: 1, CRITICAL: 2 } as const;

export function addStatus(program: Command): void {
  program
    .command('status')
    .description(
      'Tell in one word how the installation is doing (OK, WARNING or CRITICAL), and why. Ends with 0 whatever the word ' +
        'is, unless --check is given. JSON: {health, reasons: [{level, code, message, hint, configId, backupId, destinationId, channelId}], notices, nodes, pending, ' +
        'running, configs: [{id, name, lastSuccessAt, lastProvenAt, lastFailureAt, lastErrorCode, nextRunAt, overdue, drill: {passedAt, stateAt, restoreSeconds, forecastSeconds}}], ' +
        'storages: [{storageType, storagePath, count, used, free, total, error}]}',
    )
    .option('--check', 'for monitoring: end with 1 for WARNING and 2 for CRITICAL')
    .action((options: { check?: boolean }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, print }) => {
        const state = await readAll(app.overview);
        print.result(statusDocument(state), () => statusText(state, app.now()));
        if (options.check === true) process.exitCode = CHECK_CODES[state.health];
      }),
    );
}

type UsedStorage = StorageHealth & Omit<StorageUsage, 'id'>;

/** What the overview reads, and what it is asked for apart. */
interface WholeState extends SystemHealth {
  configs: ConfigHealth[];
  storages: UsedStorage[];
}

async function readAll(overview: Overview): Promise<WholeState> {
  const [state, configs, usages] = await Promise.all([overview.read(), overview.configs(), overview.usage()]);
  const storages = state.storages.map((storage) => {
    const { used, count } = usages.find(({ id }) => id === storage.destinationId) ?? { used: 0, count: 0 };
    return { ...storage, used, count };
  });
  return { ...state, configs, storages };
}

function statusDocument({
  configs,
  storages,
  health,
  reasons,
  notices,
  nodes,
  pending,
  running,
}: WholeState): Document {
  return {
    health,
    reasons,
    notices,
    nodes,
    pending,
    running,
    configs: configs.map(({ config, lastSuccessAt, lastProvenAt, lastFailureAt, lastErrorCode, overdue, drill }) => ({
      id: config.id,
      name: config.name,
      lastSuccessAt,
      lastProvenAt,
      lastFailureAt,
      lastErrorCode,
      nextRunAt: config.nextRunAt,
      overdue,
      drill,
    })),
    storages: storages.map(({ storageType, storagePath, count, used, free, total, error }) => ({
      storageType,
      storagePath,
      count,
      used,
      free,
      total,
      error: error === null ? null : { code: error.code, message: error.message, hint: error.hint },
    })),
  };
}

function statusText(
  { health, reasons, notices, nodes, pending, running, configs, storages }: WholeState,
  now: Date,
): string {
  const parts = [
    health,
    ...reasons.map(reasonText),
    ...notices.map(reasonText),
    fields([
      ['Nodes', nodes.join(', ') || 'none'],
      ['Queue', `${pending} waiting, ${running} under way`],
    ]),
  ];
  if (configs.length > 0) parts.push(table(configs, configColumns(now)));
  if (storages.length > 0) parts.push(table(storages, STORAGE_COLUMNS));
  return parts.join('\n\n');
}

const reasonText = ({ level, code, message, hint }: HealthReason) =>
  fields([[`${level === 'OK' ? 'NOTE' : level} ${code}`, message]]) + `\n  ${hint}`;

const configColumns = (now: Date): Column<ConfigHealth>[] => [
  { title: 'id', cell: ({ config }) => config.id, right: true },
  { title: 'config', cell: ({ config }) => config.name },
  { title: 'last success', cell: ({ lastSuccessAt }) => moment(lastSuccessAt) ?? 'never' },
  { title: 'age', cell: ({ lastSuccessAt }) => age(lastSuccessAt, now), right: true },
  { title: 'last error', cell: ({ lastErrorCode }) => lastErrorCode },
  { title: 'next run', cell: ({ config }) => moment(config.nextRunAt) ?? 'off' },
  { title: 'drilled', cell: ({ drill }) => (drill === null ? 'never' : age(drill.stateAt, now)), right: true },
  { title: 'restore', cell: ({ drill }) => drill && restoreTime(drill.forecastSeconds), right: true },
  { title: 'overdue', cell: ({ overdue }) => (overdue ? 'YES' : 'no') },
];

const STORAGE_COLUMNS: Column<UsedStorage>[] = [
  { title: 'storage', cell: ({ storageType, storagePath }) => `${storageType} ${storagePath}` },
  { title: 'backups', cell: ({ count }) => count, right: true },
  { title: 'used', cell: ({ used }) => humanSize(used), right: true },
  { title: 'free', cell: ({ free }) => (free === null ? null : humanSize(free)), right: true },
  { title: 'state', cell: ({ error }) => error?.code ?? 'ok' },
];

/** In minutes; the number says nothing for less than one. */
const restoreTime = (seconds: number) => (seconds < 60 ? '< 1 min' : `${Math.ceil(seconds / 60)} min`);

/** `3 days`, in the largest unit that fits. */
function age(at: Date | null, now: Date): string | null {
  if (at === null) return null;
  const minutes = Math.max(0, Math.floor((now.getTime() - at.getTime()) / 60_000));
  const [size, unit] = (
    [
      [1440, 'day'],
      [60, 'hour'],
      [1, 'minute'],
    ] as const
  ).find(([size]) => minutes >= size) ?? [1, 'minute'];
  const number = Math.floor(minutes / size);
  return `${number} ${unit}${number === 1 ? '' : 's'}`;
}
