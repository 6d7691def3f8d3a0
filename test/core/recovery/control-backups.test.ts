import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileSource } from '../../../src/archive/read.js';
import { unpacking } from '../../../src/archive/pack.js';
import { CONTROL_LEASE, Hold } from '../../../src/core/runs/hold.js';
import { AppError } from '../../../src/errors.js';
import type { DestinationRow } from '../../../src/models/index.js';
import { MemoryStorage, serveMemory } from '../../support/memory-storage.js';
import { createWorld, filesIn, NEVER, type World } from '../../support/world.js';

const HOUR = 3_600_000;
const NAME = /^db-manager-control_\d{8}_\d{6}_[0-9a-f]{6}\.zip(\.age)?$/;

let world: World;
let now: number;
let memory: MemoryStorage;
let distant: DestinationRow;

beforeEach(async () => {
  now = Date.now();
  world = await createWorld({ now: () => new Date(now) });
  memory = new MemoryStorage();
  const { app } = world;
  serveMemory(app, memory);
  distant = await app.models.Destination.create({ storageType: 'SYSTEM', storagePath: memory.place });
});
afterEach(() => world.close());

const run = () => world.app.controlBackups.runDue(NEVER);
const controlNames = async () => (await filesIn(world.backups)).filter((name) => NAME.test(name));
const textOf = async (file: string, entry: string) => {
  let text = '';
  for await (const chunk of unpacking(await fileSource(file), entry, NEVER)) text += chunk.toString();
  return text;
};
const reasons = async () =>
  (await world.app.overview.read()).reasons.filter(({ code }) => code === 'CONTROL_BACKUP_FAILED');

describe('The backup of the control database', () => {
  it('lies in every destination once a day, and is none of the archives', async () => {
    const backup = await world.backup();
    await run();
    await run();
    const names = await controlNames();
    expect(names).toEqual([...memory.objects.keys()]);
    expect(names).toHaveLength(1);
    const file = join(world.backups, names[0] ?? '');
    expect(JSON.parse(await textOf(file, 'control.json'))).toMatchObject({ format: 1, secretsKeys: [] });
    expect(await textOf(file, 'records.jsonl')).toContain(backup.id);
    const found = await world.app.cleanup.reconcile();
    expect(found.flatMap(({ files }) => files)).toEqual([]);
    now += 24 * HOUR;
    await run();
    expect(await controlNames()).toHaveLength(2);
  });

  it('is kept for the last seven days, and what is not its own is never deleted', async () => {
    const foreign = join(world.backups, 'db-manager-control_20200101_000000_abcdef.zip');
    await run();
    await writeFile(foreign, 'of another installation');
    for (let day = 0; day < 9; day++) {
      now += 24 * HOUR;
      await run();
    }
    expect(await controlNames()).toHaveLength(8);
    expect(memory.objects.size).toBe(7);
    expect(await readFile(foreign, 'utf8')).toBe('of another installation');
  });

  it('is sealed for the keys on record, and only then holds what opens the secrets', async () => {
    const { identity } = await world.app.keys.create({ name: 'Safe', generate: true }, 'test');
    await run();
    const [name = ''] = await controlNames();
    expect(name).toMatch(/\.zip\.age$/);
    const bytes = await readFile(join(world.backups, name), 'latin1');
    expect(bytes).toMatch(/^age-encryption\.org/);
    const key = (await readFile(join(world.folder, 'data', 'secrets-key'), 'utf8').catch(() => 'none')).trim();
    expect(bytes).not.toContain(key);
    expect(bytes).not.toContain(identity);
  });

  it('that a killed process left half-made in the work folder goes, once its lease is over', async () => {
    const left = join(world.folder, 'data', 'tmp', 'control-0123456789ab');
    await mkdir(left, { recursive: true });
    await writeFile(join(left, 'control'), 'half of it');
    const { models, log } = world.app;
    const hold = await Hold.take({ models, log, leaseMs: 60_000 }, [CONTROL_LEASE]);
    await world.app.backups.recover();
    expect(await filesIn(left)).toEqual(['control']);
    if (hold instanceof Hold) await hold.release();
    await world.app.backups.recover();
    expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
  });

  it('that fails is shown, tried again and cleaned up after', async () => {
    memory.failures.push(null, new AppError('STORAGE_UNAVAILABLE', 'It does not answer.'));
    await run();
    expect(await reasons()).toEqual([
      expect.objectContaining({ level: 'WARNING', message: expect.stringContaining('It does not answer.') }),
    ]);
    expect(memory.objects.size).toBe(0);
    await run();
    expect(await reasons()).toEqual([]);
    expect(memory.objects.size).toBe(1);
    expect(await world.app.models.ControlBackup.count({ where: { destinationId: distant.id } })).toBe(1);
  });

  it('that cannot be made is shown for every destination', async () => {
    await world.app.keys.create({ name: 'Words', passphrase: 'a long enough passphrase' }, 'test');
    await world.app.models.EncryptionKey.update({ secret: 'v1.no.good.secret' }, { where: {} });
    await run();
    expect(await reasons()).toHaveLength(2);
    expect(await controlNames()).toEqual([]);
  });

  it('waits for a disk that is away, without a word', async () => {
    const storagePath = join(world.folder, 'usb');
    await world.app.models.Destination.create({ storageType: 'SYSTEM', storagePath, offline: true });
    await run();
    expect(await reasons()).toEqual([]);
    expect(await filesIn(storagePath)).toEqual([]);
    expect(await controlNames()).toHaveLength(1);
  });
});
