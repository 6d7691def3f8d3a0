import { describe, expect, it } from '@jest/globals';
import { DISASTERS, liveYear } from './simulation.js';

/** The figures of docs/anomalies.md are of these years. */
const YEARS = 40;
/** A disaster every forty days: so many, that each kind of them is met often. */
const CHANCE = 1 / 40;
/** What an application is like is not known before. */
const YOUNG_DAYS = 31;

describe('A year of daily backups of many applications', () => {
  const years = Array.from({ length: YEARS }, (_, index) => liveYear(index + 1, CHANCE));
  const disasters = years.flatMap((year) => year.disasters);
  const foundOf = (which: typeof disasters) => which.filter(({ found }) => found).length / which.length;
  const later = disasters.filter(({ day }) => day > YOUNG_DAYS);

  it('raises less than three false alarms for each application, and mostly at most two', () => {
    const counts = years.map(({ falseAlarms }) => falseAlarms.length).sort((a, b) => a - b);
    expect(counts.reduce((sum, count) => sum + count, 0) / YEARS).toBeLessThan(3);
    expect(counts[YEARS / 2]).toBeLessThanOrEqual(2);
  });

  it('raises an alarm in at least 19 of 20 disasters, and four of five alarms are of one', () => {
    const found = disasters.filter((disaster) => disaster.found).length;
    const alarms = found + years.reduce((sum, { falseAlarms }) => sum + falseAlarms.length, 0);
    expect(found / alarms).toBeGreaterThan(0.78);
    expect(foundOf(disasters)).toBeGreaterThan(0.93);
  });

  it.each([
    'a table emptied',
    'a table dropped',
    'a third to nine tenths of the rows of a table deleted',
    'all tables emptied',
    'a migration that lost a table',
    'media deleted',
    'media truncated',
    'parents of rows deleted',
  ])('finds every case of %s after the first month', (name) => {
    const cases = later.filter((disaster) => disaster.name === name);
    expect(cases.length).toBeGreaterThan(20);
    expect(foundOf(cases)).toBe(1);
  });

  it.each([
    ['content encrypted', 0.85],
    ['content blanked', 0.9],
    ['a tenth of the rows of a table deleted', 0.6],
  ])('finds most cases of %s after the first month', (name, least) => {
    expect(foundOf(later.filter((disaster) => disaster.name === name))).toBeGreaterThan(least);
  });

  it('finds two of three disasters of the first month', () => {
    expect(foundOf(disasters.filter(({ day }) => day <= YOUNG_DAYS))).toBeGreaterThan(0.66);
    expect(new Set(disasters.map(({ name }) => name))).toEqual(new Set(Object.keys(DISASTERS)));
  });

  it('comes to the same whenever it is lived through', () => {
    expect(liveYear(7, CHANCE)).toEqual(years[6]);
  });
});
