import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, readdir, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type App, type AppOptions, createApp } from '../../src/app.js';
import { type Environment, loadEnvironment } from '../../src/environment.js';
import type { BackupRow, RestoreRow } from '../../src/models/index.js';
import { expectedRows, SCHEMA } from './ledger.mjs';
import { all, exec } from './sqlite.js';

export const NEVER = new AbortController().signal;

/** A real application (SQLite in WAL mode, media) and the product around it, in a temporary folder. */
export interface World {
  folder: string;
  database: string;
  media: string;
  backups: string;
  app: App;
  /** Another process of the product on the same data. */
  again(options?: AppOptions): Promise<App>;
  backup(): Promise<BackupRow>;
  restore(request: { backupId: string } & Partial<Parameters<App['restores']['create']>[0]>): Promise<RestoreRow>;
  close(): Promise<void>;
}

export async function createWorld(
  options: AppOptions & { env?: NodeJS.ProcessEnv; pragmas?: string } = {},
): Promise<World> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'db-manager-')));
  const database = join(folder, 'app', 'db.sqlite3');
  const media = join(folder, 'app', 'media');
  const backups = join(folder, 'backups');
  await mkdir(media, { recursive: true });
  await exec(database, `${options.pragmas ?? 'PRAGMA journal_mode = WAL;'} ${SCHEMA}`);
  await writeTree(media, { 'uploads/a photo.txt': 'first', 'images/ünï.txt': 'second', 'empty.txt': '' });
  const environment = loadEnvironment(
    {
      DATA_DIR: join(folder, 'data'),
      DB_BACKUP_PATH: backups,
      LOG_LEVEL: 'silent',
      LEASE_SECONDS: '5',
      ...options.env,
    },
    folder,
  );
  const app = await openApp(environment, options);
  await app.configs.create({ name: 'App', databaseUrl: `sqlite:${database}`, mediaPaths: [media] }, 'test');
  const apps = [app];
  return {
    folder,
    database,
    media,
    backups,
    app,
    async again(others = {}) {
      const other = await createApp(environment, others);
      apps.push(other);
      return other;
    },
    async backup() {
      const row = await app.backups.create({ backupType: 'MANUAL' }, 'test');
      await app.backups.run(row.id, NEVER);
      return row.reload();
    },
    async restore(request) {
      const row = await app.restores.create({ confirm: true, ...request }, 'test');
      await app.restores.run(row.id, NEVER);
      return row.reload();
    },
    async close() {
      for (const opened of apps) await opened.close(0);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A control database after its migrations, which take most of the time of a new one; of the first world of a test file. */
let migrated: Buffer | undefined;

async function openApp(environment: Environment, options: AppOptions): Promise<App> {
  const control = join(environment.dataDir, 'db-manager.sqlite3');
  if (environment.controlDatabaseUrl !== `sqlite:${control}`) return createApp(environment, options);
  if (migrated !== undefined) {
    await mkdir(environment.dataDir, { recursive: true, mode: 0o700 });
    await writeFile(control, migrated, { mode: 0o600 });
  }
  const app = await createApp(environment, options);
  if (migrated === undefined) {
    const copy = join(environment.dataDir, 'copy.sqlite3');
    await app.models.sequelize.query(`VACUUM INTO '${copy}'`);
    migrated = await readFile(copy);
    await rm(copy);
  }
  return app;
}

export async function writeTree(root: string, files: Record<string, string>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
}

/** Every file below the folder with its text; nothing else. */
export async function readTree(root: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const name of (await readdir(root, { recursive: true })).sort()) {
    const path = join(root, name);
    if ((await stat(path)).isFile()) files[name] = await readFile(path, 'utf8');
  }
  return files;
}

/** What a program at work removed after it was listed. */
const vanished = () => false;

/** All files of a folder and below, by name, hidden ones too; [] if it is not there. */
export async function filesIn(root: string): Promise<string[]> {
  const names = await readdir(root, { recursive: true }).catch(() => []);
  const kinds = await Promise.all(
    names.map((name) => stat(join(root, name)).then((found) => found.isFile(), vanished)),
  );
  return names.filter((_, index) => kinds[index]).sort();
}

/** A process that keeps committing to the ledger. */
export interface Writer {
  stop(): Promise<{ commits: number; busy: number; errors: string[] }>;
}

export async function startWriter(database: string, pauseMs = 0): Promise<Writer> {
  const script = new URL('./ledger.mjs', import.meta.url).pathname;
  const child: ChildProcess = spawn(process.execPath, [script, database, String(pauseMs)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  const ready = new Promise<void>((resolve) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.startsWith('ready\n')) resolve();
    });
  });
  await ready;
  return {
    stop: () =>
      new Promise((resolve, reject) => {
        child.on('close', () => {
          try {
            resolve(JSON.parse(text.slice('ready\n'.length)) as Awaited<ReturnType<Writer['stop']>>);
          } catch (error) {
            reject(error as Error);
          }
        });
        child.kill('SIGTERM');
      }),
  };
}

/** Throws unless the ledger in the file is exactly the state after some number of commits. @returns that number */
export async function assertOneCommittedState(file: string): Promise<number> {
  const [head] = await all<{ k: number }>(file, 'SELECT k FROM head');
  const k = head?.k ?? -1;
  const expected = expectedRows(k);
  for (const table of ['account', 'entry'] as const) {
    const rows = await all(file, `SELECT * FROM ${table} ORDER BY id`);
    if (JSON.stringify(rows) !== JSON.stringify(expected[table])) {
      throw new Error(`${table} of ${file} is not the state after ${k} commits`);
    }
  }
  return k;
}
