import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
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
