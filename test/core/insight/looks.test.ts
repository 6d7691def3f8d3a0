import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { BackupRow } from '../../../src/models/index.js';
import { createWorld, type World } from '../../support/world.js';

const never = new AbortController().signal;

describe('A look into a backup', () => {
  let world: World;
  let backup: BackupRow;
  beforeAll(async () => {
    world = await createWorld();
    backup = await world.backup();
  });
  afterAll(() => world.close());

  const ask = (stop = never, identity?: string) =>
    world.app.insight.query({ id: backup.id, sql: 'SELECT 1', limit: 1, ...(identity && { identity }) }, 'test', stop);
  const looks = async () =>
    (await readdir(join(world.folder, 'data', 'tmp'))).filter((name) => name.startsWith('look_'));

  it('that nobody waits for any more ends, leaves nothing, and is no hindrance to the next one', async () => {
    const stop = new AbortController();
    const asked = ask(stop.signal);
    stop.abort(new Error('gone'));
    await expect(asked).rejects.toThrow('gone');
    expect(await looks()).toEqual([]);
    expect((await ask()).rows).toEqual([[1]]);
  });

  it('that fails is made anew for the next one, and kept for those who come soon', async () => {
    await world.app.insight.close();
    await rename(backup.filePath, `${backup.filePath}.away`);
    await expect(ask()).rejects.toMatchObject({ code: 'ARCHIVE_MISSING' });
    expect(await looks()).toEqual([]);
    await rename(`${backup.filePath}.away`, backup.filePath);
    const again = await createWorldOn(world);
    await Promise.all([again.ask(), again.ask()]);
    expect(await looks()).toHaveLength(1);
    await again.close();
    expect(await looks()).toEqual([]);
  });

  it('is removed at once when the process is about to end', async () => {
    await ask();
    expect(await looks()).toEqual([]);
  });

  /** Insight of a process of its own. */
  async function createWorldOn({ app }: World) {
    const { Insight } = await import('../../../src/core/insight/insight.js');
    const insight = new Insight({
      ...(app.insight as unknown as { env: ConstructorParameters<typeof Insight>[0] }).env,
    });
    return {
      ask: () => insight.query({ id: backup.id, sql: 'SELECT 1', limit: 1 }, 'test', never),
      close: () => insight.close(),
    };
  }
});
