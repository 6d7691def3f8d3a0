import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { queryCopy } from '../../../src/engines/sqlite/query.js';
import { suggestIn } from '../../../src/engines/sqlite/suggest.js';
import { exec } from '../../support/sqlite.js';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'suggest-'));
  path = join(folder, 'database.sqlite3');
  await exec(
    path,
    `CREATE TABLE "the users" (id INTEGER PRIMARY KEY, is_superuser bool, is_active bool);
     INSERT INTO "the users" VALUES (1, 1, 1), (2, 0, 1);
     CREATE TABLE booking (id INTEGER PRIMARY KEY, user_id INT REFERENCES "the users" (id));
     INSERT INTO booking VALUES (1, 1), (2, NULL);
     CREATE VIEW bookings AS SELECT * FROM booking;`,
  );
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const suggest = (...growing: string[]) => suggestIn({ path, growing });

describe('Suggested invariants', () => {
  it('are of super-users, foreign keys and tables that grow, and each can be asked', async () => {
    const suggested = await suggest('booking', 'bookings', 'gone');
    expect(suggested.map(({ name, expect: expected }) => [name, expected])).toEqual([
      ['There is a super-user in the users', 'AT_LEAST'],
      ['Every foreign key refers to a row', 'EMPTY'],
      ['No row of booking is lost', 'NOT_LESS_THAN_BEFORE'],
    ]);
    const answers = [];
    for (const { sql } of suggested) answers.push((await queryCopy({ path, sql, limit: 2 })).rows);
    expect(answers).toEqual([[[1]], [], [[2]]]);
  });

  it('are none of what does not hold now', async () => {
    await exec(path, 'UPDATE "the users" SET is_active = 0; INSERT INTO booking VALUES (3, 99)');
    expect(await suggest()).toEqual([]);
  });

  it('are none of foreign keys where no table has any', async () => {
    await exec(path, 'DROP VIEW bookings; DROP TABLE booking; DROP TABLE "the users"; CREATE TABLE plain (id INT)');
    expect(await suggest()).toEqual([]);
  });
});
