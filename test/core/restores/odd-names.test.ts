import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { extractBackup } from '../../../src/core/archives/extract.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

const NAMES = [
  Buffer.from('a\\b'),
  Buffer.from('c\nd'),
  Buffer.from([0x65, 0xff]),
  Buffer.from('cafe\u0301'),
  Buffer.from('caf\u00e9'),
];
const odd = (name: Buffer) => Buffer.concat([Buffer.from(`${world.media}/`), Buffer.from([0x66, 0xfe, 0x2f]), name]);

async function names(folder: Buffer = Buffer.from(world.media), inside: Buffer = Buffer.alloc(0)): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true, encoding: 'buffer' })) {
    const name = entry.name as unknown as Buffer;
    const path = Buffer.concat([inside, name]);
    found.push(path.toString('hex'));
    const below = Buffer.concat([folder, Buffer.from('/'), name]);
    if (entry.isDirectory()) found.push(...(await names(below, Buffer.concat([path, Buffer.from('/')]))));
  }
  return found.sort();
}

describe('Media whose names a ZIP cannot hold', () => {
  beforeEach(async () => {
    await mkdir(Buffer.concat([Buffer.from(`${world.media}/`), Buffer.from([0x66, 0xfe])]));
    for (const name of NAMES) await writeFile(odd(name), `text of ${name.toString('hex')}`);
  });

  it('do not stop a backup, are named in a warning, and come back exactly by a restore', async () => {
    const row = await world.backup();
    expect(row).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(row.warnings).toEqual([
      expect.stringMatching(/^5 media files or folders have names that a ZIP cannot hold/),
    ]);
    const before = await names();
    await rm(world.media, { recursive: true });
    await mkdir(world.media);
    const restore = await world.restore({ backupId: row.id });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await names()).toEqual(before);
    for (const name of NAMES) expect(await readFile(odd(name), 'utf8')).toBe(`text of ${name.toString('hex')}`);
  });

  it('are left alone where they are the same, else replaced, and an undo brings all back', async () => {
    const row = await world.backup();
    const [first, second, third] = NAMES as [Buffer, Buffer, Buffer];
    await writeFile(odd(first), 'changed');
    await rm(odd(second));
    const extra = Buffer.concat([third, Buffer.from([0xfd])]);
    await writeFile(odd(extra), 'extra');
    const changed = await names();
    const plan = await world.app.restores.plan({ backupId: row.id, confirm: false, mediaMode: 'MIRROR' });
    expect(plan.media).toMatchObject({ add: 1, replace: 1, remove: 1 });
    const restore = await world.restore({ backupId: row.id, mediaMode: 'MIRROR' });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await readFile(odd(first), 'utf8')).toBe(`text of ${first.toString('hex')}`);
    expect(await names()).not.toContain(Buffer.concat([Buffer.from([0x66, 0xfe, 0x2f]), extra]).toString('hex'));
    const undo = await world.app.restores.createUndo(restore.id, 'test');
    await world.app.restores.run(undo.id, NEVER);
    expect(await undo.reload()).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await names()).toEqual(changed);
    expect(await readFile(odd(first), 'utf8')).toBe('changed');
    expect(await readFile(odd(extra), 'utf8')).toBe('extra');
    expect((await readdir(world.media)).filter((name) => name.startsWith('.db-manager'))).toEqual([]);
  });

  it('can be named one by one, as the archive has them', async () => {
    const row = await world.backup();
    for (const name of NAMES) await writeFile(odd(name), 'changed');
    const restore = await world.restore({ backupId: row.id, media: ['media/f%FE/a%5Cb'] });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    const texts = await Promise.all(NAMES.map((name) => readFile(odd(name), 'utf8')));
    expect(texts).toEqual([`text of ${NAMES[0]?.toString('hex')}`, 'changed', 'changed', 'changed', 'changed']);
  });

  it('are extracted under their own names', async () => {
    const row = await world.backup();
    const out = join(world.folder, 'out');
    await extractBackup(world.app.audit, () => world.app.backups.open(row.id), out, 'test', {
      signal: NEVER,
      onProgress: () => undefined,
    });
    const path = Buffer.concat([Buffer.from(`${out}/media/`), Buffer.from([0x66, 0xfe, 0x2f]), NAMES[2] as Buffer]);
    expect(await readFile(path, 'utf8')).toBe('text of 65ff');
  });
});

describe('A symbolic link in the media', () => {
  it('is named in the warnings of the backup and of the plan, with what is missing for it', async () => {
    await symlink('/srv/elsewhere', join(world.media, 'linked'));
    const row = await world.backup();
    expect(row.warnings).toEqual([
      expect.stringMatching(/^1 symbolic links .* not in the backup: media\/linked \(leads to \/srv\/elsewhere\)$/),
    ]);
    const plan = await world.app.restores.plan({ backupId: row.id, confirm: false });
    expect(plan.warnings).toEqual([expect.stringMatching(/media\/linked.*\/srv\/elsewhere/)]);
  });
});
