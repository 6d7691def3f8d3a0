import { addBackups } from '../../support/records.js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type BackupDay, backupHistory } from '../../../src/core/status/history.js';
import type { BackupMode, BackupStatus, BackupType, Models } from '../../../src/models/index.js';
import { openModels } from '../../../src/models/index.js';
import { controlDatabases } from '../../support/control-databases.js';

const { databases, stop } = await controlDatabases();
afterAll(stop);

const DAY = 86_400_000;
const NOW = new Date('2026-04-10T20:00:00Z');

interface Given {
  at: string | number;
  status: BackupStatus;
  type?: BackupType;
  size?: number | null;
  mode?: BackupMode;
  configId?: number;
}

let serial = 0;

/** Rows as runs leave them: their ids begin with their time. */
async function add(models: Models, given: Given[]): Promise<string[]> {
  const rows = given.map(({ at, status, type = 'AUTO', size = null, mode = 'FULL', configId = 1 }) => {
    const createdAt = new Date(at);
    const time = createdAt.toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '_');
    serial += 1;
    return {
      id: `backup_${time}_${serial.toString(16).padStart(8, '0')}`,
      configId,
      backupType: type,
      mode,
      status,
      createdBy: 'test',
      createdAt,
      engine: 'SQLITE' as const,
      databaseName: 'db.sqlite3',
      storageType: 'LOCAL' as const,
      storagePath: '/backups',
      fileName: `okpuja_${serial}.zip`,
      filePath: `/backups/okpuja_${serial}.zip`,
      fileSize: size,
      note: null,
    };
  });
  await addBackups(models, rows);
  return rows.map((row) => row.id);
}

