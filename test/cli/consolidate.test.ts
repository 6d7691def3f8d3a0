import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { EXIT_CODES } from '../../src/exit-codes.js';
import { createWorld, type World } from '../support/world.js';
import { start, translate } from './command.js';

let world: World;
let program: string;
beforeAll(async () => {
  world = await createWorld();
  program = join(await translate(join(world.folder, 'program')), 'src/cli.js');
});
afterAll(() => world.close());

const run = (...args: string[]) =>
  start([program, ...args], {
    cwd: world.folder,
    env: { DATA_DIR: 'data', DB_BACKUP_PATH: 'backups', LEASE_SECONDS: '5' },
  }).ended;

it('`consolidate` makes a full backup of an incremental one, and `show` says of which', async () => {
  await world.app.configs.update(1, { incremental: true }, 'test');
  const full = await world.backup();
  const { id } = await world.backup();
  const refused = await run('consolidate', full.id, '--json');
  expect(refused.code).toBe(EXIT_CODES.BAD_USER_INPUT);
  expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 'BAD_USER_INPUT', field: 'id' } });
  const done = await run('consolidate', id, '--json');
  expect(done).toMatchObject({ code: 0, stderr: '' });
  const { backup } = JSON.parse(done.stdout) as { backup: { id: string } };
  expect(backup).toMatchObject({ status: 'COMPLETED', mode: 'FULL', consolidates: id, verificationLevel: 'ARCHIVE' });
  const shown = await run('show', backup.id);
  expect(shown.stdout).toMatch(new RegExp(`Consolidates: +${id}`));
  const plan = await run('cleanup-backups', '--dry-run');
  expect(plan.stdout).toMatch(new RegExp(`${id} .*DELETE +${backup.id} is the same as a full backup`));
});
