import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { createWriteStream } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as api from '../../src/client/index.js';
import type { RowRepair } from '../../src/core/ports.js';
import { createEngines } from '../../src/engines/index.js';
import { compareDatabases } from '../../src/engines/postgres/compare.js';
import { withConnection } from '../../src/engines/postgres/connection.js';
import { repairTable, shapedTables } from '../../src/engines/postgres/repair-table.js';
import { chooseRows } from '../../src/engines/postgres/repair-where.js';
import { parseUrl } from '../../src/engines/postgres/url.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { clientOf } from '../support/operations.js';
import { at, query, stateOf, using, ZOO } from '../support/postgres.js';
import { runsOf } from '../support/runs.js';
import { startPostgres } from '../support/servers.js';
import { NEVER } from '../support/world.js';

const server = await startPostgres();
const missing = 'missing' in server ? server.missing : null;
const root = 'missing' in server ? '' : server.url;
afterAll(async () => {
  if (!('missing' in server)) await server.stop();
});

const step = { signal: NEVER, onProgress: () => undefined };
const engine = createEngines().of('POSTGRES');

let folder: string;
let url: string;
let databases = 0;
let dumps = 0;
beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'repair-')));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function makeDatabase(build: string): Promise<void> {
  const name = `repair_${(databases += 1)}`;
  await query(root, `CREATE DATABASE ${name}`);
  url = at(root, name);
  await query(url, build);
}

async function backUp(): Promise<string> {
  const dump = join(folder, `dump${(dumps += 1)}`);
  await mkdir(dump);
  const ended = new AbortController();
  const { files, contents } = await engine.snapshot(url, dump, { ...step, signal: ended.signal });
  for (const { open, path } of files)
    if (open !== undefined) await pipeline(await open(), createWriteStream(join(dump, path)));
  await contents;
  // Until then its transaction is open.
  ended.abort();
  return dump;
}

/** A backup of a database that was built by some statements, and then changed by others. */
async function lost(build: string, changes: string): Promise<string> {
  await makeDatabase(build);
  const dump = await backUp();
  await query(url, changes);
  return dump;
}

type Wanted = Partial<RowRepair> & { tables: string[] };

const repairOf = (wanted: Wanted): RowRepair => ({ mode: 'MISSING', where: null, withParents: false, ...wanted });

const plan = (dump: string, wanted: Wanted) =>
  engine.rehearse(dump, url, {
    ...step,
    tables: wanted.tables,
    includeRelated: false,
    exact: false,
    repair: repairOf(wanted),
  });

async function load(
  dump: string,
  { tables, ...wanted }: Wanted,
  more: { tables?: string[]; signal?: AbortSignal; lockTimeoutMs?: number } = {},
): Promise<void> {
  await engine.load(dump, url, {
    ...step,
    lockTimeoutMs: 1_000,
    stamp: 'run',
    source: {},
    madeHere: true,
    expected: [],
    onSwitch: () => undefined,
    damaged: false,
    exact: false,
    tables,
    repair: repairOf({ tables, ...wanted }),
    ...more,
  });
  await engine.clearStamp(url, 1_000);
}

/** Plans and brings back what the plan says. */
async function bringBack(dump: string, wanted: Wanted) {
  const before = await stateOf(url);
  const planned = await plan(dump, wanted);
  expect(planned.refusals).toEqual([]);
  expect(await stateOf(url)).toEqual(before);
  await load(dump, wanted, { tables: planned.tables });
  return planned;
}

/** Expects that the plan is refused. */
async function refused(dump: string, wanted: Wanted, code: string, message: RegExp) {
  const planned = await plan(dump, wanted);
  expect(planned.refusals[0]).toMatchObject({ code, message: expect.stringMatching(message) });
  return planned;
}

const BOOKINGS = `CREATE TABLE booking (id serial PRIMARY KEY, guest text, nights int, tenant int);
  INSERT INTO booking (guest, nights, tenant) VALUES ('Asha', 2, 1), ('Bram', 3, 2), ('Caro', 1, 1);`;
const CHANGES = `DELETE FROM booking WHERE id = 1; UPDATE booking SET nights = 9 WHERE id = 2;
  INSERT INTO booking (guest, nights, tenant) VALUES ('Dina', 5, 2);`;

const suite = missing === null ? describe : describe.skip;

