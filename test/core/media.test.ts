import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { join } from 'node:path';
import type { MediaMode } from '../../src/core/media.js';
import type { Engine } from '../../src/core/ports.js';
import { createEngines } from '../../src/engines/index.js';
import { AppError } from '../../src/errors.js';
import type { RestoreRow } from '../../src/models/index.js';
import { createWorld, filesIn, NEVER, readTree, type World, writeTree } from '../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

/** A restore by another process, whose database is loaded by `load`. */
async function restoreWith(load: Engine['load'], backupId: string, mediaMode: MediaMode): Promise<RestoreRow> {
  const engines = createEngines();
  const of = (kind: Parameters<typeof engines.of>[0]) => ({ ...engines.of(kind), load });
  const other = await world.again({ engines: { of, forUrl: (url) => engines.forUrl(url) } });
  const restore = await other.restores.create({ backupId, confirm: true, mediaMode }, 'test');
  await other.restores.run(restore.id, NEVER);
  return restore.reload();
}

/** A restore that fails after it has switched its media; `meanwhile` is what happens just before. */
const failing = (backupId: string, mediaMode: MediaMode = 'MIRROR', meanwhile = async () => {}): Promise<RestoreRow> =>
  restoreWith(
    async () => {
      await meanwhile();
      throw new AppError('DATABASE_FAILED', 'injected');
    },
    backupId,
    mediaMode,
  );

describe('Media folders that lie in one another', () => {
  for (const nestedFirst of [false, true]) {
    it(`are put back as they were when the load fails, the nested one ${nestedFirst ? 'first' : 'last'}`, async () => {
      const paths = [world.media, join(world.media, 'uploads')];
      await world.app.configs.update(1, { mediaPaths: nestedFirst ? paths.toReversed() : paths }, 'test');
      const row = await world.backup();
      await writeTree(world.media, { 'uploads/a photo.txt': 'changed', 'uploads/later.txt': 'later' });
      const before = await readTree(world.media);
      expect(await failing(row.id)).toMatchObject({ status: 'FAILED', errorCode: 'DATABASE_FAILED' });
      expect(await readTree(world.media)).toEqual(before);
      expect(await filesIn(world.media)).toEqual(Object.keys(before));
    });
  }
});
