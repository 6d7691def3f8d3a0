import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { QueryRows } from '../../src/core/ports.js';
import { createPostgresEngine } from '../../src/engines/postgres/index.js';
import { queryAt } from '../../src/engines/postgres/query.js';
import { createReader } from '../../src/engines/postgres/reader.js';
import { parseUrl } from '../../src/engines/postgres/url.js';
import type { Invariant } from '../../src/models/index.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { at, query, stateOf, using, ZOO } from '../support/postgres.js';
import { runsOf } from '../support/runs.js';
import { startPostgres } from '../support/servers.js';

const server = await startPostgres('root-secret');
const missing = 'missing' in server ? server.missing : null;
const root = 'missing' in server ? '' : server.url;
afterAll(async () => {
  if (!('missing' in server)) await server.stop();
});

const never = new AbortController().signal;

/** Functions that a dump may bring, which do harm where the role of their caller may. */
const EVIL = `
  CREATE FUNCTION run(sql text) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN EXECUTE sql; RETURN 'ran'; END $f$;
  CREATE FUNCTION run_early(sql text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN EXECUTE sql; RETURN 'ran'; END $f$;
  CREATE FUNCTION give(sql text) RETURNS text LANGUAGE plpgsql AS $f$ DECLARE r text; BEGIN EXECUTE sql INTO r; RETURN r; END $f$;
  CREATE FUNCTION undying() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN LOOP BEGIN PERFORM pg_sleep(60);
    EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $f$;
  CREATE FUNCTION garble() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $f$
    BEGIN PERFORM set_config('client_encoding', 'SJIS', false); RETURN 1; END $f$;
  CREATE VIEW hashes AS SELECT run('COPY (SELECT 1) TO PROGRAM ''true''') AS v;
  CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
  CREATE FOREIGN TABLE passwd (line text) SERVER files OPTIONS (filename '/etc/passwd');`;

