import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { hasZstd } from '../../src/archive/block.js';
import { startPlaces } from '../support/places.js';
import { contentHash, exec } from '../support/sqlite.js';
import { createWorld, NEVER, readTree, type World, writeTree } from '../support/world.js';

const { places, stop } = await startPlaces();
const COMPRESSIONS = ['DEFLATE', ...(hasZstd ? (['ZSTD'] as const) : []), 'NONE'] as const;
const ENCRYPTIONS = ['in the clear', 'for a recipient', 'with a passphrase'] as const;

let world: World;
let identity: string;
let keys: Record<(typeof ENCRYPTIONS)[number], number[]>;
beforeAll(async () => {
  world = await createWorld();
  const safe = await world.app.keys.create({ name: 'Safe', generate: true }, 'test');
  const words = await world.app.keys.create({ name: 'Words', passphrase: 'a long enough passphrase' }, 'test');
  identity = safe.identity ?? '';
  keys = { 'in the clear': [], 'for a recipient': [safe.key.id], 'with a passphrase': [words.key.id] };
  await exec(
    world.database,
    `CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
     SELECT i, randomblob(900) AS bytes, 'the same text again' AS text FROM n`,
  );
});
afterAll(async () => {
  await world.close();
  await stop();
});

describe.each(places)('A backup in $title', ({ missing, input }) => {
  const itThere = missing === null ? it : it.skip;
  let destination: number;
  beforeAll(async () => {
    if (missing !== null) return;
    const row = await world.app.destinations.create(await input(), 'test', NEVER);
    expect(row.checkError).toBeNull();
    destination = row.id;
  });

  const cases = ENCRYPTIONS.flatMap((how) => COMPRESSIONS.map((compression) => [how, compression] as const));
  itThere.each(cases)('comes back as it was: stored %s, compression %s', async (how, compression) => {
    const { app, database, media } = world;
    const encryptionKeyIds = keys[how];
    await app.configs.update(1, { destinationIds: [destination], encryptionKeyIds, compression }, 'test');
    const before = [await contentHash(database), await readTree(media)];
    const backup = await world.backup();
    expect(backup).toMatchObject({ status: 'COMPLETED', verificationLevel: 'ARCHIVE', errorMessage: null });
    expect(backup.fileName.endsWith('.age')).toBe(encryptionKeyIds.length > 0);
    await exec(database, 'DELETE FROM filler; CREATE TABLE IF NOT EXISTS changed (i)');
    await writeTree(media, { 'uploads/a photo.txt': 'changed' });
    await rm(`${media}/empty.txt`);
    const given = how === 'for a recipient' ? { identity } : {};
    const restore = await world.restore({ backupId: backup.id, ...given });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect([await contentHash(database), await readTree(media)]).toEqual(before);
  });
});
