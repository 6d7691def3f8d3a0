import { randomUUID } from 'node:crypto';
import { rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { assertSchedule } from '../core/schedules/cron.js';
import { isZone } from '../core/schedules/zones.js';
import { humanSize } from '../core/text/format.js';
import { AppError, toAppError } from '../errors.js';
import { type Document, fields, type GlobalOptions } from './print.js';
import { inSession, type Session } from './session.js';

/** What one look came to. */
interface Check {
  /** What was looked at. */
  subject: string;
  level: 'OK' | 'WARNING' | 'PROBLEM';
  message: string;
  /** What to do; null where there is nothing to do. */
  hint: string | null;
}

/** Less free space in DATA_DIR is a warning, in bytes. */
const LITTLE_SPACE = 1 << 30;
/** A clock that differs by more is a warning, in milliseconds. */
const CLOCK_SLACK = 5_000;

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description(
      'Look at all that an installation needs: this machine, the control database, each config and destination, and what `status` says. ' +
        'Says what to do, and ends with 1 if there is a problem. Writes a small file in each destination, and removes it. JSON: {ok, checks: [{subject, level, message, hint}]}',
    )
    .action((_options: object, command: Command) =>
      inSession(
        command.optsWithGlobals<GlobalOptions>(),
        async (session) => {
          const checks = await examine(session);
          const ok = checks.every(({ level }) => level !== 'PROBLEM');
          session.print.result({ ok, checks } satisfies Document, () => textOf(checks));
          if (!ok) process.exitCode = 1;
        },
        undefined,
        { firstConfig: false },
      ),
    );
}

async function examine(session: Session): Promise<Check[]> {
  // Before the destinations are tried, which notes what came of it.
  const told = await asChecks('Status', () => state(session));
  const checks: Check[] = [];
  for (const [subject, part] of PARTS) checks.push(...(await asChecks(subject, () => part(session))));
  session.stop.throwIfAborted();
  return [...checks, ...told];
}

/** What cannot be looked at is a problem of its own, and no reason not to look at the rest. */
const asChecks = (subject: string, look: () => Promise<Check[]>): Promise<Check[]> =>
  look().catch((error: unknown) => [problem(subject, toAppError(error))]);

const good = (subject: string, message: string): Check => ({ subject, level: 'OK', message, hint: null });
const warning = (subject: string, message: string, hint: string): Check => {
  return { subject, level: 'WARNING', message, hint };
};
const problem = (subject: string, { message, hint }: AppError): Check => {
  return { subject, level: 'PROBLEM', message, hint };
};

const PARTS: [string, (session: Session) => Promise<Check[]>][] = [
  ['Program', machine],
  ['DATA_DIR', dataFolder],
  ['Clock', clock],
  ['Time zones', timeZones],
  ['Control database', controlDatabase],
  ['Hooks', hooks],
  ['Configs', configs],
  ['Destinations', destinations],
];

async function machine({ app }: Session): Promise<Check[]> {
  const subject = 'Program';
  const found = `Node.js ${process.version} on ${process.platform} ${process.arch}.`;
  const { warnings } = app.environment;
  const HINT = 'Correct the setting in .env or in the environment.';
  return [good(subject, found), ...warnings.map((text) => warning('Environment', `${text}.`, HINT))];
}

async function dataFolder({ app }: Session): Promise<Check[]> {
  const { dataDir } = app.environment;
  const subject = 'DATA_DIR';
  const [{ mode, uid }, { bavail, bsize }] = await Promise.all([stat(dataDir), statfs(dataDir)]);
  const free = bavail * bsize;
  const checks: Check[] = [];
  if (process.getuid !== undefined && (mode & 0o077) !== 0) {
    const text = `Other accounts of this machine may look into ${dataDir}, where the secrets lie.`;
    checks.push(warning(subject, text, `chmod 700 ${dataDir}`));
  }
  if (process.getuid !== undefined && uid !== process.getuid()) {
    const text = `${dataDir} belongs to another account than the one that runs this command.`;
    checks.push(warning(subject, text, 'Run db-manager as the account of the service.'));
  }
  if (free < LITTLE_SPACE) {
    const text = `${dataDir} has only ${humanSize(free)} left, and restores need room there.`;
    checks.push(warning(subject, text, 'Free space, or move DATA_DIR to a larger disk.'));
  }
  return checks.length > 0 ? checks : [good(subject, `${dataDir}, ${humanSize(free)} free.`)];
}