(missing === null ? describe : describe.skip)(`Rows on PostgreSQL${missing ? ` (skipped: ${missing})` : ''}`, () => {
  const reader = createReader(async (url) => parseUrl(url));
  const shop = at(root, 'shop');
  const as = (name: string) => at(root, 'shop', { name, password: 'secret' });
  const users: [string, string][] = [
    ['a superuser', shop],
    ['a user who may read', as('plain')],
  ];
  beforeAll(async () => {
    await query(
      root,
      `CREATE ROLE plain LOGIN PASSWORD 'secret' BYPASSRLS; GRANT pg_read_all_data TO plain;
       CREATE ROLE files LOGIN PASSWORD 'secret'; GRANT pg_read_server_files TO files;
       CREATE ROLE heir LOGIN PASSWORD 'secret' NOINHERIT; GRANT postgres TO heir;
       CREATE ROLE copier LOGIN PASSWORD 'secret' REPLICATION`,
    );
    await query(root, 'CREATE DATABASE shop');
    await query(shop, `${ZOO}; ${EVIL}`);
  });
  const ask = (url: string, sql: string, limit = 10, signal = never) => reader.query(url, sql, { limit, signal });

  describe.each(users)('a query as %s', (_name, url) => {
    it('gives every kind of value as a backup shows it, and cuts what is long', async () => {
      const kinds = await ask(
        url,
        `SELECT id, b, n, d, x, tz, bo, j, aa, mo, dom, pr, twice FROM zoo ORDER BY id OFFSET 1 LIMIT 1`,
      );
      expect(kinds).toMatchObject({ cut: false, truncated: false });
      expect(kinds.rows).toEqual([
        [
          ...[2, '9223372036854775807', `1${'0'.repeat(300)}`, 5e-324, "x'00ff5c2e0a'", '0001-01-01 00:00:00+00 BC'],
          ...['true', 'null', '{{"a,b","c\\"d"},{NULL,"NULL"}}', '😀', 2147483647, '(1,"x,""y""")', 1073741823],
        ],
      ]);
      expect((await ask(url, `SELECT 'NaN'::float8, 0.1 + 0.2::float8, 1.50, 0.1234567890123456, NULL`)).rows).toEqual([
        ['NaN', 0.1 + 0.2, 1.5, '0.1234567890123456', null],
      ]);
      const long = await ask(
        url,
        `SELECT repeat('é', 501) AS a, repeat('é', 500) AS a, decode(repeat('0f', 40), 'hex') AS c`,
      );
      expect(long.columns).toEqual(['a', 'a', 'c']);
      expect(long.rows).toEqual([[`${'é'.repeat(500)}…`, 'é'.repeat(500), `x'${'0f'.repeat(32)}'… (40 bytes)`]]);
      expect(long.cut).toBe(true);
    });

    it('takes a SELECT, VALUES, TABLE or WITH, keeps its order, and says when there are more rows', async () => {
      expect((await ask(url, 'VALUES (1, 2)')).rows).toEqual([[1, 2]]);
      expect((await ask(url, 'TABLE no_columns')).rows).toEqual([[], []]);
      expect((await ask(url, 'WITH x AS (SELECT 1 AS y) SELECT y FROM x -- done')).rows).toEqual([[1]]);
      const most = await ask(url, 'SELECT g FROM generate_series(1, 100000) g ORDER BY g DESC;', 3);
      expect(most).toMatchObject({ rows: [[100000], [99999], [99998]], truncated: true });
      expect(await ask(url, 'SELECT 1 WHERE false')).toMatchObject({
        columns: ['?column?'],
        rows: [],
        truncated: false,
      });
      const odd = `SELECT count(*) FROM "Ünïque ""schema""."."it's ""a"".table; --"`;
      expect((await ask(url, odd)).rows).toEqual([[20]]);
    });

    it('means the same after a function has changed the encoding in which its text is read', async () => {
      expect((await ask(url, "SELECT garble() AS g /* Á\\' */")).rows).toEqual([[1]]);
    });

    it('changes nothing, reads no file and reaches nothing else, whatever it says', async () => {
      const before = await stateOf(shop);
      // The server's user could write there.
      const folder = await mkdtemp(join(tmpdir(), 'db-manager-hostile-'));
      await chmod(folder, 0o777);
      const touched = join(folder, 'touched');
      await using(root, async (other) => {
        for (const [sql, why] of hostile(touched)) {
          const failure = await ask(url, sql).then(
            ({ rows }) => `gave ${JSON.stringify(rows)}`,
            (error: { code: string; message: string }) => `${error.code} ${error.message}`,
          );
          const refused = /^(BAD_USER_INPUT sql: |DATABASE_UNREADABLE The PostgreSQL server)/;
          expect([sql, failure]).toEqual([sql, expect.stringMatching(refused)]);
          expect([sql, failure]).toEqual([sql, expect.stringMatching(why)]);
        }
        // Nobody has ended it.
        await other.query('SELECT 1');
      });
      await ask(url, `SELECT lo_from_bytea(0, 'abc')`).catch(() => undefined);
      await ask(url, `SELECT run('SELECT lo_unlink(oid) FROM pg_largeobject_metadata')`).catch(() => undefined);
      expect(await stateOf(shop)).toEqual(before);
      expect(await readdir(folder)).toEqual([]);
      await query(shop, `SELECT run('COPY (SELECT 1) TO PROGRAM ''touch ${touched}''')`);
      expect(await readdir(folder)).toEqual(['touched']);
      await rm(folder, { recursive: true });
    });

    it('is ended at once, also within a function that survives being cancelled', async () => {
      for (const sql of ['SELECT pg_sleep(60)', 'SELECT undying()', 'SELECT count(*) FROM generate_series(1, 1e15)']) {
        const start = performance.now();
        await expect(ask(url, sql, 10, AbortSignal.timeout(300))).rejects.toThrow(/timeout/);
        expect(performance.now() - start).toBeLessThan(5_000);
      }
      let left = -1;
      for (let tries = 0; left !== 0 && tries < 20; tries += 1) {
        const rows = await query(
          root,
          `SELECT FROM pg_stat_activity WHERE datname = 'shop' AND backend_type = 'client backend'`,
        );
        left = rows.length;
        if (left > 0) await sleep(100);
      }
      expect(left).toBe(0);
    });

    it('takes no more memory than its answer, and refuses an answer that is too large', async () => {
      const held = process.memoryUsage().rss;
      const large = await ask(url, `SELECT repeat(g::text, 30000) FROM generate_series(100, 1099) g`, 1_000);
      expect(large).toMatchObject({ cut: true, truncated: false });
      expect(large.rows).toHaveLength(1_000);
      const wide = `SELECT ${Array.from({ length: 300 }, () => `repeat('x', 500)`).join(', ')} FROM generate_series(1, 500)`;
      await expect(ask(url, wide, 1_000)).rejects.toThrow('sql: gives more than 64 MB.');
      expect(process.memoryUsage().rss - held).toBeLessThan(400 * 1024 * 1024);
    });
  });

  it('runs no query as a user who may do more than read, and says which right it is', async () => {
    for (const [user, why] of [
      ['files', 'is a member of "pg_read_server_files"'],
      ['heir', 'is a member of "postgres"'],
      ['copier', 'has the attribute REPLICATION'],
    ] as const) {
      await expect(ask(as(user), 'SELECT 1')).rejects.toMatchObject({
        ...{ code: 'DATABASE_UNREADABLE', hint: expect.stringContaining('GRANT pg_read_all_data') },
        message: `The user "${user}" ${why}, so that a query could do more than read.`,
      });
    }
  });

  it('finds one row by its key with a hash of each value, and says what is not there', async () => {
    const row = (table: string, key: Record<string, string | number | null>, url = as('plain')) =>
      reader.row(url, table, key, never);
    expect(await row('zoo', { id: 99 })).toBeNull();
    expect(await row('nothing', { id: 1 })).toBe('unknown');
    expect(await row('zoo', { nothing: 1 })).toBe('unknown');
    await expect(row('zoo', { id: 'x' })).rejects.toMatchObject({
      ...{ code: 'BAD_USER_INPUT', field: 'key', hint: expect.stringContaining('{"id": 17}') },
    });
    await expect(row('zoo', { mo: null, dom: null })).resolves.toMatchObject({ values: { id: 3 } });
    const table = `"Ünïque ""schema""."."it's ""a"".table; --"`;
    await expect(row(table, { '😀': '\\.' })).rejects.toThrow('key: names several rows of ');
    const odd = await row(table, { select: 3 });
    expect(odd).toMatchObject({ values: { select: 3, 'a "b" .c': 'row 3', '😀': '\\.' } });
    const [first, second] = [await row('zoo', { id: 1 }), await row('zoo', { x: "x'00FF5C2E0A'" }, shop)];
    if (first === null || first === 'unknown' || second === null || second === 'unknown') throw new Error('not found');
    expect(second.values).toMatchObject({ id: 2, b: '9223372036854775807' });
    expect(await row('public.zoo', { b: '9223372036854775807' })).toEqual(second);
    const same = Object.keys(first.hashes).filter((name) => first.hashes[name] === second.hashes[name]);
    expect(same).toEqual([]);
  });

  it('says at once which table of the later database the user may not read', async () => {
    await query(root, `CREATE ROLE narrow LOGIN PASSWORD 'secret'`);
    await query(root, 'CREATE DATABASE narrowed');
    const url = at(root, 'narrowed');
    await query(url, 'CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 9)');
    const compare = (after: string) => reader.compare(url, after, { tables: null, samples: 1, signal: never });
    const start = performance.now();
    const later = at(root, 'narrowed', { name: 'narrow', password: 'secret' });
    await expect(compare(later)).rejects.toMatchObject({
      ...{ code: 'DATABASE_UNREADABLE', message: expect.stringContaining('permission denied for table t') },
    });
    await query(url, `GRANT SELECT ON t TO narrow; ALTER TABLE t ENABLE ROW LEVEL SECURITY`);
    await expect(compare(later)).rejects.toMatchObject({
      ...{ code: 'DATABASE_UNREADABLE', message: expect.stringContaining('row-level security') },
    });
    expect(performance.now() - start).toBeLessThan(10_000);
    await expect(ask(later, 'SELECT * FROM t')).rejects.toMatchObject({ code: 'DATABASE_UNREADABLE' });
    expect((await compare(url)).tables).toMatchObject([{ name: 't', unchanged: 9 }]);
  });

  it('waits longer for a lock in the snapshot of a backup, and says elsewhere what is in the way', async () => {
    await using(shop, async (writer) => {
      await using(shop, async (backup) => {
        await backup.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
        const { rows } = await backup.query<{ id: string }>('SELECT pg_export_snapshot() AS id');
        await writer.query('BEGIN; LOCK TABLE child IN ACCESS EXCLUSIVE MODE');
        const asked = { sql: 'SELECT count(*) >= 0 FROM child', limit: 1, signal: never };
        const waiting = queryAt(parseUrl(shop), { ...asked, snapshot: rows[0]?.id ?? '' });
        await expect(queryAt(parseUrl(shop), asked)).rejects.toMatchObject({ code: 'DATABASE_IN_USE' });
        await writer.query('ROLLBACK');
        expect((await waiting).rows).toEqual([['true']]);
      });
    });
  });

  it('suggests what the database keeps now', async () => {
    await query(root, 'CREATE DATABASE django');
    const url = at(root, 'django');
    await query(
      url,
      `CREATE TABLE auth_user (id int PRIMARY KEY, is_superuser bool, is_active bool); INSERT INTO auth_user VALUES (1, true, true);
       CREATE SCHEMA "Büro"; CREATE TABLE "Büro"."Buchung" (id int, by int REFERENCES auth_user); INSERT INTO "Büro"."Buchung" VALUES (1, 1)`,
    );
    const suggested = await reader.suggest(url, ['Büro.Buchung', 'gone'], never);
    expect(suggested.map(({ name, expect: how }) => [name, how])).toEqual([
      ['There is a super-user in auth_user', 'AT_LEAST'],
      ['Every foreign key refers to a row', 'EMPTY'],
      ['No row of Büro.Buchung is lost', 'NOT_LESS_THAN_BEFORE'],
    ]);
    const answers = await Promise.all(suggested.map(({ sql }) => ask(url, sql)));
    expect(answers.map(({ rows }) => rows)).toEqual([[[1]], [], [[1]]]);
    await query(
      url,
      `UPDATE auth_user SET is_active = false; ALTER TABLE "Büro"."Buchung" ADD CONSTRAINT late FOREIGN KEY (id) REFERENCES auth_user NOT VALID`,
    );
    expect(await reader.suggest(url, [], never)).toEqual([]);
  });

  it('compares the paths in rows with media files, a hundred thousand of them', async () => {
    await query(root, 'CREATE DATABASE photos ENCODING LATIN1 TEMPLATE template0 LC_COLLATE "C" LC_CTYPE "C"');
    const url = at(root, 'photos');
    await query(
      url,
      `CREATE TABLE service (id int PRIMARY KEY, image varchar(100) NOT NULL, name text, size int);
       INSERT INTO service VALUES (1, 'services/a.jpg', 'A', 1), (2, '/media/services/bé.jpg', 'B', 2), (3, '', 'C', 3),
         (4, 'services/gone.jpg', 'services/a.jpg', 4), (5, '/services/a.jpg', 'E', 5);
       CREATE TABLE "odd.one" (a int, b text, photo text, PRIMARY KEY (b, a)) PARTITION BY LIST (a);
       CREATE TABLE odd_1 PARTITION OF "odd.one" DEFAULT;
       INSERT INTO "odd.one" VALUES (1, 'x', 'q "1".png'), (2, 'y', NULL), (3, 'z', E'portraits/q "1".png')`,
    );
    const named = [
      'services/a.jpg',
      'services/bé.jpg',
      'services/c😀.jpg',
      'portraits/q "1".png',
      `${'d/'.repeat(2000)}x\\\t\n`,
    ];
    const files = [...named, ...Array.from({ length: 100_000 }, (_each, index) => `many/${index}.jpg`)];
    const look = (columns: string[] | null) =>
      reader.references(url, {
        ...{ columns, files: files.map((file) => `media/${file}`), samples: 2, signal: never },
        prefixes: ['media/services/', 'media/portraits/'],
      });
    const found = await look(null);
    expect(found).toEqual({
      columns: [
        { table: '"odd.one"', column: 'photo', rows: 2, missing: 0, samples: [] },
        {
          ...{ table: 'service', column: 'image', rows: 4, missing: 1 },
          samples: [{ key: { id: 4 }, path: 'services/gone.jpg' }],
        },
      ],
      unreferenced: 100_002,
      unreferencedSamples: [`media/${named[4]}`, 'media/many/0.jpg'],
    });
    expect((await look(['"odd.one".photo', 'service.size'])).columns).toMatchObject([
      { table: '"odd.one"', missing: 0 },
      { column: 'size', rows: 5, missing: 5, samples: [{ path: 1 }, { path: 2 }] },
    ]);
    await expect(look(['service.none'])).rejects.toThrow('columns: there is no column "service.none".');
    expect(
      await using(
        url,
        async (client) => (await client.query('SELECT FROM pg_class WHERE relname ~ $1', ['^dbm'])).rowCount,
      ),
    ).toBe(0);
  });
});

