import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Engine, Engines, Storage, Storages } from '../../../src/core/ports.js';
import { createEngines } from '../../../src/engines/index.js';
import { AppError } from '../../../src/errors.js';
import { createStorages } from '../../../src/storages/index.js';
import { all, exec } from '../../support/sqlite.js';
import { unpack } from '../../support/unpack.js';
import {
  assertOneCommittedState,
  createWorld,
  filesIn,
  NEVER,
  readTree,
  startWriter,
  type World,
} from '../../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

const root = process.getuid?.() === 0;

/** Real parts with one method of one of them replaced. */
function withEngine(change: (real: Engine) => Partial<Engine>): Engines {
  const real = createEngines();
  const wrap = (engine: Engine) => ({ ...engine, ...change(engine) });
  return { ...real, of: (kind) => wrap(real.of(kind)), forUrl: (url) => wrap(real.forUrl(url)) };
}
function withStorage(localRoot: string, change: (real: Storage) => Partial<Storage>): Storages {
  const real = createStorages(localRoot);
  return {
    ...real,
    open: (address) => {
      const storage = real.open(address);
      return new Proxy(storage, {
        get: (target, key) => {
          const own = change(storage)[key as keyof Storage];
          if (own !== undefined) return own;
          const value: unknown = Reflect.get(target, key);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    },
  };
}

describe('A backup', () => {
  it('tells its storage the most bytes that the archive can have', async () => {
    await writeFile(join(world.media, 'noise.bin'), randomBytes(3_000_000));
    const sizes: (number | undefined)[] = [];
    const storages = withStorage(world.backups, (real) => ({
      put: (name, body, options) => {
        sizes.push(options.size);
        return real.put(name, body, options);
      },
    }));
    const app = await world.again({ storages });
    const { id } = await app.backups.create({ backupType: 'MANUAL' }, 'test');
    await app.backups.run(id, NEVER);
    const { fileSize } = await app.backups.get(id);
    expect(sizes[0]).toBeGreaterThanOrEqual(fileSize ?? Infinity);
    expect(sizes[0]).toBeLessThan(3 * (fileSize ?? 0));
  });

  it('of a database with a busy writer holds one committed state, in files that any tool opens', async () => {
    const writer = await startWriter(world.database);
    const row = await world.backup();
    const { busy, commits, errors } = await writer.stop();
    expect(errors).toEqual([]);
    expect(busy).toBe(0);
    expect(commits).toBeGreaterThan(0);
    expect(row).toMatchObject({
      status: 'COMPLETED',
      verificationLevel: 'ARCHIVE',
      progress: 1,
      mediaFileCount: 3,
      errorCode: null,
    });
    const out = join(world.folder, 'out');
    await unpack(row.filePath, out);
    await assertOneCommittedState(join(out, 'database.sqlite3'));
    expect(await all(join(out, 'database.sqlite3'), 'PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
    expect(await readTree(join(out, 'media'))).toEqual(await readTree(world.media));
    const metadata = JSON.parse(await readFile(join(out, 'backup_metadata.json'), 'utf8')) as Record<string, never>;
    expect(metadata).toMatchObject({
      backup_version: '2.0',
      backup_id: row.id,
      database_engine: 'SQLITE',
      database_name: 'db.sqlite3',
    });
    for (const entry of metadata.entries as { path: string; size: number; sha256: string }[]) {
      const bytes = await readFile(join(out, entry.path));
      expect(bytes.length).toBe(entry.size);
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(entry.sha256);
    }
    expect(
      createHash('sha256')
        .update(await readFile(row.filePath))
        .digest('hex'),
    ).toBe(row.checksum);
  });

  it('keeps page size, journal mode, encoding, application id and user version of the source', async () => {
    await world.close();
    world = await createWorld({
      pragmas: `PRAGMA page_size = 8192; PRAGMA encoding = 'UTF-16le'; PRAGMA application_id = 77; PRAGMA user_version = 42; PRAGMA journal_mode = WAL;`,
    });
    const row = await world.backup();
    const out = join(world.folder, 'out');
    await unpack(row.filePath, out);
    const metadata = JSON.parse(await readFile(join(out, 'backup_metadata.json'), 'utf8')) as { source: object };
    const source = { page_size: 8192, journal_mode: 'wal', encoding: 'UTF-16le', application_id: 77, user_version: 42 };
    expect(metadata.source).toMatchObject(source);
    for (const [pragma, value] of Object.entries(source)) {
      expect(Object.values((await all(join(out, 'database.sqlite3'), `PRAGMA ${pragma}`))[0] ?? {})).toEqual([value]);
    }
  });

  it('names the apps and newest migrations of a Django application', async () => {
    await exec(
      world.database,
      `CREATE TABLE django_migrations (id INTEGER PRIMARY KEY, app TEXT, name TEXT, applied TEXT);
       INSERT INTO django_migrations VALUES (1,'auth','0001_initial','x'),(2,'puja','0001_initial','x'),(3,'auth','0012_last','x');`,
    );
    const { stored } = await world.app.backups.open((await world.backup()).id);
    const { metadata } = await stored.archive(NEVER);
    expect(metadata.apps).toEqual([
      { app: 'auth', latest_migration: '0012_last' },
      { app: 'puja', latest_migration: '0001_initial' },
    ]);
  });

  it('leaves the database, the backups and the data folder out of the media that hold them', async () => {
    await world.app.configs.update(1, { mediaPaths: [world.folder] }, 'test');
    await world.backup();
    const row = await world.backup();
    await unpack(row.filePath, join(world.folder, 'out'));
    const names = await filesIn(join(world.folder, 'out'));
    expect(names).toContain('media/app/media/empty.txt');
    expect(names.filter((name) => /db\.sqlite3|media\/backups|media\/data/.test(name))).toEqual([]);
  });

  it('gets the next name when two fall into one second, and overwrites no foreign file', async () => {
    const at = new Date('2025-07-24T14:30:22Z');
    await world.close();
    world = await createWorld({ now: () => at });
    await mkdir(world.backups, { recursive: true });
    await writeFile(join(world.backups, 'okpuja_backup_20250724_143022.zip'), 'foreign');
    const first = await world.backup();
    const second = await world.backup();
    expect(first.id).toMatch(/^backup_20250724_143022_[0-9a-f]{8}$/);
    expect(first.fileName).toBe('okpuja_backup_20250724_143022_2.zip');
    expect(second.fileName).toBe('okpuja_backup_20250724_143022_3.zip');
    expect(await readFile(join(world.backups, 'okpuja_backup_20250724_143022.zip'), 'utf8')).toBe('foreign');
  });

  it('goes to the folder that customPath names, and nowhere else', async () => {
    const row = await world.app.backups.create({ backupType: 'MANUAL', customPath: 'weekly' }, 'test');
    await world.app.backups.run(row.id, NEVER);
    expect((await row.reload()).filePath).toBe(join(world.backups, 'weekly', row.fileName));
    expect(await filesIn(join(world.backups, 'weekly'))).toEqual([row.fileName]);
    const outside = await mkdtemp(join(tmpdir(), 'outside-'));
    await symlink(outside, join(world.backups, 'link'));
    const escaping = await world.app.backups.create({ backupType: 'MANUAL', customPath: 'link' }, 'test');
    await world.app.backups.run(escaping.id, NEVER);
    expect(await escaping.reload()).toMatchObject({ status: 'FAILED', errorCode: 'PATH_NOT_ALLOWED' });
    expect(await filesIn(outside)).toEqual([]);
    await rm(outside, { recursive: true });
    for (const customPath of ['../x', 'a/../../x', '/etc', `${world.backups}EVIL`]) {
      await expect(world.app.backups.create({ backupType: 'MANUAL', customPath }, 'test')).rejects.toMatchObject({
        code: 'PATH_NOT_ALLOWED',
        field: 'customPath',
      });
    }
    expect(await world.app.models.Backup.count()).toBe(2);
  });
});

describe('A backup that fails leaves a FAILED row with the reason, and nothing else', () => {
  const failing = async (
    code: string,
    options: Parameters<typeof createWorld>[0] = {},
    before?: (w: World) => Promise<unknown>,
  ) => {
    await world.close();
    world = await createWorld(options);
    await before?.(world);
    const row = await world.backup();
    expect(row).toMatchObject({
      status: 'FAILED',
      errorCode: code,
      leaseHolder: null,
      fileSize: null,
      verifiedAt: null,
    });
    expect(row.errorMessage).toBeTruthy();
    expect(row.errorHint).toBeTruthy();
    expect((await filesIn(world.backups)).filter((name) => name !== 'foreign.txt')).toEqual([]);
    expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
    return row;
  };

  it('when the source is missing', () => failing('DATABASE_NOT_FOUND', {}, (w) => rm(w.database)));
  it('when the source is not SQLite', () =>
    failing('DATABASE_WRONG_KIND', {}, (w) => writeFile(w.database, 'no database at all, but some text')));
  it('when the source is empty', () => failing('DATABASE_WRONG_KIND', {}, (w) => writeFile(w.database, '')));
  it('when the source is damaged', () =>
    failing('DATABASE_CORRUPT', {}, async (w) => {
      await exec(w.database, 'PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE');
      const bytes = await readFile(w.database);
      bytes.fill(0xff, 4096 + 100, 4096 * 3);
      await writeFile(w.database, bytes);
    }));
  it('when a media folder is missing', () => failing('MEDIA_NOT_FOUND', {}, (w) => rm(w.media, { recursive: true })));
  (root ? it.skip : it)(`when the storage folder is read-only${root ? ' (skipped: root writes anywhere)' : ''}`, () =>
    failing('STORAGE_NOT_WRITABLE', {}, async (w) => {
      await mkdir(w.backups);
      await chmod(w.backups, 0o500);
    }),
  );
  it('when the storage path is a file', () =>
    failing('STORAGE_UNAVAILABLE', {}, (w) => writeFile(w.backups, 'a file')));

  it('when the disk has no room for the archive', async () => {
    const full: Storages = {
      ...createStorages(world.backups),
      resolve: ({ storageType }) => ({ storageType, storagePath: world.backups }),
      open: ({ storagePath }) =>
        withStorage(storagePath, () => ({ space: async () => ({ free: 10, total: 100 }) })).open({
          storageType: 'LOCAL',
          storagePath,
        }),
    };
    const row = await failing('STORAGE_FULL', { storages: full });
    expect(row.errorMessage).toContain('10 B are free');
  });

  const engineFailure = new AppError('DATABASE_FAILED', 'injected');
  it('when the snapshot fails', () =>
    failing('DATABASE_FAILED', {
      engines: withEngine(() => ({ snapshot: async () => Promise.reject(engineFailure) })),
    }));
  it('when a file of the snapshot breaks while it is archived', () =>
    failing('STORAGE_UNAVAILABLE', {
      engines: withEngine((real) => ({
        snapshot: async (...args) => {
          const snapshot = await real.snapshot(...args);
          const broken = () =>
            Readable.from(
              (function* () {
                yield Buffer.from('SQLite format 3');
                throw new AppError('STORAGE_UNAVAILABLE', 'the disk went away');
              })(),
            );
          return { ...snapshot, files: snapshot.files.map((file) => ({ ...file, open: async () => broken() })) };
        },
      })),
    }));
});

describe('A run that is stopped', () => {
  const slowEngine = (onStart: () => void) =>
    withEngine((real) => ({
      snapshot: async (url, folder, step) => {
        const result = await real.snapshot(url, folder, step);
        onStart();
        await new Promise((resolve, reject) => {
          const timer = setTimeout(resolve, 20_000);
          const stop = () => {
            clearTimeout(timer);
            reject(step.signal.reason as Error);
          };
          if (step.signal.aborted) stop();
          step.signal.addEventListener('abort', stop);
        });
        return result;
      },
    }));

  it('by cancelBackup becomes FAILED with code CANCELLED within seconds', async () => {
    await world.close();
    let started = () => {};
    const running = new Promise<void>((resolve) => (started = resolve));
    world = await createWorld({ engines: slowEngine(() => started()) });
    const row = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const run = world.app.backups.run(row.id, NEVER);
    await running;
    await world.app.backups.cancel(row.id, 'boss');
    await run;
    expect(await row.reload()).toMatchObject({ status: 'FAILED', errorCode: 'CANCELLED' });
    expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
    await expect(world.app.backups.cancel(row.id, 'boss')).rejects.toMatchObject({ code: 'BUSY' });
  });

  it('before it began never runs', async () => {
    const row = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    expect(await world.app.backups.cancel(row.id, 'boss')).toMatchObject({ status: 'FAILED', errorCode: 'CANCELLED' });
    await world.app.backups.run(row.id, NEVER);
    expect(await row.reload()).toMatchObject({ status: 'FAILED' });
    expect(await filesIn(world.backups)).toEqual([]);
  });

  it('by the end of its process becomes FAILED with code INTERRUPTED', async () => {
    await world.close();
    const stop = new AbortController();
    world = await createWorld({
      engines: slowEngine(() => stop.abort(new AppError('INTERRUPTED', 'The server was stopped.'))),
    });
    const row = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    await world.app.backups.run(row.id, stop.signal);
    expect(await row.reload()).toMatchObject({
      status: 'FAILED',
      errorCode: 'INTERRUPTED',
      errorMessage: 'The server was stopped.',
    });
  });

  it('makes a second backup of the same database wait, and lets other databases go on', async () => {
    await world.close();
    let started = () => {};
    const running = new Promise<void>((resolve) => (started = resolve));
    world = await createWorld({ engines: slowEngine(() => started()) });
    const other = await world.again();
    const elsewhere = join(world.folder, 'other.sqlite3');
    await exec(elsewhere, 'CREATE TABLE t (a)');
    const config = await world.app.configs.create({ name: 'Other', databaseUrl: `sqlite:${elsewhere}` }, 'test');
    const first = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const run = world.app.backups.run(first.id, NEVER);
    await running;
    const second = await other.backups.create({ backupType: 'MANUAL' }, 'test');
    expect(await other.backups.run(second.id, NEVER)).toBe('busy');
    expect(await second.reload()).toMatchObject({ status: 'PENDING' });
    const third = await other.backups.create({ backupType: 'MANUAL', configId: config.id }, 'test');
    expect(await other.backups.run(third.id, NEVER)).toBe('done');
    expect(await third.reload()).toMatchObject({ status: 'COMPLETED' });
    await world.app.backups.cancel(first.id, 'test');
    await run;
    expect(await other.backups.run(second.id, NEVER)).toBe('done');
    expect(await second.reload()).toMatchObject({ status: 'COMPLETED' });
  });
});

describe('A backup whose end is in doubt', () => {
  it('is what its record says: completed, where only the answer to its last word was lost', async () => {
    const { Backup, sequelize } = world.app.models;
    const transaction = sequelize.transaction.bind(sequelize) as (...args: unknown[]) => Promise<unknown>;
    let answered = true;
    const lost = jest.spyOn(sequelize, 'transaction').mockImplementation((async (...args: unknown[]) => {
      const answer = await transaction(...args);
      answered = (await Backup.count({ where: { status: 'COMPLETED' } })) === 0;
      if (!answered) throw new Error('connection terminated');
      return answer;
    }) as never);
    const row = await world.backup();
    lost.mockRestore();
    expect(answered).toBe(false);
    expect(row).toMatchObject({ status: 'COMPLETED', errorCode: null });
    expect(await world.app.verifications.verify(row.id, 'ARCHIVE', 'test', NEVER)).toMatchObject({ errorCode: null });
  });

  it('is left alone while the control database is unavailable, and ended once it is back', async () => {
    const { Backup } = world.app.models;
    const row = await Backup.findByPk((await world.app.backups.create({ backupType: 'MANUAL' }, 'test')).id);
    const [update, find] = [Backup.update.bind(Backup), Backup.findByPk.bind(Backup)];
    let away = false;
    const spies = [
      jest.spyOn(Backup, 'update').mockImplementation((async (values: object, options: never) => {
        away ||= 'status' in values && values.status === 'COMPLETED';
        if (away) throw new Error('connection terminated');
        return update(values, options);
      }) as never),
      jest.spyOn(Backup, 'findByPk').mockImplementation((async (id: never, options: never) => {
        if (away) throw new Error('connection terminated');
        return find(id, options);
      }) as never),
    ];
    await expect(world.app.backups.run(row?.id ?? '', NEVER)).rejects.toThrow('connection terminated');
    for (const spy of spies) spy.mockRestore();
    expect(await filesIn(world.backups)).toHaveLength(1);
    await world.app.backups.recover();
    expect(await row?.reload()).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED' });
    expect(await filesIn(world.backups)).toEqual([]);
  });
});

describe('A media folder', () => {
  it('is protected once, also if it is listed twice, and refused under two names', async () => {
    const paths = [world.media, `${world.media}/`];
    expect((await world.app.configs.update(1, { mediaPaths: paths }, 'test')).mediaPaths).toEqual([world.media]);
    const alias = join(world.folder, 'alias');
    await symlink(world.media, alias);
    const updated = world.app.configs.update(1, { mediaPaths: [world.media, alias] }, 'test');
    await expect(updated).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'mediaPaths' });
    expect((await world.app.configs.get(1)).mediaPaths).toEqual([world.media]);
  });
});

describe('Media that are not there any more', () => {
  it('are reported on the backup, as long as an older one has them', async () => {
    const full = await world.backup();
    expect(full.warnings).toEqual([]);
    await rm(world.media, { recursive: true });
    await mkdir(world.media);
    const empty = await world.backup();
    const told = `${world.media} holds no file, and ${full.id} had 3: is a disk not mounted?`;
    expect(empty).toMatchObject({ status: 'COMPLETED', mediaFileCount: 0, warnings: [told] });
  });
});

describe('Verification', () => {
  it('verifies a good archive at each level', async () => {
    const row = await world.backup();
    for (const level of ['CHECKSUM', 'ARCHIVE', 'CONTENT'] as const) {
      expect(await world.app.verifications.verify(row.id, level, 'test', NEVER)).toMatchObject({
        verificationLevel: level,
        errorCode: null,
      });
    }
    expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
  });

  it('finds a flipped bit and a lost file, takes the proof away and says so on the row', async () => {
    const row = await world.backup();
    const bytes = await readFile(row.filePath);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    await writeFile(row.filePath, bytes);
    expect(await world.app.verifications.verify(row.id, 'CHECKSUM', 'test', NEVER)).toMatchObject({
      verifiedAt: null,
      verificationLevel: null,
      errorCode: 'ARCHIVE_CORRUPT',
    });
    await rm(row.filePath);
    expect(await world.app.verifications.verify(row.id, 'ARCHIVE', 'test', NEVER)).toMatchObject({
      errorCode: 'ARCHIVE_MISSING',
    });
    await expect(world.app.backups.open(row.id)).rejects.toMatchObject({ code: 'ARCHIVE_MISSING' });
  });

  it('that cannot read the disk changes no earlier result, and says that it was the disk', async () => {
    const row = await world.backup();
    const { verifiedAt } = row;
    const broken = async function* () {
      yield Buffer.from('PK');
      throw Object.assign(new Error('i/o error'), { code: 'EIO' });
    };
    const other = await world.again({
      storages: withStorage(world.backups, () => ({ get: async () => Readable.from(broken()) })),
    });
    const verified = other.verifications.verify(row.id, 'CHECKSUM', 'boss', NEVER);
    await expect(verified).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: expect.stringContaining(row.fileName),
    });
    expect(await row.reload()).toMatchObject({ verifiedAt, errorCode: null });
    const [event] = await world.app.models.AuditEvent.findAll({ order: [['id', 'DESC']], limit: 1 });
    expect(event).toMatchObject({ action: 'backup.verify', actor: 'boss', details: { result: 'STORAGE_UNAVAILABLE' } });
  });
});

describe('Deleting', () => {
  it('removes the file, keeps the row with who and why, and refuses what is pinned or under way', async () => {
    const [one, two] = [await world.backup(), await world.backup()];
    const waiting = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    await world.app.backups.pin(two.id, true, 'test');
    await expect(world.app.backups.remove([one.id, two.id], 'boss')).rejects.toMatchObject({ code: 'BACKUP_PINNED' });
    await expect(world.app.backups.remove([one.id, waiting.id], 'boss')).rejects.toMatchObject({ code: 'BUSY' });
    await expect(world.app.backups.remove([one.id, 'backup_x'], 'boss')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await filesIn(world.backups)).toEqual([one.fileName, two.fileName].sort());
    const [gone] = await world.app.backups.remove([one.id], 'boss');
    expect(gone).toMatchObject({ status: 'DELETED', deletedBy: 'boss', deleteReason: 'deleted by hand' });
    expect(await filesIn(world.backups)).toEqual([two.fileName]);
    await expect(world.app.backups.open(one.id)).rejects.toMatchObject({ code: 'BACKUP_DELETED' });
  });

  it('keeps the row when the storage does not let the file go', async () => {
    const row = await world.backup();
    const other = await world.again({
      storages: withStorage(world.backups, () => ({
        remove: async () => Promise.reject(new AppError('STORAGE_UNAVAILABLE', 'unmounted')),
      })),
    });
    await expect(other.backups.remove([row.id], 'boss')).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(await row.reload()).toMatchObject({ status: 'COMPLETED' });
  });

  it('returns which backups were deleted before the one that the storage refused to remove', async () => {
    const rows = [await world.backup(), await world.backup(), await world.backup()];
    const [one, two, three] = rows.map(({ id }) => id);
    let calls = 0;
    const other = await world.again({
      storages: withStorage(world.backups, (real) => ({
        remove: async (name) =>
          ++calls === 2 ? Promise.reject(new AppError('STORAGE_UNAVAILABLE', 'unmounted.')) : real.remove(name),
      })),
    });
    await expect(
      other.backups.remove(
        rows.map(({ id }) => id),
        'boss',
      ),
    ).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
      message: `unmounted. Deleted before it: ${one}.`,
    });
    for (const row of rows) await row.reload();
    expect(rows.map(({ id, status }) => [id, status])).toEqual([
      [one, 'DELETED'],
      [two, 'COMPLETED'],
      [three, 'COMPLETED'],
    ]);
  });

  it('and pinning of one backup exclude each other: a pin that comes too late is refused', async () => {
    const row = await world.backup();
    let pinned: Promise<unknown> = Promise.resolve();
    const other = await world.again({
      storages: withStorage(world.backups, (real) => ({
        remove: async (name) => {
          pinned = world.app.backups.pin(row.id, true, 'somebody').catch((error: unknown) => error);
          await pinned;
          return real.remove(name);
        },
      })),
    });
    await other.backups.remove([row.id], 'boss');
    expect(await pinned).toMatchObject({ code: 'BUSY' });
    expect(await row.reload()).toMatchObject({ status: 'DELETED', pinned: false });
  });
});

