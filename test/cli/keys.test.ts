import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { EXIT_CODES } from '../../src/exit-codes.js';
import { createWorld, readTree, type World } from '../support/world.js';
import { start, translate } from './command.js';

let world: World;
let program: string;
beforeAll(async () => {
  world = await createWorld();
  program = join(await translate(join(world.folder, 'program')), 'src/cli.js');
});
afterAll(() => world.close());

const run = (args: string[], input?: string) =>
  start([program, ...args], {
    cwd: world.folder,
    env: { DATA_DIR: 'data', DB_BACKUP_PATH: 'backups', LEASE_SECONDS: '5', LOG_LEVEL: 'debug' },
    ...(input === undefined ? {} : { input }),
  }).ended;

async function ok(args: string[], input?: string): Promise<Record<string, never>> {
  const { code, stdout, stderr } = await run([...args, '--json'], input);
  expect({ args, code, stderr: code === 0 ? '' : stderr, stdout: code === 0 ? '' : stdout }).toMatchObject({ code: 0 });
  return JSON.parse(stdout) as Record<string, never>;
}

describe('The commands of encryption', () => {
  it('make a key into a file, back up for it, and open the backup with that file alone', async () => {
    const file = join(world.folder, 'key.txt');
    const { key, identity } = await ok(['keys', 'add', 'Safe', '--generate', '--out', file]);
    expect(identity).toBeNull();
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const secret = (await readFile(file, 'utf8')).split('\n').find((line) => line.startsWith('AGE-')) ?? '';
    const { config } = await ok(['config', 'edit', '1', '--encryption', 'Safe']);
    expect(config).toMatchObject({ encryptionKeys: [{ name: 'Safe' }] });
    const made = await run(['backup', '--json']);
    const { backup } = JSON.parse(made.stdout) as { backup: { id: string; encrypted: boolean } };
    expect(backup.encrypted).toBe(true);

    const to = join(world.folder, 'out');
    const blind = await run(['extract', backup.id, '--to', to, '--json']);
    expect(blind.code).toBe(EXIT_CODES.ENCRYPTION_KEY_MISSING);
    await ok(['extract', backup.id, '--to', to, '--identity-file', file]);
    expect(Object.keys(await readTree(to))).toContain('database.sqlite3');
    const { backup: verified } = await ok(['verify', backup.id, '--level', 'CONTENT', '--identity-file', '-'], secret);
    expect(verified).toMatchObject({ verificationLevel: 'CONTENT' });
    const target = join(world.folder, 'copy.sqlite3');
    await ok(['restore', backup.id, '--to', target, '--no-media', '--confirm', '--identity-file', file]);

    await writeFile(join(world.folder, 'words.txt'), 'four random words\n');
    await ok(['keys', 'add', 'Words', '--passphrase-file', join(world.folder, 'words.txt')]);
    await ok(['rewrap', backup.id, '--key', 'Words', '--identity-file', file]);
    await mkdir(join(world.folder, 'again'));
    await ok(['extract', backup.id, '--to', join(world.folder, 'again')]);
    await ok(['config', 'edit', '1', '--no-encryption']);
    await ok(['keys', 'remove', 'Safe']);
    const { keys } = await ok(['keys', 'list']);
    expect(JSON.stringify(keys)).not.toContain((key as { recipient: string }).recipient);
    for (const text of [made.stdout, made.stderr, blind.stdout, blind.stderr, JSON.stringify(verified)]) {
      expect(text).not.toContain(secret);
    }
  });

  it('leave no key behind where its file cannot be made', async () => {
    const file = join(world.folder, 'there.txt');
    await writeFile(file, 'mine');
    const { code } = await run(['keys', 'add', 'Nobody', '--generate', '--out', file, '--json']);
    expect(code).toBe(EXIT_CODES.BAD_USER_INPUT);
    expect(await readFile(file, 'utf8')).toBe('mine');
    expect(JSON.stringify(await ok(['keys', 'list']))).not.toContain('Nobody');
  });
});