suite(`Rows that a PostgreSQL database lost${missing ? ` (skipped: ${missing})` : ''}`, () => {
  it('come back with types of another role, whose casts and operators the plan does not call', async () => {
    const evil = "LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN RAISE 'ran as %', current_user; END $f$";
    const dump = await lost(
      `DO $$ BEGIN CREATE ROLE app; EXCEPTION WHEN duplicate_object THEN NULL; END $$; CREATE SCHEMA own AUTHORIZATION app; SET ROLE app;
       SET search_path = own; CREATE TYPE mood AS ENUM ('ok', 'bad'); CREATE TYPE pair AS (x int, y mood);
       CREATE FUNCTION evil(mood) RETURNS text ${evil}; CREATE FUNCTION evil(pair) RETURNS text ${evil};
       CREATE FUNCTION evil(mood, mood) RETURNS bool ${evil}; CREATE OPERATOR = (LEFTARG = mood, RIGHTARG = mood, FUNCTION = evil);
       CREATE CAST (mood AS text) WITH FUNCTION evil(mood); CREATE CAST (pair AS text) WITH FUNCTION evil(pair);
       CREATE TABLE felt (m mood PRIMARY KEY, p pair); INSERT INTO felt VALUES ('ok', '(1,ok)'), ('bad', NULL);
       CREATE TABLE plain (m mood, p pair); INSERT INTO plain VALUES ('ok', '(1,)'), ('ok', '(1,)'), (NULL, NULL); RESET ROLE`,
      `DELETE FROM own.felt WHERE m OPERATOR(pg_catalog.=) 'bad'; UPDATE own.felt SET p = '(2,)'; DELETE FROM own.plain`,
    );
    const { repairs } = await bringBack(dump, { tables: ['own.felt', 'own.plain'], mode: 'CHANGED' });
    expect(repairs).toMatchObject([
      {
        ...{ add: 1, overwrite: 1 },
        samples: [{ key: { m: 'bad' } }, { key: { m: 'ok' }, before: { p: '(2,)' }, after: { p: '(1,ok)' } }],
      },
      { add: 3, overwrite: 0 },
    ]);
    await expect(query(url, 'SELECT m::text FROM own.felt')).rejects.toThrow('ran as postgres');
  });

  it('come back, and what was changed or added since stays', async () => {
    const dump = await lost(BOOKINGS, CHANGES);
    const { repairs, warnings } = await bringBack(dump, { tables: ['booking'] });
    expect(warnings).toEqual([]);
    expect(repairs).toEqual([
      {
        ...{ name: 'booking', parents: false, add: 1, overwrite: 0, keep: 3, conflicts: [] },
        samples: [{ key: { id: 1 }, before: null, after: { id: 1, guest: 'Asha', nights: 2, tenant: 1 } }],
      },
    ]);
    expect(await query(url, 'SELECT id, guest, nights FROM booking ORDER BY id')).toEqual([
      { id: 1, guest: 'Asha', nights: 2 },
      { id: 2, guest: 'Bram', nights: 9 },
      { id: 3, guest: 'Caro', nights: 1 },
      { id: 4, guest: 'Dina', nights: 5 },
    ]);
    expect(await query(url, `SELECT nextval('booking_id_seq')::int AS next`)).toEqual([{ next: 5 }]);
    const again = await plan(dump, { tables: ['booking'] });
    expect(again).toMatchObject({
      warnings: ['The target has all of these rows: nothing comes back.'],
      repairs: [{ add: 0, overwrite: 0, keep: 4 }],
    });
  });

  it('come back with those that differ where that is asked for, as far as a condition says', async () => {
    const dump = await lost(BOOKINGS, `${CHANGES} UPDATE booking SET nights = 8 WHERE id = 3`);
    const { repairs } = await bringBack(dump, {
      tables: ['booking'],
      mode: 'CHANGED',
      where: 'booking.tenant = 2 OR id = 1',
    });
    expect(repairs).toMatchObject([{ add: 1, overwrite: 1, keep: 2 }]);
    expect(repairs[0]?.samples[1]).toEqual({ key: { id: 2 }, before: { nights: 9 }, after: { nights: 3 } });
    expect(await query(url, 'SELECT nights FROM booking ORDER BY id')).toEqual(
      [2, 3, 8, 5].map((nights) => ({ nights })),
    );
  });

  it('come back with values of every kind, byte by byte, and leave the rest as it was', async () => {
    await makeDatabase(`${ZOO} CREATE TABLE floats (id int PRIMARY KEY, f float8, j json, n numeric, i interval, r float4[]);
      INSERT INTO floats VALUES (1, '-0', '{"a": 1}', 1.0, '1 mon', '{NaN,-0}'), (2, 0, '{"a":1}', 1.00, '30 days', '{0}')`);
    const listed = (await engine.describe(url))?.tables.map(({ name }) => name) ?? [];
    const odd = listed.find((name) => name.includes("it's")) ?? '';
    const whole = await stateOf(url, ['log']);
    const dump = await backUp();
    await query(
      url,
      `DELETE FROM zoo; DELETE FROM "Ünïque ""schema""."."it's ""a"".table; --"; DELETE FROM no_columns; DELETE FROM orders;
       DELETE FROM kid; DELETE FROM secret; UPDATE floats SET f = -f, j = '{"a":  1}', n = 1.000, i = CASE id WHEN 1 THEN interval '30 days' ELSE '1 mon' END`,
    );
    const tables = ['zoo', odd, 'no_columns', 'orders_1', 'orders_2', 'kid', 'secret', 'floats'];
    const { repairs } = await bringBack(dump, { tables, mode: 'CHANGED' });
    expect(repairs.map(({ name, add, overwrite }) => [name, add, overwrite])).toEqual([
      ['zoo', 3, 0],
      [odd, 20, 0],
      ['no_columns', 2, 0],
      ['orders_1', 11, 0],
      ['orders_2', 19, 0],
      ['kid', 1, 0],
      ['secret', 2, 0],
      ['floats', 0, 2],
    ]);
    expect(await stateOf(url, ['log'])).toEqual(whole);
  });

  it('are counted where nothing but their values tells them apart', async () => {
    const dump = await lost(
      `CREATE TABLE t (a int, b json); INSERT INTO t VALUES (1, '{}'), (1, '{}'), (1, '{}'), (2, NULL)`,
      `DELETE FROM t WHERE ctid IN (SELECT ctid FROM t WHERE a = 1 LIMIT 2); UPDATE t SET a = 3 WHERE a = 2`,
    );
    const { repairs, warnings } = await bringBack(dump, { tables: ['t'], mode: 'CHANGED' });
    expect(repairs).toMatchObject([{ add: 3, overwrite: 0, keep: 2 }]);
    expect(warnings.join()).toMatch(/t has no primary key/);
    expect(await query(url, 'SELECT a FROM t ORDER BY a')).toEqual([1, 1, 1, 2, 3].map((a) => ({ a })));
  });

  it('fire no trigger, move sequences up and never down, and keep numbers that the server makes', async () => {
    const dump = await lost(
      `CREATE TABLE log (what text); CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
         $f$ BEGIN INSERT INTO public.log VALUES (TG_OP); RETURN NULL; END $f$;
       CREATE TABLE up (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, twice int GENERATED ALWAYS AS (n * 2) STORED, n int);
       CREATE TABLE down (id serial PRIMARY KEY, n int); CREATE MATERIALIZED VIEW sums AS SELECT count(*) FROM up;
       CREATE TRIGGER noting BEFORE INSERT OR UPDATE OR DELETE ON up FOR EACH ROW EXECUTE FUNCTION noted();
       ALTER TABLE up ENABLE ALWAYS TRIGGER noting;
       CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RETURN NEW; END $f$;
       INSERT INTO up (n) OVERRIDING SYSTEM VALUE SELECT g FROM generate_series(1, 9) g; INSERT INTO down (n) VALUES (1), (2);
       DROP TRIGGER noting ON up; INSERT INTO up (n) SELECT g FROM generate_series(1, 9) g;
       CREATE TRIGGER noting BEFORE INSERT OR UPDATE OR DELETE ON up FOR EACH ROW EXECUTE FUNCTION noted();
       ALTER TABLE up ENABLE ALWAYS TRIGGER noting;`,
      `ALTER TABLE up DISABLE TRIGGER noting; DELETE FROM up; ALTER TABLE up ENABLE ALWAYS TRIGGER noting; ALTER SEQUENCE up_id_seq RESTART;
       DELETE FROM down; SELECT setval('down_id_seq', 50); TRUNCATE log`,
    );
    const { warnings } = await bringBack(dump, { tables: ['up', 'down'] });
    expect(warnings).toEqual([
      'Triggers do not run for rows of up that come back: noting. What they write stays as it is.',
      expect.stringContaining('REFRESH MATERIALIZED VIEW "public"."sums";'),
    ]);
    expect(await query(url, 'SELECT count(*)::int AS n, sum(twice)::int AS twice FROM up')).toEqual([
      { n: 9, twice: 90 },
    ]);
    expect(await query(url, 'SELECT * FROM log')).toEqual([]);
    expect(await query(url, `SELECT tgenabled AS how FROM pg_trigger WHERE tgname = 'noting'`)).toEqual([{ how: 'A' }]);
    const [last] = await query<{ id: number }>(url, 'SELECT max(id) AS id FROM up');
    expect(
      await query(
        url,
        `SELECT nextval('up_id_seq')::int - ${last?.id ?? 0} AS up, nextval('down_id_seq')::int AS down`,
      ),
    ).toEqual([{ up: 1, down: 51 }]);
  });

  it('move the sequences of partitions, domains and numeric columns up as well', async () => {
    const dump = await lost(
      `CREATE DOMAIN number AS int; CREATE SEQUENCE numbers; CREATE SEQUENCE down INCREMENT -1;
       CREATE TABLE p (id int GENERATED ALWAYS AS IDENTITY, at int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
       CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (99); INSERT INTO p (at) SELECT g FROM generate_series(1, 9) g;
       CREATE TABLE t (id numeric(9, 1) PRIMARY KEY DEFAULT nextval('numbers'), d number DEFAULT nextval('down'), s serial);
       INSERT INTO t SELECT FROM generate_series(1, 5); INSERT INTO t (id) VALUES (7.5), ('NaN')`,
      'TRUNCATE p, t RESTART IDENTITY; ALTER SEQUENCE numbers RESTART; ALTER SEQUENCE down RESTART',
    );
    await bringBack(dump, { tables: ['p_1', 't'] });
    expect(
      await query(
        url,
        `INSERT INTO p (at) VALUES (10); INSERT INTO t SELECT;
         SELECT (SELECT max(id) FROM p) AS p, id::text, d, s FROM t WHERE d = (SELECT min(d) FROM t)`,
      ),
    ).toEqual([{ p: 10, id: '8.0', d: -8, s: 8 }]);
  });

  it('get the default of a column that is new, which others keep, and a number where it counts', async () => {
    const dump = await lost(
      BOOKINGS,
      `${CHANGES} ALTER TABLE booking ADD paid bool NOT NULL DEFAULT true; ALTER TABLE booking ADD number serial;
       UPDATE booking SET paid = false`,
    );
    const { warnings } = await bringBack(dump, { tables: ['booking'], mode: 'CHANGED' });
    expect(warnings.join()).toMatch(/does not have paid, number of booking/);
    expect(await query(url, 'SELECT id, nights, paid, number > 0 AS n FROM booking ORDER BY id')).toEqual([
      { id: 1, nights: 2, paid: true, n: true },
      { id: 2, nights: 3, paid: false, n: true },
      { id: 3, nights: 1, paid: false, n: true },
      { id: 4, nights: 5, paid: false, n: true },
    ]);
    expect(await query(url, 'SELECT count(DISTINCT number)::int AS n FROM booking')).toEqual([{ n: 4 }]);
  });

  it('may swap values that must be unique, unless foreign keys act when a row is taken away', async () => {
    const SEATS = `CREATE TABLE seat (id int PRIMARY KEY, at int UNIQUE, mate int REFERENCES seat); INSERT INTO seat VALUES (1, 10, 2), (2, 20, 1);`;
    const SWAP =
      'UPDATE seat SET at = 0 WHERE id = 1; UPDATE seat SET at = 10 WHERE id = 2; UPDATE seat SET at = 20 WHERE id = 1;';
    const dump = await lost(
      `${SEATS} CREATE TABLE booked (seat int REFERENCES seat); INSERT INTO booked VALUES (1)`,
      SWAP,
    );
    await bringBack(dump, { tables: ['seat'], mode: 'CHANGED' });
    expect(await query(url, 'SELECT at FROM seat ORDER BY id')).toEqual([{ at: 10 }, { at: 20 }]);
    const CASCADE = `CREATE TABLE booked (seat int REFERENCES seat ON DELETE CASCADE); INSERT INTO booked VALUES (1), (2)`;
    const other = await lost(`${SEATS} ${CASCADE}`, `${SWAP} UPDATE seat SET mate = NULL`);
    await refused(
      other,
      { tables: ['seat'], mode: 'CHANGED' },
      'RESTORE_CONFLICT',
      /same at until it is overwritten too, .* \(2 rows\)/,
    );
    await query(url, 'UPDATE seat SET at = 30 + id');
    await bringBack(other, { tables: ['seat'], mode: 'CHANGED' });
    expect(await query(url, 'SELECT at, mate FROM seat ORDER BY id')).toEqual([
      { at: 10, mate: 2 },
      { at: 20, mate: 1 },
    ]);
    expect(await query(url, 'SELECT count(*)::int AS n FROM booked')).toEqual([{ n: 2 }]);
  });
});

