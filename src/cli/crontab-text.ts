import { normaliseSchedule } from '../core/schedules/cron.js';
import { numbered } from '../core/schedules/shape.js';
import { AppError, badInput } from '../errors.js';
import type { TimerTarget } from './timer-shape.js';

const begin = (name: string) => `# BEGIN ${name} (made by db-manager setup-schedule)`;
const end = (name: string) => `# END ${name}`;

/** The lines of an installation: the call between two marks. @throws AppError BAD_USER_INPUT for what only db-manager's own cron knows */
export function crontabBlock({ name, node, cli, folder }: TimerTarget, schedule: string): string {
  const fields = normaliseSchedule(schedule).split(' ');
  fields[4] = numbered(fields[4] ?? '*');
  const strange = fields.some((field, index) => /[LW#?+]/i.test(index === 3 ? '' : field));
  if (strange) {
    throw badInput('schedule', `"${schedule}" is not a schedule that every cron knows.`, 'Leave out L, W, #, ? and +.');
  }
  const call = `cd ${quoted(folder)} && ${quoted(node)} ${quoted(cli)} auto-backup >/dev/null`;
  // A bare % ends a line of a crontab.
  return [begin(name), `${fields.join(' ')} ${call.replaceAll('%', '\\%')}`, end(name), ''].join('\n');
}

/** The crontab with the block in place of the one that it has of the same name; without it if `block` is empty. */
export function changedCrontab(present: string, name: string, block: string): string {
  const lines = present.split('\n');
  const from = lines.indexOf(begin(name));
  const to = lines.indexOf(end(name));
  if ((from === -1) !== (to === -1) || to < from) {
    throw new AppError('BAD_USER_INPUT', `The marks of ${name} in the crontab are no longer a pair.`, {
      hint: 'Repair or remove the lines by hand with `crontab -e`, then repeat the command.',
    });
  }
  if (from !== -1) {
    lines.splice(from, to - from + 1, ...(block === '' ? [] : block.split('\n').slice(0, -1)));
    return lines.join('\n');
  }
  const gap = present === '' || present.endsWith('\n') || block === '' ? '' : '\n';
  return `${present}${gap}${block}`;
}

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
