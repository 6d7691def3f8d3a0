import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { rowIn } from '../../../src/engines/sqlite/row.js';
import { exec } from '../../support/sqlite.js';

let folder: string;
let path: string;
const long = 3 * 1024 * 1024;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'row-'));
  path = join(folder, 'database.sqlite3');
  await exec(
    path,
    `CREATE TABLE booking (id INTEGER PRIMARY KEY, guest TEXT, nights, total AS (nights * 2));
     INSERT INTO booking VALUES (17, 'Bram', 2), (18, 'Bram', '2'), (9007199254740993, NULL, x'0102');
     CREATE TABLE "odd.one" (a TEXT, b BLOB, PRIMARY KEY (a, b)) WITHOUT ROWID;
     INSERT INTO "odd.one" VALUES ('007', x'0a0b'), ('7', 'x');
     CREATE TABLE guest (phone TEXT PRIMARY KEY); INSERT INTO guest VALUES ('9876543210'), ('-1.5');
     CREATE TABLE big (id INTEGER PRIMARY KEY, file BLOB);
     INSERT INTO big VALUES (1, zeroblob(${long})), (2, zeroblob(${long - 1}) || x'01'), (3, zeroblob(${long}));
     CREATE VIEW guests AS SELECT * FROM booking;`,
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const look = (table: string, key: Record<string, string | number | null>) => rowIn({ path, table, key });
const found = async (table: string, key: Record<string, string | number | null>) => {
  const row = await look(table, key);
  if (row === null || row === 'unknown') throw new Error(`There is no such row: ${row}.`);
  return row;
};

describe('A row of a private copy', () => {
  it.each<[string, Record<string, string | number | null>, object]>([
    ['booking', { id: 17 }, { id: 17, guest: 'Bram', nights: 2, total: 4 }],
    ['Booking', { ID: '17' }, { guest: 'Bram' }],
    ['booking', { id: '9007199254740993' }, { id: '9007199254740993', guest: null, nights: "x'0102'" }],
    ['booking', { guest: null }, { id: '9007199254740993' }],
    ['guest', { phone: 9_876_543_210 }, { phone: '9876543210' }],
    ['guest', { phone: -1.5 }, { phone: '-1.5' }],
    ['odd.one', { a: '007', b: "x'0A0B'" }, { a: '007' }],
    ['odd.one', { a: 7, b: 'x' }, { b: 'x' }],
  ])('of %s is found by %o', async (table, key, values) => {
    expect((await found(table, key)).values).toMatchObject(values);
  });

  it.each<[string, Record<string, string | number>, null | 'unknown']>([
    ['booking', { id: 5 }, null],
    ['odd.one', { a: '07', b: 'x' }, null],
    ['nothing', { id: 1 }, 'unknown'],
    ['booking', { number: 1 }, 'unknown'],
    ['guests', { id: 17 }, 'unknown'],
  ])('of %s is not found by %o: %s', async (table, key, answer) => {
    expect(await look(table, key)).toBe(answer);
  });

  it('is refused where several have these values', async () => {
    await expect(look('booking', { guest: 'Bram' })).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'key' });
  });

  it('has other hashes for values of another type, and of other bytes however long they are', async () => {
    const [one, other] = [await found('booking', { id: 17 }), await found('booking', { id: 18 })];
    expect(one.hashes.guest).toBe(other.hashes.guest);
    expect(one.hashes.nights).not.toBe(other.hashes.nights);
    const big = await Promise.all([1, 2, 3].map((id) => found('big', { id })));
    expect(big[0]?.hashes.file).toBe(big[2]?.hashes.file);
    expect(big[0]?.hashes.file).not.toBe(big[1]?.hashes.file);
  });

  it('takes nothing in a key for SQL', async () => {
    expect(await look('booking', { id: '17 OR 1=1' })).toBeNull();
    expect(await look('booking', { 'id" OR 1=1 --': 1 })).toBe('unknown');
    expect(await look('booking', { guest: "x'' OR 1=1 --'" })).toBeNull();
  });
});
