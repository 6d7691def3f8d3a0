import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeServerEngine, WRONG, type Zoo } from '../contracts/server-engine.contract.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { at, query, stateOf, using, ZOO } from '../support/mysql.js';
import { runsOf } from '../support/runs.js';
import { type RestartableServer, startMariadb, startTlsMariadb, type TlsServer } from '../support/servers.js';
import { unpack } from '../support/unpack.js';
import { NEVER } from '../support/world.js';

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
    await query(root, "CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'reader-secret'");
  });
  afterAll(() => app?.close());

  const runs = runsOf(() => app);
  const { ask, configure, test, follow, backUp, startRestore, restore } = runs;

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

  const quoted = (name: string) => `\`${name.replaceAll('`', '``')}\``;

  /** Takes long where a restore loads it. */
  const SLOW = `CREATE TABLE t (x INT, y CHAR(200)); INSERT INTO t SELECT seq, REPEAT('y', 200) FROM seq_1_to_60000;
    CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.y = 'z'`;

  it('starts no event in the scratch database of a drill, and brings it back in a restore', async () => {
    const url = await makeDatabase(
      'evented',
      'CREATE TABLE t (x INT); CREATE EVENT tick ON SCHEDULE EVERY 1 DAY DO INSERT INTO evented.t VALUES (1)',
    );
    const eventsOf = async (database: string) =>
      (await query(root, `SELECT EVENT_NAME AS n FROM information_schema.EVENTS WHERE EVENT_SCHEMA LIKE '${database}'`))
        .length;
    const { id: backupId } = await backUp(await configure('Evented', url));
    const { verifications, engines } = app.app;
    const { scratch } = engines.forUrl(url);
    const readAll = scratch.readAll.bind(scratch);
    const seen: unknown[] = [];
    scratch.readAll = async (...args) => {
      const info = await readAll(...args);
      seen.push({ tables: info.tables.map(({ name }) => name), events: await eventsOf('dbm\\_%') });
      return info;
    };
    try {
      const { id } = await verifications.create({ backupId, level: 'DRILL' }, 'test');
      await verifications.run(id, NEVER);
      expect(await verifications.get(id)).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    } finally {
      scratch.readAll = readAll;
    }
    expect(seen).toEqual([{ tables: ['t'], events: 0 }]);
    await query(url, 'DROP EVENT tick');
    await restore({ backupId });
    expect(await eventsOf('evented')).toBe(1);
  });

  describeServerEngine({
    runs,
    make: (name, tables) => {
      const making = Object.entries(tables).map(([table, rows]) => {
        const filling = rows === 0 ? '' : `INSERT INTO ${quoted(table)} SELECT seq FROM seq_1_to_${rows};`;
        return `CREATE TABLE ${quoted(table)} (x INT AUTO_INCREMENT PRIMARY KEY); ${filling}`;
      });
      return makeDatabase(name, making.join(''));
    },
    rowsOf: (url) =>
      using(url, async (client) => {
        const rows = async (sql: string) => (await client.query({ sql, rowsAsArray: true }))[0] as string[][];
        const counts: Record<string, number> = {};
        for (const [name = ''] of await rows('SHOW TABLES')) {
          counts[name] = Number((await rows(`SELECT COUNT(*) FROM ${quoted(name)}`))[0]?.[0]);
        }
        return counts;
      }),
    addTo: (url, table) =>
      query(
        url,
        `CREATE TABLE IF NOT EXISTS ${quoted(table)} (x INT AUTO_INCREMENT PRIMARY KEY); INSERT INTO ${quoted(table)} () VALUES ()`,
      ),
    removeRows: (url, table) => query(url, `DELETE FROM ${quoted(table)}`),
    absent: (name) => at(root, name),
    stateOf,
    singleTables: false,
    leftovers,
    emptyError: null,
    zoo,
    unusable: async () => [
      [at(root, 'mysql_none', { name: 'reader', password: WRONG }), 'DATABASE_UNREADABLE'],
      [at(root, 'none'), 'DATABASE_NOT_FOUND'],
      ['mysql://a:b@127.0.0.1:1/c', 'DATABASE_NOT_FOUND'],
    ],
    rights: async () => {
      const url = await makeDatabase('rights', 'CREATE TABLE t (x INT)');
      await query(root, "GRANT INSERT ON rights.* TO reader@'127.0.0.1'");
      const grant = async (hint: string) => {
        expect(hint).toMatch(/^As an administrator, run: GRANT /);
        for (const statement of hint.replace(/^[^:]+: /, '').split(/(?<=;) /)) await query(root, statement);
      };
      const hints = [
        'As an administrator, run: GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON `rights`.* TO `reader`@`127.0.0.1`;',
        'As an administrator, run: GRANT SELECT ON `mysql`.`proc` TO `reader`@`127.0.0.1`;',
        /^As an administrator, run: GRANT ALL PRIVILEGES ON `rights`/,
      ];
      return { url: at(url, 'rights', { name: 'reader', password: 'reader-secret' }), hints, grant, mayRestore: true };
    },
    fragile: async () => {
      const other = (await startMariadb(PASSWORD)) as RestartableServer;
      const url = await makeDatabase('app', SLOW, other.url);
      return {
        url,
        stallBackup: async () => {
          let unlock: () => void = () => undefined;
          let locked: () => void = () => undefined;
          const isLocked = new Promise<void>((resolve) => (locked = resolve));
          const isOver = new Promise<void>((resolve) => (unlock = resolve));
          const locking = using(url, async (client) => {
            client.on('error', () => undefined);
            await client.query('LOCK TABLES t WRITE');
            locked();
            await isOver;
          }).catch(() => undefined);
          await isLocked;
          return {
            reached: (id) => follow('backup', id, 'archive'),
            release: async () => {
              unlock();
              await locking;
            },
          };
        },
        stallRestore: async () => ({
          reached: async (id) => {
            await follow('restore', id, 'load');
            while ((await leftovers(url)).length === 0) await sleep(5);
          },
          release: async () => undefined,
        }),
        stop: () => other.restart(),
        mend: async () => undefined,
        close: () => other.stop(),
      };
    },
    tls: async () => {
      const other = (await startTlsMariadb(PASSWORD)) as TlsServer;
      await query(other.url, 'CREATE DATABASE app');
      await query(at(other.url, 'app'), 'CREATE TABLE t AS SELECT seq AS x FROM seq_1_to_3');
      await query(
        other.url,
        `CREATE USER app@'127.0.0.1' IDENTIFIED BY 'app-secret'; GRANT ALL ON *.* TO app@'127.0.0.1'`,
      );
      const { port, certificates } = other;
      const url = (host: string, mode: string, authority = certificates.authority) =>
        `mysql://app:app-secret@${host}:${port}/app?ssl-mode=${mode}&ssl-ca=${encodeURIComponent(authority)}`;
      return {
        accepted: [
          `mysql://app:app-secret@127.0.0.1:${port}/app`,
          ...['required', 'verify_ca'].map((mode) => url('127.0.0.1', mode)),
          url('localhost', 'verify_identity'),
        ],
        refused: [
          [url('127.0.0.1', 'disabled'), /Access denied|insecure transport/],
          [url('localhost', 'verify_ca', certificates.stranger), /certificate/],
          [url('localhost', 'verify_identity', `${certificates.stranger}.none`), /ENOENT/],
        ],
        close: () => other.stop(),
      };
    },
    killed: {
      make: () => makeDatabase('killed', ZOO),
      moments: 3,
      until: (moment, isOver) => {
        const noted = (schema: string) =>
          `SELECT 1 FROM information_schema.TABLES WHERE TABLE_NAME = '_db_manager_restore' AND TABLE_SCHEMA LIKE '${schema}'`;
        const there = [
          noted('dbm\\\\_old%'),
          `SELECT 1 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = 'killed')`,
          noted('killed'),
        ];
        return using(root, async (client) => {
          const isYet = async () => ((await client.query(there[moment] ?? ''))[0] as unknown[]).length > 0;
          while (!(await isYet()) && !isOver()) await sleep(1);
        });
      },
    },
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

  /** A database with every kind of value and object. */
  async function zoo(): Promise<Zoo> {
    const url = await makeDatabase(
      'zoo `ü`',
      `${ZOO} CREATE TABLE left_side (n INT); CREATE TABLE right_side (n INT);
       ALTER DATABASE COLLATE utf8mb4_general_ci;`,
    );
    const busy = ['left_side', 'right_side'];
    let counted: Record<string, number | null> = {};
    return {
      url,
      busy,
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
          `SET sql_mode = ''; DELETE FROM zoo WHERE i = 0; DROP TABLE child; UPDATE parent SET note = NULL; TRUNCATE left_side;
           DROP VIEW inner_view; DROP VIEW outer_view; DROP FUNCTION half; CREATE TABLE later (x INT); CREATE VIEW another AS SELECT 1;
           CREATE TRIGGER other_one BEFORE INSERT ON later FOR EACH ROW SET NEW.x = 1`,
        ),
      checkBackup: async ({ id }) => {
        const { tables } = await app.app.backups.get(id);
        counted = Object.fromEntries(tables.map(({ name, rows }) => [name, rows]));
        expect(counted).toMatchObject({
          zoo: 2,
          'Ünï "q" `b` \'x\'; --': 2,
          parent: 2,
          child: 2,
          log: 0,
          empty_one: 0,
        });
        expect(counted.left_side).toBe(counted.right_side);
      },
      checkPlan: () => undefined,
      checkRestored: async ({ warnings }) => {
        expect(warnings).toEqual([expect.stringMatching(/log \(Aria\) have no transactions/)]);
        const [pairs] = await query<{ one: string; other: string }>(
          url,
          'SELECT (SELECT COUNT(*) FROM left_side) AS one, (SELECT COUNT(*) FROM right_side) AS other',
        );
        expect([Number(pairs?.one), Number(pairs?.other)]).toEqual([counted.left_side, counted.right_side]);
      },
      checkUndone: async () => undefined,
      opensWithout: (backup, whole) => opensWithout(backup, whole, busy),
    };
  }

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
});