describe('After a crash', () => {
  it('a run whose lease has lapsed becomes FAILED; its files go, foreign ones stay', async () => {
    const row = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    await row.update({ status: 'RUNNING', phase: 'archive', leaseHolder: 'dead', startedAt: new Date() });
    await mkdir(world.backups, { recursive: true });
    const partial = join(world.backups, `.${row.fileName}.${row.id}.partial`);
    await writeFile(partial, 'half');
    await writeFile(row.filePath, 'somebody else put this here');
    const work = join(world.folder, 'data', 'tmp', row.id);
    await mkdir(work, { recursive: true });
    await writeFile(join(work, 'database.sqlite3'), 'half');
    await world.app.backups.recover();
    expect(await row.reload()).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED' });
    expect(row.errorMessage).toContain('"archive"');
    expect(await filesIn(world.backups)).toEqual([row.fileName]);
    expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
  });

  it('a file that got its name right before the crash goes with its run', async () => {
    const row = await world.backup();
    await row.update({ status: 'RUNNING', leaseHolder: 'dead', phase: 'verify', checksum: null });
    await world.app.backups.recover();
    expect(await row.reload()).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED' });
    expect(await filesIn(world.backups)).toEqual([]);
  });

  it('a run that is alive in another process is left alone', async () => {
    const row = await world.app.backups.create({ backupType: 'MANUAL' }, 'test');
    await row.update({ status: 'RUNNING', leaseHolder: 'alive' });
    await world.app.models.leases.acquire(`run:${row.id}`, 'alive', 60_000);
    await (await world.again()).backups.recover();
    expect(await row.reload()).toMatchObject({ status: 'RUNNING' });
  });

  it('a process that slept past its lease cannot complete a run that others have ended', async () => {
    await world.close();
    world = await createWorld({
      engines: withEngine((real) => ({
        snapshot: async (...args) => {
          const result = await real.snapshot(...args);
          // As if others had declared this run dead meanwhile.
          await world.app.models.Backup.update(
            { status: 'FAILED', errorCode: 'INTERRUPTED', leaseHolder: null },
            { where: {} },
          );
          return result;
        },
      })),
    });
    const row = await world.backup();
    expect(row).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED' });
    expect(await filesIn(world.backups)).toEqual([]);
  });
});

