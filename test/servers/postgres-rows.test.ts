import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { createReader } from '../../src/engines/postgres/reader.js';
import { parseUrl } from '../../src/engines/postgres/url.js';
import { at, query, stateOf, using, ZOO } from '../support/postgres.js';
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

    it('changes nothing, reads no file and reaches nothing else, whatever it says', async () => {
      const before = await stateOf(shop);
      await using(root, async (other) => {
        for (const [sql, why] of HOSTILE) {
          const failure = await ask(url, sql).then(
            ({ rows }) => `gave ${JSON.stringify(rows)}`,
            (error: { code: string; message: string }) => `${error.code} ${error.message}`,
          );
          expect([sql, failure]).toEqual([sql, expect.stringMatching(/^BAD_USER_INPUT sql: /)]);
          expect([sql, failure]).toEqual([sql, expect.stringMatching(why)]);
        }
        // Nobody has ended it.
        await other.query('SELECT 1');
      });
      await ask(url, `SELECT lo_from_bytea(0, 'abc')`).catch(() => undefined);
      await ask(url, `SELECT run('SELECT lo_unlink(oid) FROM pg_largeobject_metadata')`).catch(() => undefined);
      expect(await stateOf(shop)).toEqual(before);
    });

    it('is ended at once, also within a function that survives being cancelled', async () => {
      for (const sql of ['SELECT pg_sleep(60)', 'SELECT undying()', 'SELECT count(*) FROM generate_series(1, 1e15)']) {
        const start = performance.now();
        await expect(ask(url, sql, 10, AbortSignal.timeout(700))).rejects.toThrow(/timeout/);
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
    await expect(row('zoo', { id: 'x' })).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'key' });
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

/** What an admin may try, and what comes of it. */
const HOSTILE: [string, RegExp][] = [
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
  ["SELECT run('COPY (SELECT 1) TO PROGRAM ''touch /tmp/never''')", /COPY|permission denied|must be/],
  ["SELECT run_early('COPY (SELECT 1) TO PROGRAM ''touch /tmp/never''')", /COPY|permission denied|must be/],
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
