import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { AppError } from '../../../src/errors.js';
import type { BackupRow } from '../../../src/models/index.js';
import { all, exec } from '../../support/sqlite.js';
import { createWorld, filesIn, NEVER, readTree, type World } from '../../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
  await exec(world.database, 'CREATE TABLE filler (id INTEGER PRIMARY KEY, text TEXT)');
  await exec(
    world.database,
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
     INSERT INTO filler SELECT i, hex(randomblob(100)) FROM n`,
  );
  await world.app.configs.update(1, { incremental: true }, 'test');
});
afterEach(() => world.close());

/** Rows of every table, and the media. */
async function present() {
  const names = await all<{ name: string }>(world.database, "SELECT name FROM sqlite_master WHERE type = 'table'");
  const tables: Record<string, unknown> = {};
  for (const { name } of names) tables[name] = await all(world.database, `SELECT * FROM "${name}" ORDER BY 1`);
  return { tables, media: await readTree(world.media) };
}
type State = Awaited<ReturnType<typeof present>>;

async function change(step: number): Promise<void> {
  await exec(world.database, `UPDATE filler SET text = 'step ${step}' WHERE id % 500 = ${step}`);
  await writeFile(join(world.media, `step ${step}.txt`), `step ${step}`);
  if (step > 1) await rm(join(world.media, `step ${step - 1}.txt`));
}

/** Each a minute older than the next, so that retention can tell them apart. */
async function chainOf(length: number): Promise<{ rows: BackupRow[]; states: State[] }> {
  const [rows, states] = [[] as BackupRow[], [] as State[]];
  for (let step = 0; step < length; step++) {
    if (step > 0) await change(step);
    states.push(await present());
    rows.push(await world.backup());
  }
  return { rows, states };
}

async function consolidated({ id }: { id: string }): Promise<BackupRow> {
  const row = await world.app.backups.createConsolidation(id, 'test', NEVER);
  await world.app.backups.run(row.id, NEVER);
  return row.reload();
}

async function expectState(id: string, state: State | undefined): Promise<void> {
  const row = await world.restore({ backupId: id, mediaMode: 'MIRROR', allowForeign: true });
  expect(row).toMatchObject({ status: 'COMPLETED', errorCode: null });
  expect(await present()).toEqual(state);
}

/** Flips a byte in the middle of the stored file. */
async function damage({ filePath }: BackupRow): Promise<void> {
  const bytes = await readFile(filePath);
  const middle = bytes.length >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 0xff;
  await rm(filePath);
  await writeFile(filePath, bytes);
}

/** A further destination. */
const elsewhereAt = (path: string) =>
  world.app.destinations.create({ name: 'Elsewhere', storageType: 'SYSTEM', values: { path } }, 'test', NEVER);

const ids = (rows: BackupRow[]) => rows.map(({ id }) => id);

describe('A backup that was consolidated', () => {
  it('is a full one of the same state and date, verified, which restores and drills by itself', async () => {
    const { rows, states } = await chainOf(4);
    const [, , member] = rows as [BackupRow, BackupRow, BackupRow];
    const full = await consolidated(member);
    expect(full).toMatchObject({
      status: 'COMPLETED',
      mode: 'FULL',
      backupType: 'MANUAL',
      configId: 1,
      parentArchiveId: null,
      verificationLevel: 'ARCHIVE',
      tables: member.tables,
      mediaFileCount: member.mediaFileCount,
      note: `Consolidated from ${member.id}.`,
    });
    expect(full.createdAt).toEqual(member.createdAt);
    await expect(world.app.verifications.verify(full.id, 'CONTENT', 'test', NEVER)).resolves.toMatchObject({
      errorCode: null,
    });
    await expectState(full.id, states[2]);
    await expectState(member.id, states[2]);
    const trail = await world.app.models.AuditEvent.findOne({ where: { action: 'backup.consolidate' } });
    expect(trail).toMatchObject({ subject: full.id, details: { of: member.id } });
  });

  it('needs no older one any more, and neither does what builds on it', async () => {
    const { rows, states } = await chainOf(4);
    const [base, first, second, third] = rows as [BackupRow, BackupRow, BackupRow, BackupRow];
    const full = await consolidated(second);
    expect(await world.app.backups.chainLength(third)).toBe(2);
    expect(ids(await world.app.backups.childrenOf(full))).toEqual([third.id]);
    expect(await world.app.backups.childrenOf(second)).toEqual([]);
    expect((await world.app.backups.parentOf(third))?.id).toBe(full.id);
    await world.app.backups.remove(ids([base, first, second]), 'test');
    await expectState(third.id, states[3]);
    await expectState(full.id, states[2]);
    await expect(world.app.verifications.verify(third.id, 'CONTENT', 'test', NEVER)).resolves.toMatchObject({
      errorCode: null,
    });
    await expect(world.app.backups.remove([full.id], 'test')).rejects.toMatchObject({ code: 'BACKUP_NEEDED' });
  });

  it('has the next backup build on it, and a later one consolidated on top', async () => {
    const { rows } = await chainOf(3);
    const full = await consolidated(rows[2] as BackupRow);
    await world.app.backups.remove(ids(rows), 'test');
    await change(3);
    const state = await present();
    const next = await world.backup();
    expect(next).toMatchObject({ status: 'COMPLETED', mode: 'INCREMENTAL' });
    await expectState(next.id, state);
    const again = await consolidated(next);
    await world.app.backups.remove(ids([next, full]), 'test');
    await expectState(again.id, state);
    expect(await filesIn(world.backups)).toHaveLength(
      (await world.app.models.Backup.count({ where: { status: 'COMPLETED' } })) as number,
    );
  });

  it('does not put off the next full backup, which reads the database', async () => {
    const { rows } = await chainOf(2);
    const day = 86_400_000;
    for (const row of rows) await row.update({ createdAt: new Date(row.createdAt.getTime() - 8 * day) });
    const recent = new Date(Date.now() - day);
    await rows[1]?.update({ createdAt: recent });
    await consolidated(rows[1] as BackupRow);
    await world.app.backups.remove(ids(rows), 'test');
    expect(await world.backup()).toMatchObject({ mode: 'FULL', note: expect.stringContaining('7 days old') });
  });

  it('is refused for a full one, for one that was consolidated, and while it is', async () => {
    const { rows } = await chainOf(2);
    const request = (row: BackupRow | undefined) => world.app.backups.createConsolidation(row?.id ?? '', 'test', NEVER);
    await expect(request(rows[0])).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'id' });
    const waiting = await request(rows[1]);
    await expect(request(rows[1])).rejects.toMatchObject({
      code: 'BUSY',
      message: expect.stringContaining(waiting.id),
    });
    await world.app.backups.run(waiting.id, NEVER);
    await expect(request(rows[1])).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'id' });
  });

  it('keeps one of two equal backups as long as something builds on them', async () => {
    const { rows, states } = await chainOf(3);
    const full = await consolidated(rows[1] as BackupRow);
    const both = [rows[1]?.id ?? '', full.id];
    await expect(world.app.backups.remove(both, 'test')).rejects.toMatchObject({ code: 'BACKUP_NEEDED' });
    expect(await filesIn(world.backups)).toHaveLength(4);
    const outcomes = await Promise.allSettled(both.map((id) => world.app.backups.remove([id], 'test')));
    expect(outcomes.some(({ status }) => status === 'rejected')).toBe(true);
    await expectState(rows[2]?.id ?? '', states[2]);
  });
});

describe('A full backup that was made of a chain', () => {
  it('has a flipped byte found, and the chain itself is used again', async () => {
    const { rows, states } = await chainOf(3);
    const full = await consolidated(rows[1] as BackupRow);
    await damage(full);
    const row = await world.app.verifications.verify(full.id, 'ARCHIVE', 'test', NEVER);
    expect(row).toMatchObject({ verifiedAt: null, errorCode: 'ARCHIVE_CORRUPT' });
    expect((await world.app.backups.parentOf(rows[2] as BackupRow))?.id).toBe(rows[1]?.id);
    await expectState(rows[2]?.id ?? '', states[2]);
    await expect(world.app.backups.remove([rows[0]?.id ?? ''], 'test')).rejects.toMatchObject({
      code: 'BACKUP_NEEDED',
    });
  });

  it('marks what builds on it as broken where it was damaged and nothing else is left', async () => {
    const { rows } = await chainOf(3);
    const full = await consolidated(rows[1] as BackupRow);
    await world.app.backups.remove(ids(rows.slice(0, 2)), 'test');
    await damage(full);
    await world.app.verifications.verify(full.id, 'ARCHIVE', 'test', NEVER);
    expect(await world.app.backups.get(rows[2]?.id ?? '')).toMatchObject({
      verifiedAt: null,
      errorCode: 'CHAIN_BROKEN',
    });
  });

  it('is taken in elsewhere, and what builds on it after it', async () => {
    const { rows, states } = await chainOf(4);
    const full = await consolidated(rows[1] as BackupRow);
    const archives = await Promise.all([full, ...rows.slice(2)].map(({ filePath }) => readFile(filePath)));
    await world.app.backups.remove(ids([...rows, full]), 'test');
    const uploaded: BackupRow[] = [];
    for (const bytes of archives) {
      uploaded.push(await world.app.backups.upload(Readable.from([bytes]), 'uploaded.zip', undefined, 'test', NEVER));
    }
    expect(uploaded.map(({ mode, chainPosition }) => `${mode} ${chainPosition}`)).toEqual([
      'FULL 1',
      'INCREMENTAL 2',
      'INCREMENTAL 3',
    ]);
    // As their archives say: the order of the data, not of what was made of it.
    const dates = uploaded.map(({ createdAt }) => createdAt.getTime());
    expect(dates).toEqual([...dates].sort((one, other) => one - other));
    for (const [index, { id }] of uploaded.entries()) await expectState(id, states[index + 1]);
  });

  it('takes the place of no backup that was made here where it was uploaded', async () => {
    const { rows } = await chainOf(3);
    const member = rows[1] as BackupRow;
    const full = await consolidated(member);
    const bytes = await readFile(full.filePath);
    await world.app.backups.remove([full.id], 'test');
    const uploaded = await world.app.backups.upload(Readable.from([bytes]), 'x.zip', undefined, 'test', NEVER);
    expect(uploaded).toMatchObject({ consolidates: member.id, verifiedAt: expect.any(Date) });
    expect((await world.app.backups.parentOf(rows[2] as BackupRow))?.id).toBe(member.id);
    await expect(world.app.backups.remove([member.id], 'test')).rejects.toMatchObject({ code: 'BACKUP_NEEDED' });
    const plan = await world.app.cleanup.plan(await world.app.configs.get(1));
    expect(plan.items.flatMap(({ reasons }) => reasons.map(({ code }) => code))).not.toContain('CONSOLIDATED');
  });

  it('goes to all destinations of the incremental one, encrypted for the keys of its config', async () => {
    const { key } = await world.app.keys.create({ name: 'Held', generate: true, keepHere: true }, 'test');
    const place = join(world.folder, 'elsewhere');
    await mkdir(place);
    const destination = await elsewhereAt(place);
    const { rows, states } = await chainOf(2);
    await world.app.copies.request(rows[1]?.id ?? '', destination.id, 'test');
    await world.app.copies.runDue(NEVER);
    await world.app.configs.update(1, { encryptionKeyIds: [key.id] }, 'test');
    const full = await consolidated(rows[1] as BackupRow);
    expect(full.fileName).toMatch(/\.zip\.age$/);
    await world.app.copies.runDue(NEVER);
    const copies = (await full.reload()).copies.map(({ status, destinationId }) => ({ status, destinationId }));
    expect(copies).toEqual([
      { status: 'COMPLETED', destinationId: rows[1]?.copy.destinationId },
      { status: 'COMPLETED', destinationId: destination.id },
    ]);
    await expectState(full.id, states[1]);
  });
});

describe('A consolidation that cannot be done', () => {
  /** The chain as it lies there, and what its records say. */
  async function chainAsItIs(rows: BackupRow[]) {
    return {
      files: await filesIn(world.backups),
      rows: (await Promise.all(rows.map(({ id }) => world.app.backups.get(id)))).map((row) => row.toJSON()),
    };
  }

  it('is refused where no key that is held here opens the chain, with the way out', async () => {
    const { key, identity } = await world.app.keys.create({ name: 'Away', generate: true }, 'test');
    await world.app.configs.update(1, { encryptionKeyIds: [key.id] }, 'test');
    const { rows } = await chainOf(2);
    const before = await chainAsItIs(rows);
    await expect(world.app.backups.createConsolidation(rows[1]?.id ?? '', 'test', NEVER)).rejects.toMatchObject({
      code: 'ENCRYPTION_KEY_MISSING',
      hint: expect.stringContaining('rewrap'),
    });
    expect(await chainAsItIs(rows)).toEqual(before);
    const { key: held } = await world.app.keys.create({ name: 'Held', generate: true, keepHere: true }, 'test');
    for (const { id } of rows) await world.app.backups.rewrap(id, [held.id], 'test', NEVER, identity ?? '');
    expect(await consolidated(rows[1] as BackupRow)).toMatchObject({ status: 'COMPLETED' });
  });

  it('fails where a parent is damaged, and reads the other copy where there is one', async () => {
    const place = join(world.folder, 'elsewhere');
    await mkdir(place);
    const elsewhere = await elsewhereAt(place);
    const { rows, states } = await chainOf(2);
    const row = await world.app.backups.createConsolidation(rows[1]?.id ?? '', 'test', NEVER);
    await damage(rows[0] as BackupRow);
    await world.app.backups.run(row.id, NEVER);
    expect(await row.reload()).toMatchObject({ status: 'FAILED', errorCode: 'ARCHIVE_CORRUPT', verifiedAt: null });
    expect(row.errorHint).not.toBe('');
    expect(await filesIn(world.backups)).toHaveLength(2);
    await damage(rows[0] as BackupRow);
    await world.app.verifications.verify(rows[0]?.id ?? '', 'ARCHIVE', 'test', NEVER);
    await world.app.copies.request(rows[0]?.id ?? '', elsewhere.id, 'test');
    await world.app.copies.runDue(NEVER);
    await damage(rows[0] as BackupRow);
    const full = await consolidated(rows[1] as BackupRow);
    expect(full).toMatchObject({ status: 'COMPLETED' });
    await expectState(full.id, states[1]);
  });

  it('leaves the chain as it was when cancelled, on a storage error and on a full disk', async () => {
    const { rows } = await chainOf(3);
    const before = await chainAsItIs(rows);
    const { storages } = world.app;
    const open = storages.open.bind(storages);
    const faults: Record<string, (name: string) => unknown> = {
      'before it is read': (name) => (name === 'prepare' ? new Error('EIO') : null),
      'while it is stored': (name) => (name === 'put' ? Object.assign(new Error('full'), { code: 'ENOSPC' }) : null),
      'when it is read back': (name) => (name === 'stat' ? new Error('EIO') : null),
    };
    for (const [when, fault] of Object.entries(faults)) {
      const row = await world.app.backups.createConsolidation(rows[2]?.id ?? '', 'test', NEVER);
      let puts = 0;
      storages.open = (address) =>
        new Proxy(open(address), {
          get(storage, name) {
            const own = Reflect.get(storage, name) as unknown;
            if (typeof own !== 'function') return own;
            return (...args: unknown[]) => {
              if (name === 'put') puts += 1;
              const error = name === 'stat' && puts === 0 ? null : fault(String(name));
              if (error !== null) return Promise.reject(error as Error);
              return (own as (...given: unknown[]) => unknown).apply(storage, args);
            };
          },
        });
      await world.app.backups.run(row.id, NEVER);
      storages.open = open;
      await row.reload();
      expect([when, row.status, row.errorCode === null, row.errorHint === null]).toEqual([
        when,
        'FAILED',
        false,
        false,
      ]);
      expect([when, await chainAsItIs(rows)]).toEqual([when, before]);
    }
    // Cancelled while it waits, while it is stored, and when it is read back.
    for (const when of ['PENDING', 'put', 'stat']) {
      const row = await world.app.backups.createConsolidation(rows[2]?.id ?? '', 'test', NEVER);
      const stop = new AbortController();
      let hasPut = false;
      storages.open = (address) =>
        new Proxy(open(address), {
          get(storage, name) {
            hasPut ||= name === 'put';
            if (name === when && hasPut) stop.abort(new AppError('CANCELLED', 'The run was cancelled.'));
            const own = Reflect.get(storage, name) as unknown;
            return typeof own === 'function' ? (own as () => unknown).bind(storage) : own;
          },
        });
      if (when === 'PENDING') await world.app.backups.cancel(row.id, 'test');
      await world.app.backups.run(row.id, stop.signal);
      storages.open = open;
      expect(await row.reload()).toMatchObject({ status: 'FAILED', errorCode: 'CANCELLED' });
      expect([when, await chainAsItIs(rows)]).toEqual([when, before]);
    }
    expect(await world.app.configs.get(1)).toMatchObject({ retryAt: null });
  });
});
