import { DAYS, MONTHS, two } from '../core/schedules/shape.js';
import { type TimerDays, type TimerShape, timerShapeOf, type TimerTarget } from './timer-shape.js';

/**
 * The task of an installation for the Windows Task Scheduler, which reads it as UTF-16.
 * @param user whose rights it has; no password is kept
 * @throws AppError BAD_USER_INPUT for a schedule of an unusual shape
 */
export function taskXml({ node, cli, folder }: TimerTarget, schedule: string, user: string): string {
  return `<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>${text(`db-manager: automatic backups of ${folder}`)}</Description>
  </RegistrationInfo>
  <Triggers>
${triggers(timerShapeOf(schedule)).join('\n')}
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>${text(user)}</UserId>
      <LogonType>S4U</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>${text(node)}</Command>
      <Arguments>${text(`"${cli}" auto-backup`)}</Arguments>
      <WorkingDirectory>${text(folder)}</WorkingDirectory>
    </Exec>
  </Actions>
</Task>
`;
}

function triggers(shape: TimerShape): string[] {
  if ('everyMinutes' in shape) return [trigger('00:00', { kind: 'all' }, `PT${shape.everyMinutes}M`)];
  const minute = two(shape.minute);
  if (shape.hours === null) return [trigger(`00:${minute}`, shape.days, 'PT1H')];
  return shape.hours.map((hour) => trigger(`${two(hour)}:${minute}`, shape.days, null));
}

function trigger(time: string, days: TimerDays, every: string | null): string {
  const repetition =
    every === null
      ? ''
      : `      <Repetition>
        <Interval>${every}</Interval>
        <Duration>P1D</Duration>
      </Repetition>
`;
  return `    <CalendarTrigger>
${repetition}      <StartBoundary>2025-01-01T${time}:00</StartBoundary>
      <Enabled>true</Enabled>
${daysOf(days)}
    </CalendarTrigger>`;
}

function daysOf(days: TimerDays): string {
  if (days.kind === 'all') return '      <ScheduleByDay><DaysInterval>1</DaysInterval></ScheduleByDay>';
  if (days.kind === 'week') {
    const names = days.days.map((day) => `<${DAYS[day]} />`).join('');
    return `      <ScheduleByWeek><DaysOfWeek>${names}</DaysOfWeek><WeeksInterval>1</WeeksInterval></ScheduleByWeek>`;
  }
  const numbers = days.days.map((day) => `<Day>${day}</Day>`).join('');
  const months = MONTHS.map((month) => `<${month} />`).join('');
  return `      <ScheduleByMonth><DaysOfMonth>${numbers}</DaysOfMonth><Months>${months}</Months></ScheduleByMonth>`;
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

const text = (value: string) => value.replace(/[&<>"]/g, (character) => ENTITIES[character] ?? character);
