import { DAYS, two } from '../core/schedules/shape.js';
import { type TimerDays, timerShapeOf, type TimerTarget } from './timer-shape.js';

/** The first line of each unit that `setup-schedule` has made. */
export const UNIT_MARK = '# Made by db-manager setup-schedule; `setup-schedule --systemd --remove` takes it away.';

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

/** The service and the timer of an installation, by file name. */
export function systemdUnits(target: TimerTarget, schedule: string, timezone: string): Record<string, string> {
  const { name, node, cli, folder } = target;
  const service = `${UNIT_MARK}
[Unit]
Description=db-manager: automatic backups of ${specifiers(folder)}

[Service]
Type=oneshot
WorkingDirectory=${specifiers(folder)}
ExecStart=${quoted(node)} ${quoted(cli).replaceAll('$', '$$$$')} auto-backup
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
  return { [`${name}.service`]: service, [`${name}.timer`]: timer };
}

const specifiers = (text: string) => text.replaceAll('%', '%%');

const quoted = (text: string) => `"${specifiers(text).replace(/[\\"]/g, '\\$&')}"`;