/** Types of a role that is no superuser, whose casts, operators and functions fail whatever calls them. */
const CASTS = `
  CREATE SCHEMA own AUTHORIZATION app; SET ROLE app; SET search_path = own;
  CREATE TYPE mood AS ENUM ('ok', 'bad'); CREATE TYPE pair AS (x int, y mood); CREATE DOMAIN feeling AS mood;
  CREATE FUNCTION evil(mood) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN RAISE 'ran as %', current_user; END $f$;
  CREATE FUNCTION evil(mood[]) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN RAISE 'ran as %', current_user; END $f$;
  CREATE FUNCTION evil(pair) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN RAISE 'ran as %', current_user; END $f$;
  CREATE FUNCTION evil(mood, mood) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN RAISE 'ran as %', current_user; END $f$;
  CREATE FUNCTION evil(mood, text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN RAISE 'ran as %', current_user; END $f$;
  CREATE CAST (mood AS text) WITH FUNCTION evil(mood) AS IMPLICIT; CREATE CAST (mood[] AS text) WITH FUNCTION evil(mood[]) AS IMPLICIT;
  CREATE CAST (pair AS text) WITH FUNCTION evil(pair) AS IMPLICIT;
  CREATE OPERATOR = (LEFTARG = mood, RIGHTARG = mood, FUNCTION = evil);
  CREATE OPERATOR = (LEFTARG = mood, RIGHTARG = text, FUNCTION = evil);
  CREATE TABLE felt (id int PRIMARY KEY, m mood, d feeling, a mood[], p pair, note text);
  INSERT INTO felt VALUES (1, 'ok', 'bad', '{ok,NULL}', '(1,)', 'x.jpg'), (2, NULL, NULL, NULL, NULL, NULL);
  CREATE FUNCTION planned(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN RAISE 'planned as %', current_user; END IF;
    RETURN 1; END $f$;
  CREATE TABLE indexed (id int PRIMARY KEY); CREATE INDEX ON indexed (planned(1)); INSERT INTO indexed VALUES (1);
  ALTER TABLE indexed ENABLE ROW LEVEL SECURITY;
  RESET ROLE; RESET search_path`;

