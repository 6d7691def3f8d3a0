import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdir, mkdtemp, readdir, realpath, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { tmpdir } from 'node:os';
import { type App, createApp } from '../src/app.js';
import { loadEnvironment } from '../src/environment.js';
import {
  adoptEnvironment,
  adoptProduct,
  applicationName,
  environmentSettings,
} from '../src/core/configs/from-environment.js';
import {
  ensureFirstChannel,
  ensureFirstConfig,
  firstSteps,
  missingDatabase,
  takeFirstBackup,
} from '../src/first-start.js';
import { exec } from './support/sqlite.js';

let folder: string;
let own: string;
let other: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'first-start-')));
  own = join(folder, 'okpuja', 'db.sqlite3');
  other = join(folder, 'shop.sqlite3');
  for (const file of [own, other]) {
    await mkdir(dirname(file), { recursive: true });
    await exec(file, 'CREATE TABLE a (x)');
  }
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A start with these settings; what the process leaves behind is kept. */
async function start<T>(env: NodeJS.ProcessEnv, work: (app: App) => Promise<T>): Promise<T> {
  const common = { DATA_DIR: join(folder, 'data'), DB_BACKUP_PATH: join(folder, 'backups'), LOG_LEVEL: 'silent' };
  const app = await createApp(loadEnvironment({ ...common, ...env }, folder));
  try {
    return await work(app);
  } finally {
    await app.close(0);
  }
}

const configs = async (app: App) => (await app.configs.list()).map(({ id, name }) => `${id} ${name}`);
const config = async (app: App) => (await app.configs.get(1)).get({ plain: true });
const edit = (input: Parameters<App['configs']['update']>[1]) => (app: App) => app.configs.update(1, input, 'you');
const of = (file: string, more: NodeJS.ProcessEnv = {}) => ({ DATABASE_URL: `sqlite:${file}`, ...more });
const SAMPLE = { created: true, sample: true, notes: [] };
const MADE = { created: true, sample: false, notes: [] };
const NOTHING = { created: false, sample: false, notes: [] };

describe('A start with the own application, after one with the sample', () => {
  it('gives the config the name of the application and id 1, and the sample goes away', async () => {
    await start({}, async (app) => {
      expect(await ensureFirstConfig(app)).toEqual(SAMPLE);
      await takeFirstBackup(app, { sample: true });
    });
    expect(await readdir(join(folder, 'backups'))).toHaveLength(1);
    await start(of(own), async (app) => {
      expect(await ensureFirstConfig(app)).toEqual(MADE);
      expect(await configs(app)).toEqual(['1 okpuja']);
      expect(await app.models.Backup.count({ where: { status: 'COMPLETED' } })).toBe(0);
    });
    expect(await readdir(join(folder, 'data'))).not.toContain('sample');
    expect(await readdir(join(folder, 'backups'))).toEqual([]);
  });

  it('keeps what a person has made of the sample', async () => {
    await start({}, async (app) => {
      await ensureFirstConfig(app);
      const row = await app.backups.create({ backupType: 'MANUAL' }, 'you@example.org');
      await app.backups.run(row.id, new AbortController().signal);
    });
    await start(of(own), ensureFirstConfig);
    expect(await readdir(join(folder, 'backups'))).toHaveLength(1);
  });

  it.each([
    ['a schedule that is none', () => of(own, { DB_BACKUP_SCHEDULE: 'often' })],
    ['a database that this version does not support', () => ({ DATABASE_URL: 'postgres://localhost/app' })],
    ["db-manager's own records", () => of(join(folder, 'data', 'db-manager.sqlite3'))],
  ])('that fails for %s keeps the sample, and succeeds once that is corrected', async (_reason, wrong) => {
    await start({}, ensureFirstConfig);
    await expect(start(wrong(), ensureFirstConfig)).rejects.toMatchObject({ name: 'AppError' });
    expect(await start({}, configs)).toEqual(['1 Sample application']);
    expect(await start(of(own), ensureFirstConfig)).toEqual(MADE);
    expect(await start(of(own), configs)).toEqual(['1 okpuja']);
  });

  it("that fails because a run of the sample is under way leaves the sample's config alone", async () => {
    await start({}, ensureFirstConfig);
    await start(of(own), async (app) => {
      const { id } = await app.backups.create({ backupType: 'MANUAL' }, 'test');
      await expect(ensureFirstConfig(app)).rejects.toMatchObject({ code: 'CONFIG_IN_USE' });
      expect(await configs(app)).toEqual(['1 Sample application']);
      await app.backups.cancel(id, 'test');
      expect(await ensureFirstConfig(app)).toEqual(MADE);
      expect(await configs(app)).toEqual(['1 okpuja']);
    });
  });

  it('that was added in the product finds it in the place of the sample', async () => {
    await start({}, async (app) => {
      await ensureFirstConfig(app);
      await app.configs.create({ name: 'Mine', databaseUrl: `sqlite:${own}` }, 'you');
      expect(await configs(app)).toEqual(['1 Mine']);
      expect(await ensureFirstConfig(app)).toEqual(NOTHING);
    });
    expect(await readdir(join(folder, 'data'))).not.toContain('sample');
    const { notes } = await start(of(other), ensureFirstConfig);
    expect(notes).toEqual([expect.stringContaining('no config protects')]);
    expect(await start(of(own), ensureFirstConfig)).toEqual(NOTHING);
  });
});

