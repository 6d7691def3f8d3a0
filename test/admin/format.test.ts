import { describe, expect, it } from '@jest/globals';
import { age, count, duration, exactSize, plural, size } from '../../src/admin/format.js';
import { humanSize } from '../../src/core/text/format.js';

describe('What people read', () => {
  it('is a size in the same words as everywhere else', () => {
    for (const bytes of [0, 1, 1023, 1024, 1536, 166_297, 13_107_200, 5 * 1024 ** 3, 2 ** 53]) {
      expect(size(bytes)).toBe(humanSize(bytes));
    }
    expect([exactSize(1), exactSize(13_107_200)]).toEqual(['1 byte', '13,107,200 bytes']);
  });

  it('is an age that never says more than is known', () => {
    const now = Date.parse('2026-11-23T12:00:00Z');
    const at = (text: string) => age(text, now);
    expect(at('2026-11-23T11:59:58Z')).toBe('just now');
    expect(at('2026-11-23T11:58:10Z')).toBe('1 minute ago');
    expect(at('2026-11-23T10:01:00Z')).toBe('1 hour ago');
    expect(at('2026-11-22T11:00:00Z')).toBe('1 day ago');
    expect(at('2026-08-01T12:00:00Z')).toBe('3 months ago');
    expect(at('2024-11-20T12:00:00Z')).toBe('2 years ago');
    expect(at('2026-11-23T12:00:30Z')).toBe('in a moment');
    expect(at('2026-11-24T02:00:00Z')).toBe('in 14 hours');
  });

  it('is a length of time with two units at most', () => {
    expect([0.25, 4, 59.6, 80, 3_600, 9_000].map(duration)).toEqual([
      '250 ms',
      '4 s',
      '1 min 0 s',
      '1 min 20 s',
      '1 h 0 min',
      '2 h 30 min',
    ]);
  });

  it('is one thing or several', () => {
    expect([plural(0, 'backup'), plural(1, 'backup'), plural(1200, 'backup')]).toEqual([
      '0 backups',
      '1 backup',
      '1,200 backups',
    ]);
    expect(count(100_000)).toBe('100,000');
  });
});
