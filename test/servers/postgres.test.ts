import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLog } from '../../src/log.js';
import { describeServerEngine, WRONG, type Zoo } from '../contracts/server-engine.contract.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { send } from '../support/operations.js';
import { at, stateOf, query, using, ZOO } from '../support/postgres.js';
import { runsOf } from '../support/runs.js';
import { type RestartableServer, startPostgres, startTlsPostgres, type TlsServer } from '../support/servers.js';
import { unpack } from '../support/unpack.js';
import { filesIn } from '../support/world.js';

/** With every sign that a URL, a password file or a shell could stumble over. */
const PASSWORD = `p:a\\s's "w/o@r?d%`;

const server = await startPostgres(PASSWORD);
const missing = 'missing' in server ? server.missing : null;
const root = 'missing' in server ? '' : server.url;
afterAll(async () => {
  if (!('missing' in server)) await server.stop();
});

(missing === null ? describe : describe.skip)(`A PostgreSQL database${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let app: TestApp;
  let logged = '';
  beforeAll(async () => {
    const stream = new Writable({
      write(chunk: Buffer, _encoding, done) {
        logged += chunk.toString();
        done();
      },
    });
    app = await createTestApp({ log: createLog('trace', stream) });
    await query(
      root,
      `CREATE ROLE owner LOGIN PASSWORD 'owner-secret' CREATEDB;
         CREATE ROLE app LOGIN PASSWORD 'app-secret'; CREATE ROLE reader LOGIN PASSWORD 'reader-secret'`,
    );
  });
  afterAll(() => app?.close());

  const runs = runsOf(() => app);
  const { ask, command, configure, test, follow, startBackup, backUp, startRestore, restore, undo } = runs;

  const makeDatabase = async (name: string, sql = '', owner = 'postgres') => {
    await query(root, `CREATE DATABASE "${name.replaceAll('"', '""')}" OWNER ${owner}`);
    if (sql !== '') await query(at(root, name), sql);
    return at(root, name);
  };
  const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

  /** Sleeps only where a restore builds it. */
  const SLOW = `CREATE TABLE t (x int); INSERT INTO t VALUES (1);
      CREATE MATERIALIZED VIEW slow AS SELECT CASE WHEN current_database() LIKE 'dbm%' THEN pg_sleep(60)::text END AS s`;

  describeServerEngine({
    runs,
    make: (name, tables) => {
      const making = Object.entries(tables).map(
        ([table, rows]) => `CREATE TABLE ${quoted(table)} (x serial PRIMARY KEY);
          INSERT INTO ${quoted(table)} SELECT generate_series(1, ${rows});`,
      );
      return makeDatabase(name, making.join(''));
    },
    rowsOf: async (url) => {
      const rows = await query<{ name: string; rows: string }>(
        url,
        `SELECT relname AS name, (xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM %s', oid::regclass),
           false, true, '')))[1]::text AS rows
         FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`,
      );
      return Object.fromEntries(rows.map((row) => [row.name, Number(row.rows)]));
    },
    addTo: (url, table) =>
      query(url, `CREATE TABLE IF NOT EXISTS ${quoted(table)} (x serial); INSERT INTO ${quoted(table)} DEFAULT VALUES`),
    removeRows: (url, table) => query(url, `DELETE FROM ${quoted(table)}`),
    absent: (name) => at(root, name),
    stateOf,
    singleTables: true,
    leftovers: (url) =>
      query(
        at(url, 'postgres'),
        `SELECT datname FROM pg_database WHERE datname LIKE 'dbm\\_%'
         UNION ALL SELECT description FROM pg_shdescription WHERE description LIKE 'db-manager:%'`,
      ),
    emptyError: null,
    zoo,
    unusable: async () => [
      [at(root, 'postgres', { name: 'owner', password: WRONG }), 'DATABASE_UNREADABLE', /pg_hba\.conf/],
      [at(root, 'none'), 'DATABASE_NOT_FOUND', /"none"/],
      ['postgres://a:b@127.0.0.1:1/c', 'DATABASE_NOT_FOUND'],
    ],
    rights: async () => {
      const url = await makeDatabase('rights', `${ZOO}`);
      const grant = (hint: string) => {
        expect(hint).toMatch(/^As a superuser, run: /);
        return query(root, hint.replace(/^[^:]+: /, ''));
      };
      const statements = [
        'GRANT pg_read_all_data TO "reader";',
        'ALTER ROLE "reader" BYPASSRLS;',
        'GRANT "postgres" TO "reader";',
        'ALTER ROLE "reader" CREATEDB;',
      ];
      const hints = statements.map((statement) => `As a superuser, run: ${statement}`);
      return { url: at(url, 'rights', { name: 'reader', password: 'reader-secret' }), hints, grant, mayRestore: false };
    },
    fragile: async () => {
      const other = (await startPostgres(PASSWORD)) as RestartableServer;
      await query(other.url, 'CREATE DATABASE app');
      const url = at(other.url, 'app');
      await query(url, SLOW);
      return {
        url,
        stallBackup: async () => {
          const locking = using(url, (client) => client.query('BEGIN; LOCK TABLE t; SELECT pg_sleep(60)'));
          locking.catch(() => undefined);
          await sleep(300);
          return {
            reached: (id) => follow('backup', id, 'archive'),
            release: async () => {
              await query(
                other.url,
                `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%LOCK TABLE t%' AND pid <> pg_backend_pid()`,
              );
              await locking.catch(() => undefined);
            },
          };
        },
        stallRestore: async () => ({
          reached: async (id) => {
            await follow('restore', id, 'load');
            await sleep(700);
          },
          release: async () => undefined,
        }),
        stop: () => other.restart(),
        mend: async () => undefined,
        close: () => other.stop(),
      };
    },
    tls: async () => {
      const other = (await startTlsPostgres(PASSWORD)) as TlsServer;
      await query(other.url, 'CREATE DATABASE app');
      await query(at(other.url, 'app'), 'CREATE TABLE t AS SELECT generate_series(1, 3) AS x');
      const { port, certificates } = other;
      const url = (host: string, mode: string, authority = certificates.authority) =>
        `postgres://postgres:${encodeURIComponent(PASSWORD)}@${host}:${port}/app?sslmode=${mode}&sslrootcert=${encodeURIComponent(authority)}`;
      return {
        accepted: [
          `postgres://postgres:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/app`,
          ...['require', 'verify-ca'].map((mode) => url('127.0.0.1', mode)),
          url('localhost', 'verify-full'),
        ],
        refused: [
          [
            `postgres://postgres:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/app?sslmode=disable`,
            /no encryption/,
          ],
          [url('127.0.0.1', 'verify-full'), /altnames|does not match/i],
          [url('localhost', 'verify-ca', certificates.stranger), /certificate/],
          [url('localhost', 'verify-full', `${certificates.stranger}.none`), /ENOENT/],
        ],
        close: () => other.stop(),
      };
    },
    killed: {
      make: () => makeDatabase('killed', 'CREATE TABLE t (x int); INSERT INTO t SELECT generate_series(1, 1000)'),
      moments: 3,
      until: (moment, isOver) => {
        const there = [
          `SELECT 1 FROM pg_database WHERE datname LIKE 'dbm\\_new%'`,
          `SELECT 1 FROM pg_database WHERE shobj_description(oid, 'pg_database') LIKE 'db-manager:%'`,
          `SELECT 1 FROM pg_database WHERE datname LIKE 'dbm\\_old%'`,
        ];
        return using(root, async (client) => {
          while ((await client.query(there[moment] ?? '')).rows.length === 0 && !isOver()) await sleep(2);
        });
      },
    },
  });

  it('refuses to leave out what other tables, views or functions need, and names both', async () => {
    const url = await makeDatabase(
      'needed',
      `CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int REFERENCES parent);
       CREATE TABLE seen (x int); CREATE VIEW looks AS SELECT x FROM seen;
       CREATE TABLE made (x int); CREATE FUNCTION gives() RETURNS SETOF made LANGUAGE sql AS 'SELECT 1';
       CREATE TABLE parts (x int) PARTITION BY RANGE (x); CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (9);
       INSERT INTO parts VALUES (1)`,
    );
    for (const [settings, field, message] of [
      [{ excludeTables: ['parent'] }, 'excludeTables', /child needs parent, which would be left out/],
      [{ excludeTables: ['seen'] }, 'excludeTables', /looks needs seen/],
      [{ excludeTables: ['made'] }, 'excludeTables', /function .*gives.* needs made/],
      [{ excludeTableData: ['parent'] }, 'excludeTableData', /rows of child refer to parent/],
    ] as const) {
      expect((await test(url, settings)).error).toMatchObject({ field, message: expect.stringMatching(message) });
    }
    const together = { excludeTables: ['parent', 'child', 'parts', 'seen', 'looks'], excludeTableData: ['made'] };
    expect(await test(url, together)).toMatchObject({ ok: true, warnings: [] });
    const { id: backup } = await backUp(
      await configure('Needed', url, { ...together, excludeTableData: ['parts', 'made'] }),
    );
    await restore({ backupId: backup, targetDatabaseUrl: at(root, 'needed_copy') });
    const tables = `SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND relnamespace = 'public'::regnamespace`;
    expect(await query(at(root, 'needed_copy'), tables)).toEqual([{ relname: 'made' }]);
  });

  /** A database with every kind of value and object, and with settings of its own. */
  async function zoo(): Promise<Zoo> {
    const url = await makeDatabase(
      'zoo "ü"',
      `${ZOO}
         CREATE TABLE left_side (n int); CREATE TABLE right_side (n int);
         GRANT SELECT ON zoo TO app; ALTER TABLE kid OWNER TO owner;`,
    );
    const named = '"zoo ""ü"""';
    for (const statement of [
      `COMMENT ON DATABASE ${named} IS 'the app''s'`,
      `ALTER DATABASE ${named} SET search_path = public, "$user"`,
      `REVOKE ALL ON DATABASE ${named} FROM PUBLIC`,
      `GRANT CONNECT ON DATABASE ${named} TO app`,
      `ALTER ROLE app IN DATABASE ${named} SET work_mem = '7MB'`,
      `ALTER DATABASE ${named} CONNECTION LIMIT 9`,
    ]) {
      await query(root, statement);
    }
    let waiting: Promise<unknown> = Promise.resolve();
    return {
      url,
      busy: ['left_side', 'right_side'],
      write: (isOver) =>
        using(url, async (client) => {
          for (let n = 0; !isOver(); n++) {
            await client.query(
              `BEGIN; INSERT INTO left_side VALUES (${n}); INSERT INTO right_side VALUES (${n}); COMMIT`,
            );
          }
        }),
      damage: () =>
        query(
          url,
          'DELETE FROM zoo WHERE i IS NULL; DROP TABLE child; UPDATE orders SET note = NULL; TRUNCATE left_side',
        ),
      checkBackup: async () => undefined,
      checkPlan: (plan) => {
        expect(plan).toMatchObject({
          warnings: expect.arrayContaining([
            expect.stringContaining('are ended when the new database takes its place'),
          ]),
          tables: expect.arrayContaining([
            expect.objectContaining({ name: 'child', change: 'ADD' }),
            expect.objectContaining({ name: '"a.b"', change: 'REPLACE' }),
            expect.objectContaining({ name: '"Ünïque ""schema""."."it\'s ""a"".table; --"', change: 'REPLACE' }),
          ]),
        });
        waiting = using(url, (client) => client.query('SELECT pg_sleep(60)')).catch(() => 'ended');
      },
      checkRestored: async ({ warnings }) => {
        expect([await waiting, warnings]).toEqual(['ended', []]);
        const [pairs] = await query<{ one: string; other: string }>(
          url,
          `SELECT (SELECT count(*) || ' ' || max(n) FROM left_side) AS one, (SELECT count(*) || ' ' || max(n) FROM right_side) AS other`,
        );
        expect(pairs?.one).toBe(pairs?.other);
        expect(await shape('zoo "ü"')).toEqual(SHAPE);
      },
      checkUndone: async () => expect(await shape('zoo "ü"')).toEqual(SHAPE),
      opensWithout,
    };
  }

  /** What is set for a database itself. */
  const shape = (name: string) =>
    query(
      root,
      `SELECT shobj_description(oid, 'pg_database') AS comment, datacl::text AS rights, datconnlimit AS most, (SELECT json_agg(setconfig ORDER BY setrole)
           FROM pg_db_role_setting WHERE setdatabase = pg_database.oid) AS settings
         FROM pg_database WHERE datname = '${name}'`,
    );
  const SHAPE = [
    {
      comment: "the app's",
      rights: '{postgres=CTc/postgres,app=c/postgres}',
      most: 9,
      settings: [['search_path=public, "$user"'], ['work_mem=7MB']],
    },
  ];

  /** The dump in the archive opens with PostgreSQL's own program. */
  async function opensWithout(backup: string): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'db-manager-'));
    try {
      const row = await app.app.backups.get(backup);
      await unpack(row.filePath, folder);
      const list = execFileSync('pg_restore', ['--list', join(folder, 'database.dump')]).toString();
      expect(list).toMatch(/TABLE DATA public zoo /);
      expect(await readFile(join(folder, 'backup_metadata.json'), 'utf8')).not.toContain(encodeURIComponent(PASSWORD));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  it('keeps its password out of records, archives, logs and the folder for files of the moment', async () => {
    const secrets = [PASSWORD, encodeURIComponent(PASSWORD), JSON.stringify(PASSWORD).slice(1, -1)];
    const control = await readFile(join(app.folder, 'data', 'db-manager.sqlite3'), 'latin1');
    const wal = await readFile(join(app.folder, 'data', 'db-manager.sqlite3-wal'), 'latin1').catch(() => '');
    // Compared as truth: a failure must not print a whole file.
    for (const [where, text] of Object.entries({ control, wal, logged })) {
      expect([where, secrets.filter((secret) => text.includes(secret))]).toEqual([where, []]);
    }
    expect((control + wal).includes(':sealed-v1.')).toBe(true);
    expect((await filesIn(join(app.folder, 'data', 'tmp'))).filter((name) => name.includes('pgpass'))).toEqual([]);
  });

  it('comes back with a new secrets key as well', async () => {
    const config = await configure('Rotated', await makeDatabase('rotated', 'CREATE TABLE t (x int)'));
    await app.app.destinations.rotateKey('test');
    await backUp(config);
  });

  it('restores as an owner who is no superuser', async () => {
    const url = await makeDatabase('owned', '', 'owner');
    const own = at(url, 'owned', { name: 'owner', password: 'owner-secret' });
    await query(own, 'CREATE EXTENSION pg_trgm; CREATE TABLE t (x serial, y text); INSERT INTO t (y) VALUES (1), (2)');
    const before = await stateOf(own);
    const { id: backup } = await backUp(await configure('Owned', own));
    await query(own, 'DELETE FROM t');
    await restore({ backupId: backup });
    expect(await stateOf(own)).toEqual(before);
  });

  describe('Of which single tables are restored', () => {
    const SHOP = `
      CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE SCHEMA "Ü x";
      CREATE TABLE guest (id serial PRIMARY KEY, name text UNIQUE); INSERT INTO guest (name) SELECT 'g' || g FROM generate_series(1, 50) g;
      CREATE TABLE "Ü x"."book ""ing" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, guest int REFERENCES guest, felt mood, note text,
        twice int GENERATED ALWAYS AS (guest * 2) STORED, self int REFERENCES "Ü x"."book ""ing" DEFERRABLE);
      INSERT INTO "Ü x"."book ""ing" (guest, felt, note, self)
        SELECT g, 'good', CASE WHEN g % 2 = 0 THEN E'a\\nb\\t\\\\.\\r' ELSE repeat('x', g * 3000) END, 1 + g % 50 FROM generate_series(1, 50) g;
      COMMENT ON CONSTRAINT "book ""ing_guest_fkey" ON "Ü x"."book ""ing" IS 'whose';
      CREATE TABLE paid (booking int REFERENCES "Ü x"."book ""ing" ON DELETE CASCADE, sum int); INSERT INTO paid SELECT g, g FROM generate_series(1, 9) g;
      CREATE TABLE log (what text); CREATE TABLE empty_one (x int);
      CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO public.log VALUES (TG_OP); RETURN NULL; END $f$;
      CREATE TRIGGER noting AFTER INSERT OR TRUNCATE ON "Ü x"."book ""ing" FOR EACH STATEMENT EXECUTE FUNCTION noted();
      ALTER TABLE "Ü x"."book ""ing" ENABLE ALWAYS TRIGGER noting;
      CREATE MATERIALIZED VIEW sums AS SELECT count(*) FROM "Ü x"."book ""ing";
      CREATE TABLE parts (id int, at date, guest int REFERENCES guest) PARTITION BY RANGE (at);
      CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (MINVALUE) TO ('2024-01-01'); CREATE TABLE parts_2 PARTITION OF parts DEFAULT;
      INSERT INTO parts SELECT g, date '2023-12-20' + g, g FROM generate_series(1, 30) g;
      CREATE INDEX notes ON "Ü x"."book ""ing" (left(note, 10)); GRANT SELECT ON guest TO reader;`;
    const BOOKING = '"Ü x"."book ""ing"';

    it('they are as in the backup, all else keeps what is newer, and an undo takes that back', async () => {
      const url = await makeDatabase('single_1', SHOP);
      const { id: backup } = await backUp(await configure('Tables', url));
      const whole = await stateOf(url, ['paid']);
      await query(
        url,
        `SET session_replication_role = replica; DELETE FROM ${BOOKING} WHERE id > 9; UPDATE ${BOOKING} SET note = 'lost'; DELETE FROM parts_1;
         INSERT INTO paid VALUES (3, 33); SELECT nextval('"Ü x"."book ""ing_id_seq"')`,
      );
      const broken = await stateOf(url);
      const input = { backupId: backup, tables: [BOOKING, 'parts_1'] };
      const plan = await app.app.restores.plan({ ...input, confirm: true });
      expect(plan).toMatchObject({
        allowed: true,
        related: expect.arrayContaining([expect.objectContaining({ table: 'paid' })]),
      });
      expect(plan.warnings.join()).toMatch(
        /REFRESH MATERIALIZED VIEW "public"."sums";.*locked while their rows are loaded/,
      );
      const done = await restore(input);
      expect(await stateOf(url, ['paid'])).toEqual(whole);
      expect(await query(url, 'SELECT max(sum) AS last FROM paid')).toEqual([{ last: 33 }]);
      // The rows that a program without checks has left do not fit a foreign key.
      const { warnings } = await undo(done.id);
      expect(warnings.join()).toMatch(/foreign key "book ""ing_self_fkey", .* it is NOT VALID now/);
      expect((await stateOf(url)).map((text) => text.replace(' NOT VALID', ''))).toEqual(broken);
      expect(await query(url, `SELECT 1 FROM pg_shdescription WHERE description LIKE 'db-manager:%'`)).toEqual([]);
    });

    it('one that was dropped is made anew with all that belongs to it, and an undo drops it', async () => {
      const url = await makeDatabase('single_2', SHOP);
      const { id: backup } = await backUp(await configure('Dropped', url));
      const whole = await stateOf(url);
      await query(url, `DROP TABLE paid, empty_one`);
      const done = await restore({ backupId: backup, tables: ['paid', 'empty_one'] });
      expect(await stateOf(url)).toEqual(whole);
      await undo(done.id);
      expect(await query(url, `SELECT to_regclass('paid') AS paid, to_regclass('empty_one') AS other`)).toEqual([
        { paid: null, other: null },
      ]);
    });

    it('nothing changes where rows of other tables would refer to none, or columns no longer fit', async () => {
      const url = await makeDatabase('single_3', SHOP);
      const { id: backup } = await backUp(await configure('Unfit', url));
      await query(url, `INSERT INTO guest VALUES (99, 'new'); INSERT INTO parts VALUES (99, '2030-01-01', 99)`);
      const before = await stateOf(url);
      const failed = await follow('restore', await startRestore({ backupId: backup, tables: ['guest'] }));
      expect(failed).toMatchObject({
        status: 'FAILED',
        errorMessage: expect.stringMatching(/do not fit those of other tables: .*parts_guest_fkey/),
        errorHint: expect.stringContaining('includeRelated'),
      });
      expect(await stateOf(url)).toEqual(before);
      await query(url, 'ALTER TABLE parts ADD extra int; ALTER TABLE guest ADD age int NOT NULL DEFAULT 1');
      await restore({ backupId: backup, tables: ['guest', 'parts_2'] });
      expect(await query(url, 'SELECT count(*)::int AS n, min(age) AS age FROM guest')).toEqual([{ n: 50, age: 1 }]);
      await query(url, 'ALTER TABLE guest ALTER age DROP DEFAULT');
      const { refusals } = await app.app.restores.plan({ backupId: backup, confirm: true, tables: ['guest'] });
      expect(refusals).toEqual([
        expect.objectContaining({ field: 'tables', message: expect.stringContaining('age integer must have a value') }),
      ]);
    });
  });

  it('lists the databases of its server, and backs up all of them like one of them', async () => {
    await query(root, 'CREATE DATABASE "many-1" OWNER app');
    await query(root, 'CREATE DATABASE "many ""2"" Ü" OWNER app');
    await query(root, 'CREATE DATABASE "many-closed" OWNER owner');
    await query(root, 'REVOKE CONNECT ON DATABASE "many-closed" FROM PUBLIC');
    const id = await configure('Many', at(root, 'many-1', { name: 'app', password: 'app-secret' }));
    const input = { schedule: '*/30 * * * *', keepDaily: 9, autoBackupEnabled: true };
    await ask('mutation($id: ID!, $input: BackupConfigInput!) { updateConfig(id: $id, input: $input) { id } }', {
      id,
      input,
    });
    const DISCOVER = `mutation($configId: ID) {
      discoverDatabases(configId: $configId) { name databaseUrl size configId }
    }`;
    type Found = {
      discoverDatabases: { name: string; databaseUrl: string; size: number | null; configId: string | null }[];
    };
    const { discoverDatabases: found } = await ask<Found>(DISCOVER, { configId: id });
    const many = found.filter(({ name }) => name.startsWith('many'));
    expect(many).toMatchObject([
      { name: 'many "2" Ü', configId: null, databaseUrl: expect.stringContaining(':***@') },
      { name: 'many-1', configId: id },
      { name: 'many-closed', size: null },
    ]);
    expect(found.map(({ name }) => name)).not.toContain('postgres');

    const PROTECT = `mutation($configId: ID!, $names: [String!]!) {
      protectDatabases(configId: $configId, names: $names) { id name schedule keepDaily databaseUrl }
    }`;
    const configs = () => app.app.configs.columns(['id']);
    const before = await configs();
    for (const [names, message] of [
      [[], /names: is empty/],
      [['many-1'], /names: has "many-1", which config \d+ backs up/],
      [['none'], /names: has "none", which is no database/],
      [['many "2" Ü', 'many-closed'], /permission denied/],
    ] as const) {
      const { errors } = await send(app, PROTECT, { configId: id, names });
      expect(errors).toMatchObject([{ message: expect.stringMatching(message) }]);
    }
    expect(await configs()).toEqual(before);
    const { protectDatabases: made } = await ask<{ protectDatabases: { id: string; databaseUrl: string }[] }>(PROTECT, {
      configId: id,
      names: ['many "2" Ü'],
    });
    expect(made).toMatchObject([{ name: 'many "2" Ü', schedule: '*/30 * * * *', keepDaily: 9 }]);
    expect(made[0]?.databaseUrl).toContain(':***@');
    const backup = await startBackup(made[0]?.id ?? '');
    expect(await follow('backup', backup)).toMatchObject({ status: 'COMPLETED' });
    expect(logged).not.toContain('app-secret');
  });

  it('lists and protects them on the command line, and makes no config where one cannot be read', async () => {
    const run = async (...args: string[]) => {
      const { code, stdout } = await (await command('--json', ...args)).ended;
      return { code, document: JSON.parse(stdout) as Record<string, { name: string; configId: number | null }[]> };
    };
    await query(root, 'CREATE DATABASE "cli-1" OWNER app');
    await configure('Command', at(root, 'cli-1', { name: 'app', password: 'app-secret' }));
    const listed = await run('databases', '--config', 'Command');
    expect(listed.document.databases?.find(({ name }) => name === 'cli-1')?.configId).toEqual(expect.any(Number));
    const count = (await app.app.configs.columns(['id'])).length;
    const all = await run('protect', 'Command', '--all');
    expect([all.code === 0, (await app.app.configs.columns(['id'])).length]).toEqual([false, count]);
    await query(root, 'CREATE DATABASE "cli-2" OWNER app');
    const one = await run('protect', 'Command', 'cli-2');
    expect(one).toMatchObject({ code: 0, document: { configs: [{ name: 'cli-2' }] } });
  });

  it('lists them for a URL without a database too, and says what is wrong with one', async () => {
    const DISCOVER = 'mutation($url: String) { discoverDatabases(url: $url) { name } }';
    const url = at(root, '', { name: 'app', password: 'app-secret' });
    const { discoverDatabases: found } = await ask<{ discoverDatabases: { name: string }[] }>(DISCOVER, { url });
    expect(found.length).toBeGreaterThan(0);
    for (const [given, message] of [
      [at(root, 'postgres', { name: 'app', password: 'wrong' }), /refuses the user/],
      ['sqlite:/srv/db.sqlite3', /url: is of a file/],
      [undefined, /url: is missing/],
    ] as const) {
      const { errors } = await send(app, DISCOVER, { url: given });
      expect(errors).toMatchObject([{ message: expect.stringMatching(message) }]);
    }
  });
});
