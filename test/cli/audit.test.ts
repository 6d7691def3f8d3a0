import { readFile, stat } from 'node:fs/promises';
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
  await world.backup();
});
afterAll(() => world.close());

const run = (...args: string[]) =>
  start([program, 'audit', ...args], {
    cwd: world.folder,
    env: { DATA_DIR: 'data', DB_BACKUP_PATH: 'backups', LEASE_SECONDS: '5' },
  }).ended;

it('audit verify finds a whole trail that agrees with the archives', async () => {
  const { code, stdout } = await run('verify', '--json');
  expect(code).toBe(0);
  const document = JSON.parse(stdout) as { events: number };
  expect(document).toMatchObject({ breaks: [], archives: { compared: 1, unread: [] } });
  expect(document.events).toBe(await world.app.models.AuditEvent.count());
  expect((await run('verify')).stdout).toMatch(/^\d+ events, each linked .*\n1 archives agree with them\.\n$/);
});

it('audit export writes a line for each event, into a new file that only its owner reads', async () => {
  const count = await world.app.models.AuditEvent.count();
  const { stdout } = await run('export');
  const lines = stdout.trimEnd().split('\n');
  expect(lines).toHaveLength(count);
  expect(JSON.parse(lines[0]!)).toMatchObject({ action: 'config.create', previousHash: '0'.repeat(64) });
  const file = join(world.folder, 'trail.jsonl');
  expect(JSON.parse((await run('export', '--out', file, '--json')).stdout)).toEqual({ events: count, file });
  expect(await readFile(file, 'utf8')).toBe(stdout);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect((await run('export', '--out', file)).code).toBe(EXIT_CODES.BAD_USER_INPUT);
  expect((await run('export', '--json')).code).toBe(EXIT_CODES.BAD_USER_INPUT);
});

it('audit verify names a changed event and ends with AUDIT_BROKEN', async () => {
  await world.app.models.sequelize.query(`UPDATE audit_events SET actor = 'other' WHERE id = 1`);
  const { code, stderr } = await run('verify');
  expect(code).toBe(EXIT_CODES.AUDIT_BROKEN);
  expect(stderr).toMatch(/^Error AUDIT_BROKEN: Event 1 was changed after it was written\.\n/);
  const { stdout } = await run('verify', '--json', '--no-archives');
  expect(JSON.parse(stdout)).toMatchObject({
    error: { code: 'AUDIT_BROKEN' },
    breaks: [{ event: 1 }],
    archives: { compared: 0 },
  });
});
