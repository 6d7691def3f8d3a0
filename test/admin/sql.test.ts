import { describe, expect, it } from '@jest/globals';
import { browseSql, tableInSql } from '../../src/admin/sql.js';
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

describe('A page of a table', () => {
  const all = { table: 'public.x', sort: null, filter: null, offset: 0 };

  it('is sorted and filtered by columns whose names and texts are quoted', () => {
    expect(browseSql('POSTGRES', all, 51)).toBe('SELECT * FROM "public"."x"\nLIMIT 51');
    const chosen = {
      ...all,
      sort: { column: 'say "hi"', descending: true },
      filter: { column: 'a"b', text: "50%_! o'clock" },
      offset: 100,
    };
    expect(browseSql('SQLITE', chosen, 51).split('\n')).toEqual([
      'SELECT * FROM "public.x"',
      `WHERE lower(CAST("a""b" AS text)) LIKE lower('%50!%!_!! o''clock%') ESCAPE '!'`,
      'ORDER BY "say ""hi""" DESC',
      'LIMIT 51',
      'OFFSET 100',
    ]);
  });
});
