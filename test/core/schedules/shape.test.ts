import { describe, expect, it } from '@jest/globals';
import { type Choice, choiceOf, cronOf } from '../../../src/admin/cron.js';
import { shapeOf } from '../../../src/core/schedules/shape.js';

const all = { kind: 'all' };

describe('The shape of a schedule', () => {
  it.each([
    ['*/15 * * * *', { everyMinutes: 15 }],
    ['20 * * * *', { minute: 20, hours: { every: 1 }, days: all }],
    ['0 */6 * * *', { minute: 0, hours: { every: 6 }, days: all }],
    ['0,0 8-18/5,9 * * *', { minute: 0, hours: { at: [8, 9, 13, 18] }, days: all }],
    ['5 3 * * FRI-SUN', { minute: 5, hours: { at: [3] }, days: { kind: 'week', days: [0, 5, 6] } }],
    ['5 3 * * 0-7', { minute: 5, hours: { at: [3] }, days: all }],
    ['5 3 15,1 * *', { minute: 5, hours: { at: [3] }, days: { kind: 'month', days: [1, 15] } }],
    ['5 3 L * *', { minute: 5, hours: { at: [3] }, days: { kind: 'last' } }],
  ])('of %s is %p', (cron, shape) => {
    expect(shapeOf(cron)).toEqual(shape);
  });

  it.each([
    '',
    '0 2 * *',
    '0 2 * * * *',
    '0 2 * 6 *',
    '0 2 1 * 1',
    '*/7 * * * *',
    '*/15 8 * * *',
    '0,30 * * * *',
    '5/15 2 * * *',
    '60 2 * * *',
    '0 24 * * *',
    '0 2 0 * *',
    '0 2 * * 8',
    '0 2 * * SUNDAY',
    '0 2 * * MON#1',
    '0 5-1 * * *',
    '0 1-5/0 * * *',
  ])('is null for "%s", which is not a common one', (cron) => {
    expect(shapeOf(cron)).toBeNull();
  });
});

describe('The choice of a schedule on the page', () => {
  it.each([
    ['0 * * * *', { rhythm: 'hourly' }],
    ['0 */6 * * *', { rhythm: 'sixHourly' }],
    ['5 3 * * *', { rhythm: 'daily', time: '03:05' }],
    ['30 14 * * 1-5', { rhythm: 'workdays', time: '14:30' }],
    ['0 0 * * 0', { rhythm: 'weekly', time: '00:00', weekday: '0' }],
    ['59 23 1 * *', { rhythm: 'monthly', time: '23:59' }],
  ])('of %s is %p, and makes the same schedule again', (cron, choice) => {
    expect(choiceOf(cron)).toMatchObject(choice);
    expect(cronOf(choiceOf(cron) as Choice)).toBe(cron);
  });

  it.each(['20 * * * *', '0 */2 * * *', '0 2,14 * * *', '0 2 2 * *', '0 2 * * 1,3', '60 2 * * *', '0 2', ''])(
    'of "%s" is custom',
    (cron) => {
      expect(choiceOf(cron)).toEqual({ rhythm: 'custom', time: '02:00', weekday: '1' });
    },
  );
});
