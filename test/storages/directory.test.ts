import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { mkdir, mkdtemp, readdir, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import { Readable } from 'node:stream';
import { contained } from '../../src/archive/names.js';
import { createStorages } from '../../src/storages/index.js';
import { storageContract } from '../contracts/storage.contract.js';

const makePlace = (storageType: 'LOCAL' | 'SYSTEM') => async () => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'storage-')));
  const storages = createStorages(folder);
  const address = storages.resolve(
    { storageType, storagePath: storageType === 'LOCAL' ? 'deep/er' : join(folder, 'deep', 'er') },
    'p',
  );
  return {
    storage: storages.open(address),
    everything: () => readdir(address.storagePath),
    dispose: () => rm(folder, { recursive: true, force: true }),
  };
};
storageContract('LOCAL', makePlace('LOCAL'));
storageContract('SYSTEM', makePlace('SYSTEM'));

describe('A folder as storage', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'folder-')));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const NEVER = new AbortController().signal;

  it('keeps archives private: the file 0600, the folder it makes 0700', async () => {
    const storage = createStorages(folder).open({ storageType: 'LOCAL', storagePath: join(folder, 'new') });
    await storage.prepare();
    const { location } = await storage.put('a.zip', Readable.from(['x']), { owner: 'r', signal: NEVER });
    expect((await stat(location)).mode & 0o777).toBe(0o600);
    expect((await stat(join(folder, 'new'))).mode & 0o777).toBe(0o700);
  });

  it('returns which folders it made, and removes only those that are still empty', async () => {
    const [outer, inner] = [join(folder, 'outer'), join(folder, 'outer', 'inner')];
    const open = (storagePath: string) => createStorages(folder).open({ storageType: 'SYSTEM', storagePath });
    const first = await open(inner).prepare();
    expect(first.made).toEqual([outer, inner]);
    const second = await open(inner).prepare();
    expect(second.made).toEqual([]);
    await second.undo();
    expect(await readdir(outer)).toEqual(['inner']);
    await writeFile(join(outer, 'mine'), '');
    await first.undo();
    expect(await readdir(outer)).toEqual(['mine']);
    await expect(open(join(folder, 'new', 'x'.repeat(300))).prepare()).rejects.toMatchObject({
      code: 'STORAGE_NOT_WRITABLE',
    });
    expect(await readdir(folder)).toEqual(['outer']);
  });

  it('fails at once where a file is in the way or the folder above is read-only', async () => {
    const file = join(folder, 'file');
    await writeFile(file, '');
    for (const storagePath of [file, join(file, 'below'), '/proc/nothing/deep']) {
      const storage = createStorages(folder).open({ storageType: 'SYSTEM', storagePath });
      await expect(storage.prepare()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    }
    const together = Array.from({ length: 8 }, () =>
      createStorages(folder)
        .open({ storageType: 'SYSTEM', storagePath: join(folder, 'a', 'b', 'c') })
        .prepare(),
    );
    await Promise.all(together);
  });

  it('says that it is not there instead of saying that it is empty', async () => {
    const storage = createStorages(folder).open({ storageType: 'SYSTEM', storagePath: join(folder, 'unmounted') });
    await expect(storage.stat('a.zip')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    await expect(storage.get('a.zip')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    await expect(storage.remove('a.zip')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  });

  it('removes what an interrupted run of one owner left, and nothing of others', async () => {
    const storage = createStorages(folder).open({ storageType: 'LOCAL', storagePath: folder });
    for (const name of ['.a.zip.run-1.partial', '.b.zip.run-2.partial', 'a.zip', 'notes.partial']) {
      await writeFile(join(folder, name), 'x');
    }
    await storage.discard('run-1', 'a.zip');
    expect((await readdir(folder)).sort()).toEqual(['.b.zip.run-2.partial', 'a.zip', 'notes.partial']);
  });

  it('does not follow a link that leads out of the backups folder', async () => {
    const outside = await mkdtemp(join(tmpdir(), 'outside-'));
    await mkdir(join(folder, 'backups'));
    await symlink(outside, join(folder, 'backups', 'link'));
    const storage = createStorages(join(folder, 'backups')).open({
      storageType: 'LOCAL',
      storagePath: join(folder, 'backups', 'link'),
    });
    await expect(storage.prepare()).rejects.toMatchObject({ code: 'PATH_NOT_ALLOWED' });
    const storagePath = join(folder, 'backups', 'link', 'deep', 'er');
    const below = createStorages(join(folder, 'backups')).open({ storageType: 'LOCAL', storagePath });
    await expect(below.prepare()).rejects.toMatchObject({ code: 'PATH_NOT_ALLOWED' });
    expect(await readdir(outside)).toEqual([]);
    await rm(outside, { recursive: true });
  });

  it('accepts only paths inside its root, whatever is written', () => {
    const storages = createStorages('/srv/data');
    for (const storagePath of ['..', 'a/../..', '/srv/dataEVIL', '/srv', '/etc/passwd', 'a/..\\..\\b', 'x\0y']) {
      expect(() => storages.resolve({ storageType: 'LOCAL', storagePath }, 'storagePath')).toThrow(/storagePath/);
    }
    expect(storages.resolve({ storageType: 'LOCAL', storagePath: '.' }, 'p').storagePath).toBe('/srv/data');
    expect(() => storages.resolve({ storageType: 'SYSTEM', storagePath: 'relative' }, 'storagePath')).toThrow(
      /absolute/,
    );
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constantFrom('..', '.', '', 'a', '\0', '...', '~', 'c:'), fc.string()), { maxLength: 6 }),
        (parts) => {
          try {
            const { storagePath } = storages.resolve({ storageType: 'LOCAL', storagePath: parts.join('/') }, 'p');
            return storagePath === '/srv/data' || storagePath.startsWith(`/srv/data${sep}`);
          } catch {
            return true;
          }
        },
      ),
      { numRuns: 5_000 },
    );
    expect(contained('/srv/data', '/srv/dataEVIL')).toBe(false);
  });
});
