import { cp, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { contentHash } from '../support/sqlite.js';
import { createWorld, readTree, type World } from '../support/world.js';
import { start, translate } from './command.js';

let world: World;
let machine: string;
let program: string;
let before: { database: string; media: Record<string, string> };

beforeAll(async () => {
  world = await createWorld();
  const { filePath } = await world.backup();
  before = { database: await contentHash(world.database), media: await readTree(world.media) };
  machine = await realpath(await mkdtemp(join(tmpdir(), 'machine-')));
  program = join(await translate(join(machine, 'program')), 'src/cli.js');
  await cp(filePath, join(machine, 'a file.zip'));
  await mkdir(join(machine, 'home'));
});
afterAll(async () => {
  await world.close();
  await rm(machine, { recursive: true, force: true });
});

const run = (...args: string[]) =>
  start([program, 'import', ...args], { cwd: join(machine, 'home'), env: { DATA_DIR: 'data' } }).ended;

describe('import', () => {
  it('shows whose an archive is and how to bring its application back', async () => {
    const { code, stdout, stderr } = await run('../a file.zip');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/Application: +"App" on /);
    expect(stdout).toContain(`sqlite:${world.database}`);
    expect(stdout).toMatch(/Config: +none here/);
    expect(stdout).toContain('import ../a file.zip --restore');
    expect(stdout).toMatch(/app_backup_\d{8}_\d{6}\.zip/);
  });

  it('prints one document with --json', async () => {
    const { code, stdout } = await run('../a file.zip', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      backup: { backupType: 'UPLOADED', status: 'COMPLETED' },
      origin: { config: 'App', database: `sqlite:${world.database}` },
      config: null,
    });
  });

  it('restores nothing without confirmation', async () => {
    const { code, stderr } = await run('../a file.zip', '--restore', '--database', 'new.sqlite3');
    expect({ code, stderr }).toMatchObject({ code: 3, stderr: expect.stringContaining('CONFIRMATION_REQUIRED') });
    expect((await run('../a file.zip', '--json')).stdout).toContain('"config": null');
  });

  it('brings the application back into the places that are named', async () => {
    const { code, stdout } = await run(
      '../a file.zip',
      '--restore',
      '--confirm',
      '--name',
      'Back',
      '--database',
      'new.sqlite3',
    );
    expect({ code, stdout }).toMatchObject({ code: 0, stdout: expect.stringMatching(/Status: +COMPLETED/) });
    expect(await contentHash(join(machine, 'home/new.sqlite3'))).toBe(before.database);
    expect(await readTree(world.media)).toEqual(before.media);
  });

  it('names what is wrong with a file that is none', async () => {
    expect(await run('nothing.zip')).toMatchObject({ code: 4, stderr: expect.stringContaining('NOT_FOUND') });
    expect(await run(machine)).toMatchObject({ code: 2, stderr: expect.stringContaining('is not a file') });
  });
});
