import { expect } from '@jest/globals';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import type { DestinationInput } from '../../src/core/destinations/destinations.js';
import { contentHash, exec } from './sqlite.js';
import { createWorld, NEVER, readTree, type World } from './world.js';

/** What came of taking a backup into a destination and getting it back. */
export interface RoundTrip {
  world: World;
  /** Of the backup, in its destination. */
  fileName: string;
}

/**
 * Takes a backup of some MiB into a new destination, verifies it at every level, restores it over changed data, and compares
 * database and media with what was there.
 */
export async function roundTrip(input: DestinationInput, env: NodeJS.ProcessEnv = {}): Promise<RoundTrip> {
  const world = await createWorld({ env });
  const { app, database, media } = world;
  await exec(
    database,
    `CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
     SELECT i, randomblob(4000) AS bytes FROM n`,
  );
  for (let number = 0; number < 200; number++) await writeFile(join(media, `${number}.bin`), randomBytes(2_000));
  const destination = await app.destinations.create(input, 'test', NEVER);
  expect(destination.checkError).toBeNull();
  await app.configs.update(1, { destinationIds: [destination.id] }, 'test');
  const before = [await contentHash(database), await readTree(media)];
  const backup = await world.backup();
  expect(backup).toMatchObject({ status: 'COMPLETED', storageType: destination.storageType });
  expect(backup.filePath).toBe(`${destination.storagePath}/${backup.fileName}`);
  for (const level of ['CHECKSUM', 'ARCHIVE', 'CONTENT'] as const) {
    expect(await app.verifications.verify(backup.id, level, 'test', NEVER)).toMatchObject({ verificationLevel: level });
  }
  await exec(database, 'DELETE FROM filler WHERE i > 5');
  await writeFile(join(media, '7.bin'), 'changed');
  const restore = await world.restore({ backupId: backup.id });
  expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
  expect([await contentHash(database), await readTree(media)]).toEqual(before);
  return { world, fileName: backup.fileName };
}
