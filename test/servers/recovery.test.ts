import { execFile, spawnSync } from 'node:child_process';
import { copyFile, mkdir, readdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { makeChain } from '../support/chain.js';
import { contentHash } from '../support/sqlite.js';
import { createWorld, readTree, type World } from '../support/world.js';

const run = promisify(execFile);
const missing = ['unzip', 'zip', 'age', 'sqlite3'].filter((tool) => spawnSync('which', [tool]).status !== 0);
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

  it('puts an encrypted incremental backup together with those that it builds on', async () => {
    const { key, identity } = await world.app.keys.create({ name: 'chain', generate: true }, 'test');
    await world.app.configs.update(1, { encryptionKeyIds: [key.id] }, 'test');
    const { rows, states } = await makeChain(world);
    const file = join(world.folder, 'chain.txt');
    await writeFile(file, `${identity}\n`);
    const program = join(process.cwd(), 'recovery', 'recover.sh');
    for (const [index, row] of rows.entries()) {
      const out = join(world.folder, `chain ${index}`);
      const { stdout } = await run('sh', [program, row.filePath, out, file]);
      expect(stdout).toContain('The database is intact');
      expect([await contentHash(join(out, 'database.sqlite3')), await readTree(join(out, 'media'))]).toEqual(
        states[index],
      );
      expect((await readdir(out)).filter((name) => name.startsWith('.'))).toEqual([]);
    }
    const refused = (archive: string, name: string) =>
      expect(run('sh', [program, archive, join(world.folder, name), file])).rejects;
    // One that builds on itself would be unpacked for ever.
    await mkdir(join(world.folder, 'loop'));
    const loop = join(world.folder, 'loop', rows[0]!.fileName);
    await copyFile(rows[1]!.filePath, loop);
    await refused(loop, 'endless').toThrow(`${rows[0]!.fileName} is not the archive that was built on`);
    await symlink('/etc/hostname', join(world.folder, 'database.sqlite3'));
    await run('zip', ['-q', '-y', 'link.zip', 'database.sqlite3'], { cwd: world.folder });
    await refused(join(world.folder, 'link.zip'), 'linked').toThrow('it holds links');
    await rename(rows[1]!.filePath, `${rows[1]!.filePath}.away`);
    const failed = run('sh', [program, rows[2]!.filePath, join(world.folder, 'lacking'), file]);
    await expect(failed).rejects.toThrow(`Put ${rows[1]!.fileName} into the folder`);
  });
});
