import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type App, createApp } from '../src/app.js';
import { loadConfig } from '../src/config.js';
import { ensureFirstConfig } from '../src/first-start.js';
import { exec } from './support/sqlite.js';

let folder: string;
let own: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'first-start-')));
  own = join(folder, 'own.sqlite3');
  await exec(own, 'CREATE TABLE a (x)');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A start with these settings; what the process leaves behind is kept. */
async function start<T>(env: NodeJS.ProcessEnv, work: (app: App) => Promise<T>): Promise<T> {
  const common = { DATA_DIR: join(folder, 'data'), DB_BACKUP_PATH: join(folder, 'backups'), LOG_LEVEL: 'silent' };
  const app = await createApp(loadConfig({ ...common, ...env }, folder));
  try {
    return await work(app);
  } finally {
    await app.close(0);
  }
}

const configs = async (app: App) => (await app.configs.list()).map(({ name }) => name);

describe('A start with the own application, after one with the sample', () => {
  it.each([
    ['a schedule that is none', () => ({ DATABASE_URL: `sqlite:${own}`, DB_BACKUP_SCHEDULE: 'often' })],
    ['a database that this version does not support', () => ({ DATABASE_URL: 'postgres://localhost/app' })],
  ])('that fails for %s keeps the sample, and succeeds once that is corrected', async (_reason, wrong) => {
    await start({}, ensureFirstConfig);
    await expect(start(wrong(), ensureFirstConfig)).rejects.toMatchObject({ name: 'AppError' });
    expect(await start({}, configs)).toEqual(['Sample application']);
    const right = { DATABASE_URL: `sqlite:${own}` };
    expect(await start(right, ensureFirstConfig)).toEqual({ created: true, sample: false });
    expect(await start(right, configs)).toEqual(['okpuja']);
  });

  it("that fails because a run of the sample is under way leaves the sample's config alone", async () => {
    await start({}, ensureFirstConfig);
    const right = { DATABASE_URL: `sqlite:${own}` };
    await start(right, async (app) => {
      const { id } = await app.backups.create({ backupType: 'MANUAL' }, 'test');
      await expect(ensureFirstConfig(app)).rejects.toMatchObject({ code: 'CONFIG_IN_USE' });
      expect(await configs(app)).toEqual(['Sample application']);
      await app.backups.cancel(id, 'test');
      expect(await ensureFirstConfig(app)).toEqual({ created: true, sample: false });
      expect(await configs(app)).toEqual(['okpuja']);
    });
  });
});