describe("The environment's config", () => {
  it('follows every variable, until all is equal again', async () => {
    await start(of(join(folder, 'typo.sqlite3')), ensureFirstConfig);
    const changed = of(other, {
      MEDIA_PATHS: folder,
      DB_BACKUP_PATH: join(folder, 'elsewhere'),
      DB_BACKUP_SCHEDULE: 'hourly',
      DB_BACKUP_TIMEZONE: 'Asia/Kolkata',
      DB_BACKUP_RETENTION_DAYS: '7',
      DB_BACKUP_MAX_FILES: '9',
      DB_BACKUP_AUTO_ENABLED: 'no',
    });
    const { created, notes } = await start(changed, ensureFirstConfig);
    expect({ created, notes: notes.join() }).toEqual({ created: true, notes: expect.stringContaining('DATABASE_URL') });
    expect(await start(changed, config)).toMatchObject({
      name: 'shop',
      databaseUrl: `sqlite:${other}`,
      mediaPaths: [folder],
      storagePath: join(folder, 'elsewhere'),
      schedule: '0 * * * *',
      timezone: 'Asia/Kolkata',
      backupRetentionDays: 7,
      maxBackupFiles: 9,
      autoBackupEnabled: false,
      nextRunAt: null,
    });
    expect(await start(changed, ensureFirstConfig)).toEqual(NOTHING);
  });

  it('takes no first backup where only the schedule changed', async () => {
    await start(of(own), ensureFirstConfig);
    const followed = await start(of(own, { DB_BACKUP_SCHEDULE: 'hourly' }), ensureFirstConfig);
    expect(followed).toEqual({ created: false, sample: false, notes: [expect.stringContaining('DB_BACKUP_SCHEDULE')] });
  });

  it('keeps what was edited; every start says what differs from .env and how to adopt either', async () => {
    await start(of(own), ensureFirstConfig);
    await start(of(own), edit({ backupRetentionDays: 90 }));
    const env = of(other, { DB_BACKUP_MAX_FILES: '9' });
    for (let i = 0; i < 2; i++) {
      const { created, notes } = await start(env, ensureFirstConfig);
      expect(created).toBe(false);
      expect(notes.join('\n')).toContain('DB_BACKUP_RETENTION_DAYS: 30 (environment), 90 (config)');
      expect(notes.join('\n')).toContain(`DATABASE_URL: sqlite:${other} (environment), sqlite:${own} (config)`);
      expect(notes.join('\n')).toMatch(/config adopt environment[^]*config adopt product/);
    }
    expect(await start(env, config)).toMatchObject({ databaseUrl: `sqlite:${own}`, backupRetentionDays: 90 });
  });

  it('follows again once the environment says the same, and where the edit was not about it', async () => {
    await start(of(own), ensureFirstConfig);
    await start(of(own), edit({ backupRetentionDays: 90, keepDaily: 3, name: 'Temple' }));
    expect(await start(of(own, { DB_BACKUP_RETENTION_DAYS: '90' }), ensureFirstConfig)).toEqual(NOTHING);
    expect(await start(of(other), ensureFirstConfig)).toMatchObject({ created: true });
    expect(await start(of(other), config)).toMatchObject({ name: 'Temple', backupRetentionDays: 30, keepDaily: 3 });
  });

  it('can adopt the environment, or be left to the product for good', async () => {
    await start(of(own), ensureFirstConfig);
    await start(of(own), edit({ backupRetentionDays: 90 }));
    await start(of(other), async (app) => {
      const settings = environmentSettings(app.environment.seed);
      if (settings === null) throw new Error('no settings');
      await adoptEnvironment(app.configs, await app.configs.get(1), settings, 'you');
      expect(await config(app)).toMatchObject({ backupRetentionDays: 30, databaseUrl: `sqlite:${other}` });
      expect(await ensureFirstConfig(app)).toEqual(NOTHING);
    });
    await start(of(other), edit({ backupRetentionDays: 90 }));
    await start(of(other), async (app) => {
      await adoptProduct(await app.configs.get(1));
      expect(await ensureFirstConfig(app)).toEqual(NOTHING);
      expect(await config(app)).toMatchObject({ backupRetentionDays: 90 });
    });
  });

  it('does not follow while a run is under way, and says so', async () => {
    await start(of(own), async (app) => {
      await ensureFirstConfig(app);
      await app.backups.create({ backupType: 'MANUAL' }, 'test');
    });
    const { notes } = await start(of(other), ensureFirstConfig);
    expect(notes.join('\n')).toContain('has a run under way');
    expect(await start(of(other), config)).toMatchObject({ databaseUrl: `sqlite:${own}` });
  });

  it('does not follow the environment of a command or a worker', async () => {
    await start(of(own), ensureFirstConfig);
    expect(await start(of(other), (app) => ensureFirstConfig(app, { serves: false }))).toEqual(NOTHING);
    expect(await start(of(other), config)).toMatchObject({ databaseUrl: `sqlite:${own}` });
  });
});

