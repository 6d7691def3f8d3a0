import { describe, expect, it } from '@jest/globals';
import { growingTables } from '../../../src/core/invariants/suggest.js';

const tables = (counts: Record<string, number | null>) =>
  Object.entries(counts).map(([name, rows]) => ({ name, rows }));

describe('Tables that have not lost a row', () => {
  it('are those that never shrank, the largest first', () => {
    const history = [tables({ small: 1, shrank: 9, large: 50 }), tables({ small: 2, shrank: 8, large: 50, late: 5 })];
    expect(growingTables(history)).toEqual(['large', 'late', 'small']);
  });

  it.each([
    ['is empty', { booking: 0 }],
    ['could not be counted', { booking: null }],
    ['holds what comes and goes', { django_session: 5, django_admin_log: 7 }],
  ])('are none where one %s', (_, counts: Record<string, number | null>) => {
    expect(growingTables([tables(counts)])).toEqual([]);
  });

  it('are none of those that vanished, and ten at most', () => {
    expect(growingTables([tables({ gone: 3, here: 1 }), tables({ here: 1 })])).toEqual(['here']);
    const many = Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`t${index}`, index + 1]));
    expect(growingTables([tables(many)])).toHaveLength(10);
    expect(growingTables([])).toEqual([]);
  });
});
