import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type App, createApp } from '../../src/app.js';
import { loadEnvironment } from '../../src/environment.js';
import type { BackupRow } from '../../src/models/index.js';
import { translate } from '../cli/command.js';
import { startPostgres } from '../support/servers.js';
import { exec } from '../support/sqlite.js';
import { filesIn } from '../support/world.js';

const WORKERS = 4;
const CONFIGS = Number(process.env.CLUSTER_CONFIGS ?? 200);
/** Each variant ends within this time, in milliseconds. */
const DEADLINE = 540_000;
/** A due time is tried four times: a config that was hit twice is let be. */
const HIT_OFTEN = 3;

const server = await startPostgres();
afterAll(async () => {
  if ('stop' in server) await server.stop();
});

/** An installation of configs that are all due at one time, with as many worker processes as it wants. */
class Cluster {
  readonly workers: ChildProcess[] = [];
  kills = 0;

  private constructor(
    readonly folder: string,
    readonly app: App,
    readonly due: Date,
    private readonly program: string,
    private readonly env: NodeJS.ProcessEnv,
  ) {}

  static async create(controlUrl: string, jobsUrl: string): Promise<Cluster> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'db-manager-cluster-')));
    const env = {
      DATA_DIR: join(folder, 'data'),
      DB_BACKUP_PATH: join(folder, 'backups'),
      CONTROL_DATABASE_URL: controlUrl,
      JOBS_URL: jobsUrl,
      LEASE_SECONDS: '5',
      LOG_LEVEL: process.env.CLUSTER_LOG ?? 'silent',
    };
    const program = join(await translate(join(folder, 'program')), 'src/worker.js');
    const app = await createApp(loadEnvironment(env, folder));
    const first = join(folder, 'first.sqlite3');
    await exec(
      first,
      `CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB);
       WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO t SELECT i, randomblob(1000) FROM n;`,
    );
    await mkdir(join(folder, 'apps'));
    const due = new Date(Math.floor(Date.now() / 60_000) * 60_000);
    // The time after this one is half a year away.
    const schedule = `0 0 1 ${((due.getUTCMonth() + 6) % 12) + 1} *`;
    for (let index = 0; index < CONFIGS; index++) {
      const file = join(folder, 'apps', `${index}.sqlite3`);
      await copyFile(first, file);
      await app.configs.create({ name: `App ${index}`, databaseUrl: `sqlite:${file}`, schedule }, 'test');
    }
    await app.models.BackupConfig.update({ nextRunAt: due }, { where: {} });
    return new Cluster(folder, app, due, program, env);
  }

  startWorkers(): void {
    for (let index = 0; index < WORKERS; index++) this.workers.push(this.start());
  }

  /** Kills one of the workers as the power would, and starts another in its place. */
  async killOne(): Promise<void> {
    const index = Math.floor(Math.random() * this.workers.length);
    const worker = this.workers[index];
    if (worker === undefined) return;
    await ended(worker, 'SIGKILL');
    this.kills += 1;
    this.workers[index] = this.start();
  }

  rows(): Promise<BackupRow[]> {
    return this.app.models.Backup.findAll({
      order: [
        ['configId', 'ASC'],
        ['attempt', 'ASC'],
      ],
    });
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    await Promise.all(this.workers.splice(0).map((worker) => ended(worker, signal)));
  }

  async close(): Promise<void> {
    await this.stop('SIGKILL');
    await this.app.close(0);
    await rm(this.folder, { recursive: true, force: true });
  }

  private start(): ChildProcess {
    const env = { PATH: process.env.PATH, ...this.env };
    return spawn(process.execPath, [this.program], { cwd: this.folder, env, stdio: ['ignore', 'ignore', 'inherit'] });
  }
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill(signal);
  await exit;
}

async function createDatabase(url: string, name: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  return url.replace(/postgres$/, name);
}

const isUnderWay = ({ status }: BackupRow) => status === 'PENDING' || status === 'RUNNING';

/** Kills workers at random while there is work. @returns how long it took, in milliseconds */
async function workUnderFire(cluster: Cluster): Promise<number> {
  const start = Date.now();
  const total = () => cluster.app.models.Backup.count({ where: { status: 'COMPLETED' } });
  cluster.startWorkers();
  for (;;) {
    await sleep(500 + Math.random() * 1_000);
    const rows = await cluster.rows();
    const busy = rows.filter(isUnderWay);
    const waiting = await cluster.app.models.BackupConfig.count({ where: { retryAttempt: [2, 3, 4] } });
    if ((await total()) >= CONFIGS && busy.length === 0 && waiting === 0) return Date.now() - start;
    if (Date.now() - start > DEADLINE) {
      const left = busy.map(({ id, status, attempt, phase }) => `${id} ${status} ${attempt} ${phase}`);
      throw new Error(`after ${DEADLINE} ms ${await total()} are COMPLETED, ${waiting} wait, ${left.join(', ')}`);
    }
    const spared = busy.some(({ attempt }) => attempt >= HIT_OFTEN);
    if (!spared && (await total()) < CONFIGS) await cluster.killOne();
  }
}

const title = `${WORKERS} workers that are killed at random share ${CONFIGS} configs that are due at the same time`;

if ('missing' in server) {
  it.skip(`${title}: ${server.missing}`, () => undefined);
} else {
  describe(title, () => {
    let cluster: Cluster | null = null;
    afterEach(async () => {
      await cluster?.close();
      cluster = null;
    });

    it.each([
      ['in the control database', 'embedded', null],
      ['in a PostgreSQL of their own', 'apart', 'apart_jobs'],
    ])('each is backed up exactly once, with the jobs %s', async (_where, name, jobs) => {
      const controlUrl = await createDatabase(server.url, name);
      cluster = await Cluster.create(controlUrl, jobs === null ? '' : await createDatabase(server.url, jobs));
      const took = await workUnderFire(cluster);
      await cluster.stop('SIGTERM');
      const { app, due, folder, kills } = cluster;
      await app.backups.recover();
      const rows = await cluster.rows();
      const completed = rows.filter(({ status }) => status === 'COMPLETED');
      const failed = rows.filter(({ status }) => status === 'FAILED');
      process.stdout.write(
        `${name}: ${kills} kills, ${rows.length} runs, ${failed.length} interrupted, ${Math.round(took / 1000)} s\n`,
      );

      expect(rows.filter(isUnderWay)).toEqual([]);
      expect(completed).toHaveLength(CONFIGS);
      expect(new Set(completed.map(({ configId }) => configId)).size).toBe(CONFIGS);
      expect(rows.filter(({ attempt, dueAt }) => attempt === 1 && dueAt?.getTime() !== due.getTime())).toEqual([]);

      const strays = failed.filter((row) => {
        const next = rows.find(({ configId, attempt }) => configId === row.configId && attempt === row.attempt + 1);
        const after = next?.startedAt && row.completedAt && next.startedAt >= row.completedAt;
        return row.errorCode !== 'INTERRUPTED' || !after;
      });
      expect(strays.map(({ id, errorCode, errorMessage }) => ({ id, errorCode, errorMessage }))).toEqual([]);
      expect(rows).toHaveLength(completed.length + failed.length);

      const archives = (await filesIn(join(folder, 'backups'))).filter((name) => !name.includes('db-manager-control'));
      expect(archives).toEqual(completed.map(({ fileName }) => fileName).sort());
      expect(await filesIn(join(folder, 'data', 'tmp'))).toEqual([]);
      expect(kills).toBeGreaterThan(5);
      expect(failed.length).toBeGreaterThan(0);
    });
  });
}
