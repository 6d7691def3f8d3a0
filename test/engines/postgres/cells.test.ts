import { describe, expect, it } from '@jest/globals';
import { cellOf, isCut } from '../../../src/engines/postgres/cells.js';

/** Oids of types. */
const TYPE = { bytea: 17, bigint: 20, integer: 23, text: 25, double: 701, numeric: 1700 };

describe('A value of PostgreSQL', () => {
  it.each<[keyof typeof TYPE, string | null, string | number | null]>([
    ['integer', '-7', -7],
    ['bigint', '9007199254740991', 9007199254740991],
    ['bigint', '9007199254740993', '9007199254740993'],
    ['numeric', '0.10', 0.1],
    ['numeric', '12345678901.2345', 12345678901.2345],
    ['numeric', '12345678901.23456', '12345678901.23456'],
    ['numeric', '-0.000000000000000123', -0.000000000000000123],
    ['numeric', 'NaN', 'NaN'],
    ['numeric', '100000000000000000000', '100000000000000000000'],
    ['double', '0.30000000000000004', 0.1 + 0.2],
    ['double', '1e+300', 1e300],
    ['double', '-Infinity', '-Infinity'],
    ['text', '7', '7'],
    ['text', '', ''],
    ['text', null, null],
    ['bytea', '0:', "x''"],
    ['bytea', '2:00ff', "x'00ff'"],
  ])('of the type %s written as %p is shown as %p', (type, text, cell) => {
    expect(cellOf(text, TYPE[type])).toBe(cell);
    expect(isCut(text, TYPE[type])).toBe(false);
  });

  it('that is long is cut by its characters, and says so', () => {
    const smiles = '😀'.repeat(501);
    expect(cellOf(smiles, TYPE.text)).toBe(`${'😀'.repeat(500)}…`);
    expect(isCut(smiles, TYPE.text)).toBe(true);
    expect(isCut('😀'.repeat(500), TYPE.text)).toBe(false);
    expect(cellOf('33:00', TYPE.bytea)).toBe("x'00'… (33 bytes)");
    expect(isCut('33:00', TYPE.bytea)).toBe(true);
  });
});