/** Schedules and retention go by this clock, leases by that of the control database. */
async function clock({ app }: Session): Promise<Check[]> {
  const subject = 'Clock';
  const { seed, dataDir } = app.environment;
  const checks: Check[] = [];
  const note = (where: string, difference: number) => {
    if (Math.abs(difference) <= CLOCK_SLACK) return;
    const text = `The clock of ${where} differs from this machine's by ${Math.round(Math.abs(difference) / 1_000)} seconds.`;
    checks.push(warning(subject, text, 'Have all machines set their clocks by NTP.'));
  };
  const probe = join(dataDir, `clock-${randomUUID()}`);
  try {
    const before = Date.now();
    await writeFile(probe, '', { mode: 0o600 });
    const { mtimeMs } = await stat(probe);
    note(`the disk of ${dataDir}`, Math.max(before - mtimeMs, mtimeMs - Date.now()));
  } finally {
    await rm(probe, { force: true });
  }
  const { sequelize, Backup } = app.models;
  if (sequelize.getDialect() === 'postgres') {
    const [[row]] = (await sequelize.query('SELECT extract(epoch FROM clock_timestamp()) * 1000 AS now')) as [
      { now: string }[],
      unknown,
    ];
    note('the control database', Number(row?.now) - Date.now());
  }
  const newest = (await Backup.max('createdAt')) as string | Date | null;
  const ahead = newest === null ? 0 : new Date(newest).getTime() - Date.now();
  if (ahead > CLOCK_SLACK) {
    const text = `The newest backup was made at ${new Date(newest as string).toISOString()}, which is still to come.`;
    checks.push(warning(subject, text, 'Set the clock right: until then retention and schedules go by a wrong time.'));
  }
  const here = new Intl.DateTimeFormat('en-GB', { dateStyle: 'short', timeStyle: 'long', timeZone: seed.timezone });
  return checks.length > 0 ? checks : [good(subject, `In ${seed.timezone} it is ${here.format(new Date())}.`)];
}

/** Schedules go by the zone of their config, which need not be that of the machine: so that nobody waits for the wrong hour. */
async function timeZones({ app }: Session): Promise<Check[]> {
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const rows = await app.models.BackupConfig.findAll({ attributes: ['timezone'] });
  const zones = [...new Set(rows.map(({ timezone }) => timezone))].filter(isZone);
  const time = (zone: string) => new Intl.DateTimeFormat('en-GB', { timeStyle: 'short', timeZone: zone }).format();
  const told = zones.map((zone) => `${zone}, where it is ${time(zone)}`).join('; ');
  const schedules = told === '' ? '' : ` Schedules go by ${told}.`;
  return [good('Time zones', `This machine's is ${here}, where it is ${time(here)}.${schedules}`)];
}

async function controlDatabase({ app }: Session): Promise<Check[]> {
  const subject = 'Control database';
  const { sequelize } = app.models;
  const kind = sequelize.getDialect() === 'postgres' ? 'PostgreSQL' : 'SQLite';
  if (kind === 'SQLite') {
    const [rows] = (await sequelize.query('PRAGMA quick_check(1)')) as [Record<string, string>[], unknown];
    const found = Object.values(rows[0] ?? {})[0];
    if (found !== 'ok') {
      const text = `The control database is damaged: ${found}.`;
      const hint = 'Stop all of db-manager, and get it back from its own backup: see docs/disaster.md.';
      return [problem(subject, new AppError('CONTROL_DATABASE_FAILED', text, { hint }))];
    }
  }
  const backups = await app.models.Backup.count();
  return [good(subject, `${kind}, can be read, and has the tables of this version; ${backups} backups.`)];
}