describe('Uploading', () => {
  it('takes in an archive that was made elsewhere, lists it as UPLOADED, and restores it', async () => {
    const made = await world.backup();
    const bytes = await readFile(made.filePath);
    const row = await world.app.backups.upload(Readable.from([bytes]), made.fileName, undefined, 'boss', NEVER);
    expect(row).toMatchObject({
      status: 'COMPLETED',
      backupType: 'UPLOADED',
      checksum: made.checksum,
      tables: made.tables,
    });
    expect(row.fileName).toBe(made.fileName.replace('.zip', '_2.zip'));
    await exec(world.database, 'DELETE FROM entry; DELETE FROM account');
    expect(await world.restore({ backupId: row.id })).toMatchObject({ status: 'COMPLETED' });
    await assertOneCommittedState(world.database);
  });

  it('refuses what is hostile, foreign, too large or broken off, and keeps nothing of it', async () => {
    const made = await world.backup();
    const bytes = await readFile(made.filePath);
    const before = await filesIn(world.backups);
    const upload = (chunks: Iterable<Buffer> | Readable) =>
      world.app.backups.upload(
        chunks instanceof Readable ? chunks : Readable.from(chunks),
        'x.zip',
        undefined,
        'boss',
        NEVER,
      );
    await expect(upload([Buffer.from('hello')])).rejects.toMatchObject({ code: 'ARCHIVE_FOREIGN' });
    await expect(upload([bytes.subarray(0, bytes.length - 40)])).rejects.toMatchObject({
      code: expect.stringMatching(/^ARCHIVE_/),
    });
    const broken = Readable.from(
      (function* () {
        yield bytes.subarray(0, 100);
        throw new Error('connection reset');
      })(),
    );
    await expect(upload(broken)).rejects.toMatchObject({ code: 'INTERRUPTED' });
    const small = await world.again();
    expect(small.environment.maxUploadBytes).toBe(20 * 1024 ** 3);
    expect(await filesIn(world.backups)).toEqual(before);
    expect(await filesIn(join(world.folder, 'data', 'tmp'))).toEqual([]);
    expect(await world.app.models.Backup.count()).toBe(1);
  });
});
