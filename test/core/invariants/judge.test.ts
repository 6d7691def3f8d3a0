import { describe, expect, it } from '@jest/globals';
import { answersOf, checkInvariants, isUnanswered, judgeInvariant } from '../../../src/core/invariants/invariants.js';
import type { Cell, Engine } from '../../../src/core/ports.js';
import { badInput } from '../../../src/errors.js';
import type { Expectation, Invariant } from '../../../src/models/index.js';

const invariant = (expect: Expectation, value: string | null = null): Invariant => ({
  name: 'Orders',
  sql: 'SELECT 1',
  expect,
  value,
});
const answer = (...rows: Cell[][]) => ({ columns: ['n'], rows });

describe('An invariant', () => {
  it.each<[Expectation, string | null, Cell, string | null, boolean]>([
    ['EQUALS', '1', 1, null, true],
    ['EQUALS', '1.0', 1, null, true],
    ['EQUALS', '1', 2, null, false],
    ['EQUALS', 'open', 'open', null, true],
    ['EQUALS', 'open', 'Open', null, false],
    ['EQUALS', '0', null, null, false],
    ['AT_LEAST', '10', 10, null, true],
    ['AT_LEAST', '10', 9, null, false],
    ['AT_LEAST', '10', 'ten', null, false],
    ['AT_LEAST', '10', null, null, false],
    ['AT_MOST', '10', 10.5, null, false],
    ['AT_MOST', '9007199254740993', '9007199254740993', null, true],
    ['AT_MOST', '9007199254740992', '9007199254740993', null, false],
    ['NOT_LESS_THAN_BEFORE', null, 4, '5', false],
    ['NOT_LESS_THAN_BEFORE', null, 5, '5', true],
    ['NOT_LESS_THAN_BEFORE', null, 4, null, true],
    ['NOT_LESS_THAN_BEFORE', null, null, '5', false],
  ])('%s %s holds of %s after %s: %s', (expectation, value, cell, before, holds) => {
    expect(judgeInvariant(invariant(expectation, value), answer([cell]), before).holds).toBe(holds);
  });

  it('that must be EMPTY shows the first row that it found', () => {
    expect(judgeInvariant(invariant('EMPTY'), answer(), null)).toMatchObject({ holds: true });
    const found = judgeInvariant(invariant('EMPTY'), { columns: ['id', 'user'], rows: [[7, null]] }, null);
    expect(found).toMatchObject({ holds: false, message: '"Orders" must give no row, and gave: 7, NULL.' });
  });

  it('that gives several values, or that cannot be asked, does not hold and says so', () => {
    for (const given of [answer([1], [2]), answer(), { columns: ['a', 'b'], rows: [[1, 2]] }, badInput('sql', 'no.')]) {
      const result = judgeInvariant(invariant('EQUALS', '1'), given, null);
      expect(result).toMatchObject({ holds: false, actual: null });
      expect(isUnanswered(result)).toBe(true);
    }
    expect(isUnanswered(judgeInvariant(invariant('EQUALS', '1'), answer([2]), null))).toBe(false);
  });

  it('whose query was changed is compared with nothing before', () => {
    const old = judgeInvariant(invariant('NOT_LESS_THAN_BEFORE'), answer([5]), null);
    expect(answersOf([old], [invariant('NOT_LESS_THAN_BEFORE')])).toEqual(new Map([['Orders', '5']]));
    expect(answersOf([old], [{ ...invariant('NOT_LESS_THAN_BEFORE'), sql: 'SELECT 2' }])).toEqual(new Map());
  });
});

describe('The invariants of a config', () => {
  const sqlite = { kind: 'SQLITE', rows: {} } as unknown as Engine;
  const refusal = (...given: Partial<Invariant>[]) => {
    try {
      checkInvariants(
        sqlite,
        given.map((one) => ({ ...invariant('EQUALS', '1'), ...one })),
      );
      return null;
    } catch (error) {
      const { field, message } = error as { field: string; message: string };
      return `${field} ${message}`;
    }
  };

  it.each<[string, Partial<Invariant>[], RegExp]>([
    ['no name', [{ name: ' ' }], /^invariants .*name/],
    ['one name twice', [{}, {}], /^invariants .*two entries with the name "Orders"/],
    ['no query', [{ sql: '' }], /^invariants .*"Orders": sql/],
    ['no value', [{ value: null }], /^invariants .*EQUALS needs a value/],
    ['a value that is no number', [{ expect: 'AT_LEAST', value: 'many' }], /^invariants .*"many" is not a number/],
    ['a value that nothing is compared with', [{ expect: 'EMPTY', value: '1' }], /^invariants .*takes no value/],
    ['an unknown expectation', [{ expect: 'MORE' as Expectation }], /^invariants .*expect is none of/],
    ['51 of them', Array.from({ length: 51 }, (_, i) => ({ name: `${i}` })), /^invariants .*more than 50/],
  ])('are refused with %s', (_title, given, message) => {
    expect(refusal(...given)).toMatch(message);
  });

  it('are refused for a kind of database whose rows cannot be read yet', () => {
    const server = { kind: 'MYSQL', rows: null } as unknown as Engine;
    expect(() => checkInvariants(server, [invariant('EMPTY')])).toThrow(/MYSQL database/);
    expect(checkInvariants(server, [])).toEqual([]);
  });
});
