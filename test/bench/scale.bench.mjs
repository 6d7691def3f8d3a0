/*
 * Figures, no verdicts: `npm run bench`. How long the answers take in a control database of 10,000 configs and 100,000
 * backups, and how a backup of a 300 MB SQLite file compares with `sqlite3 .backup` and `zip` in the same run.
 * CONFIGS, BACKUPS and MEGABYTES change the sizes; CONTROL_DATABASE_URL the database (an empty one).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { createApp } from '../../dist/app.js';
import { loadEnvironment } from '../../dist/environment.js';
import { listBackups } from '../../dist/core/lists/lists.js';

const CONFIGS = Number(process.env.CONFIGS ?? 10_000);
const BACKUPS = Number(process.env.BACKUPS ?? 100_000);
const MEGABYTES = Number(process.env.MEGABYTES ?? 300);
/** How often each question is asked; the median is shown. */
const ROUNDS = 5;

const say = (line) => process.stdout.write(`${line}\n`);

async function timed(work) {
  const start = performance.now();
  const result = await work();
  return { ms: performance.now() - start, result };
}

async function show(name, work) {
  const times = [];
  for (let round = 0; round < ROUNDS; round++) times.push((await timed(work)).ms);
  times.sort((one, other) => one - other);
  say(`${name.padEnd(62)} ${times[Math.floor(ROUNDS / 2)].toFixed(1).padStart(9)} ms`);
}

async function scale(folder) {
  const control = process.env.CONTROL_DATABASE_URL;
  const environment = loadEnvironment(
    { DATA_DIR: 'data', LOG_LEVEL: 'silent', ...(control ? { CONTROL_DATABASE_URL: control } : {}) },
    folder,
  );
  const app = await createApp(environment);
  const { sequelize } = app.models;
  try {
    const database = join(folder, 'first.sqlite3');
    execFileSync('sqlite3', [database, 'CREATE TABLE t (id INTEGER PRIMARY KEY)']);
    await app.configs.create({ name: 'Config 1', databaseUrl: `sqlite:${database}` }, 'bench');
    const made = await timed(() => fill(sequelize, folder));
    const dialect = sequelize.getDialect();
    say(`\n${CONFIGS} configs and ${BACKUPS} backups on ${dialect}, made in ${(made.ms / 1000).toFixed(1)} s`);
    const page = (filter, order, after) => listBackups(app.models, filter, order, { first: 50, after });
    const newest = 'CREATED_AT_DESC';
    const deep = await cursorAt(page, newest, {});
    const deepCompleted = await cursorAt(page, newest, { status: ['COMPLETED'] });
    await show('configs: all', () => app.configs.list());
    await show('backups: first page of 50', () => page({}, newest));
    await show('backups: page after 90 % of them', () => page({}, newest, deep));
    await show('backups: first page, COMPLETED of one config', () =>
      page({ configId: 7, status: ['COMPLETED'] }, newest),
    );
    await show('backups: deep page, COMPLETED', () => page({ status: ['COMPLETED'] }, newest, deepCompleted));
    await show('backups: first page, FAILED', () => page({ status: ['FAILED'] }, newest));
    await show('backups: first page, largest first', () => page({}, 'FILE_SIZE_DESC'));
    await show('backups: search for a text that no row has', () => page({ search: 'no such text' }, newest));
    await show('backups: totalCount of all', async () => (await page({}, newest)).totalCount());
    await show('status (overview.read)', () => app.overview.read());
    await show('clean-up plan of one config with 10 backups', () => app.cleanup.plan(7));
    await show('scheduler: a look when nothing is due', () => app.scheduler.tick());
  } finally {
    await app.close(0);
  }
}

/** The position after nine tenths of the list, as a client would have come to it. */
async function cursorAt(page, order, filter) {
  const { totalCount } = await page(filter, order);
  const total = await totalCount();
  let last;
  for (let seen = 0; seen < total * 0.9;) {
    const { cursors } = await page(filter, order, last);
    last = cursors.at(-1);
    seen += cursors.length;
  }
  return last;
}

