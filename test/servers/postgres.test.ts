import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLog } from '../../src/log.js';
import { start, translate } from '../cli/command.js';
import { describeServerEngine } from '../contracts/server-engine.contract.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { send } from '../support/operations.js';
import { at, stateOf, query, using, ZOO } from '../support/postgres.js';
import { runsOf } from '../support/runs.js';
import { type RestartableServer, startPostgres } from '../support/servers.js';
import { unpack } from '../support/unpack.js';
import { filesIn, NEVER } from '../support/world.js';

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

  const { ask, configure, test, follow, startBackup, backUp, startRestore, restore, undo } = runsOf(() => app);

  let translated: Promise<string> | null = null;
  /** The command line, on the same records. */
  const program = async () => join(await (translated ??= translate(join(app.folder, 'program'))), 'src/cli.js');
  const environment = () => ({
    DATA_DIR: join(app.folder, 'data'),
    DB_BACKUP_PATH: app.backups,
    LOG_LEVEL: 'silent',
    LEASE_SECONDS: '5',
  });

  const makeDatabase = async (name: string, sql = '', owner = 'postgres') => {
    await query(root, `CREATE DATABASE "${name.replaceAll('"', '""')}" OWNER ${owner}`);
    if (sql !== '') await query(at(root, name), sql);
    return at(root, name);
  };
  /** What restores and drills make beside the databases. */
  const leftovers = () => query(root, `SELECT datname FROM pg_database WHERE datname LIKE 'dbm\\_%'`);

  describeServerEngine({
    app: () => app,
    make: (name, tables) =>
      makeDatabase(
        name,
        Object.entries(tables)
          .map(([table, rows]) => {
            const quoted = `"${table.replaceAll('"', '""')}"`;
            return `CREATE TABLE ${quoted} (x serial PRIMARY KEY); INSERT INTO ${quoted} SELECT generate_series(1, ${rows});`;
          })
          .join(''),
      ),
    rowsOf: async (url) => {
      const rows = await query<{ name: string; rows: string }>(
        url,
        `SELECT relname AS name, (xpath('/row/c/text()', query_to_xml(format('SELECT count(*) AS c FROM %s', oid::regclass),
           false, true, '')))[1]::text AS rows
         FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace`,
      );
      return Object.fromEntries(rows.map((row) => [row.name, Number(row.rows)]));
    },
    absent: (name) => at(root, name),
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

  it('comes back row for row after a backup under a writer, and an undo takes that back', async () => {
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
    const config = await configure('Zoo', url);
    let isWriting = true;
    const writer = using(url, async (client) => {
      for (let n = 0; isWriting; n++) {
        await client.query(`BEGIN; INSERT INTO left_side VALUES (${n}); INSERT INTO right_side VALUES (${n}); COMMIT`);
      }
    });
    const { id: backup } = await backUp(config);
    isWriting = false;
    await writer;
    const except = ['left_side', 'right_side'];
    const whole = await stateOf(url, except);
    await query(
      url,
      'DELETE FROM zoo WHERE i IS NULL; DROP TABLE child; UPDATE orders SET note = NULL; TRUNCATE left_side',
    );
    const broken = await stateOf(url);

    const { restorePlan: plan } = await ask<{
      restorePlan: { allowed: boolean; warnings: string[]; tables: { name: string; change: string }[] };
    }>(
      `query($input: RestoreBackupInput!) { restorePlan(input: $input) { allowed warnings tables { name change } } }`,
      { input: { backupId: backup, confirm: true } },
    );
    expect(plan).toMatchObject({
      allowed: true,
      warnings: expect.arrayContaining([expect.stringContaining('are ended when the new database takes its place')]),
      tables: expect.arrayContaining([
        expect.objectContaining({ name: 'child', change: 'ADD' }),
        expect.objectContaining({ name: '"a.b"', change: 'REPLACE' }),
        expect.objectContaining({ name: '"Ünïque ""schema""."."it\'s ""a"".table; --"', change: 'REPLACE' }),
      ]),
    });
    const waiting = using(url, (client) => client.query('SELECT pg_sleep(60)')).catch(() => 'ended');
    const done = await restore({ backupId: backup });
    expect(await waiting).toBe('ended');
    expect(done.warnings).toEqual([]);
    expect(await stateOf(url, except)).toEqual(whole);
    const [pairs] = await query<{ one: string; other: string }>(
      url,
      `SELECT (SELECT count(*) || ' ' || max(n) FROM left_side) AS one, (SELECT count(*) || ' ' || max(n) FROM right_side) AS other`,
    );
    expect(pairs?.one).toBe(pairs?.other);
    expect(await shape('zoo "ü"')).toEqual(SHAPE);
    expect(await leftovers()).toEqual([]);

    await undo(done.id);
    expect(await stateOf(url)).toEqual(broken);
    expect(await shape('zoo "ü"')).toEqual(SHAPE);

    const { verifyBackup } = await ask<{ verifyBackup: object }>(
      'mutation($id: ID!) { verifyBackup(id: $id, level: DRILL) { verificationLevel errorMessage } }',
      { id: backup },
    );
    expect(verifyBackup).toEqual({ verificationLevel: 'DRILL', errorMessage: null });
    expect(await leftovers()).toEqual([]);
    await opensWithout(backup);
  });

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

  it('goes into a new database, and from an upload only when someone answers for it', async () => {
    const url = await makeDatabase('source', 'CREATE TABLE t (x int); INSERT INTO t VALUES (1)');
    const config = await configure('Elsewhere', url);
    const { id: backup } = await backUp(config);
    await restore({ backupId: backup, targetDatabaseUrl: at(root, 'copy') });
    expect(await stateOf(at(root, 'copy'))).toEqual(await stateOf(url));
    const { filePath, fileName } = await app.app.backups.get(backup);
    const upload = await app.app.backups.upload(createReadStream(filePath), fileName, undefined, 'test', NEVER);
    expect(upload).toMatchObject({ backupType: 'UPLOADED', configId: Number(config), tables: [{ name: 't' }] });
    const plan = await app.app.restores.plan({ backupId: upload.id, confirm: true });
    expect(plan.refusals).toEqual([expect.objectContaining({ code: 'BACKUP_FOREIGN', field: 'allowForeign' })]);
    await app.app.backups.verify(upload.id, 'DRILL', 'test', NEVER);
    await upload.reload();
    expect(upload.errorMessage).toMatch('A drill needs the server');
    await query(url, 'DELETE FROM t');
    await restore({ backupId: upload.id, allowForeign: true });
    expect(await query(url, 'SELECT x FROM t')).toEqual([{ x: 1 }]);
  });

  it('is backed up and comes back without any table', async () => {
    const url = await makeDatabase('empty');
    const { id: backup } = await backUp(await configure('Empty', url));
    await query(url, 'CREATE TABLE later (x int)');
    await restore({ backupId: backup });
    expect(await query(url, `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace`)).toEqual([]);
  });

  it('refuses single tables, and a backup of another kind of database', async () => {
    const { id: backup } = await backUp(
      await configure('Whole', await makeDatabase('whole', 'CREATE TABLE t (x int)')),
    );
    const plan = await app.app.restores.plan({ backupId: backup, confirm: true, tables: ['t'] });
    expect(plan.refusals).toEqual([expect.objectContaining({ code: 'BAD_USER_INPUT', field: 'tables' })]);
    const sqlite = await app.backup();
    const request = { backupId: sqlite.id, confirm: true, targetDatabaseUrl: at(root, 'whole'), overwrite: true };
    await expect(app.app.restores.plan(request)).rejects.toMatchObject({ field: 'targetDatabaseUrl' });
  });

  describe('Without rights', () => {
    it('names a wrong password, an absent server and an absent database, and repeats no password', async () => {
      const wrong = await test(at(root, 'postgres', { name: 'owner', password: 'wr:ong' }));
      expect(wrong.error).toMatchObject({ code: 'DATABASE_UNREADABLE', hint: expect.stringContaining('pg_hba.conf') });
      expect(JSON.stringify(wrong)).not.toMatch(/wr(:|%3A)ong/);
      const absent = await test(at(root, 'none'));
      expect(absent.error).toMatchObject({ code: 'DATABASE_NOT_FOUND', message: expect.stringContaining('"none"') });
      expect((await test('postgres://a:b@127.0.0.1:1/c')).error).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    });

    it('names the statement that lets a user read, and then backs up', async () => {
      const url = await makeDatabase('rights', ZOO);
      const reader = at(url, 'rights', { name: 'reader', password: 'reader-secret' });
      for (const statement of [
        'GRANT pg_read_all_data TO "reader";',
        'ALTER ROLE "reader" BYPASSRLS;',
        'GRANT "postgres" TO "reader";',
      ]) {
        const { error } = await test(reader);
        expect(error).toMatchObject({ code: 'DATABASE_UNREADABLE', hint: `As a superuser, run: ${statement}` });
        await query(root, statement);
      }
      const { id: backup } = await backUp(await configure('Rights', reader));
      const plan = await app.app.restores.plan({ backupId: backup, confirm: true });
      expect(plan.refusals).toMatchObject([
        { code: 'DATABASE_UNREADABLE', hint: 'As a superuser, run: ALTER ROLE "reader" CREATEDB;' },
      ]);
    });

    it('restores as an owner who is no superuser', async () => {
      const url = await makeDatabase('owned', '', 'owner');
      const own = at(url, 'owned', { name: 'owner', password: 'owner-secret' });
      await query(
        own,
        'CREATE EXTENSION pg_trgm; CREATE TABLE t (x serial, y text); INSERT INTO t (y) VALUES (1), (2)',
      );
      const before = await stateOf(own);
      const { id: backup } = await backUp(await configure('Owned', own));
      await query(own, 'DELETE FROM t');
      await restore({ backupId: backup });
      expect(await stateOf(own)).toEqual(before);
    });
  });

  /** Sleeps only where a restore builds it. */
  const SLOW = `CREATE TABLE t (x int); INSERT INTO t VALUES (1);
      CREATE MATERIALIZED VIEW slow AS SELECT CASE WHEN current_database() LIKE 'dbm%' THEN pg_sleep(60)::text END AS s`;

  it('stays as it was when a restore is cancelled while it loads', async () => {
    const url = await makeDatabase('cancelled', SLOW);
    const { id: backup } = await backUp(await configure('Cancelled', url));
    await query(url, 'INSERT INTO t VALUES (2)');
    const before = await stateOf(url);
    const id = await startRestore({ backupId: backup });
    await follow('restore', id, 'load');
    await sleep(500);
    await ask('mutation($id: ID!) { cancelRestore(id: $id) { id } }', { id });
    expect(await follow('restore', id)).toMatchObject({ status: 'FAILED', errorCode: 'CANCELLED' });
    expect(await stateOf(url)).toEqual(before);
    expect(await leftovers()).toEqual([]);
  });

  it('is old or new as a whole, and the server tidy, when the process is killed at the switch', async () => {
    const url = await makeDatabase('killed', 'CREATE TABLE t (x int); INSERT INTO t SELECT generate_series(1, 1000)');
    const { id: backup } = await backUp(await configure('Killed', url));
    const whole = await stateOf(url);
    const command = await program();
    const seen = new Set<string>();
    for (const [round, isThere] of [
      `SELECT 1 FROM pg_database WHERE datname LIKE 'dbm\\_new%'`,
      `SELECT 1 FROM pg_database WHERE shobj_description(oid, 'pg_database') LIKE 'db-manager:%'`,
      `SELECT 1 FROM pg_database WHERE datname LIKE 'dbm\\_old%'`,
    ].entries()) {
      await query(url, `INSERT INTO t VALUES (-${round})`);
      const broken = await stateOf(url);
      const running = start([command, 'restore', backup, '--confirm'], { cwd: app.folder, env: environment() });
      await using(root, async (client) => {
        while ((await client.query(isThere)).rows.length === 0 && running.child.exitCode === null) await sleep(2);
      });
      running.child.kill('SIGKILL');
      await running.ended;
      await app.app.models.sequelize.query('DELETE FROM leases');
      await app.app.restores.recover();
      await app.app.backups.recover();
      expect(await filesIn(join(app.folder, 'data', 'tmp'))).toEqual([]);
      const row = await app.app.models.Restore.findOne({ order: [['createdAt', 'DESC']] });
      seen.add(row?.status ?? '');
      expect(await stateOf(url)).toEqual(row?.status === 'COMPLETED' ? whole : broken);
      expect(row?.status).toMatch(/^(COMPLETED|FAILED)$/);
      expect(await leftovers()).toEqual([]);
      expect(await query(root, `SELECT 1 FROM pg_shdescription WHERE description LIKE 'db-manager:%'`)).toEqual([]);
    }
    expect(seen).toEqual(new Set(['FAILED', 'COMPLETED']));
  });

  describe('Whose server stops', () => {
    let other: RestartableServer;
    let config: string;
    let backup: string;
    const url = () => at(other.url, 'app');
    beforeAll(async () => {
      other = (await startPostgres(PASSWORD)) as RestartableServer;
      await query(other.url, 'CREATE DATABASE app');
      await query(url(), SLOW);
      config = await configure('Stopping', url());
      backup = (await backUp(config)).id;
    });
    afterAll(() => other?.stop());

    it('fails a backup under way with the reason, and leaves no archive', async () => {
      const before = await filesIn(app.backups);
      const locking = using(url(), (client) => client.query('BEGIN; LOCK TABLE t; SELECT pg_sleep(60)'));
      locking.catch(() => undefined);
      await sleep(300);
      const id = await startBackup(config);
      await follow('backup', id, 'archive');
      await other.restart();
      await locking.catch(() => undefined);
      expect(await follow('backup', id)).toMatchObject({
        status: 'FAILED',
        errorCode: expect.stringMatching(/^DATABASE_/),
        errorHint: expect.stringMatching(/./),
      });
      expect(await filesIn(app.backups)).toEqual(before);
    });

    it('fails a restore under way with the reason, and stays as it was', async () => {
      await query(url(), 'INSERT INTO t VALUES (2)');
      const before = await stateOf(url());
      const id = await startRestore({ backupId: backup });
      await follow('restore', id, 'load');
      await sleep(1_000);
      await other.restart();
      expect(await follow('restore', id)).toMatchObject({
        status: 'FAILED',
        errorCode: expect.stringMatching(/^DATABASE_/),
      });
      expect(await stateOf(url())).toEqual(before);
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
    const command = await program();
    const run = async (...args: string[]) => {
      const { code, stdout } = await start([command, '--json', ...args], { cwd: app.folder, env: environment() }).ended;
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