(missing === null ? describe : describe.skip)(`Own types${missing ? ` (skipped: ${missing})` : ''}`, () => {
  it('are shown and found by a superuser without a function of the role that owns them', async () => {
    const reader = createReader(async (url) => parseUrl(url));
    await query(root, 'CREATE ROLE app');
    await query(root, 'CREATE DATABASE felt');
    const url = at(root, 'felt');
    await query(url, CASTS);
    await expect(query(url, 'SELECT m::text FROM own.felt')).rejects.toThrow('ran as postgres');
    const values = { m: 'ok', d: 'bad', a: '{ok,NULL}', p: '(1,)' };
    const asked = await reader.query(url, 'SELECT m, d, a, p FROM own.felt ORDER BY id', { limit: 9, signal: never });
    expect(asked.rows).toEqual([Object.values(values), [null, null, null, null]]);
    const keys: Record<string, string | number>[] = [
      { id: 1 },
      { m: 'ok' },
      { d: 'bad' },
      { a: '{ok,NULL}' },
      { p: '(1,)' },
    ];
    for (const key of keys) {
      expect(await reader.row(url, 'own.felt', key, never)).toMatchObject({ values: { id: 1, ...values } });
    }
    expect(await reader.row(url, 'own.felt', { m: null }, never)).toMatchObject({
      values: { id: 2, m: null, p: null },
    });
    await expect(query(url, 'SELECT * FROM own.indexed')).rejects.toThrow('planned as postgres');
    expect(await reader.row(url, 'own.indexed', { id: 1 }, never)).toMatchObject({ values: { id: 1 } });
    const look = (columns: string[] | null) =>
      reader.references(url, { columns, files: ['media/x.jpg', 'media/ok'], prefixes: [], samples: 5, signal: never });
    expect((await look(null)).columns).toMatchObject([{ column: 'note', missing: 0 }]);
    expect((await look(['own.felt.m', 'own.felt.d', 'own.felt.a', 'own.felt.p'])).columns).toMatchObject([
      { column: 'm', rows: 1, missing: 0 },
      { column: 'd', samples: [{ key: { id: 1 }, path: 'bad' }] },
      { column: 'a', samples: [{ path: '{ok,NULL}' }] },
      { column: 'p', samples: [{ path: '(1,)' }] },
    ]);
    await query(root, 'CREATE DATABASE felt_later TEMPLATE felt');
    const later = at(root, 'felt_later');
    await query(later, `UPDATE own.felt SET m = 'bad', p = '(2,ok)' WHERE id = 1; DELETE FROM own.felt WHERE id = 2`);
    const { tables } = await reader.compare(url, later, { tables: null, samples: 5, signal: never });
    expect(tables).toMatchObject([
      {
        ...{ name: 'own.felt', removed: 1, changed: 1 },
        samples: [
          { key: { id: 2 }, after: null },
          { before: { m: 'ok', p: '(1,)' }, after: { m: 'bad', p: '(2,ok)' } },
        ],
      },
      { name: 'own.indexed', unchanged: 1 },
    ]);
  });
});

