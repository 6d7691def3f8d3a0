import { mkdir, mkdtemp, rm, truncate, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { QueryTypes } from 'sequelize';
import type { ConfigHealth } from '../../../src/core/status/health.js';
import { Overview } from '../../../src/core/status/overview.js';
import { type BackupStatus, type BackupType, type Models, openModels } from '../../../src/models/index.js';
import { createStorages } from '../../../src/storages/index.js';
import { controlDatabases } from '../../support/control-databases.js';
import { addBackups, type BackupValues } from '../../support/records.js';

const { databases, stop } = await controlDatabases();
afterAll(stop);

const NOW = new Date('2026-04-10T20:00:00Z');
const HOUR = 3_600_000;

/** The same numbers each time: a linear congruential generator. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
}

type Row = BackupValues & {
  id: string;
  configId: number;
  status: BackupStatus;
  backupType: BackupType;
  createdAt: Date;
  verifiedAt: Date | null;
  damaged: boolean;
  suspicious?: boolean;
  mediaFileCount: number;
  errorCode: string | null;
};

/** What the overview says of a config, found by going through all of its backups. */
function bruteForce(rows: Row[], configId: number): Omit<ConfigHealth, 'config' | 'overdue' | 'unverified' | 'lost'> {
  const own = rows.filter((row) => row.configId === configId);
  own.sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime() || (a.id < b.id ? 1 : -1));
  const regular = own.filter((row) => row.backupType === 'AUTO' || row.backupType === 'MANUAL');
  const completed = regular.filter(({ status }) => status === 'COMPLETED');
  const failed = regular.find(({ status }) => status === 'FAILED');
  const good = completed.find(({ damaged }) => !damaged);
  const verified = completed.find(({ verifiedAt }) => verifiedAt !== null);
  const suspicious = own.filter((row) => row.suspicious && row.status === 'COMPLETED');
  const failing = (failed?.createdAt.getTime() ?? 0) > (good?.createdAt.getTime() ?? 0);
  return {
    lastSuccessAt: good?.createdAt ?? null,
    lastBackupId: completed[0]?.id ?? null,
    lastProvenAt: (completed.find((row) => row.verifiedAt !== null && !row.suspicious) ?? null)?.createdAt ?? null,
    suspicious: suspicious[0] ? { id: suspicious[0].id, count: suspicious.length, message: '' } : null,
    mediaGone: verified?.mediaFileCount === 0 && completed.some(({ mediaFileCount }) => mediaFileCount > 0),
    lastFailureAt: failed?.createdAt ?? null,
    drill: null,
    lastErrorCode: failing ? (failed?.errorCode ?? 'INTERNAL_ERROR') : null,
  };
}

