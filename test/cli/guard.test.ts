import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { nameOf } from '../../src/cli/guard.js';
import { EXIT_CODES } from '../../src/exit-codes.js';
import { contentHash, exec } from '../support/sqlite.js';
import { createWorld, type World } from '../support/world.js';
import { start, translate } from './command.js';

let world: World;
let program: string;
let original: string;
beforeAll(async () => {
  world = await createWorld();
  program = join(await translate(join(world.folder, 'program')), 'src/cli.js');
  await exec(world.database, 'CREATE TABLE booking (id INTEGER PRIMARY KEY); INSERT INTO booking VALUES (1), (2)');
  const sql = 'SELECT count(*) FROM booking';
  const invariants = [{ name: 'Bookings', sql, expect: 'NOT_LESS_THAN_BEFORE' as const, value: null }];
  await world.app.configs.update(1, { invariants }, 'test');
  original = await contentHash(world.database);
});
afterAll(() => world.close());

const guard = (options: string[], command: string[]) =>
  start([program, 'guard', '--json', ...options, '--', ...command], {
    cwd: world.folder,
    env: { DATA_DIR: 'data', DB_BACKUP_PATH: 'backups', LEASE_SECONDS: '5' },
  });
/** A command that changes the database, says something and ends with the code. */
const change = (sql: string, code = 0) => [
  process.execPath,
  '--input-type=module',
  '-e',
  `const { default: sqlite3 } = await import(${JSON.stringify(import.meta.resolve('sqlite3'))});
   const database = new sqlite3.Database(${JSON.stringify(world.database)});
   await new Promise((done) => database.exec(${JSON.stringify(sql)}, done));
   await new Promise((done) => database.close(done));
   console.log('changed'); process.exitCode = ${code};`,
];
interface Document {
  error?: { code: string; message: string };
  backup: { id: string; pinned: boolean; note: string };
  command: { exitCode: number | null; signal: string | null };
  invariants: { holds: boolean }[];
  plan: { allowed: boolean } | null;
  restore: { id: string; status: string } | null;
}
const documentOf = (stdout: string) => JSON.parse(stdout) as Document;

it('`guard` keeps what a good command did, and unpins the backup before it', async () => {
  const { code, stdout, stderr } = await guard([], change('INSERT INTO booking VALUES (3)')).ended;
  expect([code, stderr]).toEqual([0, 'changed\n']);
  const document = documentOf(stdout);
  expect(document).toMatchObject({
    backup: { pinned: false, note: expect.stringContaining('Before: ') as unknown as string },
    ...{ command: { exitCode: 0, signal: null }, invariants: [{ holds: true }], plan: null, restore: null },
  });
  await exec(world.database, 'DELETE FROM booking WHERE id = 3');
});

it('`guard` ends with the code of a command that failed, and gives the plan to undo it', async () => {
  const { code, stdout } = await guard([], change('DROP TABLE booking', 7)).ended;
  expect(code).toBe(7);
  const { backup, plan, restore } = documentOf(stdout);
  expect([backup.pinned, plan?.allowed, restore]).toEqual([true, true, null]);
  const { id } = await world.app.restores.create({ backupId: backup.id, confirm: true }, 'test');
  await world.app.restores.run(id, new AbortController().signal);
  expect(await contentHash(world.database)).toBe(original);
});

it('`guard --undo-on-failure` undoes a command that fails or breaks an invariant', async () => {
  const failed = await guard(['--undo-on-failure'], change('DROP TABLE booking', 3)).ended;
  expect([failed.code, documentOf(failed.stdout).restore?.status]).toEqual([3, 'COMPLETED']);
  expect(await contentHash(world.database)).toBe(original);
  const broke = await guard(['--undo-on-failure'], change('DELETE FROM booking WHERE id = 1')).ended;
  const document = documentOf(broke.stdout);
  expect([broke.code, document.error?.code]).toEqual([EXIT_CODES.INVARIANT_BROKEN, 'INVARIANT_BROKEN']);
  expect(document).toMatchObject({ invariants: [{ holds: false }], restore: { status: 'COMPLETED' } });
  expect(await contentHash(world.database)).toBe(original);
});

