import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createWorld, type World } from '../support/world.js';
import { start, translate } from './command.js';

describe('An installation', () => {
  let world: World;
  let program: string;
  beforeAll(async () => {
    world = await createWorld();
    program = join(await translate(join(world.folder, 'program')), 'src/cli.js');
  });
  afterAll(() => world.close());

  const run = (...args: string[]) =>
    start([program, ...args], { cwd: world.folder, env: { DATA_DIR: 'data', DB_BACKUP_PATH: 'backups' } }).ended;

  it('without a backup is CRITICAL, which only --check makes an exit code', async () => {
    const [plain, checked] = await Promise.all([run('status'), run('status', '--check')]);
    expect(plain).toMatchObject({ code: 0, stdout: expect.stringMatching(/^CRITICAL\n\n/) });
    expect(plain.stdout).toMatch(/^CRITICAL NEVER_BACKED_UP: +"App": there is no backup yet\.\n +Back up now/m);
    expect(checked).toMatchObject({ code: 2, stdout: plain.stdout });
  });

  it('with a backup but no worker is WARNING; the last success has an age, the storage a size', async () => {
    const row = await world.backup();
    await row.update({ createdAt: new Date(Date.now() - 3 * 3_600_000 - 60_000) });
    const [text, json] = await Promise.all([run('status', '--check'), run('status', '--json')]);
    expect(text).toMatchObject({ code: 1, stdout: expect.stringMatching(/^WARNING\n/) });
    expect(text.stdout).toMatch(/^Nodes: +none$/m);
    expect(text.stdout).toMatch(/^Queue: +0 waiting, 0 under way$/m);
    expect(text.stdout).toMatch(/^ID +CONFIG +LAST SUCCESS +AGE +LAST ERROR +NEXT RUN +DRILLED +RESTORE +OVERDUE$/m);
    expect(text.stdout).toMatch(/^ 1 +App +\d{4}-.* UTC +3 hours +- +\d{4}-.* UTC +never +- +no$/m);
    expect(text.stdout).toMatch(/^LOCAL .*backups +1 +\d.* KiB +\d.* ok$/m);
    expect(JSON.parse(json.stdout)).toMatchObject({
      health: 'WARNING',
      reasons: [{ level: 'WARNING', code: 'NO_WORKER', hint: expect.any(String), configId: null }],
      nodes: [],
      pending: 0,
      running: 0,
      configs: [{ id: 1, name: 'App', lastErrorCode: null, overdue: false, nextRunAt: expect.stringMatching(/Z$/) }],
      storages: [{ storageType: 'LOCAL', count: 1, used: row.fileSize, free: expect.any(Number), error: null }],
    });
  });

  it('whose config is overdue is CRITICAL', async () => {
    const config = await world.app.configs.get();
    const { nextRunAt } = config;
    await config.update({ nextRunAt: new Date(Date.now() - 5 * 3_600_000) });
    const { code, stdout } = await run('status', '--check');
    await config.update({ nextRunAt });
    expect(code).toBe(2);
    expect(stdout).toMatch(/^CRITICAL OVERDUE: +"App"/m);
    expect(stdout).toMatch(/YES$/m);
  });

  it('`reconcile` reports files without a record and records without a file, and changes nothing', async () => {
    const row = await world.backup();
    expect((await run('reconcile')).stdout).toContain('every archive has its record');
    const stray = join(world.backups, 'somebody_backup.zip');
    await writeFile(stray, 'not ours');
    await rename(row.filePath, `${row.filePath}.away`);
    const [text, json] = await Promise.all([run('reconcile'), run('reconcile', '--json')]);
    expect(text).toMatchObject({ code: 0, stdout: expect.stringContaining('1 file(s) without a record, 1 record(s)') });
    expect(text.stdout).toContain(stray);
    expect(JSON.parse(json.stdout)).toEqual({
      storages: [
        expect.objectContaining({ files: [stray], missing: [{ id: row.id, filePath: row.filePath }], error: null }),
      ],
    });
    expect(await row.reload()).toMatchObject({ status: 'COMPLETED' });
    await rename(`${row.filePath}.away`, row.filePath);
  });

  it('with a worker is OK, and names it', async () => {
    const other = await world.again();
    await other.startWork();
    const { code, stdout } = await run('status', '--check');
    await other.stopWork(0);
    expect({ code, word: stdout.split('\n')[0] }).toEqual({ code: 0, word: 'OK' });
    expect(stdout).toMatch(new RegExp(`^Nodes: +\\S+:${process.pid}$`, 'm'));
  });
});