describe.each(databases)('The overview on %s', (_title, missing, url) => {
  const itThere = missing === null ? it : it.skip;
  let models: Models;
  let folder: string;
  let serial = 0;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'overview-'));
    if (missing === null) models = await openModels(url);
  });
  afterAll(async () => {
    if (missing === null) await models.sequelize.close();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    if (missing !== null) return;
    for (const table of ['stored_objects', 'destinations', 'backups', 'backup_configs']) {
      await models.sequelize.query(`DELETE FROM ${table}`);
    }
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
  });

  const overview = () => new Overview({ models, storages: createStorages(folder), now: () => NOW });

  async function addConfigs(count: number, values: Record<string, unknown> = {}): Promise<number[]> {
    const made = await models.BackupConfig.bulkCreate(
      Array.from({ length: count }, () => ({
        name: `Shop ${(serial += 1)}`,
        engine: 'SQLITE' as const,
        databaseUrl: 'sqlite:/x',
        databaseKey: 'x',
        mediaPaths: ['/media'],
        storageType: 'LOCAL' as const,
        storagePath: folder,
        autoBackupEnabled: true,
        schedule: '0 2 * * *',
        timezone: 'UTC',
        backupRetentionDays: 30,
        maxBackupFiles: 30,
        restoreLockTimeout: 30,
        safetyRetentionDays: 7,
        nextRunAt: new Date(NOW.getTime() + HOUR),
        createdAt: NOW,
        updatedAt: NOW,
        ...values,
      })),
      { returning: true },
    );
    return made.map(({ id }) => id);
  }

  function backup(configId: number, values: Partial<Row> = {}): Row {
    const createdAt = values.createdAt ?? new Date(NOW.getTime() - HOUR);
    const status = values.status ?? 'COMPLETED';
    const time = createdAt.toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '_');
    const name = `shop_${(serial += 1)}.zip`;
    return {
      id: `backup_${time}_${serial.toString(16).padStart(8, '0')}`,
      configId,
      backupType: 'AUTO',
      mode: 'FULL',
      status,
      createdBy: 'schedule',
      createdAt,
      engine: 'SQLITE',
      databaseName: 'db.sqlite3',
      storageType: 'LOCAL',
      storagePath: folder,
      fileName: name,
      filePath: join(folder, name),
      fileSize: status === 'FAILED' ? null : 100,
      note: null,
      verifiedAt: status === 'COMPLETED' ? createdAt : null,
      damaged: false,
      mediaFileCount: 3,
      errorCode: status === 'FAILED' ? 'STORAGE_FULL' : null,
      ...values,
    };
  }

  async function store(rows: Row[]): Promise<void> {
    await addBackups(models, rows);
    for (const { filePath, status } of rows) {
      if (status !== 'COMPLETED') continue;
      await writeFile(filePath, '');
      await truncate(filePath, 100);
    }
  }

  itThere('says of each config what a look at all of its backups says', async () => {
    const random = numbers(7);
    const configs = await addConfigs(60);
    const pick = <T>(values: readonly T[]) => values[random(values.length)] as T;
    const rows = configs.flatMap((id) =>
      Array.from({ length: random(9) }, () => {
        const status = pick(['COMPLETED', 'COMPLETED', 'FAILED', 'DELETED', 'RUNNING'] as const);
        const createdAt = new Date(NOW.getTime() - random(6) * HOUR);
        const damaged = status === 'COMPLETED' && random(5) === 0;
        return backup(id, {
          status,
          createdAt,
          damaged,
          suspicious: status === 'COMPLETED' && random(6) === 0,
          verifiedAt: status === 'COMPLETED' && !damaged && random(4) > 0 ? createdAt : null,
          backupType: pick(['AUTO', 'MANUAL', 'AUTO', 'SAFETY', 'UPLOADED'] as const),
          mediaFileCount: pick([0, 0, 3]),
          errorCode: status === 'FAILED' ? pick(['STORAGE_FULL', 'MEDIA_NOT_FOUND', null]) : null,
        });
      }),
    );
    await store(rows);
    const all = await overview().configs();
    expect(all.map(({ config }) => config.id)).toEqual(configs);
    for (const state of all) expect(state).toMatchObject(bruteForce(rows, state.config.id));
    const some = [configs[3], configs[40], configs[11]] as number[];
    expect(await overview().configs(some)).toEqual(all.filter(({ config }) => some.includes(config.id)));

    // The reasons come of a few configs only: those of all must be the same.
    const { reasons } = await overview().read();
    const troubled = new Set(reasons.flatMap(({ configId }) => configId ?? []));
    const expected = all.filter(
      ({ lastSuccessAt, lastErrorCode, unverified, suspicious, mediaGone }) =>
        lastSuccessAt === null || lastErrorCode !== null || unverified !== null || suspicious !== null || mediaGone,
    );
    expect([...troubled]).toEqual(expected.map(({ config }) => config.id));
    expect(expected.length).toBeGreaterThan(10);
    expect(expected.length).toBeLessThan(configs.length);
  });

  itThere('names a config that is overdue, switched off or has no backup', async () => {
    const [late] = await addConfigs(1, { nextRunAt: new Date(NOW.getTime() - 3 * HOUR) });
    const [off] = await addConfigs(1, { autoBackupEnabled: false, nextRunAt: null });
    const [none] = await addConfigs(1);
    await store([backup(late as number), backup(off as number)]);
    const { reasons, configCount } = await overview().read();
    expect(configCount).toBe(3);
    expect(reasons.flatMap(({ code, configId }) => (configId === null ? [] : [[configId, code]]))).toEqual([
      [late, 'OVERDUE'],
      [off, 'AUTO_BACKUP_OFF'],
      [none, 'NEVER_BACKED_UP'],
    ]);
  });

  itThere('finds a lost archive among hundreds, and that it was put back', async () => {
    const configs = await addConfigs(450);
    const rows = configs.map((id) => backup(id));
    await store(rows);
    const state = overview();
    const lost = async () =>
      (await state.read()).reasons.flatMap(({ code, configId }) => (code === 'ARCHIVE_MISSING' ? [configId] : []));
    await unlink((rows[444] as Row).filePath);
    expect(await lost()).toEqual([configs[444]]);
    await store([backup(configs[444] as number, { createdAt: NOW })]);
    expect(await lost()).toEqual([]);
    await unlink((rows[333] as Row).filePath);
    const seen: (number | null)[][] = [];
    // Later looks are at two hundred archives each: three of them pass by all.
    for (let look = 0; look < 3; look++) seen.push(await lost());
    expect(seen.at(-1)).toEqual([configs[333]]);
    await truncate((rows[0] as Row).filePath, 100);
    await writeFile((rows[333] as Row).filePath, Buffer.alloc(100));
    expect(await lost()).toEqual([]);
  });

  itThere('counts an archive as lost only when no copy of it is there', async () => {
    const [id] = (await addConfigs(1)) as [number];
    const row = backup(id);
    await store([row]);
    const second = join(folder, 'second');
    await mkdir(second);
    const place = await models.Destination.create({ storageType: 'SYSTEM', storagePath: second });
    const [copy] = await models.StoredObject.findAll();
    const location = join(second, copy?.name ?? '');
    const { id: _id, ...values } = copy?.get({ plain: true }) as { id: number };
    await models.StoredObject.create({ ...values, destinationId: place.id, location } as never);
    await writeFile(location, Buffer.alloc(100));
    await unlink(row.filePath);
    const codes = async () => (await overview().read()).reasons.map(({ code }) => code);
    expect(await codes()).not.toContain('ARCHIVE_MISSING');
    await unlink(location);
    expect(await codes()).toContain('ARCHIVE_MISSING');
  });

  itThere('reports no error of an offline destination that is away', async () => {
    const [id] = (await addConfigs(1)) as [number];
    await store([backup(id)]);
    await rm(folder, { recursive: true });
    const unavailable = async () =>
      (await overview().read()).reasons.some(({ code }) => code === 'STORAGE_UNAVAILABLE');
    expect(await unavailable()).toBe(true);
    await models.Destination.update({ offline: true }, { where: {} });
    expect(await unavailable()).toBe(false);
  });

  itThere('adds up what lies in each destination, and takes its newest archives as typical', async () => {
    const [id] = (await addConfigs(1)) as [number];
    const old = Array.from({ length: 150 }, () => backup(id, { status: 'DELETED' }));
    const kept = Array.from({ length: 150 }, (_, i) => backup(id, { fileSize: i < 50 ? 1_000_000 : 400 }));
    await addBackups(models, [...old, ...kept]);
    const state = overview();
    const [storage] = (await state.read()).storages;
    expect(storage?.typical).toBe(400);
    expect(await state.usage()).toEqual([{ id: storage?.destinationId, count: 150, used: 50_040_000 }]);
  });

  itThere('reads no more rows with more backups', async () => {
    const [id] = (await addConfigs(1)) as [number];
    const statements: string[] = [];
    const { options } = models.sequelize as unknown as { options: { logging: unknown } };
    options.logging = (text: string) => statements.push(text.replace(/^Executing \(.*?\): /, ''));
    await store([backup(id)]);
    statements.length = 0;
    const state = overview();
    await state.read();
    const few = statements.length;
    await store(Array.from({ length: 30 }, (_, i) => backup(id, { createdAt: new Date(NOW.getTime() - i * HOUR) })));
    statements.length = 0;
    await state.read();
    options.logging = false;
    expect(statements.length).toBeLessThanOrEqual(few);
    if (models.sequelize.getDialect() !== 'sqlite') return;
    for (const sql of statements.filter((text) => /^SELECT/.test(text) && /backups|stored_objects/.test(text))) {
      const plan = await models.sequelize.query<{ detail: string }>(`EXPLAIN QUERY PLAN ${sql}`, {
        type: QueryTypes.SELECT,
      });
      for (const { detail } of plan) expect(detail).not.toMatch(/SCAN (b|o|s|Backup|backups|stored_objects)\b/);
    }
  });
});
