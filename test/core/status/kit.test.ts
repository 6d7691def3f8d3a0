import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { fileSource } from '../../../src/archive/read.js';
import { unpacking } from '../../../src/archive/pack.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world.close());

const outdated = async () =>
  (await world.app.overview.read()).notices.filter(({ code }) => code === 'KIT_OUTDATED').map(({ level }) => level);

const makeKit = () => world.app.recoveryKits.make('test');

it('says nothing of a kit that leads to the newest backups, nor while there is none', async () => {
  await world.backup();
  expect(await outdated()).toEqual([]);
  await makeKit();
  expect(await outdated()).toEqual([]);
});

it('notes a key that the kit does not name, until a new kit names it', async () => {
  const { key } = await world.app.keys.create({ name: 'New', generate: true }, 'test');
  await world.app.configs.update(1, { encryptionKeyIds: [key.id] }, 'test');
  expect(await outdated()).toEqual([]);
  await world.backup();
  expect(await outdated()).toEqual(['OK']);
  await makeKit();
  expect(await outdated()).toEqual([]);
});

it('notes a destination that the kit does not name', async () => {
  const values = { path: join(world.folder, 'other') };
  const { id } = await world.app.destinations.create({ storageType: 'SYSTEM', values }, 'test', NEVER);
  await world.app.configs.update(1, { destinationIds: [id] }, 'test');
  await world.backup();
  expect(await outdated()).toEqual(['OK']);
  await makeKit();
  expect(await outdated()).toEqual([]);
});

it('keeps on record what a kit was made for: keys, destinations, SHA-256 of its list', async () => {
  const file = join(world.folder, 'kit.zip');
  await writeFile(file, await makeKit());
  const event = await world.app.models.AuditEvent.findOne({ order: [['id', 'DESC']], rejectOnEmpty: true });
  const sums: Buffer[] = [];
  for await (const chunk of unpacking(await fileSource(file), 'SHA256SUMS', NEVER)) sums.push(chunk);
  const sha256 = createHash('sha256').update(Buffer.concat(sums)).digest('hex');
  expect((await readFile(file)).length).toBeGreaterThan(0);
  expect(event).toMatchObject({ action: 'recovery-kit.make', details: { keys: [1], destinations: [1, 2], sha256 } });
});
