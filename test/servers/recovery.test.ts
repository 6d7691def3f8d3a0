import { execFile, spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { contentHash } from '../support/sqlite.js';
import { createWorld, readTree, type World } from '../support/world.js';

const run = promisify(execFile);
const missing = ['unzip', 'age', 'sqlite3'].filter((tool) => spawnSync('which', [tool]).status !== 0);
const skipped = missing.length === 0 ? '' : ` (skipped: ${missing.join(', ')} not installed)`;

(missing.length === 0 ? describe : describe.skip)(`The shell program of the recovery kit${skipped}`, () => {
  let world: World;
  beforeAll(async () => {
    world = await createWorld();
  });
  afterAll(() => world.close());

  it.each(['in the clear', 'encrypted'])('brings a backup back that is %s', async (how) => {
    const { key, identity } = await world.app.keys.create({ name: how, generate: true }, 'test');
    const encryptionKeyIds = how === 'encrypted' ? [key.id] : [];
    await world.app.configs.update(1, { encryptionKeyIds }, 'test');
    const row = await world.backup();
    const file = join(world.folder, 'identity.txt');
    await writeFile(file, `${identity}\n`);
    const out = join(world.folder, `out ${how}`);
    const program = join(process.cwd(), 'recovery', 'recover.sh');
    const { stdout } = await run('sh', [program, row.filePath, out, ...(how === 'encrypted' ? [file] : [])]);
    expect(stdout).toContain('The database is intact');
    expect(await contentHash(join(out, 'database.sqlite3'))).toBe(await contentHash(world.database));
    expect(await readTree(join(out, 'media'))).toEqual(await readTree(world.media));
    await expect(run('sh', [program, row.filePath, out])).rejects.toThrow(/already there/);
  });
});
