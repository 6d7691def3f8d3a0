import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createHash } from 'node:crypto';
import { open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { extractBackup } from '../../../src/core/archives/extract.js';
import { all, contentHash, exec } from '../../support/sqlite.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

const BIG = `CREATE TABLE big (id INTEGER PRIMARY KEY, a TEXT);
  WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO big SELECT i, printf('%0200d', i) FROM n;`;

/** Ways to damage a database, from one bad page to a file that SQLite does not know any more. */
const DAMAGE: Record<string, (file: string) => Promise<void>> = {
  'a bad page': (file) => overwrite(file, 20 * 4096, 200),
  'a bad header': (file) => overwrite(file, 0, 100),
  'a bad schema page': (file) => overwrite(file, 100, 300),
  'half of the file': async (file) => truncate(file, Math.floor((await stat(file)).size / 8192) * 4096),
};
const NAMES = Object.keys(DAMAGE);

async function overwrite(file: string, at: number, bytes: number): Promise<void> {
  const handle = await open(file, 'r+');
  await handle.write(Buffer.alloc(bytes, 0xa5), 0, bytes, at);
  await handle.close();
}

/** SHA-256 of the database and what belongs to it. */
async function bytesOf(file: string): Promise<Record<string, string>> {
  const folder = join(file, '..');
  const found: Record<string, string> = {};
  for (const name of (await readdir(folder)).filter((one) => /^db\.sqlite3(-wal|-journal)?$/.test(one)).sort()) {
    found[name] = createHash('sha256')
      .update(await readFile(join(folder, name)))
      .digest('hex');
  }
  return found;
}

let world: World;
let good: string;
let goodHash: string;
beforeEach(async () => {
  world = await createWorld({ pragmas: 'PRAGMA journal_mode = DELETE;' });
  await exec(world.database, BIG);
  good = (await world.backup()).id;
  goodHash = await contentHash(world.database);
});
afterEach(() => world.close());

const backUp = async (allowDamaged: boolean) => {
  const row = await world.app.backups.create({ backupType: 'MANUAL', allowDamaged }, 'test');
  await world.app.backups.run(row.id, NEVER);
  return row.reload();
};

const undo = async (id: string) => {
  const row = await world.app.restores.createUndo(id, 'test');
  await world.app.restores.run(row.id, NEVER);
  return row.reload();
};

describe('A database with damaged pages', () => {
  it.each(NAMES)('is kept only on request, and then never counts as a good backup: %s', async (name) => {
    await DAMAGE[name]?.(world.database);
    const refused = await backUp(false);
    expect(refused).toMatchObject({
      status: 'FAILED',
      errorCode: expect.stringMatching(/^DATABASE_(CORRUPT|WRONG_KIND)$/),
    });
    const kept = await backUp(true);
    expect(kept).toMatchObject({ status: 'COMPLETED', damaged: true, verifiedAt: null, verificationLevel: null });
    expect(kept.warnings[0]).toMatch(/damaged and was kept as it is/);
    await world.app.verifications.verify(kept.id, 'CONTENT', 'test', NEVER);
    expect(await kept.reload()).toMatchObject({ verifiedAt: null, errorCode: null });
    const { reasons } = await world.app.overview.read();
    const configs = await world.app.overview.configs();
    expect(reasons.map(({ code }) => code)).toContain('LAST_BACKUP_UNPROVEN');
    const first = await world.app.backups.get(good);
    expect(configs[0]?.lastSuccessAt).toEqual(first.createdAt);
    const to = join(world.folder, 'extracted');
    const step = { signal: NEVER, onProgress: () => undefined };
    await extractBackup(world.app.audit, () => world.app.backups.open(kept.id), to, 'test', step);
    expect((await stat(join(to, 'database.sqlite3'))).size).toBe((await stat(world.database)).size);
  });

  it.each(NAMES)('is replaced by a good backup, and its bytes come back by an undo: %s', async (name) => {
    await DAMAGE[name]?.(world.database);
    const damaged = await bytesOf(world.database);
    const request = { backupId: good, confirm: true, restoreMedia: false };
    const plan = await world.app.restores.plan(request);
    expect(plan.refusals).toEqual([]);
    const restored = await world.restore(request);
    expect(restored).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(restored.warnings).toContainEqual(expect.stringMatching(/holds its files byte by byte/));
    expect(await contentHash(world.database)).toBe(goodHash);
    const undone = await undo(restored.id);
    expect(undone).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await bytesOf(world.database)).toEqual(damaged);
    expect((await readdir(join(world.database, '..'))).sort()).toEqual(['db.sqlite3', 'media']);
    const again = await undo(undone.id);
    expect(again).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await contentHash(world.database)).toBe(goodHash);
  });

  it('comes back with its WAL as it was', async () => {
    await overwrite(world.database, 0, 16);
    await writeFile(`${world.database}-wal`, 'not a WAL');
    const damaged = await bytesOf(world.database);
    const restored = await world.restore({ backupId: good, restoreMedia: false });
    expect(restored).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await contentHash(world.database)).toBe(goodHash);
    expect(await undo(restored.id)).toMatchObject({ status: 'COMPLETED' });
    expect(await bytesOf(world.database)).toEqual(damaged);
  });

  it('is restored from its own backup only if that is asked for, and as it was', async () => {
    await DAMAGE['a bad header']?.(world.database);
    const damaged = await bytesOf(world.database);
    const { id: backupId } = await backUp(true);
    await rm(world.database);
    const request = { backupId, confirm: true, restoreMedia: false };
    const plan = await world.app.restores.plan(request);
    expect(plan.refusals).toEqual([expect.objectContaining({ code: 'DATABASE_CORRUPT', field: 'allowDamaged' })]);
    await expect(world.restore(request)).rejects.toMatchObject({ code: 'DATABASE_CORRUPT' });
    const tables = await world.app.restores.plan({ ...request, allowDamaged: true, tables: ['big'] }).catch((e) => e);
    expect(JSON.stringify(tables)).toMatch(/tables/);
    expect(await world.restore({ ...request, allowDamaged: true })).toMatchObject({ status: 'COMPLETED' });
    expect(await bytesOf(world.database)).toEqual(damaged);
  });

  it('is not replaced as a file while another process has it open', async () => {
    await DAMAGE['a bad header']?.(world.database);
    const before = await bytesOf(world.database);
    const { spawn } = await import('node:child_process');
    const holder = spawn('tail', ['-f', world.database], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      await new Promise((resolve) => holder.stdout.once('data', resolve));
      const plan = await world.app.restores.plan({ backupId: good, confirm: true, restoreMedia: false });
      expect(plan.refusals).toEqual([expect.objectContaining({ code: 'DATABASE_IN_USE' })]);
      expect(await bytesOf(world.database)).toEqual(before);
    } finally {
      holder.kill();
    }
  });

  it('at another place that is no database at all is not replaced', async () => {
    const other = join(world.folder, 'letter.txt');
    await writeFile(other, 'Dear reader, this is no database, and it is longer than a header.');
    const request = { backupId: good, confirm: true, overwrite: true, targetDatabaseUrl: `sqlite:${other}` };
    const plan = await world.app.restores.plan(request);
    expect(plan.refusals).toEqual([expect.objectContaining({ code: 'DATABASE_WRONG_KIND' })]);
  });

  it('is uploaded as damaged again', async () => {
    await DAMAGE['a bad page']?.(world.database);
    const kept = await backUp(true);
    const { createReadStream } = await import('node:fs');
    const row = await world.app.backups.upload(createReadStream(kept.filePath), 'a.zip', undefined, 'test', NEVER);
    expect(row).toMatchObject({ status: 'COMPLETED', damaged: true, verifiedAt: null });
    expect(await all(world.database, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });
});