describe.each(databases)('The history of backups on %s', (_title, missing, url) => {
  const itThere = missing === null ? it : it.skip;
  let models: Models;
  beforeAll(async () => {
    if (missing !== null) return;
    models = await openModels(url);
    const config = { engine: 'SQLITE' as const, databaseUrl: 'sqlite:/x', databaseKey: 'x', mediaPaths: [] };
    const storage = { storageType: 'LOCAL' as const, storagePath: '/backups' };
    const schedule = { autoBackupEnabled: true, schedule: '0 2 * * *', timezone: 'UTC' };
    const keep = { backupRetentionDays: 30, maxBackupFiles: 30, restoreLockTimeout: 30, safetyRetentionDays: 7 };
    for (const name of ['one', 'two']) {
      await models.BackupConfig.create({
        name,
        ...config,
        ...storage,
        ...schedule,
        ...keep,
        createdAt: NOW,
        updatedAt: NOW,
      });
    }
  });
  afterAll(async () => {
    if (missing === null) await models.sequelize.close();
  });
  const clear = () => models.Backup.destroy({ where: {}, truncate: true, cascade: true });

  itThere('counts the runs of each day, deleted ones as they were, without other days and kinds', async () => {
    await clear();
    const ids = await add(models, [
      { at: '2026-04-08T02:00:00Z', status: 'DELETED', size: 100 },
      { at: '2026-04-08T09:30:00Z', status: 'COMPLETED', size: 300, type: 'MANUAL' },
      { at: '2026-04-08T10:30:00Z', status: 'COMPLETED', size: 3, mode: 'INCREMENTAL' },
      { at: '2026-04-08T23:59:59.999Z', status: 'FAILED' },
      { at: '2026-04-10T00:00:01Z', status: 'DELETED' },
      { at: '2026-04-10T00:00:00Z', status: 'FAILED' },
      { at: '2026-04-10T02:00:00Z', status: 'RUNNING' },
      { at: '2026-04-10T03:00:00Z', status: 'PENDING' },
      { at: '2026-04-10T04:00:00Z', status: 'COMPLETED', size: 1, type: 'SAFETY' },
      { at: '2026-04-10T05:00:00Z', status: 'COMPLETED', size: 1, type: 'UPLOADED' },
      { at: '2026-04-03T23:59:59Z', status: 'COMPLETED', size: 1 },
      { at: '2026-04-11T00:00:00Z', status: 'COMPLETED', size: 1 },
      { at: '2026-04-09T02:00:00Z', status: 'COMPLETED', size: 7, configId: 2 },
    ]);
    expect(await backupHistory(models, { configId: 1, days: 7, timezone: 'UTC' }, NOW)).toEqual([
      { date: '2026-04-08', completed: 3, failed: 1, size: 3, newestId: ids[2], fullSize: 300 },
      { date: '2026-04-10', completed: 0, failed: 2, size: null, newestId: null, fullSize: null },
    ]);
    const all = await backupHistory(models, { days: 1_096, timezone: 'UTC' }, NOW);
    expect(all.map(({ date }) => date)).toEqual(['2026-04-03', '2026-04-08', '2026-04-09', '2026-04-10']);
    expect(await backupHistory(models, { configId: 3, days: 7, timezone: 'UTC' }, NOW)).toEqual([]);
  });

  itThere.each(['Asia/Kolkata', 'Asia/Kathmandu', 'America/New_York', 'Africa/Cairo', 'Pacific/Kiritimati', 'UTC'])(
    'divides the days as the clocks of %s do, also where they are put forward or back',
    async (timezone) => {
      await clear();
      // From one quarter of an hour to the next, over four weeks of each change of summer time, with odd minutes between.
      const start = NOW.getTime() - 400 * DAY;
      const given = Array.from({ length: 2_500 }, (_, i): Given => {
        const failed = i % 5 === 0;
        const at = start + i * 13_824_000 + (i % 7) * 61_000 + (i % 3 === 0 ? -(i * 13_824_000) % 900_000 : 0);
        return { at, status: failed ? 'FAILED' : i % 2 ? 'DELETED' : 'COMPLETED', size: failed ? null : i + 1 };
      });
      const ids = await add(models, given);
      const dateOf = new Intl.DateTimeFormat('sv-SE', { timeZone: timezone, dateStyle: 'short' });
      const expected = new Map<string, BackupDay>();
      given
        .map((row, i) => ({ ...row, at: Number(row.at), id: ids[i] as string }))
        .sort((a, b) => a.at - b.at)
        .forEach(({ at, status, size = null, id }) => {
          const date = dateOf.format(at);
          const day = expected.get(date) ?? {
            date,
            completed: 0,
            failed: 0,
            size: null,
            newestId: null,
            fullSize: null,
          };
          expected.set(date, day);
          if (status === 'FAILED') day.failed += 1;
          else Object.assign(day, { completed: day.completed + 1, size, newestId: id, fullSize: size });
        });
      const from = dateOf.format(NOW.getTime() - 364 * DAY);
      const wanted = [...expected.values()].filter(({ date }) => date >= from && date <= dateOf.format(NOW));
      expect(wanted.length).toBeGreaterThan(360);
      expect(await backupHistory(models, { days: 365, timezone }, NOW)).toEqual(wanted);
    },
  );

  itThere.each([
    ['days', { days: 0 }],
    ['days', { days: 1_097 }],
    ['days', { days: 1.5 }],
    ['timezone', { timezone: 'Mars/Olympus' }],
    ['timezone', { timezone: '' }],
  ])('refuses a wrong value, naming %s: %j', async (field, wrong) => {
    const asked = backupHistory(models, { days: 30, timezone: 'UTC', ...wrong }, NOW);
    await expect(asked).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field });
  });

  itThere('of a hundred thousand backups counts each of them', async () => {
    await clear();
    const time =
      models.sequelize.getDialect() === 'postgres'
        ? `to_timestamp(1743000000 + i * 300)`
        : `strftime('%Y-%m-%d %H:%M:%f +00:00', 1743000000 + i * 300, 'unixepoch')`;
    const id =
      models.sequelize.getDialect() === 'postgres' ? `lpad(CAST(i AS TEXT), 8, '0')` : `substr('0000000' || i, -8)`;
    await models.sequelize.query(
      `INSERT INTO backups (id, "configId", "backupType", mode, status, "createdAt", engine, "databaseName",
         "fileName", "fileSize")
       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
       SELECT 'backup_' || ${id}, 1 + i % 2, 'AUTO', 'FULL', 'COMPLETED', ${time}, 'SQLITE', 'db',
         'f' || i, i FROM n`,
    );
    for (const configId of [undefined, 1]) {
      const days = await backupHistory(models, { configId, days: 365, timezone: 'Europe/Berlin' }, NOW);
      expect(days.length).toBeGreaterThan(330);
      expect(days.reduce((sum, day) => sum + day.completed, 0)).toBeGreaterThan(configId ? 45_000 : 90_000);
    }
  });
});
