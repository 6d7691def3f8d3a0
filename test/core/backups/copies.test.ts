import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { extractBackup } from '../../../src/core/archives/extract.js';
import type { Storage } from '../../../src/core/ports.js';
import { AppError, type ErrorCode } from '../../../src/errors.js';
import type { DestinationRow, StoredObjectRow } from '../../../src/models/index.js';
import { MemoryStorage, serveMemory } from '../../support/memory-storage.js';
import { all, exec } from '../../support/sqlite.js';
import { createWorld, filesIn, NEVER, type World } from '../../support/world.js';

const MINUTE = 60_000;

let world: World;
let now: number;
let memory: MemoryStorage;
let second: DestinationRow;
let distant: DestinationRow;

beforeEach(async () => {
  now = Date.now();
  world = await createWorld({ now: () => new Date(now) });
  memory = new MemoryStorage();
  const { app } = world;
  serveMemory(app, memory);
  const resolve = app.storages.resolve.bind(app.storages);
  app.storages.resolve = (address, field) => (address.storagePath === memory.place ? address : resolve(address, field));
  second = await folderAt(join(world.folder, 'second'));
  distant = await app.models.Destination.create({ storageType: 'SYSTEM', storagePath: memory.place });
});
afterEach(() => world.close());

const folderAt = (path: string, values: Partial<DestinationRow> = {}) =>
  world.app.models.Destination.create({ storageType: 'SYSTEM', storagePath: path, ...values });

/** The config's own folder first, then these. */
async function copyTo(...destinations: DestinationRow[]): Promise<void> {
  const first = await world.app.models.Destination.findOne({
    where: { storagePath: world.backups },
    rejectOnEmpty: true,
  });
  const destinationIds = [first, ...destinations].map(({ id }) => id);
  await world.app.configs.update(1, { destinationIds }, 'test');
}

/** The run writes the distant one: no config can name it, for it is none of a real kind. */
const distantFirst = () =>
  world.app.models.BackupConfig.update(
    { storagePath: distant.storagePath, storageType: 'SYSTEM' },
    { where: { id: 1 } },
  );

const runDue = () => world.app.copies.runDue(NEVER);
const later = (minutes: number) => (now += minutes * MINUTE);
const get = (id: string) => world.app.backups.get(id);
const statesOf = async (id: string) => (await get(id)).copies.map(({ status }) => status);
const unavailable = (code: ErrorCode = 'STORAGE_UNAVAILABLE') => new AppError(code, 'It does not answer.');
const damage = async (path: string) => {
  const bytes = await readFile(path);
  bytes.fill(0x55, bytes.length >> 1, (bytes.length >> 1) + 64);
  await writeFile(path, bytes);
};
const copyIn = (copies: StoredObjectRow[], { id }: DestinationRow) =>
  copies.find((copy) => copy.destinationId === id) as StoredObjectRow;

describe('A config with several destinations', () => {
  it('has its backups copied and verified once the first is, under the same name', async () => {
    await copyTo(second, distant);
    const row = await world.backup();
    expect(await statesOf(row.id)).toEqual(['COMPLETED', 'PENDING', 'PENDING']);
    await runDue();
    const { copies, fileSize, filePath, fileName } = await get(row.id);
    for (const copy of copies) {
      expect(copy).toMatchObject({ status: 'COMPLETED', name: fileName, size: fileSize, nextTryAt: null, attempts: 0 });
      expect(copy.verifiedAt).not.toBeNull();
    }
    const bytes = await readFile(filePath);
    expect(await readFile(join(world.folder, 'second', fileName))).toEqual(bytes);
    expect(memory.objects.get(fileName)).toEqual(bytes);
  });

  it('refuses a destination that is named twice or is not there', async () => {
    const update = (destinationIds: number[]) => world.app.configs.update(1, { destinationIds }, 'test');
    await expect(update([second.id, second.id])).rejects.toMatchObject({ field: 'destinationIds' });
    await expect(update([second.id, 999])).rejects.toMatchObject({ code: 'NOT_FOUND', field: 'destinationIds' });
    await expect(update([])).rejects.toMatchObject({ field: 'destinationIds' });
  });

  it('keeps its copies when the first is changed by its path, and never names a place twice', async () => {
    await copyTo(second, distant);
    const path = join(world.folder, 'second');
    const config = await world.app.configs.update(1, { storageType: 'SYSTEM', storagePath: path }, 'test');
    expect(config.copyTo).toEqual([distant.id]);
  });

  it('keeps a destination from being removed', async () => {
    await copyTo(second);
    await expect(world.app.destinations.remove(second.id, 'test')).rejects.toMatchObject({
      code: 'DESTINATION_IN_USE',
    });
  });

  it('copies uploads, and no safety backups', async () => {
    await copyTo(second);
    const backup = await world.backup();
    const restore = await world.restore({ backupId: backup.id });
    expect(restore.status).toBe('COMPLETED');
    expect(await statesOf(restore.safetyBackupId ?? '')).toEqual(['COMPLETED']);
    const body = createReadStream(backup.filePath);
    const upload = await world.app.backups.upload(body, backup.fileName, 1, 'test', NEVER);
    expect(await statesOf(upload.id)).toEqual(['COMPLETED', 'PENDING']);
  });
});