/** Copies config 1 and makes ten backups of each, one in ten FAILED, in a few statements. */
async function fill(sequelize, folder) {
  const postgres = sequelize.getDialect() === 'postgres';
  const series = (count, from) =>
    postgres
      ? `generate_series(${from}, ${count}) AS n (i)`
      : `(WITH RECURSIVE n (i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${count}) SELECT i FROM n) AS n`;
  const at = postgres
    ? `now() - (i * interval '5 minutes')`
    : `strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || (i * 5) || ' minutes') || ' +00:00'`;
  const columns = Object.keys(await sequelize.getQueryInterface().describeTable('backup_configs'))
    .filter((name) => !['id', 'name'].includes(name))
    .map((name) => `"${name}"`)
    .join(', ');
  await sequelize.query(
    `INSERT INTO backup_configs (id, name, ${columns})
     SELECT i, 'Config ' || i, ${columns} FROM backup_configs, ${series(CONFIGS, 2)} WHERE id = 1`,
  );
  await sequelize.query(
    `INSERT INTO backups (id, "configId", "backupType", mode, status, "createdAt", "completedAt", engine, "databaseName",
       "fileName", "fileSize", "verifiedAt", "verificationLevel", "errorCode")
     SELECT 'backup_' || i, i % ${CONFIGS} + 1, 'AUTO', 'FULL', CASE WHEN failed THEN 'FAILED' ELSE 'COMPLETED' END, at, at,
       'SQLITE', 'db.sqlite3', 'b_' || i || '.zip',
       CASE WHEN failed THEN NULL ELSE 1000000 + i END, CASE WHEN failed THEN NULL ELSE at END,
       CASE WHEN failed THEN NULL ELSE 'ARCHIVE' END, CASE WHEN failed THEN 'STORAGE_FULL' END
     FROM (SELECT i, (i / ${CONFIGS}) % 10 = 9 AS failed, ${at} AS at FROM ${series(BACKUPS - 1, 0)}) AS made`,
  );
  await sequelize.query(`INSERT INTO destinations ("storageType", "storagePath") VALUES ('LOCAL', :folder)`, {
    replacements: { folder },
  });
  await sequelize.query(
    `INSERT INTO stored_objects ("backupId", "destinationId", name, location, status, size, "verifiedAt")
     SELECT b.id, d.id, b."fileName", :folder || '/' || b."fileName", b.status, b."fileSize", b."verifiedAt"
     FROM backups b, destinations d WHERE d."storagePath" = :folder`,
    { replacements: { folder } },
  );
  await sequelize.query('ANALYZE');
}

async function compare(folder) {
  const database = join(folder, 'large.sqlite3');
  const rows = MEGABYTES * 1000;
  // Half text, half noise: about what a database of an application compresses like.
  execFileSync('sqlite3', [
    database,
    `PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b BLOB);
     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
       INSERT INTO t SELECT i, printf('booking %d of guest %d, paid and confirmed. ', i, i % 977) ||
         printf('%.*c', 460, 'x'), randomblob(500) FROM n;`,
  ]);
  const { size } = await stat(database);
  const app = await createApp(
    loadEnvironment({ DATA_DIR: 'data2', DB_BACKUP_PATH: 'out', LOG_LEVEL: 'silent' }, folder),
  );
  try {
    await app.configs.create({ name: 'Large', databaseUrl: `sqlite:${database}` }, 'bench');
    const backup = async () => {
      const row = await app.backups.create({ backupType: 'MANUAL' }, 'bench');
      await app.backups.run(row.id, new AbortController().signal);
      await row.reload();
      if (row.status !== 'COMPLETED') throw new Error(`${row.errorCode}: ${row.errorMessage}`);
      return row;
    };
    const copy = join(folder, 'copy.sqlite3');
    const tool = (level) => {
      execFileSync('sqlite3', [database, `.backup ${copy}`]);
      execFileSync('zip', ['-q', `-${level}`, '-j', `${copy}.${level}.zip`, copy]);
    };
    const results = [];
    results.push(['db-manager: snapshot, ZIP, stored, every byte read back and proven', await timed(backup)]);
    for (const level of [1, 6])
      results.push([`sqlite3 .backup + zip -${level}: nothing proven`, await timed(() => tool(level))]);
    const [, ours] = results[0];
    say(`\nA SQLite file of ${(size / 1e6).toFixed(0)} MB`);
    for (const [index, [name, { ms, result }]] of results.entries()) {
      const bytes = result?.fileSize ?? (await stat(`${copy}.${index === 1 ? 1 : 6}.zip`)).size;
      const ratio = `${(ours.ms / ms).toFixed(2)} of its time for ours`;
      say(
        `${name.padEnd(66)} ${(ms / 1000).toFixed(1).padStart(6)} s ${(bytes / 1e6).toFixed(0).padStart(5)} MB  ${index === 0 ? '' : ratio}`,
      );
    }
    for (const { phase, at } of ours.result.phases) say(`  ${phase} at ${at}`);
  } finally {
    await app.close(0);
  }
}

const folder = await mkdtemp(join(tmpdir(), 'db-manager-bench-'));
try {
  const missing = ['sqlite3', 'zip'].filter((tool) => spawnSync(tool, ['--version']).error !== undefined);
  if (missing.length > 0) throw new Error(`${missing.join(' and ')} is not installed (Debian: sqlite3 zip)`);
  await scale(folder);
  await compare(folder);
} finally {
  await rm(folder, { recursive: true, force: true });
}
