/*
 * A control database as a large installation has it: thousands of configs with ten backups each, made in a few
 * statements. About one backup in twelve has failed, the oldest ones are deleted, and one in ten has been restored.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { QueryTypes } from 'sequelize';

const TABLES = JSON.stringify(Array.from({ length: 20 }, (_, i) => ({ name: `shop_table_${i}`, rows: i * 977 })));
const PHASES = JSON.stringify(
  ['snapshot', 'archive', 'store', 'verify'].map((phase) => ({ phase, at: '2026-01-01T02:00:00.000Z' })),
);

/** SQL that the two control databases write differently. */
function dialectOf(sequelize) {
  const postgres = sequelize.getDialect() === 'postgres';
  return {
    series: (count, from) =>
      postgres
        ? `generate_series(${from}, ${count}) AS n (i)`
        : `(WITH RECURSIVE n (i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${count}) SELECT i FROM n) AS n`,
    at: postgres
      ? `date_trunc('milliseconds', now()) - (i * interval '5 minutes')`
      : `strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || (i * 5) || ' minutes') || ' +00:00'`,
    stamp: postgres ? `to_char(at AT TIME ZONE 'UTC', 'YYYYMMDD_HH24MISS')` : `strftime('%Y%m%d_%H%M%S', at)`,
    hex: postgres ? `lpad(to_hex(i), 8, '0')` : `printf('%08x', i)`,
    json: (text) => (postgres ? `CAST(${text} AS json)` : text),
  };
}

/**
 * Fills an empty, migrated control database.
 * @param app an app on it
 * @param folder for the archives' places: the newest verified one of each config is there, as an empty sparse file
 */
export async function fillRecords(app, folder, { configs, backups }) {
  const { sequelize } = app.models;
  const { series, at, stamp, hex, json } = dialectOf(sequelize);
  const database = join(folder, 'first.sqlite3');
  const archives = join(folder, 'archives');
  mkdirSync(archives, { recursive: true });
  execFileSync('sqlite3', [database, 'CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY)']);
  await app.configs.create({ name: 'Shop 1', databaseUrl: `sqlite:${database}` }, 'bench');
  const columns = Object.keys(await sequelize.getQueryInterface().describeTable('backup_configs'))
    .filter((name) => !['id', 'name'].includes(name))
    .map((name) => `"${name}"`)
    .join(', ');
  const replacements = { archives, tables: TABLES, phases: PHASES };
  const run = (statement) => sequelize.query(statement, { replacements });
  await run(
    `INSERT INTO backup_configs (id, name, ${columns})
     SELECT i, 'Shop ' || i, ${columns} FROM backup_configs, ${series(configs, 2)} WHERE id = 1`,
  );
  // Generation 0 holds the newest backup of each config, the last one the oldest.
  const generations = Math.ceil(backups / configs);
  await run(
    `INSERT INTO backups (id, "configId", "backupType", mode, status, progress, phases, warnings, "createdBy",
       "createdAt", "startedAt", "completedAt", engine, "databaseName", "fileName", "fileSize", checksum, note, pinned,
       "verifiedAt", "verificationLevel", tables, "mediaFileCount", "errorCode", "errorMessage", "errorHint")
     SELECT 'backup_' || ${stamp} || '_' || ${hex}, config, type, 'FULL', state, 1, :phases, '[]',
       CASE WHEN type = 'AUTO' THEN 'schedule' ELSE 'admin@localhost' END, at, at, at, 'SQLITE',
       'shop' || config || '.sqlite3', 'shop' || config || '_backup_' || ${stamp} || '.zip',
       CASE WHEN state = 'FAILED' THEN NULL ELSE 1000000 + i END,
       CASE WHEN state = 'FAILED' THEN NULL ELSE '${'0123456789abcdef'.repeat(4)}' END,
       CASE WHEN i % 9 = 0 THEN 'before the update to version ' || i END, i % 97 = 0,
       CASE WHEN state = 'FAILED' OR (generation = 0 AND config % 100 = 1) THEN NULL ELSE at END,
       CASE WHEN state = 'FAILED' THEN NULL ELSE 'ARCHIVE' END,
       ${json(`CASE WHEN state = 'FAILED' THEN '[]' ELSE :tables END`)}, 12,
       CASE WHEN state = 'FAILED' THEN 'STORAGE_FULL' END,
       CASE WHEN state = 'FAILED' THEN 'The storage has ' || i || ' bytes left; the archive needs more.' END,
       CASE WHEN state = 'FAILED' THEN 'Free space in the storage, then back up again.' END
     FROM (
       SELECT i, config, generation, ${at} AS at,
         CASE WHEN (config * 7 + generation) % 50 = 0 THEN 'UPLOADED' WHEN i % 7 = 0 THEN 'MANUAL' ELSE 'AUTO' END AS type,
         CASE WHEN (generation = 0 AND config % 50 = 0) OR (config * 7 + generation) % 12 = 5 THEN 'FAILED'
           WHEN generation > 0 AND generation = ${generations - 1} THEN 'DELETED' ELSE 'COMPLETED' END AS state
       FROM (SELECT i, i % ${configs} + 1 AS config, i / ${configs} AS generation FROM ${series(backups - 1, 0)}) AS numbered
     ) AS made`,
  );
  await run(`INSERT INTO destinations ("storageType", "storagePath") VALUES ('SYSTEM', :archives)`);
  await run(
    `INSERT INTO stored_objects ("backupId", "destinationId", name, location, status, size, "verifiedAt")
     SELECT b.id, d.id, b."fileName", :archives || '/' || b."fileName", b.status, b."fileSize", b."verifiedAt"
     FROM backups b, destinations d WHERE d."storagePath" = :archives`,
  );
  await run(
    `INSERT INTO restores (id, "backupId", "configId", status, progress, phases, warnings, "createdBy", "createdAt",
       "startedAt", "completedAt", engine, "targetUrl", "targetKey", "restoreDatabase", "restoreMedia", "mediaMode",
       "mediaTargets", "lockTimeout", changes)
     SELECT 'restore' || substr(id, 7), id, "configId", CASE WHEN "fileSize" % 200 = 0 THEN 'FAILED' ELSE 'COMPLETED' END,
       1, :phases, '[]', 'admin@localhost', "createdAt", "createdAt", "createdAt", engine, 'sqlite:/srv/shop.sqlite3',
       '/srv/shop.sqlite3', true, true, 'MERGE', '[]', 60, '{}'
     FROM backups WHERE "fileSize" % 10 = 0`,
  );
  await run('ANALYZE');
  await layArchives(sequelize, archives);
}

/** Lays a sparse file of the right size where the newest verified archive of each config should be. */
async function layArchives(sequelize, archives) {
  const rows = await sequelize.query(
    `SELECT "fileName", "fileSize" FROM backups WHERE id IN
       (SELECT max(id) FROM backups WHERE status = 'COMPLETED' AND "verifiedAt" IS NOT NULL GROUP BY "configId", "backupType")`,
    { type: QueryTypes.SELECT },
  );
  for (const { fileName, fileSize } of rows) {
    await writeFile(join(archives, fileName), '');
    await truncate(join(archives, fileName), Number(fileSize));
  }
}