describe('What a start says of a database', () => {
  const told = (env: NodeJS.ProcessEnv, within?: number) =>
    start(env, async (app) => {
      await ensureFirstConfig(app);
      if (within !== 0) await app.startWork();
      return firstSteps(app, { sample: false }, await takeFirstBackup(app, { sample: false }, within));
    });

  it('that was backed up is that it is protected', async () => {
    expect(await told(of(own))).toMatch(/^Protected: +okpuja: sqlite:.*\nFirst backup: .*\.zip \(.*, verified\)$/m);
  });

  it('that is missing is why it is not protected, at the first start and at every later one', async () => {
    const missing = of(join(folder, 'typo.sqlite3'));
    const text = await told(missing);
    expect(text).toMatch(
      /^Not protected: .*typo\.sqlite3\nFirst backup: FAILED with DATABASE_NOT_FOUND: .*typo\.sqlite3/,
    );
    expect(text).not.toMatch(/^Protected/m);
    expect(await start(missing, missingDatabase)).toMatch(/^Not protected: typo: DATABASE_NOT_FOUND: /);
    expect(await start(of(own), async (app) => [await ensureFirstConfig(app), await missingDatabase(app)])).toEqual([
      expect.objectContaining({ created: true }),
      null,
    ]);
  });

  it('whose first backup takes longer is that it is under way', async () => {
    expect(await told(of(own), 0)).toMatch(/^Not protected: .*\nFirst backup: still under way.*show backup_/m);
  });
});

describe('The name of an application', () => {
  it.each([
    ['/srv/okpuja/db.sqlite3', 'okpuja'],
    ['/srv/okpuja/data/db.sqlite3', 'okpuja'],
    ['/home/you/shop.db', 'shop'],
    ['/srv/my shop/app.sqlite', 'my shop'],
    ['/var/www/site.example.org/database/database.sqlite', 'site.example.org'],
    ['/db.sqlite3', 'db'],
  ])('of %s is %s', (path, name) => {
    expect(applicationName(`sqlite:${path}`)).toBe(name);
  });
});

describe('A start that knows a mail server and an address', () => {
  it('makes one channel once, and says how to try it', async () => {
    const env = { SMTP_URL: 'smtp://127.0.0.1:1', NOTIFY_EMAIL: 'ops@example.org' };
    await start({ SMTP_URL: env.SMTP_URL }, async (app) => expect(await ensureFirstChannel(app)).toBeNull());
    await start(env, async (app) => {
      expect(await ensureFirstChannel(app)).toContain('npx db-manager channels test 1');
      expect(await ensureFirstChannel(app)).toBeNull();
      expect(await app.channels.list()).toMatchObject([{ kind: 'EMAIL', target: 'ops@example.org' }]);
    });
  });
});
