import { fileURLToPath } from 'node:url';
import { normaliseSchedule } from '../core/schedules/cron.js';
import { type Days, type Hours, shapeOf } from '../core/schedules/shape.js';
import { badInput } from '../errors.js';

/** This program as the system has to start it. All paths are absolute. */
export interface ProgramCall {
  node: string;
  cli: string;
  /** The working folder, where `.env` lies. */
  folder: string;
}

/** What a timer of the system has to start. */
export interface TimerTarget extends ProgramCall {
  /** Names this installation among others of the same machine. */
  name: string;
}

/** @throws AppError BAD_USER_INPUT for a path that no file of the system can hold */
export function programOf(folder: string): ProgramCall {
  const cli = fileURLToPath(new URL('../cli.js', import.meta.url));
  const odd = [folder, cli, process.execPath].find((path) => /\p{Cc}/u.test(path));
  if (odd !== undefined) throw badInput('folder', 'has a control character in its path.', 'Rename the folder.');
  return { node: process.execPath, cli, folder };
}

/** A schedule as timers other than cron can say it. Hours null: each. */
export type TimerShape = { everyMinutes: number } | { minute: number; hours: number[] | null; days: TimerDays };

/** The last day of a month is none of them: Windows alone could say it. */
export type TimerDays = Exclude<Days, { kind: 'last' }>;

/** @throws AppError BAD_USER_INPUT for a schedule that is not of a common shape */
export function timerShapeOf(schedule: string): TimerShape {
  const cron = normaliseSchedule(schedule);
  const shape = shapeOf(cron);
  if (shape === null) throw unusual(cron);
  if ('everyMinutes' in shape) return shape;
  const { minute, hours, days } = shape;
  if (days.kind === 'last') throw unusual(cron);
  return { minute, hours: hoursOf(hours), days };
}

function hoursOf(hours: Hours): number[] | null {
  if ('at' in hours) return hours.at;
  const { every } = hours;
  return every === 1 ? null : Array.from({ length: 24 / every }, (_, index) => index * every);
}

function unusual(cron: string) {
  return badInput(
    'schedule',
    `"${cron}" is not a schedule that this kind of timer can say.`,
    'Use --cron; or a schedule such as hourly, daily, weekly, monthly, `*/15 * * * *`, `30 2 * * 1-5`, `0 2 1,15 * *`.',
  );
}