async function hooks({ app }: Session): Promise<Check[]> {
  const { folder } = app.environment.hooks;
  if (folder === null) return [];
  const subject = 'Hooks';
  const { refused, unknown, hooks: found } = await app.hooks.problems();
  const names = unknown.join(', ');
  const odd = `${folder} holds files that are no hooks, and are never run: ${names}.`;
  return [
    ...refused.map((error) => problem(subject, error)),
    ...(unknown.length > 0 ? [warning(subject, odd, 'Give each hook one of the names in docs/hooks.md.')] : []),
    ...(refused.length === 0 ? [good(subject, `${found.length > 0 ? found.join(', ') : 'None'} in ${folder}.`)] : []),
  ];
}

async function configs({ app, stop }: Session): Promise<Check[]> {
  const checks: Check[] = [];
  for (const { id, name, schedule, timezone } of await app.models.BackupConfig.findAll({ order: ['id'] })) {
    const subject = `Config "${name}"`;
    try {
      assertSchedule(schedule, timezone);
      const test = await app.configTests.connection({}, id, stop);
      const media = test.media.flatMap(({ error }) => error ?? []);
      const failures = [...(test.error === null ? [] : [test.error]), ...media];
      checks.push(
        ...failures.map((error) => problem(subject, error)),
        ...test.warnings.map((text) => warning(subject, text, `Look at it: db-manager config test ${id}`)),
      );
      if (failures.length === 0) {
        const size = test.size === null ? '' : `, ${humanSize(test.size)}`;
        checks.push(good(subject, `The database ${test.databaseName} can be backed up${size}.`));
      }
    } catch (error) {
      stop.throwIfAborted();
      checks.push(problem(subject, toAppError(error)));
    }
  }
  return checks;
}

async function destinations({ app, stop }: Session): Promise<Check[]> {
  const checks: Check[] = [];
  for (const { id, name, storagePath, offline } of await app.models.Destination.findAll({ order: ['id'] })) {
    const subject = `Destination "${name ?? storagePath}"`;
    const look = () => destination({ app, stop }, { id, subject, offline });
    checks.push(...(await asChecks(subject, look)));
    stop.throwIfAborted();
  }
  return checks;
}

async function destination(
  { app, stop }: Pick<Session, 'app' | 'stop'>,
  { id, subject, offline }: { id: number; subject: string; offline: boolean },
): Promise<Check[]> {
  const { error, free, warnings } = await app.destinations.test(id, undefined, stop);
  if (error !== null) {
    const away = `${error.message} It is marked as away most of the time.`;
    return [offline ? warning(subject, away, 'Connect it for the next backup.') : problem(subject, error)];
  }
  return [
    ...warnings.map((text) => warning(subject, text, 'See docs/destinations.md.')),
    good(subject, `Can be written and read${free === null ? '' : `, ${humanSize(free)} free`}.`),
  ];
}

/** What `status` says: the worker, the backups so far, copies, drills, the recovery kit, channels. */
async function state({ app }: Session): Promise<Check[]> {
  const { reasons, notices } = await app.overview.read();
  const told = [...reasons, ...notices].map(({ level, message, hint }): Check => {
    return { subject: 'Status', level: level === 'CRITICAL' ? 'PROBLEM' : 'WARNING', message, hint };
  });
  return told.length > 0 ? told : [good('Status', 'Nothing stands out: see db-manager status.')];
}

function textOf(checks: Check[]): string {
  const count = (level: Check['level']) => checks.filter((check) => check.level === level).length;
  const lines = checks.map(({ subject, level, message, hint }) => {
    return fields([[`${level.padEnd(7)} ${subject}`, message]]) + (hint === null ? '' : `\n        ${hint}`);
  });
  return [...lines, '', `${count('PROBLEM')} problem(s), ${count('WARNING')} warning(s).`].join('\n');
}
