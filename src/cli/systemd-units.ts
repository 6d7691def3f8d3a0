import { DAYS, two } from '../core/schedules/shape.js';
import { type TimerDays, timerShapeOf, type TimerTarget } from './timer-shape.js';

/** The first line of each unit that `setup-schedule` has made. */
export const UNIT_MARK = '# Made by db-manager setup-schedule; `setup-schedule --systemd --remove` takes it away.';

/** Units of systemd that belong together. */
export interface UnitSet {
  /** The texts by file name. Each begins with the mark. */
  files: Record<string, string>;
  /** By this first line an installer knows its own units. */
  mark: string;
  /** The one of them that is enabled, and the target that starts it at boot. */
  starts: string;
  target: 'timers.target' | 'multi-user.target';
  /** What to do where the units cannot be written, and where systemd refuses. */
  hints: { write: string; systemd: string };
}

/** The schedule as systemd says it, on the clock of the zone. @throws AppError BAD_USER_INPUT for an unusual shape */
export function onCalendar(schedule: string, timezone: string): string {
  const shape = timerShapeOf(schedule);
  if ('everyMinutes' in shape) {
    return `*-*-* *:${shape.everyMinutes === 1 ? '*' : `00/${shape.everyMinutes}`}:00 ${timezone}`;
  }
  const hours = shape.hours?.map(two).join(',') ?? '*';
  return `${daysOf(shape.days)} ${hours}:${two(shape.minute)}:00 ${timezone}`;
}

function daysOf(days: TimerDays): string {
  if (days.kind === 'all') return '*-*-*';
  if (days.kind === 'month') return `*-*-${days.days.map(two).join(',')}`;
  return `${days.days.map((day) => DAYS[day]?.slice(0, 3)).join(',')} *-*-*`;
}

/** The service and the timer of an installation. @param user of the user, not of the system */
export function systemdUnits(target: TimerTarget, schedule: string, timezone: string, user: boolean): UnitSet {
  const { name, node, cli, folder } = target;
  const service = `${UNIT_MARK}
[Unit]
Description=db-manager: automatic backups of ${specifiers(folder)}

[Service]
Type=oneshot
WorkingDirectory=${specifiers(folder)}
ExecStart=${commandLine(node, cli)} auto-backup
`;
  const timer = `${UNIT_MARK}
[Unit]
Description=db-manager: when automatic backups of ${specifiers(folder)} are made

[Timer]
OnCalendar=${onCalendar(schedule, timezone)}
Persistent=true

[Install]
WantedBy=timers.target
`;
  return {
    files: { [`${name}.service`]: service, [`${name}.timer`]: timer },
    mark: UNIT_MARK,
    starts: `${name}.timer`,
    target: 'timers.target',
    hints: {
      write: 'Run it as root, or use --user for units of this user, or --cron.',
      systemd: user
        ? 'Is this a login of the user itself (not sudo)? Otherwise use --cron, or run it as root.'
        : 'Use --cron, or run it as root on a machine that systemd has started.',
    },
  };
}

/** A text of which systemd replaces nothing. */
export const specifiers = (text: string) => text.replaceAll('%', '%%');

/** The beginning of a command line that runs the program. */
export const commandLine = (node: string, cli: string) => `${quoted(node)} ${quoted(cli).replaceAll('$', '$$$$')}`;

/** One word of a setting, whatever it holds. */
export const quoted = (text: string) => `"${specifiers(text).replace(/[\\"]/g, '\\$&')}"`;