suite('Rows that do not fit what a PostgreSQL database holds now', () => {
  it('are refused for each rule that they break, with samples', async () => {
    const dump = await lost(
      `CREATE TABLE t (id int PRIMARY KEY, mail text, "Straße" text, at int4range, n int, felt text);
       INSERT INTO t SELECT g, 'm' || g, 's' || g, int4range(g * 10, g * 10 + 5), g, 'x' FROM generate_series(1, 9) g`,
      `DELETE FROM t WHERE id <= 5; UPDATE t SET mail = 'M1' WHERE id = 6; UPDATE t SET "Straße" = 's2' WHERE id = 7;
       UPDATE t SET at = '[32,33]' WHERE id = 8; UPDATE t SET felt = 'y';
       ALTER TABLE t ADD CONSTRAINT few CHECK (n <> 4), ADD CONSTRAINT "no touch" EXCLUDE USING gist (at WITH &&) WHERE (id > 0);
       CREATE UNIQUE INDEX ON t (lower(mail)) WHERE id < 100; ALTER TABLE t ADD UNIQUE ("Straße")`,
    );
    const { repairs, refusals } = await refused(
      dump,
      { tables: ['t'] },
      'RESTORE_CONFLICT',
      /rows of t cannot be brought back/,
    );
    expect(
      repairs[0]?.conflicts.map(({ reason, rows, samples }) => [reason, rows, samples.map(({ key }) => key.id)]),
    ).toEqual([
      ['another row excludes it by no touch: EXCLUDE USING gist (at WITH &&) WHERE ((id > 0))', 1, [3]],
      ['another row has the same lower(mail) where (id < 100)', 1, [1]],
      ['another row has the same Straße', 1, [2]],
      ['few does not allow it: CHECK ((n <> 4))', 1, [4]],
    ]);
    const [refusal] = refusals;
    expect(refusal?.hint).toMatch(/correct the newer rows/);
    const before = await stateOf(url);
    await expect(load(dump, { tables: ['t'] })).rejects.toMatchObject({
      code: 'RESTORE_CONFLICT',
      message: refusal?.message,
    });
    expect(await stateOf(url)).toEqual(before);
    await load(dump, { tables: ['t'], where: 'id = 5' });
    expect(await query(url, 'SELECT count(*)::int AS n FROM t')).toEqual([{ n: 5 }]);
  });

  it('are refused where a check takes the whole row, or a foreign key takes all of its columns', async () => {
    const dump = await lost(
      `CREATE TABLE a (x int, y int, PRIMARY KEY (x, y)); INSERT INTO a VALUES (1, 1); CREATE TABLE t (gone int, id int PRIMARY KEY, x int, y int);
       ALTER TABLE t DROP gone; INSERT INTO t VALUES (1, NULL, NULL), (2, 1, NULL), (3, 1, 1), (4, 1, 1)`,
      `DELETE FROM t; CREATE FUNCTION few(t) RETURNS bool LANGUAGE sql AS 'SELECT $1.id <> 4'; ALTER TABLE t ADD CONSTRAINT few CHECK (few(t));
       ALTER TABLE t ADD CONSTRAINT every CHECK (t IS DISTINCT FROM NULL AND id > 0);
       ALTER TABLE t ADD CONSTRAINT torn FOREIGN KEY (x, y) REFERENCES a MATCH FULL`,
    );
    const { repairs } = await refused(dump, { tables: ['t'] }, 'RESTORE_CONFLICT', /rows of t cannot be brought back/);
    expect(repairs[0]?.conflicts.map(({ reason, samples }) => [reason, samples.map(({ key }) => key.id)])).toEqual([
      ['few does not allow it: CHECK (public.few(t.*))', [4]],
      ['torn does not allow NULL in some of x, y and not in all', [2]],
    ]);
    await bringBack(dump, { tables: ['t'], where: 'id IN (1, 3)' });
    expect(await query(url, 'SELECT id FROM t ORDER BY id')).toEqual([{ id: 1 }, { id: 3 }]);
  });

  it('are refused where a column must not be NULL, a partition is another, or a type takes less', async () => {
    const dump = await lost(
      `CREATE TABLE p (id int, at int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at); CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (10);
       INSERT INTO p SELECT g, g FROM generate_series(1, 9) g; CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1), (2);
       CREATE DOMAIN small AS int CHECK (VALUE < 100); CREATE TABLE d (id int PRIMARY KEY, n small); INSERT INTO d VALUES (1, 50)`,
      `DELETE FROM p; ALTER TABLE p DETACH PARTITION p_1; ALTER TABLE p ATTACH PARTITION p_1 FOR VALUES FROM (0) TO (5);
       DELETE FROM t; ALTER TABLE t ALTER n SET NOT NULL; DELETE FROM d; ALTER DOMAIN small ADD CHECK (VALUE < 9)`,
    );
    const { refusals } = await refused(
      dump,
      { tables: ['p_1', 't'] },
      'RESTORE_CONFLICT',
      /not belong to this partition \(5 rows\)/,
    );
    expect(refusals[1]?.message).toMatch(/n must not be NULL \(2 rows\)/);
    await refused(dump, { tables: ['d'] }, 'RESTORE_CONFLICT', /value for domain .*small violates check constraint/);
    await load(dump, { tables: ['p_1'], where: 'at < 5' });
    expect(await query(url, 'SELECT count(*)::int AS n FROM p')).toEqual([{ n: 4 }]);
  });

  it('are refused where their parents are gone, which come along on request, to the end', async () => {
    const dump = await lost(
      `CREATE TABLE country (code text PRIMARY KEY) PARTITION BY LIST (code); CREATE TABLE country_a PARTITION OF country FOR VALUES IN ('a');
       CREATE TABLE country_b PARTITION OF country DEFAULT; INSERT INTO country VALUES ('a'), ('b'), ('c');
       CREATE TABLE town (id int PRIMARY KEY, country text REFERENCES country, capital int REFERENCES town);
       INSERT INTO town VALUES (1, 'a', 2), (2, 'b', NULL), (3, 'c', 3);
       CREATE TABLE street (id int PRIMARY KEY, town int NOT NULL REFERENCES town DEFERRABLE); INSERT INTO street VALUES (1, 1), (2, 3)`,
      'DELETE FROM street; DELETE FROM town; DELETE FROM country',
    );
    const wanted: Wanted = { tables: ['street'], where: 'id = 1' };
    const { refusals, repairs } = await refused(
      dump,
      wanted,
      'RESTORE_CONFLICT',
      /town refers to rows of town that the target/,
    );
    expect(refusals[0]?.hint).toMatch(/withParents: true .* rows of town back/);
    expect(repairs[0]?.conflicts).toMatchObject([{ rows: 1, samples: [{ after: { id: 1, town: 1 } }] }]);
    const planned = await bringBack(dump, { ...wanted, withParents: true });
    expect(planned.repairs.map(({ name, parents, add }) => [name, parents, add])).toEqual([
      ['street', false, 1],
      ['town', true, 2],
      ['country_a', true, 1],
      ['country_b', true, 1],
    ]);
    expect(await query(url, 'SELECT id FROM town ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
    expect(await query(url, 'SELECT code FROM country ORDER BY 1')).toEqual([{ code: 'a' }, { code: 'b' }]);
    await expect(load(dump, { tables: ['street'], withParents: true })).rejects.toMatchObject({
      code: 'RESTORE_CONFLICT',
      message: expect.stringMatching(/rows of (town|country_b) would be needed as well by now/),
    });
  });

  it('are refused without a hint at parents where the backup lacks their table', async () => {
    const dump = await lost(
      'CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)',
      'DELETE FROM t; CREATE TABLE a (id int PRIMARY KEY); ALTER TABLE t ADD FOREIGN KEY (n) REFERENCES a',
    );
    const { refusals } = await refused(dump, { tables: ['t'] }, 'RESTORE_CONFLICT', /n refers to rows of a that/);
    expect(refusals[0]?.hint).not.toMatch(/withParents/);
  });

  it('are refused where overwriting takes away what newer rows refer to', async () => {
    const dump = await lost(
      `CREATE TABLE a (id int PRIMARY KEY, code text UNIQUE); INSERT INTO a VALUES (1, 'old');
       CREATE TABLE b (code text REFERENCES a (code) ON UPDATE CASCADE)`,
      `UPDATE a SET code = 'new'; INSERT INTO b VALUES ('new')`,
    );
    await refused(dump, { tables: ['a'], mode: 'CHANGED' }, 'RESTORE_CONFLICT', /would take away: b → a/);
  });

  it('are refused where a rule would change what is written, or the table is gone', async () => {
    const dump = await lost(BOOKINGS, 'CREATE RULE r AS ON INSERT TO booking DO INSTEAD NOTHING');
    await refused(dump, { tables: ['booking'] }, 'BAD_USER_INPUT', /the rule r of booking would change/);
    await query(url, 'DROP TABLE booking');
    await refused(dump, { tables: ['booking'] }, 'BAD_USER_INPUT', /the target has no table booking/);
  });

  it('are refused where the user does not own the table, with the statement that helps', async () => {
    const dump = await lost(BOOKINGS, 'CREATE ROLE other LOGIN CREATEDB; GRANT ALL ON booking TO other');
    const name = new URL(url).pathname.slice(1);
    await query(root, `ALTER DATABASE ${name} OWNER TO other`);
    url = at(root, name, { name: 'other', password: '' });
    await expect(plan(dump, { tables: ['booking'] })).rejects.toMatchObject({
      code: 'DATABASE_UNREADABLE',
      hint: expect.stringContaining('GRANT "postgres" TO "other"'),
    });
    // A sequence of another role must not be moved, which the plan knows as well.
    await query(
      at(root, name),
      `ALTER TABLE booking ALTER id DROP DEFAULT; ALTER SEQUENCE booking_id_seq OWNED BY NONE; ALTER TABLE booking OWNER TO other;
       ALTER TABLE booking ALTER id SET DEFAULT nextval('booking_id_seq'); DELETE FROM booking; ALTER SEQUENCE booking_id_seq RESTART`,
    );
    const { refusals } = await refused(
      dump,
      { tables: ['booking'] },
      'DATABASE_UNREADABLE',
      /must not change booking_id_seq, which belong/,
    );
    expect(refusals[0]?.hint).toContain('GRANT "postgres" TO "other"');
  });
});

suite('A restore of rows into a PostgreSQL database', () => {
  it('leaves it as it was where its tables stay locked, it is cancelled, or its connection ends', async () => {
    const dump = await lost(BOOKINGS, CHANGES);
    const before = await stateOf(url);
    await using(url, async (writer) => {
      await writer.query('BEGIN; UPDATE booking SET nights = 7 WHERE id = 3');
      // A plan waits for no writer.
      expect(await plan(dump, { tables: ['booking'] })).toMatchObject({ refusals: [], repairs: [{ add: 1 }] });
      await expect(load(dump, { tables: ['booking'] })).rejects.toMatchObject({ code: 'DATABASE_IN_USE' });
      const waiting = `SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'`;
      const until = async (sessions: number) => {
        while ((await query(url, waiting)).length !== sessions) await sleep(10);
      };
      const cancelled = new AbortController();
      const first = load(dump, { tables: ['booking'] }, { signal: cancelled.signal, lockTimeoutMs: 60_000 });
      await Promise.all([
        expect(first).rejects.toThrow('cancelled'),
        until(1).then(() => cancelled.abort(new Error('cancelled'))),
      ]);
      // The server notices while it waits that no one does any more.
      await until(0);
      const second = load(dump, { tables: ['booking'] }, { lockTimeoutMs: 60_000 });
      await Promise.all([
        expect(second).rejects.toMatchObject({ code: 'DATABASE_FAILED' }),
        until(1).then(() => query(url, `SELECT pg_terminate_backend(pid) FROM (${waiting}) w`)),
      ]);
      await writer.query('ROLLBACK');
    });
    expect(await stateOf(url)).toEqual(before);
    expect(await engine.stampOf(url)).toBeNull();
    await bringBack(dump, { tables: ['booking'] });
  });
});

suite('While an application writes to a PostgreSQL database, a restore of rows', () => {
  /** Runs `run` while another transaction is open, which goes on once the run waits for a lock. */
  async function beside(open: string, goOn: string, run: () => Promise<unknown>): Promise<unknown> {
    return using(url, async (writer) => {
      await writer.query(`BEGIN; ${open}`);
      const ended = run().then(
        () => null,
        (error: unknown) => error,
      );
      const waits = async () =>
        (
          await query(
            url,
            `SELECT FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database
           WHERE datname = current_database())`,
          )
        ).length > 0;
      let done = false;
      void ended.then(() => (done = true));
      while (!done && !(await waits())) await sleep(10);
      await writer.query(goOn);
      return ended;
    });
  }

  it('judges what was committed while it waited, whatever the isolation of the database', async () => {
    const dump = await lost('CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2)', 'DELETE FROM t');
    const name = new URL(url).pathname.slice(1);
    await query(
      root,
      `ALTER DATABASE ${name} SET default_transaction_isolation = 'repeatable read';
      ALTER DATABASE ${name} SET default_transaction_read_only = on`,
    );
    const long = { lockTimeoutMs: 60_000 };
    expect(
      await beside('SET TRANSACTION READ WRITE; INSERT INTO t VALUES (1)', 'COMMIT', () =>
        load(dump, { tables: ['t'] }, long),
      ),
    ).toBeNull();
    expect(await query(url, 'SELECT a FROM t ORDER BY a')).toEqual([{ a: 1 }, { a: 2 }]);
  });

  it('waits for rows that come to refer to what it overwrites, and is refused by them', async () => {
    const dump = await lost(
      `CREATE TABLE a (id int PRIMARY KEY, code text UNIQUE); INSERT INTO a VALUES (1, 'old');
       CREATE TABLE b (code text REFERENCES a (code) ON UPDATE CASCADE)`,
      "UPDATE a SET code = 'new'",
    );
    const ended = await beside("INSERT INTO b VALUES ('new')", 'COMMIT', () =>
      load(dump, { tables: ['a'], mode: 'CHANGED' }, { lockTimeoutMs: 60_000 }),
    );
    expect(ended).toMatchObject({ code: 'RESTORE_CONFLICT', message: expect.stringMatching(/take away: b → a/) });
    expect(await query(url, 'SELECT code FROM b')).toEqual([{ code: 'new' }]);
  });

  it('is refused, and ends no one, where a sequence that must move stays in use', async () => {
    const dump = await lost(BOOKINGS, 'DELETE FROM booking; ALTER SEQUENCE booking_id_seq RESTART');
    await using(url, async (writer) => {
      await writer.query("BEGIN; SELECT nextval('booking_id_seq')");
      await expect(load(dump, { tables: ['booking'] })).rejects.toMatchObject({ code: 'DATABASE_IN_USE' });
      await writer.query("INSERT INTO booking VALUES (9, 'Eve', 1, 1); COMMIT");
    });
    expect(await query(url, 'SELECT id FROM booking')).toEqual([{ id: 9 }]);
  });

  it('gives up the locks it has while one writes to the tables in the other order', async () => {
    const dump = await lost(
      'CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)',
      'DELETE FROM a; DELETE FROM b',
    );
    const both: Wanted = { tables: ['a', 'b'] };
    const ended = await beside('INSERT INTO b VALUES (2)', 'INSERT INTO a VALUES (2); COMMIT', () =>
      load(dump, both, { lockTimeoutMs: 60_000 }),
    );
    expect(ended).toBeNull();
    for (const table of both.tables) {
      expect(await query(url, `SELECT id FROM ${table} ORDER BY id`)).toEqual([{ id: 1 }, { id: 2 }]);
    }
  });
});

/** A number for all rows that any other row, value or row more changes. */
const checksum = (database: string, where: string) =>
  query(
    database,
    `SELECT count(*)::int AS n, sum(hashtextextended(concat_ws('|', id, guest, nights, customer), 7))::text AS sum FROM booking WHERE ${where}`,
  );

suite('Bookings that a deploy deleted from a PostgreSQL database', () => {
  let app: TestApp;
  beforeAll(async () => {
    app = await createTestApp();
  });
  afterAll(() => app?.close());
  const { configure, backUp: backUpOf, restore, undo } = runsOf(() => app);

  it('come back by exactly the rows that are gone; those of the days since stay', async () => {
    await makeDatabase(
      `CREATE TABLE customer (id serial PRIMARY KEY, mail text UNIQUE); INSERT INTO customer (mail) SELECT g || '@x' FROM generate_series(1, 50) g;
       CREATE TABLE booking (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, guest text, nights int, customer int REFERENCES customer);
       INSERT INTO booking (guest, nights, customer) SELECT 'guest ' || g, g % 9, 1 + g % 50 FROM generate_series(1, 4000) g;`,
    );
    const before = await checksum(url, 'id <= 4000');
    const sql = "SELECT count(*) FROM booking WHERE guest = 'last'";
    const invariants = [{ name: 'Last', sql, expect: 'EQUALS', value: '0' }];
    const configId = await configure('Bookings', url, { invariants });
    const { id } = await backUpOf(configId);
    await query(
      url,
      `DELETE FROM booking WHERE id % 10 = 3; UPDATE customer SET mail = 'new' || mail;
       INSERT INTO booking (guest, nights, customer) SELECT 'newer ' || g, g % 5, 1 + g % 50 FROM generate_series(1, 400) g;`,
    );
    const newer = await checksum(url, 'id > 4000');
    const customers = await query(url, 'SELECT * FROM customer ORDER BY id');
    const client = clientOf(app);
    const { compareBackups } = await client.request(api.CompareBackupsDocument, { from: id });
    expect(compareBackups.tables).toMatchObject([
      { name: 'booking', removed: 400, changed: 0, added: 400, unchanged: 3600, schemaChanges: [] },
      { name: 'customer', removed: 0, changed: 50, added: 0, unchanged: 0, schemaChanges: [] },
    ]);

    const input = { backupId: id, tables: ['booking'], rows: 'MISSING' as const };
    const { restorePlan } = await client.request(api.RestorePlanDocument, { input: { ...input, confirm: false } });
    expect(restorePlan).toMatchObject({
      ...{ allowed: true, refusals: [], related: [] },
      repairs: [{ name: 'booking', parents: false, add: 400, overwrite: 0, keep: 4000, conflicts: [] }],
    });
    expect(restorePlan.repairs[0]?.samples).toHaveLength(10);
    // The application goes on between the plan and the restore.
    await query(url, "INSERT INTO booking (guest, nights, customer) VALUES ('last', 1, 1)");
    const done = await restore(input);
    expect(done.warnings).toContain('After the restore: Invariant "Last" is 1, and must be 0.');
    // As `db-manager guard` asks.
    const config = await app.app.configs.get(Number(configId));
    const live = await app.app.insight.askLive(config, await app.app.backups.get(id), new AbortController().signal);
    expect(live).toMatchObject({ invariants: [{ holds: false, actual: '1' }], findings: [] });

    expect(await checksum(url, 'id <= 4000')).toEqual(before);
    expect(await checksum(url, "id > 4000 AND guest <> 'last'")).toEqual(newer);
    expect(await query(url, 'SELECT count(*)::int AS n, max(id)::int AS last FROM booking')).toEqual([
      { n: 4401, last: 4401 },
    ]);
    expect(await query(url, 'SELECT * FROM customer ORDER BY id')).toEqual(customers);
    await query(url, "INSERT INTO booking (guest) VALUES ('after')");

    await undo(done.id);
    expect(await query(url, 'SELECT count(*)::int AS n FROM booking')).toEqual([{ n: 4001 }]);
    expect(await checksum(url, "id > 4000 AND guest <> 'last'")).toEqual(newer);
  });
});

suite('A condition on rows of a PostgreSQL backup', () => {
  it('is refused where it may do more than to choose rows, and then changes nothing', async () => {
    await makeDatabase(
      `${BOOKINGS} CREATE FUNCTION spy(int) RETURNS bool LANGUAGE plpgsql AS $f$ BEGIN DELETE FROM public.booking; RETURN true; END $f$;
       CREATE FUNCTION liar(int) RETURNS bool STABLE LANGUAGE sql AS 'SELECT public.spy($1)';
       CREATE FUNCTION sly(int) RETURNS bool STABLE LANGUAGE plpgsql AS
         $f$ BEGIN PERFORM set_config('session_replication_role', 'replica', false); RETURN true; END $f$`,
    );
    const before = await stateOf(url);
    const chosen = (where: string) =>
      withConnection(parseUrl(url), NEVER, async (connection) => {
        await connection.run('BEGIN; CREATE TEMP TABLE repair_rows_0 AS SELECT * FROM public.booking');
        const booking = (await shapedTables(connection)).get('booking');
        const list = await chooseRows(connection, repairTable('booking', booking, booking, 0), where, 500);
        // What comes next may write again.
        await connection.run('CREATE TABLE public.after (x int); ROLLBACK AND CHAIN; ROLLBACK');
        return list;
      });
    for (const [where, message] of [
      ['nights >', /syntax error/],
      ['none = 1', /column "none" does not exist/],
      ['true); DROP TABLE booking; SELECT (1', /cannot insert multiple commands/],
      ["pg_read_file('/etc/passwd') <> ''", /calls pg_read_file\(\)/],
      ['spy(id)', /calls spy\(\)/],
      ['liar(id)', /not allowed|read-only/],
      ['sly(id)', /changes settings of its session/],
      ['id IN (SELECT oid FROM pg_authid)', /reads pg_authid/],
      [
        "table_to_xml('pg_authid'::regclass, true, false, '')::text LIKE '%postgres%'",
        /calls table_to_xml\(\), which may read more/,
      ],
      [`U&"schema_to_xm\\006C"('public', true, false, '') IS NULL`, /calls schema_to_xml\(\), which may read more/],
      ['1 / (id - 1) > 0', /division by zero/],
      ['nights', /must be type boolean/],
      ["guest = '\0'", /holds a NUL/],
      ['(SELECT count(*) FROM generate_series(1, 1000000000)) > id', /took longer than 0.5 seconds/],
    ] as const) {
      const wanted = { code: 'BAD_USER_INPUT', field: 'where', message: expect.stringMatching(message) };
      await expect(chosen(where)).rejects.toMatchObject(wanted);
    }
    for (const where of [
      'true) OR (true',
      'booking.nights > 1 -- few',
      'lower(guest) IN (SELECT guest FROM pg_temp.repair_rows_0)',
    ]) {
      expect(await chosen(where)).toMatch(/chosen/);
    }
    expect(await stateOf(url)).toEqual(before);
  });
});

suite('Two PostgreSQL databases', () => {
  /** Lays a database as `build` says beside one that is changed afterwards, and compares both. */
  async function compared(build: string, changes: string) {
    await makeDatabase(build);
    const before = url;
    // Made anew, not copied: rows are at other places, oids are others, and texts are ordered in another way.
    const name = `repair_${(databases += 1)}`;
    await query(root, `CREATE DATABASE ${name} TEMPLATE template0 LOCALE 'C'`);
    url = at(root, name);
    await query(url, build);
    await query(url, changes);
    const state = await stateOf(url);
    const found = await compareDatabases(parseUrl(before), parseUrl(url), { tables: null, samples: 10, signal: NEVER });
    expect(await stateOf(url)).toEqual(state);
    return found;
  }

  it('that hold values of every kind are the same, whatever is set for them', async () => {
    const set = [
      'TimeZone',
      'Asia/Kolkata',
      'DateStyle',
      'SQL, DMY',
      'IntervalStyle',
      'iso_8601',
      'bytea_output',
      'escape',
    ];
    const { tables, schemaChanges } = await compared(
      ZOO,
      `DO $$ DECLARE set text[] = '{${set.map((text) => `"${text}"`).join(',')}}'; BEGIN FOR i IN 1..4 LOOP
         EXECUTE format('ALTER DATABASE %I SET %I = %L', current_database(), set[2 * i - 1], set[2 * i]); END LOOP;
         EXECUTE format('ALTER DATABASE %I SET extra_float_digits = -15', current_database()); END $$`,
    );
    expect(schemaChanges).toEqual([]);
    const differ = tables.filter(
      (table) => table.added + table.removed + table.changed + table.schemaChanges.length > 0,
    );
    expect(differ).toEqual([]);
    expect(tables.map(({ name, unchanged }) => [name, unchanged])).toEqual(
      expect.arrayContaining([
        ['zoo', 3],
        ['no_columns', 2],
        ['orders_1', 11],
        ['orders_2', 19],
        ['parent', 2],
        ['kid', 1],
      ]),
    );
  });

  it('differ by rows that were added, removed and changed, with the columns that differ', async () => {
    const { tables } = await compared(
      `CREATE TABLE b (id bigint PRIMARY KEY, guest text, f float8, raw bytea); INSERT INTO b
         SELECT 9007199254740990 + g, 'g' || g, 0, NULL FROM generate_series(1, 5) g;
       CREATE TABLE plain (a int, b json); INSERT INTO plain VALUES (1, '{}'), (1, '{}'), (2, NULL);
       CREATE TABLE gone (id int); INSERT INTO gone VALUES (1)`,
      `DELETE FROM b WHERE guest = 'g1'; UPDATE b SET f = '-0' WHERE guest = 'g2'; UPDATE b SET raw = '\\x00ff' WHERE guest = 'g3';
       INSERT INTO b VALUES (1, repeat('ü', 600), 'NaN', NULL); INSERT INTO plain VALUES (1, '{}'); UPDATE plain SET a = 3 WHERE a = 2;
       DROP TABLE gone; CREATE TABLE fresh (id int PRIMARY KEY, n numeric); INSERT INTO fresh VALUES (1, 0.10)`,
    );
    const none = { added: 0, removed: 0, changed: 0, unchanged: 0, schemaChanges: [] };
    expect(tables).toEqual([
      {
        ...{ ...none, name: 'b', added: 1, removed: 1, changed: 2, unchanged: 2 },
        samples: [
          {
            key: { id: 9007199254740991 },
            before: { id: 9007199254740991, guest: 'g1', f: 0, raw: null },
            after: null,
          },
          { key: { id: '9007199254740992' }, before: { f: 0 }, after: { f: -0 } },
          { key: { id: '9007199254740993' }, before: { raw: null }, after: { raw: "x'00ff'" } },
          { key: { id: 1 }, before: null, after: { id: 1, guest: `${'ü'.repeat(500)}…`, f: 'NaN', raw: null } },
        ],
      },
      {
        ...{ ...none, name: 'fresh', added: 1, schemaChanges: ['The table is new.'] },
        samples: [{ key: {}, before: null, after: { id: 1, n: 0.1 } }],
      },
      {
        ...{ ...none, name: 'gone', removed: 1, schemaChanges: ['The table is gone.'] },
        samples: [{ key: {}, before: { id: 1 }, after: null }],
      },
      {
        ...{ ...none, name: 'plain', added: 2, removed: 1, unchanged: 2 },
        samples: [
          { key: {}, before: { a: 2, b: null }, after: null },
          { key: {}, before: null, after: { a: 1, b: '{}' } },
          { key: {}, before: null, after: { a: 3, b: null } },
        ],
      },
    ]);
  });

  it('are the same where their encodings differ, also where bytes are no characters', async () => {
    const encodings = ['SQL_ASCII', 'LATIN1', 'UTF8'];
    const urls: string[] = [];
    for (const encoding of encodings) {
      const name = `encoded_${encoding.toLowerCase()}`;
      await query(root, `CREATE DATABASE ${name} TEMPLATE template0 ENCODING '${encoding}' LOCALE 'C'`);
      await query(at(root, name), "CREATE TABLE t (x text); INSERT INTO t VALUES ('Straße'), ('ü')");
      urls.push(at(root, name));
    }
    const [bytes = '', latin = '', utf8 = ''] = urls;
    const unchanged = async (before: string, after: string) =>
      (await compareDatabases(parseUrl(before), parseUrl(after), { tables: null, samples: 1, signal: NEVER })).tables[0]
        ?.unchanged;
    expect(await unchanged(latin, utf8)).toBe(2);
    expect(await unchanged(utf8, bytes)).toBe(2);
    await query(bytes, "INSERT INTO t SELECT convert_from('\\xff', 'SQL_ASCII')");
    expect(await unchanged(bytes, bytes)).toBe(3);
  });

  it('differ by definitions, which are named in words, and rows by the columns that both have', async () => {
    const build = `CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE t (id int PRIMARY KEY, n int, old text, felt mood DEFAULT 'a', m int);
      INSERT INTO t SELECT g, g, 'x', 'a' FROM generate_series(1, 3) g; CREATE INDEX by_n ON t (n); CREATE VIEW seen AS SELECT id FROM t;
      CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE SEQUENCE numbers; CREATE TABLE other (id int)`;
    const { tables, schemaChanges } = await compared(
      build,
      `ALTER TABLE t DROP old; ALTER TABLE t ADD fresh int; ALTER TABLE t ALTER n TYPE bigint; ALTER TABLE t ALTER felt DROP DEFAULT;
       DROP INDEX by_n; CREATE INDEX by_m ON t (m); ALTER TABLE t ADD CONSTRAINT few CHECK (n < 100); ALTER TABLE t ENABLE ROW LEVEL SECURITY;
       CREATE OR REPLACE VIEW seen AS SELECT id FROM t WHERE id > 0; CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2';
       ALTER TYPE mood ADD VALUE 'c'; DROP SEQUENCE numbers; CREATE FUNCTION g(int) RETURNS int LANGUAGE sql AS 'SELECT 2'`,
    );
    expect(tables.find(({ name }) => name === 't')).toMatchObject({
      ...{ added: 0, removed: 0, changed: 0, unchanged: 3 },
      schemaChanges: [
        'The column old is gone.',
        'The column fresh is new.',
        'The column n was integer, and is bigint.',
        "The column felt was DEFAULT 'a'::public.mood, and is without a default.",
        'The definition of the table differs.',
        'The index by_n is gone.',
        'The constraint few is new.',
        'The index by_m is new.',
      ],
    });
    expect(schemaChanges).toEqual([
      'The sequence numbers is gone.',
      'The function f() differs.',
      'The function g(integer) is new.',
      'The type mood differs.',
      'The view seen differs.',
    ]);
    const some = { samples: 1, signal: NEVER };
    const [here, there] = [parseUrl(url), parseUrl(url)];
    await expect(compareDatabases(here, there, { ...some, tables: ['none'] })).rejects.toMatchObject({
      field: 'tables',
    });
    expect(await compareDatabases(here, there, { ...some, tables: ['other'] })).toEqual({
      tables: [expect.objectContaining({ name: 'other', unchanged: 0 })],
      schemaChanges: [],
    });
    const hanging = await compared(
      `CREATE TABLE p (id int, at date) PARTITION BY RANGE (at); CREATE POLICY own ON p USING (id > 0);
       CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2026-01-01') TO ('2027-01-01'); CREATE MATERIALIZED VIEW m AS SELECT id FROM p`,
      `DROP POLICY own ON p; ALTER TABLE p ENABLE ROW LEVEL SECURITY; CREATE UNIQUE INDEX one ON m (id)`,
    );
    expect(hanging.schemaChanges).toEqual([
      'The policy own of p is gone.',
      'The partitioned table p differs.',
      'The index one of m is new.',
    ]);
  });
});
