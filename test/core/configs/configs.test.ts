import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { join } from 'node:path';
import { hasZstd } from '../../../src/archive/block.js';
import { fileSource, openArchive } from '../../../src/archive/read.js';
import { createWorld, type World } from '../../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

describe('A new config', () => {
  const create = () => world.app.configs.create({ name: 'New', databaseUrl: `sqlite:${world.database}` }, 'test');

  it('is not there at all when its process ends before its due time is noted', async () => {
    const { BackupConfig } = world.app.models;
    BackupConfig.addHook('beforeUpdate', 'crash', () => {
      throw new Error('the process ends');
    });
    await expect(create()).rejects.toThrow('the process ends');
    BackupConfig.removeHook('beforeUpdate', 'crash');
    expect(await BackupConfig.count({ where: { name: 'New' } })).toBe(0);
    expect((await (await create()).reload()).nextRunAt).toBeInstanceOf(Date);
  });

  it('whose name is taken is refused, naming the field', async () => {
    await create();
    await expect(create()).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'name' });
  });
});

describe('The exclusions of a config', () => {
  const create = (databaseUrl: string, settings: object) =>
    world.app.configs.create({ name: 'New', databaseUrl, ...settings }, 'test');

  it.each(['excludeTables', 'excludeTableData'])('%s are refused for a SQLite file', async (field) => {
    await expect(create(`sqlite:${world.database}`, { [field]: ['log_*'] })).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      field,
      message: expect.stringContaining('SQLITE'),
    });
  });

  it.each([['*'], ['**'], [''], ['a\0b'], ['x'.repeat(301)]])('the pattern %j is refused', async (pattern) => {
    for (const field of ['excludeTables', 'excludeTableData']) {
      const made = create('postgres://user@127.0.0.1:1/db', { [field]: [pattern] });
      await expect(made).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field });
    }
  });

  it('are kept each once', async () => {
    const row = await create('postgres://user@127.0.0.1:1/db', { excludeTables: ['b', 'a*', 'b'] });
    await row.reload();
    expect([row.excludeTables, row.excludeTableData]).toEqual([['b', 'a*'], []]);
  });
});

describe('The compression of a config', () => {
  const create = (settings: object) =>
    world.app.configs.create({ name: 'New', databaseUrl: `sqlite:${world.database}`, ...settings }, 'test');

  it('is DEFLATE at level 1 unless something else is said', async () => {
    expect(await create({})).toMatchObject({ compression: 'DEFLATE', compressionLevel: 1 });
  });

  it.each([
    [{ compressionLevel: 10 }, 'compressionLevel'],
    [{ compressionLevel: -1 }, 'compressionLevel'],
    [{ compressionLevel: 1.5 }, 'compressionLevel'],
    [{ compression: 'LZMA' }, 'compression'],
  ])('%j is refused, naming %s', async (settings, field) => {
    await expect(create(settings)).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field });
  });

  it(`ZSTD is ${hasZstd ? 'taken' : 'refused with what to do'} by this Node`, async () => {
    const made = create({ compression: 'ZSTD' });
    if (hasZstd) expect(await made).toMatchObject({ compression: 'ZSTD' });
    else
      await expect(made).rejects.toMatchObject({ field: 'compression', hint: expect.stringContaining('newer Node') });
  });

  it('decides how archives are made; a safety backup is stored as it is where there is room', async () => {
    const stored = async (id: string) => {
      const { fileName } = await world.app.backups.get(id);
      const archive = await openArchive(await fileSource(join(world.backups, fileName)));
      const database = archive.entries.find(({ path }) => path === 'database.sqlite3');
      return database?.compressedSize === database?.size;
    };
    const deflated = await world.backup();
    expect(await stored(deflated.id)).toBe(false);
    await world.app.configs.update(1, { compression: 'NONE' }, 'test');
    const plain = await world.backup();
    expect(await stored(plain.id)).toBe(true);
    const restore = await world.restore({ backupId: deflated.id });
    expect(await stored(restore.safetyBackupId ?? '')).toBe(true);
  });
});
