import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { contentHash } from '../support/sqlite.js';
import { createWorld, type World } from '../support/world.js';

/** 2,000 are a week of every five minutes: `RUNS=2000 npm run test:large -- soak`. */
const RUNS = Number(process.env.RUNS ?? 120);

interface Look {
  run: number;
  /** Bytes. */
  rss: number;
  heapUsed: number;
  /** Open ones. */
  files: number;
}

describe(`${RUNS} incremental backups by one process`, () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
    await world.app.configs.update(1, { incremental: true }, 'test');
  });
  afterAll(() => world.close());

  it('take no more memory and no more open files, and the last one restores', async () => {
    const script = new URL('../support/run-many.mjs', import.meta.url).pathname;
    const env = {
      PATH: process.env.PATH,
      DATA_DIR: join(world.folder, 'data'),
      DB_BACKUP_PATH: world.backups,
      LOG_LEVEL: 'warn',
    };
    const args = ['--expose-gc', script, String(RUNS), world.database];
    const { stdout } = await promisify(execFile)(process.execPath, args, { env, cwd: world.folder });
    const looks = stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Look]));
    process.stdout.write(`${looks.map(({ run, rss }) => `${run}: ${Math.round(rss / 2 ** 20)} MiB`).join(', ')}\n`);
    expect(looks).toHaveLength(10);
    const [first, last] = [looks[0] as Look, looks.at(-1) as Look];
    expect(last.files).toBeLessThanOrEqual(first.files + 2);
    expect(last.heapUsed).toBeLessThan(first.heapUsed * 1.25);
    expect(last.rss).toBeLessThan(first.rss * 1.25);

    const rows = await world.app.models.Backup.findAll({ order: [['createdAt', 'ASC']] });
    expect(rows.map(({ mode }) => mode)).toEqual(['FULL', ...Array.from({ length: RUNS - 1 }, () => 'INCREMENTAL')]);
    expect(rows.filter(({ note }) => note?.startsWith('Unchanged since ')).length).toBe(Math.floor(RUNS / 10));
    const target = join(world.folder, 'restored.sqlite3');
    await world.restore({ backupId: rows.at(-1)?.id ?? '', targetDatabaseUrl: `sqlite:${target}` });
    expect(await contentHash(target)).toBe(await contentHash(world.database));
  });
});