describe('A copy that fails', () => {
  /** Calls of one copy, in their order: in each of them the storage can fail. */
  const stages = ['prepare', 'stat', 'space', 'put', 'stat after put', 'get'];

  it.each(stages.map((stage, index) => [stage, index] as const))(
    'in %s leaves the backup COMPLETED with a warning, and is made later',
    async (_stage, index) => {
      await copyTo(distant);
      const row = await world.backup();
      memory.failures.push(...Array<null>(index).fill(null), unavailable());
      await runDue();
      const failed = await get(row.id);
      expect(failed).toMatchObject({ status: 'COMPLETED', errorCode: null });
      expect(copyIn(failed.copies, distant)).toMatchObject({
        status: 'FAILED',
        errorCode: 'STORAGE_UNAVAILABLE',
        attempts: 1,
      });
      memory.failures.length = 0;
      await runDue();
      expect(await statesOf(row.id)).toEqual(['COMPLETED', 'FAILED']);
      later(2);
      await runDue();
      expect(await statesOf(row.id)).toEqual(['COMPLETED', 'COMPLETED']);
      expect(copyIn((await get(row.id)).copies, distant)).toMatchObject({ attempts: 0, errorCode: null });
    },
  );

  it('is given up after about a week, with the reason, until it is asked for again', async () => {
    await copyTo(distant);
    const { id } = await world.backup();
    let tries = 0;
    for (; tries < 50; tries++) {
      memory.failures.push(unavailable('STORAGE_REFUSED'));
      await runDue();
      if (copyIn((await get(id)).copies, distant).nextTryAt === null) break;
      later(1_440);
    }
    const copy = copyIn((await get(id)).copies, distant);
    expect(tries).toBe(12);
    expect(copy).toMatchObject({ status: 'FAILED', errorCode: 'STORAGE_REFUSED', nextTryAt: null });
    expect(copy.gaveUpAt).not.toBeNull();
    await world.app.copies.request(id, distant.id, 'test');
    await runDue();
    expect(copyIn((await get(id)).copies, distant)).toMatchObject({ status: 'COMPLETED', gaveUpAt: null });
  });

  it('waits for an offline destination without an error, and never makes a folder for its disk', async () => {
    const path = join(world.folder, 'disk');
    const disk = await folderAt(path, { offline: true });
    await copyTo(disk);
    const row = await world.backup();
    await runDue();
    const waiting = copyIn((await get(row.id)).copies, disk);
    expect(waiting).toMatchObject({ status: 'PENDING', attempts: 0, errorCode: null });
    expect(await filesIn(path)).toEqual([]);
    await mkdir(path);
    later(6);
    await runDue();
    expect(await statesOf(row.id)).toEqual(['COMPLETED', 'COMPLETED']);
  });

  it('takes an empty folder where archives lay for a disk that is not mounted', async () => {
    const path = join(world.folder, 'disk');
    const disk = await folderAt(path, { offline: true });
    await mkdir(path);
    await copyTo(disk);
    await world.backup();
    await runDue();
    await rm(path, { recursive: true });
    await mkdir(path);
    const row = await world.backup();
    await runDue();
    expect(await statesOf(row.id)).toEqual(['COMPLETED', 'PENDING']);
    expect(await filesIn(path)).toEqual([]);
  });

  it('of a process that died is cleaned up and made again by the next', async () => {
    await copyTo(second);
    const row = await world.backup();
    const folder = join(world.folder, 'second');
    await mkdir(folder);
    await writeFile(join(folder, `.${row.fileName}.${row.id}.partial`), 'half');
    const copy = copyIn((await get(row.id)).copies, second);
    await copy.update({ status: 'RUNNING', attempts: 1, nextTryAt: new Date(now + MINUTE) });
    await runDue();
    expect(await statesOf(row.id)).toEqual(['COMPLETED', 'RUNNING']);
    later(2);
    await runDue();
    expect(await statesOf(row.id)).toEqual(['COMPLETED', 'COMPLETED']);
    expect(await filesIn(folder)).toEqual([row.fileName]);
  });

  it('that was stored whole before its process died is taken as it is', async () => {
    await copyTo(distant);
    const row = await world.backup();
    memory.objects.set(row.fileName, await readFile(row.filePath));
    const copy = copyIn((await get(row.id)).copies, distant);
    await copy.update({ status: 'RUNNING', attempts: 1 });
    await runDue();
    expect(await statesOf(row.id)).toEqual(['COMPLETED', 'COMPLETED']);
    expect(memory.calls.filter((call) => call.startsWith('put'))).toEqual([]);
  });

  it('never takes the name of a foreign object', async () => {
    await copyTo(distant);
    const row = await world.backup();
    memory.objects.set(row.fileName, Buffer.from('of someone else'));
    await runDue();
    const copy = copyIn((await get(row.id)).copies, distant);
    expect(copy).toMatchObject({ status: 'COMPLETED', name: row.fileName.replace('.zip', '_2.zip') });
    expect(memory.objects.get(row.fileName)?.toString()).toBe('of someone else');
    await rm(row.filePath);
    expect(await world.restore({ backupId: row.id })).toMatchObject({ status: 'COMPLETED' });
  });
});

