import { describe, expect, it } from '@jest/globals';
import { failureAt } from '../../../src/engines/postgres/connection.js';
import { sqlError } from '../../../src/engines/postgres/query.js';
import { parseUrl } from '../../../src/engines/postgres/url.js';

const failure = (code: string, message: string) =>
  failureAt(parseUrl('postgres://u@h/d'), Object.assign(new Error(message), { code }));

describe('What PostgreSQL says of a query', () => {
  it.each([
    ['42601', 'syntax error at or near "x"'],
    ['42P01', 'relation "x" does not exist'],
    ['22P02', 'invalid input syntax for type integer: "x"'],
    ['55000', 'materialized view "x" has not been populated'],
  ])('with the code %s is about what the user gave', (code, message) => {
    expect(sqlError(failure(code, message), 'sql')).toMatchObject({
      ...{ code: 'BAD_USER_INPUT', field: 'sql', message: `sql: ${message}.`, hint: expect.stringContaining('SELECT') },
    });
    expect(sqlError(failure(code, message), 'key', 'Give a key.')).toMatchObject({ field: 'key', hint: 'Give a key.' });
  });

  it.each([
    ['42501', 'permission denied for table x', 'DATABASE_UNREADABLE'],
    ['55P03', 'canceling statement due to lock timeout', 'DATABASE_IN_USE'],
    ['55006', 'database "x" is being accessed by other users', 'DATABASE_IN_USE'],
    ['57P01', 'terminating connection due to administrator command', 'DATABASE_FAILED'],
  ])('with the code %s is not: it stays what the server answered', (code, message, kind) => {
    const error = failure(code, message);
    expect(sqlError(error, 'sql')).toBeUndefined();
    expect(error.code).toBe(kind);
  });
});
