import { type Command, InvalidArgumentError } from 'commander';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { assertSchedule, describeSchedule, normaliseSchedule } from '../core/schedules/cron.js';
import { badInput } from '../errors.js';
import type { BackupConfigRow } from '../models/index.js';
import { crontabBlock } from './crontab-text.js';
import { programOf, type TimerTarget } from './timer-shape.js';
import { type GlobalOptions } from './print.js';
import { inSession, type Session } from './session.js';
import { systemdUnits } from './systemd-units.js';
import { taskXml } from './task-xml.js';
import { changeCrontab, installTask, installUnits, removeTask, removeUnits, unitFolder } from './timers.js';

interface Options {
  systemd?: boolean;
  cron?: boolean;
  windows?: boolean;
  user?: boolean;
  install?: boolean;
  remove?: boolean;
  schedule?: string;
  time?: string;
}

/** One kind of timer, with what it needs for this installation. */
interface Timer {
  /** The texts by where they belong. */
  texts: Record<string, string>;
  /** Both return false if nothing had to change. */
  install(): Promise<boolean>;
  remove(): Promise<boolean>;
}

export function addSetupSchedule(program: Command): void {
  program
    .command('setup-schedule')
    .description(
      'For those who do not run the server: a timer of the system that runs `auto-backup` in this folder. Prints it; ' +
        '--install puts it in place and --remove takes it away, both as often as you like, and nothing else is touched. ' +
        'Settings come from .env in this folder. JSON: {kind, name, schedule, action, changed, texts}',
    )
    .option('--systemd', 'a service and a timer: of the system for root, else of the user')
    .option('--cron', "lines of the user's crontab")
    .option('--windows', 'a task of the Windows Task Scheduler')
    .option('--user', 'with --systemd: of the user, also for root')
    .option('--install', 'put it in place')
    .option('--remove', 'take it away')
    .option('--schedule <cron>', "five-field cron, or hourly, daily, weekly, monthly (default: the first config's)")
    .option('--time <HH:MM>', 'each day at this time', time)
    .action((options: Options, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), (session) => setUp(session, options)),
    );
}

async function setUp(session: Session, options: Options): Promise<void> {
  const { app, actor, print } = session;
  const kind = kindOf(options);
  if (options.install && options.remove) throw badInput('install', 'and --remove cannot both be done.');
  const configs = await app.configs.list();
  const { schedule, timezone } = scheduleOf(session, options, configs);
  assertSchedule(schedule, timezone);
  const target = targetOf(process.cwd());
  const timer = timerOf(session, kind, options, target, schedule, timezone);
  const action = options.install ? 'install' : options.remove ? 'remove' : 'print';
  const changed = action === 'print' ? false : await timer[action]();
  if (changed) await app.audit.record(actor, `schedule.${action}`, target.name, { kind, schedule });
  const { name } = target;
  print.result({ kind, name, schedule, action, changed, texts: timer.texts }, () => {
    if (action === 'remove') return changed ? `${name} is removed.` : `${name} was not installed: nothing to remove.`;
    if (action === 'install')
      return `${name} ${changed ? 'is' : 'was already'} installed: ${describeSchedule(schedule)}.`;
    return Object.entries(timer.texts)
      .map(([place, text]) => `# ${place}\n${text}`)
      .join('\n');
  });
  if (action !== 'remove')
    for (const line of notes(kind, options, target, configs, schedule, timezone)) print.note(line);
}

type Kind = 'systemd' | 'cron' | 'windows';

function kindOf(options: Options): Kind {
  const chosen = (['systemd', 'cron', 'windows'] as const).filter((kind) => options[kind] === true);
  const [kind] = chosen;
  if (kind !== undefined && chosen.length === 1) return kind;
  throw badInput('systemd', 'one of --systemd, --cron and --windows is needed.', 'Say which timer this machine has.');
}

function scheduleOf({ app }: Session, options: Options, configs: BackupConfigRow[]) {
  const { schedule, timezone } = configs[0] ?? app.environment.seed;
  if (options.time !== undefined && options.schedule !== undefined) {
    throw badInput('time', 'and --schedule cannot both be given.');
  }
  if (options.time === undefined) return { schedule: normaliseSchedule(options.schedule ?? schedule), timezone };
  const [hour, minute] = options.time.split(':').map(Number);
  return { schedule: `${minute} ${hour} * * *`, timezone };
}

function targetOf(folder: string): TimerTarget {
  const tag = createHash('sha256').update(folder).digest('hex').slice(0, 8);
  return { name: `db-manager-auto-backup-${tag}`, ...programOf(folder) };
}

function timerOf(
  { app, print }: Session,
  kind: Kind,
  options: Options,
  target: TimerTarget,
  schedule: string,
  timezone: string,
): Timer {
  const { name } = target;
  if (kind === 'cron') {
    const block = crontabBlock(target, schedule);
    return {
      texts: { crontab: block },
      install: () => changeCrontab(name, block),
      remove: () => changeCrontab(name, ''),
    };
  }
  if (kind === 'windows') {
    const xml = taskXml(target, schedule, userInfo().username);
    return {
      texts: { [`${name}.xml`]: xml },
      install: () => installTask(name, xml, join(app.environment.dataDir, 'tmp')).then(() => true),
      remove: () => removeTask(name),
    };
  }
  const user = options.user === true || process.getuid?.() !== 0;
  const units = systemdUnits(target, schedule, timezone, user);
  const places = Object.entries(units.files).map(([unit, text]) => [join(unitFolder(user), unit), text]);
  return {
    texts: Object.fromEntries(places) as Record<string, string>,
    install: () => installUnits(units, user),
    remove: () => removeUnits(units, user, (line) => print.note(line)),
  };
}

/** What the admin should know. */
function notes(
  kind: Kind,
  options: Options,
  { folder }: TimerTarget,
  configs: BackupConfigRow[],
  schedule: string,
  timezone: string,
): string[] {
  const lines: string[] = [];
  if (!existsSync(join(folder, '.env'))) {
    lines.push(`There is no .env in ${folder}: variables that are set only here will be missing when the timer runs.`);
  }
  const machine = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (kind !== 'systemd' && machine !== timezone) {
    lines.push(`The timer runs on the machine's clock (${machine}), not on the config's (${timezone}).`);
  }
  if (kind === 'systemd' && (options.user === true || process.getuid?.() !== 0)) {
    lines.push('Units of a user run only while the user is logged in, unless: loginctl enable-linger');
  }
  if (configs.some((config) => config.autoBackupEnabled && config.schedule !== schedule)) {
    lines.push(
      'Some configs have another schedule: a timer that runs more often, such as --schedule hourly, does what is due.',
    );
  }
  return lines;
}

function time(value: string): string {
  if (/^([01]\d|2[0-3]):[0-5]\d$/.test(value)) return value;
  throw new InvalidArgumentError('Write it like 02:30.');
}
