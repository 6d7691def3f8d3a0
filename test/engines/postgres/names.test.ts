import { describe, expect, it } from '@jest/globals';
import { literal, quoted, readTableName, tableName } from '../../../src/engines/postgres/names.js';

describe('A table', () => {
  it.each([
    ['public', 'orders', 'orders'],
    ['public', 'Orders', 'Orders'],
    ['public', 'a.b', '"a.b"'],
    ['a', 'b', 'a.b'],
    ['a.b', 'c"d', '"a.b"."c""d"'],
    ['public', '', '""'],
  ])('%s %s is listed as %s', (schema, name, listed) => {
    expect(tableName({ schema, name })).toBe(listed);
  });

  it.each([
    ['public.orders (id, "a ""b"" .c")', { schema: 'public', name: 'orders' }],
    ['"Ü ""x""."."it\'s; --" (x)', { schema: 'Ü "x".', name: "it's; --" }],
    ['public.no_columns', { schema: 'public', name: 'no_columns' }],
    ['orders (id)', null],
  ])('is read from %s', (text, name) => {
    expect(readTableName(text)).toEqual(name);
  });
});

it('A name or a text cannot leave its quotes', () => {
  expect(quoted('a"; DROP')).toBe('"a""; DROP"');
  expect(literal(`it's \\'`)).toBe(`E'it''s \\\\'''`);
});
