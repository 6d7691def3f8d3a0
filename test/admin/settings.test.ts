import { describe, expect, it } from '@jest/globals';
import { amountOf, bytesOf, isDay, sizeProblem, unitOf, wholeOf } from '../../src/admin/inputs.js';

describe('What people type into the settings', () => {
  it('is a size where it can be understood, and stays as it is where it cannot', () => {
    const GiB = 2 ** 30;
    expect(['10', ' 1,5 ', '.5', '10 GiB', '10GB', '1 tib'].map((text) => bytesOf(text, 'GiB'))).toEqual([
      10 * GiB,
      1.5 * GiB,
      GiB / 2,
      10 * GiB,
      10e9,
      1024 * GiB,
    ]);
    expect(bytesOf('  ', 'GiB')).toBe('');
    for (const text of ['0', '-1', '10 GX', 'GB', '1.2.3', '1e3', '0.0 GB']) {
      expect(bytesOf(text, 'GiB')).toBe(text);
      expect(sizeProblem(bytesOf(text, 'GiB'))).toMatch(/such as 10 GB/);
    }
    expect([sizeProblem(''), sizeProblem(GiB)]).toEqual([null, null]);
    expect([unitOf(''), unitOf('10 GX'), unitOf(3 * 2 ** 40), unitOf(5)]).toEqual(['GiB', 'GiB', 'TiB', 'MiB']);
    expect([amountOf(1.5 * GiB, 'GiB'), amountOf('10 GX', 'GiB'), amountOf('', 'MiB')]).toEqual(['1.5', '10 GX', '']);
  });

  it('is a whole number, also with zeros before it; only nothing is nothing', () => {
    expect([7, '00', '007', '99999999999999999999', '', '-'].map(wholeOf)).toEqual([7, 0, 7, 1e20, '', '']);
  });

  it('is a day if its year has four digits', () => {
    expect(['2025-07-24', '9999-12-31', '20261-01-01', '2025-13-01', '', null].map(isDay)).toEqual([
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
  });
});