/** Backups of a shop with photos, through the API. */
(missing === null ? describe : describe.skip)(`Backups of PostgreSQL${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let app: TestApp;
  const { ask, configure, backUp } = runsOf(() => app);
  const url = at(root, 'store', { name: 'keeper', password: 'secret' });
  const INVARIANTS = [
    { name: 'Orders', sql: 'SELECT count(*) FROM orders', expect: 'NOT_LESS_THAN_BEFORE' },
    { name: 'Guests', sql: 'SELECT 1 FROM orders WHERE guest IS NULL', expect: 'EMPTY' },
  ];
  let configId = '';
  const ids: string[] = [];
  const change = async (sql: string) => {
    await query(at(root, 'store'), sql);
    ids.push((await backUp(configId)).id);
  };
  beforeAll(async () => {
    app = await createTestApp();
    // One who may read, and make the databases that backups are looked at in.
    await query(root, `CREATE ROLE keeper LOGIN PASSWORD 'secret' CREATEDB; GRANT pg_read_all_data TO keeper`);
    await query(root, 'CREATE DATABASE store');
    await query(
      at(root, 'store'),
      `CREATE TABLE orders (id int PRIMARY KEY, guest text, photo text, day date, paid numeric(8, 2));
       INSERT INTO orders SELECT g, 'guest ' || g, 'photo.jpg', date '2026-01-01' + g, g FROM generate_series(1, 400) g;
       CREATE TABLE sale (id int PRIMARY KEY, of int REFERENCES orders);
       CREATE SCHEMA "Büro"; CREATE TABLE "Büro"."Buchung" (id int PRIMARY KEY, "für" text); INSERT INTO "Büro"."Buchung" VALUES (7, 'Ása')`,
    );
    await writeFile(join(app.media, 'photo.jpg'), 'photo');
    await writeFile(join(app.media, 'unused.jpg'), 'unused');
    configId = await configure('Store', url, { mediaPaths: [app.media], invariants: INVARIANTS, maxBackupFiles: 1 });
    await change('SELECT 1');
    await change(`UPDATE orders SET paid = 99.5 WHERE id = 17`);
  });
  afterAll(() => app?.close());

  const databases = async () =>
    (await query<{ name: string }>(root, `SELECT datname AS name FROM pg_database WHERE datname LIKE 'dbm%'`)).length;
  const rowsOf = async (id: string | undefined, sql: string, limit = 100) => {
    const asked =
      'query($id: ID!, $sql: String!, $limit: Int!) { queryBackup(id: $id, sql: $sql, limit: $limit) { columns rows truncated } }';
    return (await ask<{ queryBackup: QueryRows }>(asked, { id, sql, limit })).queryBackup;
  };

  it('tries invariants when a config is saved, and refuses one that no state can answer', async () => {
    const tried = async (sql: string) => {
      const { testConnection } = await ask<{ testConnection: Tried }>(
        'mutation($input: BackupConfigInput!) { testConnection(input: $input) { ok error { field message } warnings invariants { holds actual } } }',
        {
          input: {
            databaseUrl: url,
            mediaPaths: [],
            invariants: [{ name: 'Mine', sql, expect: 'EQUALS', value: '400' }],
          },
        },
      );
      return testConnection;
    };
    expect(await tried('SELECT count(*) FROM orders')).toMatchObject({
      ok: true,
      invariants: [{ holds: true, actual: '400' }],
    });
    expect(await tried('SELECT 3')).toMatchObject({ ok: true, warnings: ['Invariant "Mine" is 3, and must be 400.'] });
    expect(await tried('DELETE FROM orders')).toMatchObject({
      ...{ ok: false, error: { field: 'invariants', message: expect.stringContaining('"Mine" could not be checked') } },
    });
  });

  it('ask invariants of the state that is backed up, whatever is written meanwhile', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'db-manager-snapshot-'));
    const ended = new AbortController();
    try {
      const step = { signal: ended.signal, onProgress: () => undefined };
      for (const place of [at(root, 'store'), url]) {
        const snapshot = await createPostgresEngine().snapshot(place, folder, step);
        await query(at(root, 'store'), `INSERT INTO orders (id) VALUES (1000)`);
        const answer = await snapshot.query?.('SELECT count(*) FROM orders', { limit: 2, signal: never });
        await query(at(root, 'store'), 'DELETE FROM orders WHERE id = 1000');
        expect(answer?.rows).toEqual([[400]]);
      }
    } finally {
      ended.abort();
      await rm(folder, { recursive: true });
    }
    const { backup } = await ask<{ backup: { invariants: unknown[] } }>(
      'query($id: ID!) { backup(id: $id) { invariants { name actual before holds } } }',
      { id: ids[1] },
    );
    expect(backup.invariants).toEqual([
      { name: 'Orders', actual: '400', before: '400', holds: true },
      { name: 'Guests', actual: null, before: null, holds: true },
    ]);
  });

  it('are queried as they were, page by page, also tables of another schema', async () => {
    const page = await rowsOf(ids[0], 'SELECT id, day, paid FROM orders ORDER BY id LIMIT 50 OFFSET 15', 2);
    expect(page).toEqual({
      columns: ['id', 'day', 'paid'],
      rows: [
        [16, '2026-01-17', 16],
        [17, '2026-01-18', 17],
      ],
      truncated: true,
    });
    expect((await rowsOf(ids[1], 'SELECT paid FROM orders WHERE id = 17')).rows).toEqual([[99.5]]);
    expect((await rowsOf(ids[1], 'SELECT * FROM "Büro"."Buchung"')).rows).toEqual([[7, 'Ása']]);
    expect(await databases()).toBeGreaterThan(0);
  });

  it('show one row and one answer through all of them', async () => {
    const { rowHistory, findChange } = await ask<{ rowHistory: unknown[]; findChange: unknown }>(
      `query($id: ID!, $key: JSON!) {
         rowHistory(configId: $id, table: "orders", key: $key) { backup { id } row changed }
         findChange(configId: $id, sql: "SELECT paid FROM orders WHERE id = 17") { before { id } after { id } answerBefore answerAfter } }`,
      { id: configId, key: { id: 17 } },
    );
    expect(rowHistory).toMatchObject([
      { backup: { id: ids[0] }, row: { id: 17, guest: 'guest 17', paid: 17 }, changed: [] },
      { backup: { id: ids[1] }, row: { paid: 99.5 }, changed: ['paid'] },
    ]);
    expect(findChange).toEqual({ before: { id: ids[0] }, after: { id: ids[1] }, answerBefore: 17, answerAfter: 99.5 });
  });

  it('name files of their media, and suggest invariants', async () => {
    const { fileReferences, suggestInvariants } = await ask<{ fileReferences: unknown; suggestInvariants: unknown[] }>(
      `query($id: ID!, $config: ID!) {
         fileReferences(id: $id) { columns { table column rows missing } unreferencedSamples }
         suggestInvariants(configId: $config) { name sql } }`,
      { id: ids[1], config: configId },
    );
    expect(fileReferences).toMatchObject({ columns: [{ table: 'orders', column: 'photo', rows: 400, missing: 0 }] });
    expect(JSON.stringify(fileReferences)).toContain('unused.jpg');
    expect(suggestInvariants).toMatchObject([
      { name: 'Every foreign key refers to a row' },
      { name: 'No row of orders is lost', sql: 'SELECT count(*) FROM "orders"' },
      { name: 'No row of Büro.Buchung is lost', sql: 'SELECT count(*) FROM "Büro"."Buchung"' },
    ]);
  });

  it('fail a drill when the restored database breaks an invariant', async () => {
    const { verifications, configs } = app.app;
    const drill = async () => {
      const { id } = await verifications.create({ backupId: ids[1] ?? '', level: 'DRILL' }, 'test');
      await verifications.run(id, never);
      return verifications.get(id);
    };
    expect(await drill()).toMatchObject({
      status: 'COMPLETED',
      errorMessage: null,
      invariants: [{ holds: true }, { holds: true }],
    });
    const paid = { name: 'Paid', sql: 'SELECT max(paid) FROM orders', expect: 'AT_MOST' as const, value: '99' };
    await configs.update(Number(configId), { invariants: [paid] }, 'test');
    expect(await drill()).toMatchObject({
      ...{ status: 'FAILED', errorCode: 'INVARIANT_BROKEN' },
      errorMessage: 'The restored database breaks what must hold. Invariant "Paid" is 400, and must be at most 99.',
    });
    await configs.update(Number(configId), { invariants: INVARIANTS as Invariant[] }, 'test');
  });

  it('stop the clean-up once a table is emptied, and say which invariant broke', async () => {
    await change('DELETE FROM orders');
    const { backup } = await ask<{
      backup: { warnings: string[]; anomalies: { code: string; table: string | null }[] };
    }>('query($id: ID!) { backup(id: $id) { warnings anomalies { code table } } }', { id: ids[2] });
    expect(backup.anomalies).toEqual(
      expect.arrayContaining([
        { code: 'TABLE_EMPTIED', table: 'orders' },
        { code: 'INVARIANT_BROKEN', table: null },
      ]),
    );
    expect(backup.warnings).toContain('Invariant "Orders" is 0, and was 400 before: it must not become less.');
    const plan = await app.app.cleanup.run(Number(configId), 'test');
    expect(plan.items.map(({ keep, reasons }) => [keep, reasons[0]?.code])).toEqual(Array(3).fill([true, 'ANOMALY']));
  });

  it('leave no database on the server, also of a process that was killed a day ago', async () => {
    await app.app.insight.close();
    expect(await databases()).toBe(0);
    await query(root, 'CREATE DATABASE dbm_look_20200101_000000_0a1b2c3d OWNER keeper');
    await rowsOf(ids[0], 'SELECT 1');
    await app.app.insight.close();
    expect(await databases()).toBe(0);
  });
});

interface Tried {
  ok: boolean;
  error: { field: string; message: string } | null;
  warnings: string[];
  invariants: { holds: boolean; actual: string | null }[];
}

/** What an admin may try, and what comes of it. */
const hostile = (touched: string): [string, RegExp][] => [
  ['DELETE FROM child', /DELETE/],
  ['WITH d AS (DELETE FROM child RETURNING 1) SELECT * FROM d', /read-only|data-modifying/],
  ['INSERT INTO log VALUES (1) RETURNING what', /INSERT|read-only/],
  ['SELECT 1; DELETE FROM child', /multi/],
  ['SELECT 1) x; DELETE FROM child; SELECT (1', /syntax error/],
  ['SELECT 1 INTO newer', /INTO/],
  ['SELECT * FROM child FOR UPDATE', /read-only/],
  ['EXPLAIN ANALYZE SELECT 1', /syntax error/],
  ['SHOW data_directory', /syntax error|must be superuser/],
  ["COPY (SELECT 1) TO PROGRAM 'true'", /COPY/],
  ['CREATE TABLE x (y int)', /CREATE/],
  ['SELECT $1', /parameter/],
  ["SELECT pg_read_file('/etc/passwd')", /permission denied/],
  ["SELECT pg_ls_dir('/')", /permission denied/],
  ["SELECT lo_import('/etc/passwd')", /permission denied/],
  ["SELECT lo_export(1, '/tmp/x')", /permission denied/],
  ['SELECT pg_reload_conf()', /permission denied/],
  ["SELECT nextval('odd')", /permission denied|read-only/],
  ["SELECT setval('odd', 3)", /permission denied|read-only/],
  ['SELECT pg_terminate_backend(pid) FROM pg_stat_activity', /names pg_terminate_backend/],
  ['SELECT "pg_cancel_backend"(1)', /names pg_cancel_backend/],
  ['SELECT U&"pg_terminate\\005fbackend"(1)', /escapes/],
  ["SELECT set_config('role', 'postgres', false)", /names set_config/],
  ["SELECT query_to_xml('DELETE FROM child', true, true, '')", /names query_to_xml/],
  ["SELECT * FROM ts_stat('SELECT 1')", /names ts_stat/],
  ["SELECT * FROM dblink('host=example.org', 'SELECT 1') AS t (x int)", /names dblink/],
  ["SELECT pg_notify('a', 'b')", /names pg_notify/],
  ['SELECT pg_advisory_lock(1)', /names pg_advisory_lock/],
  ["SELECT pg_drop_replication_slot('a')", /names pg_drop_replication_slot/],
  ['SELECT rolpassword FROM pg_authid', /names pg_authid/],
  ['SELECT * FROM passwd', /foreign table/],
  ['SELECT * FROM hashes', /permission denied|must be superuser|COPY/],
  [`SELECT run('COPY (SELECT 1) TO PROGRAM ''touch ${touched}''')`, /COPY|permission denied|must be/],
  [`SELECT run_early('COPY (SELECT 1) TO PROGRAM ''touch ${touched}''')`, /COPY|permission denied|must be/],
  ["SELECT run('DELETE FROM child')", /read-only|permission denied/],
  ["SELECT run('SET TRANSACTION READ WRITE')", /read-write|security|before any query/],
  ["SELECT run('COMMIT')", /transaction|COMMIT/],
  ["SELECT give('SELECT pg_read_file(''/etc/passwd'')')", /permission denied/],
  ["SELECT run('SET ROLE postgres')", /role/],
  ["SELECT run('SET SESSION AUTHORIZATION postgres')", /session_authorization|session authorization/],
  ["SELECT give('SELECT set_' || 'config(''role'', ''postgres'', false)')", /role/],
  ["SELECT give('SELECT set_' || 'config(''transaction_read_only'', ''off'', false)')", /read-write/],
  ["SELECT give('SELECT line FROM passwd')", /foreign table/],
  [
    "SELECT give('SELECT pg_terminate_' || 'backend(pid)::text FROM pg_stat_activity WHERE usename = ''postgres'' AND pid <> pg_backend_pid()')",
    /permission denied|must be/,
  ],
  ["SELECT repeat('x', 2000000000)", /more than it may/],
  ['SELECT nothing', /column "nothing" does not exist/],
  ['SELECT 1/0', /division by zero/],
];
