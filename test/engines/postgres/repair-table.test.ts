import { describe, expect, it } from '@jest/globals';
import { type RepairColumn, repairTable, type ShapedTable } from '../../../src/engines/postgres/repair-table.js';

const column = (name: string, values: Partial<RepairColumn> = {}): RepairColumn => ({
  ...{
    name,
    type: 'integer',
    base: 23,
    isRequired: false,
    hasDefault: false,
    isGenerated: false,
    identity: '',
    isCounted: false,
  },
  ...values,
});

const table = (columns: RepairColumn[], key = ['id']): ShapedTable => ({
  ...{ oid: '1', schema: 'public', name: 't', columns, key },
});

const [ID, N] = [column('id'), column('n')];

describe('A table whose rows are brought back', () => {
  it('takes the columns that both have, and knows those that only the target has', () => {
    const now = table([
      column('more', { hasDefault: true, isRequired: true }),
      N,
      ID,
      column('sum', { isGenerated: true }),
    ]);
    const repair = repairTable('t', table([ID, N, column('old', { isGenerated: true })]), now, 3);
    expect(repair).toMatchObject({
      ...{ live: 'ONLY "public"."t"', rows: 'pg_temp.repair_rows_3', primary: [{ name: 'id' }] },
      ...{ columns: [{ name: 'n' }, { name: 'id' }], extra: [{ name: 'more' }] },
    });
  });

  it.each([
    ['a column is gone', table([ID]), /the target has no column n in t/],
    ['a column is generated now', table([ID, column('n', { isGenerated: true })]), /n of t is made by the server now/],
    ['a type is another', table([ID, column('n', { type: 'bigint' })]), /n of t was integer, and is bigint/],
    ['a new column must have a value', table([ID, N, column('x', { isRequired: true })]), /no value for x of t/],
    ['the key is another', table([ID, N], ['id', 'n']), /the primary key of t was id, and is id, n/],
    ['the key is gone', table([ID, N], []), /the primary key of t was id, and is none/],
    ['the table is gone', undefined, /the target has no table t/],
  ])('is refused where %s', (_why, now, message) => {
    expect(() => repairTable('t', table([ID, N]), now, 0)).toThrow(message);
  });

  it('is refused where the backup does not have it', () => {
    expect(() => repairTable('t', undefined, table([ID]), 0)).toThrow(/the backup has no table t/);
  });
});