describe('A backup with copies', () => {
  it('is restored from the copy that is left, which is said', async () => {
    await copyTo(distant);
    const row = await world.backup();
    await runDue();
    const before = await all(world.database, 'SELECT * FROM entry ORDER BY id');
    await rm(world.backups, { recursive: true });
    await exec(world.database, 'DELETE FROM entry');
    const plan = await world.app.restores.plan({ backupId: row.id, confirm: true });
    expect(plan.archivePath).toBe(`${memory.place}/${row.fileName}`);
    const restore = await world.restore({ backupId: row.id });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(restore.warnings.join('\n')).toContain(`${memory.place}/${row.fileName} was read instead.`);
    expect(await all(world.database, 'SELECT * FROM entry ORDER BY id')).toEqual(before);
  });

  it('is read from a folder of this machine before a distant place', async () => {
    await copyTo(second);
    await distantFirst();
    const row = await world.backup();
    await runDue();
    const { stored } = await world.app.backups.open(row.id);
    expect(stored.location).toBe(join(world.folder, 'second', row.fileName));
  });

  it('that turns out damaged while it is extracted is passed over for another one', async () => {
    await copyTo(second);
    const row = await world.backup();
    await runDue();
    await damage(row.filePath);
    const out = join(world.folder, 'extracted');
    const step = { signal: NEVER, onProgress: () => undefined };
    const open = (without: readonly number[]) => world.app.backups.open(row.id, undefined, without);
    await extractBackup(world.app.audit, open, out, 'test', step);
    expect(await readFile(join(out, 'media/uploads/a photo.txt'), 'utf8')).toBe('first');
    await damage(join(world.folder, 'second', row.fileName));
    const again = extractBackup(world.app.audit, open, join(world.folder, 'none'), 'test', step);
    await expect(again).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' });
    expect(await filesIn(join(world.folder, 'none'))).toEqual([]);
  });

  it('that is damaged keeps its destination from being removed', async () => {
    await copyTo(second);
    const row = await world.backup();
    await runDue();
    await copyTo();
    await damage(join(world.folder, 'second', row.fileName));
    await world.app.verifications.verify(row.id, 'CHECKSUM', 'test', NEVER);
    expect(copyIn((await get(row.id)).copies, second).status).toBe('FAILED');
    await expect(world.app.destinations.remove(second.id, 'test')).rejects.toMatchObject({
      code: 'DESTINATION_IN_USE',
    });
  });

  it('that turns out damaged while it is restored is read from another copy, and repaired', async () => {
    await copyTo(second);
    const row = await world.backup();
    await runDue();
    await damage(row.filePath);
    const restore = await world.restore({ backupId: row.id });
    expect(restore).toMatchObject({ status: 'COMPLETED' });
    expect(restore.warnings.join('\n')).toContain('Another copy was read instead.');
    expect(await statesOf(row.id)).toEqual(['FAILED', 'COMPLETED']);
    await runDue();
    expect(await statesOf(row.id)).toEqual(['COMPLETED', 'COMPLETED']);
    const bytes = await readFile(join(world.folder, 'second', row.fileName));
    expect(await readFile(row.filePath)).toEqual(bytes);
  });

  it('stays verified when one copy is damaged, and has it repaired from a good one', async () => {
    await copyTo(second, distant);
    const row = await world.backup();
    await runDue();
    await damage(join(world.folder, 'second', row.fileName));
    const verified = await world.app.verifications.verify(row.id, 'CHECKSUM', 'test', NEVER);
    expect(verified).toMatchObject({ status: 'COMPLETED', errorCode: null, verificationLevel: 'CHECKSUM' });
    expect(copyIn(verified.copies, second)).toMatchObject({ status: 'FAILED', errorCode: 'ARCHIVE_CORRUPT' });
    await runDue();
    expect(await statesOf(row.id)).toEqual(['COMPLETED', 'COMPLETED', 'COMPLETED']);
    expect(await readFile(join(world.folder, 'second', row.fileName))).toEqual(await readFile(row.filePath));
  });

  it('is unverified only when no copy is good any more', async () => {
    await copyTo(second);
    const row = await world.backup();
    await runDue();
    await damage(row.filePath);
    await rm(join(world.folder, 'second', row.fileName));
    const verified = await world.app.verifications.verify(row.id, 'ARCHIVE', 'test', NEVER);
    expect(verified).toMatchObject({ status: 'COMPLETED', verifiedAt: null });
    expect(verified.copies.map(({ status }) => status)).toContain('COMPLETED');
  });

  it('verifies one copy alone where a destination is named', async () => {
    await copyTo(distant);
    const row = await world.backup();
    await runDue();
    later(10);
    const verified = await world.app.verifications.verify(row.id, 'CHECKSUM', 'test', NEVER, {
      destinationId: distant.id,
    });
    expect(copyIn(verified.copies, distant).verifiedAt).toEqual(new Date(now));
    expect(verified.copy.verifiedAt).not.toEqual(new Date(now));
    const other = world.app.verifications.verify(row.id, 'CHECKSUM', 'test', NEVER, { destinationId: second.id });
    await expect(other).rejects.toMatchObject({ code: 'NOT_FOUND', field: 'destinationId' });
  });

  it('never copies bytes that are not those that were stored', async () => {
    const row = await world.backup();
    await damage(row.filePath);
    await world.app.copies.request(row.id, distant.id, 'test');
    await runDue();
    expect(memory.objects.size).toBe(0);
    expect(await get(row.id)).toMatchObject({ verifiedAt: null, errorCode: 'ARCHIVE_CORRUPT' });
  });

  it('is copied on request to a destination that its config does not name', async () => {
    const row = await world.backup();
    await world.app.copies.request(row.id, second.id, 'test');
    await runDue();
    expect(await statesOf(row.id)).toEqual(['COMPLETED', 'COMPLETED']);
    const [event] = await world.app.models.AuditEvent.findAll({ where: { action: 'backup.copy' } });
    expect(event).toMatchObject({ actor: 'test', subject: row.id });
    // One that is good stays as it is.
    expect(await world.app.copies.request(row.id, second.id, 'test')).toMatchObject({ status: 'COMPLETED' });
    await expect(world.app.copies.request(row.id, 999, 'test')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('Deleting a backup with copies', () => {
  it('deletes every copy', async () => {
    await copyTo(second, distant);
    const row = await world.backup();
    await runDue();
    await world.app.backups.remove([row.id], 'test');
    expect(await statesOf(row.id)).toEqual(['DELETED', 'DELETED', 'DELETED']);
    expect([...memory.objects.keys(), ...(await filesIn(join(world.folder, 'second')))]).toEqual([]);
    expect(await filesIn(world.backups)).toEqual([]);
  });

  it('keeps the row of a copy that cannot be reached, and deletes it later', async () => {
    await copyTo(distant);
    const row = await world.backup();
    await runDue();
    memory.failures.push(unavailable());
    await world.app.backups.remove([row.id], 'test');
    expect(await get(row.id)).toMatchObject({ status: 'DELETED' });
    expect(await statesOf(row.id)).toEqual(['DELETED', 'COMPLETED']);
    expect(memory.objects.size).toBe(1);
    later(2);
    await runDue();
    expect(await statesOf(row.id)).toEqual(['DELETED', 'DELETED']);
    expect(memory.objects.size).toBe(0);
  });

  it('changes nothing when no copy can be reached', async () => {
    await distantFirst();
    const row = await world.backup();
    memory.failures.push(unavailable());
    await expect(world.app.backups.remove([row.id], 'test')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(await get(row.id)).toMatchObject({ status: 'COMPLETED' });
  });

  it('waits for an offline disk, and is not fooled by its empty folder', async () => {
    const path = join(world.folder, 'disk');
    const disk = await folderAt(path, { offline: true });
    await mkdir(path);
    await copyTo(disk);
    const row = await world.backup();
    await runDue();
    const bytes = await readFile(join(path, row.fileName));
    await rm(join(path, row.fileName));
    await world.app.backups.remove([row.id], 'test');
    expect(await statesOf(row.id)).toEqual(['DELETED', 'COMPLETED']);
    await writeFile(join(path, row.fileName), bytes);
    later(6);
    await runDue();
    expect(await statesOf(row.id)).toEqual(['DELETED', 'DELETED']);
    expect(await filesIn(path)).toEqual([]);
  });

  it('is refused while a copy is being made, and never leaves an object behind', async () => {
    await copyTo(distant);
    const row = await world.backup();
    let reached = (): void => undefined;
    let go = (): void => undefined;
    const inPut = new Promise<void>((resolve) => (reached = resolve));
    const gate = new Promise<void>((resolve) => (go = resolve));
    const put = memory.put.bind(memory);
    memory.put = async (...args: Parameters<Storage['put']>) => {
      reached();
      await gate;
      return put(...args);
    };
    const copying = runDue();
    await inPut;
    await expect(world.app.backups.remove([row.id], 'test')).rejects.toMatchObject({ code: 'BUSY' });
    // The next backup does not wait for it.
    expect(await world.backup()).toMatchObject({ status: 'COMPLETED' });
    go();
    await copying;
    await world.app.backups.remove([row.id], 'test');
    expect([...memory.objects.keys()]).not.toContain(row.fileName);
  });

  it('or copying it wins, whichever is first, with nothing in between', async () => {
    await copyTo(second, distant);
    for (let round = 0; round < 5; round++) {
      const row = await world.backup();
      const remove = world.app.backups.remove([row.id], 'test').then(
        () => 'removed',
        (error: AppError) => error.code,
      );
      const [outcome] = await Promise.all([remove, runDue()]);
      const states = await statesOf(row.id);
      if (outcome === 'removed') expect(states).toEqual(['DELETED', 'DELETED', 'DELETED']);
      else expect([outcome, ...states]).toEqual(['BUSY', 'COMPLETED', 'COMPLETED', 'COMPLETED']);
      const there = [memory.objects.has(row.fileName), (await filesIn(world.backups)).includes(row.fileName)];
      expect(there).toEqual(outcome === 'removed' ? [false, false] : [true, true]);
    }
  });
});

describe('Retention of backups with copies', () => {
  /** One backup each day. */
  async function days(count: number): Promise<string[]> {
    const ids: string[] = [];
    for (let day = 0; day < count; day++) {
      later(1_440);
      ids.push((await world.backup()).id);
      await runDue();
    }
    return ids;
  }
  const deleted = async () => {
    const plan = await world.app.cleanup.plan(await world.app.configs.get(1));
    return plan.items.filter(({ keep }) => !keep).map(({ id }) => id);
  };

  it('keeps the newest verified backup of each destination, however far it lags behind', async () => {
    await copyTo(distant);
    await world.app.configs.update(1, { maxBackupFiles: 1 }, 'test');
    const [old, newer] = await days(2);
    await copyTo();
    await days(2);
    const gone = await deleted();
    expect(gone).toContain(old);
    expect(gone).not.toContain(newer);
  });

  it('counts a backup only with as many copies as the config asks for', async () => {
    await copyTo(distant);
    await world.app.configs.update(1, { maxBackupFiles: 1, minimumCopies: 2 }, 'test');
    const [first, second_] = await days(2);
    expect(await deleted()).toEqual([first]);
    memory.failures.push(unavailable());
    const [lacking] = await days(1);
    const plan = await world.app.cleanup.plan(await world.app.configs.get(1));
    const item = plan.items.find(({ id }) => id === lacking);
    expect(item).toMatchObject({ keep: true, reasons: [{ code: 'TOO_FEW_COPIES' }] });
    expect(plan.items.find(({ id }) => id === second_)).toMatchObject({ keep: true });
  });

  it('refuses more copies than there are destinations', async () => {
    const update = world.app.configs.update(1, { minimumCopies: 2 }, 'test');
    await expect(update).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'minimumCopies' });
  });
});

describe('The status', () => {
  const read = async () => {
    const { health, reasons, notices } = await world.app.overview.read();
    const codes = reasons.map(({ code }) => code).filter((code) => code !== 'NO_WORKER');
    return { health, codes, notices: notices.map(({ code, level }) => [code, level]), reasons };
  };

  it('notes that no copy lies away from this machine, which is no problem', async () => {
    await world.backup();
    expect(await read()).toMatchObject({ codes: [], notices: [['NO_COPY_AWAY', 'OK']] });
    await distant.update({ storageType: 'S3' });
    await copyTo(distant);
    expect(await read()).toMatchObject({ notices: [] });
  });

  it('warns of a copy that is missing: failed, never made, or not made for hours', async () => {
    await world.backup();
    await copyTo(distant);
    expect(await read()).toMatchObject({ codes: ['COPIES_MISSING'] });
    later(1);
    await world.backup();
    expect(await read()).toMatchObject({ codes: [] });
    memory.failures.push(unavailable());
    await runDue();
    const { codes, reasons } = await read();
    expect(codes).toEqual(['COPIES_MISSING']);
    expect(reasons.map(({ message }) => message).join('\n')).toContain(
      'has no copy in memory://test. It does not answer.',
    );
    later(2);
    await runDue();
    expect(await read()).toMatchObject({ codes: [] });
    await world.backup();
    later(130);
    expect((await read()).codes).toContain('COPIES_MISSING');
    await distant.update({ offline: true });
    expect((await read()).codes).not.toContain('COPIES_MISSING');
  });

  it('warns of a copy that was given up', async () => {
    await copyTo(distant);
    const { id } = await world.backup();
    const copy = copyIn((await get(id)).copies, distant);
    await copy.update({ status: 'FAILED', gaveUpAt: new Date(now), nextTryAt: null });
    expect(await read()).toMatchObject({ codes: ['COPY_FAILED'] });
    await world.app.backups.remove([id], 'test');
    expect((await read()).codes).not.toContain('COPY_FAILED');
  });
});