it('`guard --undo-on-failure` undoes a command that ends well and leaves no database', async () => {
  const gone = [process.execPath, '-e', `require('fs').rmSync(${JSON.stringify(world.database)})`];
  const { code, stdout } = await guard(['--undo-on-failure'], gone).ended;
  const document = documentOf(stdout);
  expect([code, document.error?.code]).toEqual([EXIT_CODES.DATABASE_NOT_FOUND, 'DATABASE_NOT_FOUND']);
  expect(document).toMatchObject({ command: { exitCode: 0 }, restore: { status: 'COMPLETED' } });
  expect(await contentHash(world.database)).toBe(original);
});

it('`guard` does not take an invariant for broken that did not hold before either', async () => {
  const { invariants } = await world.app.configs.get(1);
  const never = { name: 'None', sql: 'SELECT id FROM booking', expect: 'EMPTY' as const, value: null };
  await world.app.configs.update(1, { invariants: [...invariants, never] }, 'test');
  const { code, stdout, stderr } = await guard(['--undo-on-failure'], change('SELECT 1')).ended;
  expect([code, documentOf(stdout).restore]).toEqual([0, null]);
  expect(stderr).toBe('changed\n');
  await world.app.configs.update(1, { invariants }, 'test');
});

it('`guard --undo-on-failure` whose backup could not be restored does not run the command', async () => {
  const { key } = await world.app.keys.create({ name: 'Held by people', generate: true }, 'test');
  await world.app.configs.update(1, { encryptionKeyIds: [key.id] }, 'test');
  const refused = await guard(['--undo-on-failure'], change('DELETE FROM booking')).ended;
  const code = 'ENCRYPTION_KEY_MISSING';
  expect([refused.code, documentOf(refused.stdout).error?.code]).toEqual([EXIT_CODES[code], code]);
  expect(refused.stderr).toBe('');
  expect(await contentHash(world.database)).toBe(original);
  await world.app.configs.update(1, { encryptionKeyIds: [] }, 'test');
});

it('`guard --undo-on-failure` that is stopped stops the command, and undoes what it did', async () => {
  const marker = join(world.folder, 'began');
  await writeFile(marker, '');
  const sql = 'DELETE FROM booking';
  const [node = '', ...args] = change(sql);
  const forever = `${args.at(-1)} (await import('node:fs')).writeFileSync(${JSON.stringify(marker)}, 'x'); setInterval(() => {}, 1000);`;
  const running = guard(['--undo-on-failure'], [node, ...args.slice(0, -1), forever]);
  while ((await readFile(marker, 'utf8')) === '') await new Promise((resolve) => setTimeout(resolve, 50));
  running.child.kill('SIGTERM');
  const { code, stdout } = await running.ended;
  expect(code).toBe(143);
  expect(documentOf(stdout)).toMatchObject({ command: { signal: 'SIGTERM' }, restore: { status: 'COMPLETED' } });
  expect(await contentHash(world.database)).toBe(original);
});

it.each([
  ['python manage.py migrate', ['python', 'manage.py', 'migrate', '--database', 'default']],
  ['mysql shop', ['mysql', '-psecret', '--user', 'root', 'postgres://u:p@h/d', 'shop']],
])('The note of a guarded command is its plain words: %s', (kept, command) => {
  expect(nameOf(command)).toBe(kept);
});

it('`guard` without a program that can be run changes nothing, and pins nothing', async () => {
  const { code, stdout } = await guard([], ['no-such-program']).ended;
  expect([code, documentOf(stdout).error?.code]).toEqual([EXIT_CODES.BAD_USER_INPUT, 'BAD_USER_INPUT']);
  const newest = await world.app.models.Backup.findOne({ order: [['createdAt', 'DESC']] });
  expect([newest?.status, newest?.pinned]).toEqual(['COMPLETED', false]);
});
