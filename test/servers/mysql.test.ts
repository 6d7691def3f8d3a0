import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { createReadStream, openSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { start, translate } from '../cli/command.js';
import { describeServerEngine } from '../contracts/server-engine.contract.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { at, query, stateOf, using, ZOO } from '../support/mysql.js';
import { runsOf } from '../support/runs.js';
import { type RestartableServer, startMariadb } from '../support/servers.js';
import { unpack } from '../support/unpack.js';
import { filesIn, NEVER } from '../support/world.js';

/** With every sign that a URL, a file of settings or a shell could stumble over. */
const PASSWORD = `p:a\\s's "w/o@r?d%#;`;

const server = await startMariadb(PASSWORD);
const missing = 'missing' in server ? server.missing : null;
const root = 'missing' in server ? '' : server.url;
afterAll(async () => {
  if (!('missing' in server)) await server.stop();
});

(missing === null ? describe : describe.skip)(`A MariaDB database${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let app: TestApp;
  beforeAll(async () => {
    app = await createTestApp();
  });
  afterAll(() => app?.close());

  const { ask, configure, test, follow, startBackup, backUp, startRestore, restore, undo } = runsOf(() => app);

  const makeDatabase = async (name: string, sql = '', url = root) => {
    await query(url, `CREATE DATABASE \`${name.replaceAll('`', '``')}\` COLLATE utf8mb4_unicode_ci`);
    if (sql !== '') await query(at(url, name), sql);
    return at(url, name);
  };
  /** What restores and drills make beside the databases, and in them. */
  const leftovers = (url = root) =>
    query(
      url,
      `SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'dbm\\_%'
       UNION ALL SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_NAME = '_db_manager_restore'`,
    );

  it('is found among the databases of its server, and another is backed up like it', async () => {
    for (const name of ['many-1', 'many `2` Ü']) {
      await query(root, `CREATE DATABASE \`${name.replaceAll('`', '``')}\``);
    }
    const configId = await configure('Many', at(root, 'many-1'));
    const { discoverDatabases: found } = await ask<{ discoverDatabases: { name: string; configId: string | null }[] }>(
      'mutation($configId: ID) { discoverDatabases(configId: $configId) { name size configId } }',
      { configId },
    );
    expect(found.filter(({ name }) => name.startsWith('many'))).toMatchObject([
      { name: 'many `2` Ü', configId: null },
      { name: 'many-1', configId },
    ]);
    expect(found.map(({ name }) => name)).not.toContain('mysql');
    const { protectDatabases: made } = await ask<{ protectDatabases: { id: string }[] }>(
      'mutation($configId: ID!, $names: [String!]!) { protectDatabases(configId: $configId, names: $names) { id } }',
      { configId, names: ['many `2` Ü'] },
    );
    await backUp(made[0]?.id ?? '');
  });

  describeServerEngine({
    app: () => app,
    make: (name, tables) =>
      makeDatabase(
        name,
        Object.entries(tables)
          .map(([table, rows]) => {
            const quoted = `\`${table.replaceAll('`', '``')}\``;
            return `CREATE TABLE ${quoted} (x INT AUTO_INCREMENT PRIMARY KEY); INSERT INTO ${quoted} SELECT seq FROM seq_1_to_${rows};`;
          })
          .join(''),
      ),
    rowsOf: async (url) => {
      const tables = await query<Record<string, string>>(url, 'SHOW TABLES');
      const counts: Record<string, number> = {};
      for (const name of tables.map((row) => Object.values(row)[0] ?? '')) {
        const [found] = await query<{ n: number }>(url, `SELECT COUNT(*) AS n FROM \`${name.replaceAll('`', '``')}\``);
        counts[name] = Number(found?.n);
      }
      return counts;
    },
    absent: (name) => at(root, name),
  });

  it('refuses to leave out what others need, and names that the program cannot tell apart', async () => {
    const url = await makeDatabase(
      'needed',
      `CREATE TABLE parent (id INT PRIMARY KEY); CREATE TABLE child (id INT, FOREIGN KEY (id) REFERENCES parent (id));
       CREATE TABLE seen (x INT); CREATE VIEW looks AS SELECT x FROM seen; INSERT INTO seen VALUES (1);
       CREATE TRIGGER tr BEFORE INSERT ON seen FOR EACH ROW SET NEW.x = 1; CREATE TABLE Logs (x INT); CREATE TABLE logs (x INT)`,
    );
    for (const [settings, field, message] of [
      [{ excludeTables: ['parent'] }, 'excludeTables', /child needs parent, which would be left out/],
      [{ excludeTables: ['seen'] }, 'excludeTables', /looks needs seen/],
      [{ excludeTableData: ['parent'] }, 'excludeTableData', /rows of child refer to parent/],
      [{ excludeTables: ['Logs'] }, 'excludeTables', /Logs and logs can be the same/],
      [{ excludeTableData: ['?ogs', '*ogs'] }, 'excludeTableData', /can be the same/],
    ] as const) {
      expect((await test(url, settings)).error).toMatchObject({ field, message: expect.stringMatching(message) });
    }
    const settings = { excludeTables: ['child', 'parent', '*ogs'], excludeTableData: ['seen'] };
    const { id: backup } = await backUp(await configure('Needed', url, settings));
    await restore({ backupId: backup, targetDatabaseUrl: at(root, 'needed_copy') });
    expect(await query(at(root, 'needed_copy'), 'SELECT COUNT(*) AS n FROM looks')).toEqual([{ n: 0 }]);
    expect(await query(at(root, 'needed_copy'), 'SHOW TRIGGERS')).toHaveLength(1);
  });

  it('comes back row for row after a backup under a writer, and an undo takes that back', async () => {
    const url = await makeDatabase(
      'zoo `ü`',
      `${ZOO} CREATE TABLE left_side (n INT); CREATE TABLE right_side (n INT);
       ALTER DATABASE COLLATE utf8mb4_general_ci;`,
    );
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
    const row = await app.app.backups.get(backup);
    const counted = Object.fromEntries(row.tables.map(({ name, rows }) => [name, rows]));
    expect(counted).toMatchObject({ zoo: 2, 'Ünï "q" `b` \'x\'; --': 2, parent: 2, child: 2, log: 0, empty_one: 0 });
    expect(counted.left_side).toBe(counted.right_side);
    const except = ['left_side', 'right_side'];
    const whole = await stateOf(url, except);
    await query(
      url,
      `SET sql_mode = ''; DELETE FROM zoo WHERE i = 0; DROP TABLE child; UPDATE parent SET note = NULL; TRUNCATE left_side;
       DROP VIEW inner_view; DROP VIEW outer_view; DROP FUNCTION half; CREATE TABLE later (x INT); CREATE VIEW another AS SELECT 1;
       CREATE TRIGGER other_one BEFORE INSERT ON later FOR EACH ROW SET NEW.x = 1`,
    );
    const broken = await stateOf(url);
    const done = await restore({ backupId: backup });
    expect(done.warnings).toEqual([expect.stringMatching(/log \(Aria\) have no transactions/)]);
    expect(await stateOf(url, except)).toEqual(whole);
    const [pairs] = await query<{ one: string; other: string }>(
      url,
      'SELECT (SELECT COUNT(*) FROM left_side) AS one, (SELECT COUNT(*) FROM right_side) AS other',
    );
    expect([Number(pairs?.one), Number(pairs?.other)]).toEqual([counted.left_side, counted.right_side]);
    expect(await leftovers()).toEqual([]);
    await undo(done.id);
    expect(await stateOf(url)).toEqual(broken);
    const { verifyBackup } = await ask<{ verifyBackup: object }>(
      'mutation($id: ID!) { verifyBackup(id: $id, level: DRILL) { verificationLevel errorMessage } }',
      { id: backup },
    );
    expect(verifyBackup).toEqual({ verificationLevel: 'DRILL', errorMessage: null });
    expect(await leftovers()).toEqual([]);
    await opensWithout(backup, whole, except);
  });

  /** The dump in the archive is read by MariaDB's own program. */
  async function opensWithout(backup: string, whole: string[], except: string[]): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'db-manager-'));
    try {
      const row = await app.app.backups.get(backup);
      await unpack(row.filePath, folder);
      expect(await readFile(join(folder, 'backup_metadata.json'), 'utf8')).not.toContain(encodeURIComponent(PASSWORD));
      await query(root, 'CREATE DATABASE by_hand COLLATE utf8mb4_general_ci');
      const { hostname, port } = new URL(root);
      execFileSync('mariadb', ['--no-defaults', '-h', hostname, '-P', port, '-u', 'root', `-p${PASSWORD}`, 'by_hand'], {
        stdio: [openSync(join(folder, 'database.sql'), 'r'), 'ignore', 'inherit'],
      });
      expect(await stateOf(at(root, 'by_hand'), except)).toEqual(whole);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  it('goes into a new database, and from an upload only when someone answers for it', async () => {
    const url = await makeDatabase('source', 'CREATE TABLE t (x INT); INSERT INTO t VALUES (1)');
    const config = await configure('Elsewhere', url);
    const { id: backup } = await backUp(config);
    await restore({ backupId: backup, targetDatabaseUrl: at(root, 'copy') });
    expect(await stateOf(at(root, 'copy'))).toEqual(await stateOf(url));
    const { filePath, fileName } = await app.app.backups.get(backup);
    const upload = await app.app.backups.upload(createReadStream(filePath), fileName, undefined, 'test', NEVER);
    expect(upload).toMatchObject({ backupType: 'UPLOADED', tables: [{ name: 't', rows: 1 }] });
    const plan = await app.app.restores.plan({ backupId: upload.id, confirm: true });
    expect(plan.refusals).toEqual([expect.objectContaining({ code: 'BACKUP_FOREIGN', field: 'allowForeign' })]);
    await query(url, 'DELETE FROM t');
    await restore({ backupId: upload.id, allowForeign: true });
    expect(await query(url, 'SELECT x FROM t')).toEqual([{ x: 1 }]);
  });

  it('is backed up and comes back without any table', async () => {
    const url = await makeDatabase('empty');
    const { id: backup } = await backUp(await configure('Empty', url));
    await query(url, 'CREATE TABLE later (x INT)');
    await restore({ backupId: backup });
    expect(await query(url, 'SHOW TABLES')).toEqual([]);
  });

  it('refuses single tables, and a backup of another kind of database', async () => {
    const { id: backup } = await backUp(
      await configure('Whole', await makeDatabase('whole', 'CREATE TABLE t (x INT)')),
    );
    const plan = await app.app.restores.plan({ backupId: backup, confirm: true, tables: ['t'] });
    expect(plan.refusals).toEqual([expect.objectContaining({ code: 'BAD_USER_INPUT', field: 'tables' })]);
    const sqlite = await app.backup();
    const request = { backupId: sqlite.id, confirm: true, targetDatabaseUrl: at(root, 'whole'), overwrite: true };
    await expect(app.app.restores.plan(request)).rejects.toMatchObject({ field: 'targetDatabaseUrl' });
  });

  it('names a wrong password, what is absent, and the statements that give rights', async () => {
    await query(root, "CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'reader-secret'");
    const url = await makeDatabase('rights', 'CREATE TABLE t (x INT)');
    const reader = at(url, 'rights', { name: 'reader', password: 'reader-secret' });
    const wrong = await test(at(url, 'rights', { name: 'reader', password: 'wr:ong' }));
    expect(wrong.error).toMatchObject({ code: 'DATABASE_UNREADABLE' });
    expect(JSON.stringify(wrong)).not.toMatch(/wr(:|%3A)ong/);
    expect((await test(at(root, 'none'))).error).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    expect((await test('mysql://a:b@127.0.0.1:1/c')).error).toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    await query(root, "GRANT INSERT ON rights.* TO reader@'127.0.0.1'");
    for (const statement of [
      'GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `rights`.* TO `reader`@`127.0.0.1`;',
      'GRANT SELECT ON `mysql`.`proc` TO `reader`@`127.0.0.1`;',
    ]) {
      const { error } = await test(reader);
      expect(error).toMatchObject({ code: 'DATABASE_UNREADABLE', hint: `As an administrator, run: ${statement}` });
      await query(root, statement);
    }
    expect((await test(reader)).error).toBeNull();
    const { id: backup } = await backUp(await configure('Rights', reader));
    const refused = await app.app.restores.plan({ backupId: backup, confirm: true });
    const [hint = ''] = refused.refusals.map((refusal) => String(refusal.hint));
    expect(hint).toMatch(/^As an administrator, run: GRANT ALL PRIVILEGES ON `rights`/);
    for (const statement of hint.replace(/^[^:]+: /, '').split(/(?<=;) /)) await query(root, statement);
    await restore({ backupId: backup });
  });

  /** Takes long where a restore loads it. */
  const SLOW = `CREATE TABLE t (x INT, y CHAR(200)); INSERT INTO t SELECT seq, REPEAT('y', 200) FROM seq_1_to_60000;
    CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.y = 'z'`;

  it('stays as it was when a restore is cancelled while it loads', async () => {
    const url = await makeDatabase('cancelled', SLOW);
    const { id: backup } = await backUp(await configure('Cancelled', url));
    await query(url, 'DELETE FROM t WHERE x > 10');
    const before = await stateOf(url);
    const id = await startRestore({ backupId: backup });
    await follow('restore', id, 'load');
    await ask('mutation($id: ID!) { cancelRestore(id: $id) { id } }', { id });
    expect(await follow('restore', id)).toMatchObject({ status: 'FAILED', errorCode: 'CANCELLED' });
    expect(await stateOf(url)).toEqual(before);
    expect(await leftovers()).toEqual([]);
  });

  it('stays as it was when another program holds a table for too long', async () => {
    const url = await makeDatabase(
      'held',
      `CREATE TABLE t (x INT); CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.x = 1`,
    );
    const config = await configure('Held', url);
    await app.app.models.BackupConfig.update({ restoreLockTimeout: 1 }, { where: { name: 'Held' } });
    const { id: backup } = await backUp(config);
    const before = await stateOf(url);
    await using(url, async (client) => {
      await client.query('BEGIN; SELECT * FROM t');
      expect(await follow('restore', await startRestore({ backupId: backup }))).toMatchObject({
        status: 'FAILED',
        errorCode: 'DATABASE_IN_USE',
      });
    });
    expect(await stateOf(url)).toEqual(before);
    expect(await leftovers()).toEqual([]);
  });

  it('is old or new as a whole, and the server tidy, when the process is killed at the switch', async () => {
    const url = await makeDatabase('killed', `${ZOO}`);
    const { id: backup } = await backUp(await configure('Killed', url));
    const whole = await stateOf(url);
    const program = join(await translate(join(app.folder, 'program')), 'src/cli.js');
    const env = {
      ...{ DATA_DIR: join(app.folder, 'data'), DB_BACKUP_PATH: app.backups, LOG_LEVEL: 'silent', LEASE_SECONDS: '5' },
    };
    const seen = new Set<string>();
    const there = (schema: string) =>
      `SELECT 1 FROM information_schema.TABLES WHERE TABLE_NAME = '_db_manager_restore' AND TABLE_SCHEMA LIKE '${schema}'`;
    for (const [round, isThere] of [
      there('dbm\\\\_old%'),
      `SELECT 1 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'killed')`,
      there('killed'),
    ].entries()) {
      await query(url, `INSERT INTO parent (note) VALUES ('${round}')`);
      const broken = await stateOf(url);
      const running = start([program, 'restore', backup, '--confirm'], { cwd: app.folder, env });
      await using(root, async (client) => {
        const isYet = async () => ((await client.query(isThere))[0] as unknown[]).length > 0;
        while (!(await isYet()) && running.child.exitCode === null) await sleep(1);
      });
      running.child.kill('SIGKILL');
      await running.ended;
      await app.app.models.sequelize.query('DELETE FROM leases');
      await app.app.restores.recover();
      await app.app.backups.recover();
      expect(await filesIn(join(app.folder, 'data', 'tmp'))).toEqual([]);
      const row = await app.app.models.Restore.findOne({ order: [['createdAt', 'DESC']] });
      seen.add(row?.status ?? '');
      expect(row?.status).toMatch(/^(COMPLETED|FAILED)$/);
      expect(await stateOf(url)).toEqual(row?.status === 'COMPLETED' ? whole : broken);
      expect(await leftovers()).toEqual([]);
    }
    expect(seen).toEqual(new Set(['FAILED', 'COMPLETED']));
  });

  describe('Whose server stops', () => {
    let other: RestartableServer;
    let config: string;
    const url = () => at(other.url, 'app');
    beforeAll(async () => {
      other = (await startMariadb(PASSWORD)) as RestartableServer;
      await makeDatabase('app', SLOW, other.url);
      config = await configure('Stopping', url());
    });
    afterAll(() => other?.stop());

    it('fails a backup and a restore under way with the reason, and stays as it was', async () => {
      const { id: backup } = await backUp(config);
      const files = await filesIn(app.backups);
      const before = await stateOf(url());
      const making = await startBackup(config);
      await follow('backup', making, 'archive');
      await other.restart();
      expect(await follow('backup', making)).toMatchObject({
        ...{ status: 'FAILED', errorCode: expect.stringMatching(/^DATABASE_/), errorHint: expect.stringMatching(/./) },
      });
      expect(await filesIn(app.backups)).toEqual(files);
      const loading = await startRestore({ backupId: backup });
      while ((await leftovers(other.url)).length === 0) await sleep(5);
      await other.restart();
      expect(await follow('restore', loading)).toMatchObject({
        ...{ status: 'FAILED', errorCode: expect.stringMatching(/^DATABASE_/), errorHint: expect.stringMatching(/./) },
      });
      expect(await stateOf(url())).toEqual(before);
    });
  });
});
