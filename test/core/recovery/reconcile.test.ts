import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createWorld, NEVER, type World } from '../../support/world.js';

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world.close());

describe('Looking for archives without a record', () => {
  const at = async (path: string) =>
    (await world.app.cleanup.reconcile()).find(({ storage }) => storage.storagePath === path);

  it('finds them in a destination that no config names', async () => {
    const path = join(world.folder, 'disk');
    await mkdir(path);
    const row = await world.backup();
    await world.app.destinations.create({ name: 'Disk', storageType: 'SYSTEM', values: { path } }, 'test', NEVER);
    await rename(row.filePath, join(path, row.fileName));
    expect(await at(path)).toMatchObject({ files: [join(path, row.fileName)], error: null });
  });

  it.each([
    [false, 'STORAGE_UNAVAILABLE'],
    [true, null],
  ])('says of a destination that cannot be reached, offline %s, as its error: %s', async (offline, code) => {
    const path = join(world.folder, `away ${offline}`);
    await mkdir(path);
    const name = `Away ${offline}`;
    await world.app.destinations.create({ name, offline, storageType: 'SYSTEM', values: { path } }, 'test', NEVER);
    await rename(path, `${path} by now`);
    expect((await at(path))?.error?.code ?? null).toBe(code);
  });
});
