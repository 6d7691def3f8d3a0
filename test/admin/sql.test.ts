import { describe, expect, it } from '@jest/globals';
import { tableInSql } from '../../src/admin/sql.js';
import { tableName } from '../../src/engines/postgres/names.js';

describe('A table in a query', () => {
  it('of SQLite is quoted as a whole, whatever its name holds', () => {
    expect(tableInSql('SQLITE', 'a.b')).toBe('"a.b"');
    expect(tableInSql('SQLITE', 'say "hi"')).toBe('"say ""hi"""');
  });

  it.each([
    ['public', 'Orders', '"Orders"'],
    ['Büro', 'Buchung', '"Büro"."Buchung"'],
    ['public', 'a.b', '"a.b"'],
    ['my "own"', 'x; --', '"my ""own"""."x; --"'],
  ])('of PostgreSQL is the one that the list means: %s, %s', (schema, name, sql) => {
    expect(tableInSql('POSTGRES', tableName({ schema, name }))).toBe(sql);
  });
});
