import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { BackupRow } from '../../src/models/index.js';
import { casesOf } from '../support/cases.js';
import { all, exec } from '../support/sqlite.js';
import { createWorld, NEVER, readTree, type World } from '../support/world.js';

/** What happens between two backups. */
const EDITS: Record<string, (n: number) => string> = {
  update: (n) => `UPDATE t SET text = 'changed ${n}' WHERE id % 7 = ${n % 7}`,
  insert: (n) => `INSERT INTO t (text) SELECT hex(randomblob(${n % 300})) FROM t LIMIT 50`,
  delete: (n) => `DELETE FROM t WHERE id % 5 = ${n % 5} AND id > 20`,
  shrink: () => 'DELETE FROM t WHERE id > 40; VACUUM',
  vacuum: () => 'VACUUM',
  'page size': (n) => `PRAGMA journal_mode = DELETE; PRAGMA page_size = ${512 << (n % 5)}; VACUUM`,
  'auto vacuum': (n) => `PRAGMA auto_vacuum = ${n % 3}; VACUUM`,
  journal: (n) => `PRAGMA journal_mode = ${n % 2 ? 'WAL' : 'DELETE'}`,
  'without rowid': (n) => `CREATE TABLE IF NOT EXISTS w (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
    INSERT OR REPLACE INTO w VALUES ('k${n % 9}', ${n})`,
  blob: (n) => `INSERT INTO t (text) VALUES (randomblob(${(n % 50) * 1_000}))`,
  nothing: () => 'SELECT 1',
};

let world: World;
let scratch: string;
beforeAll(async () => {
  world = await createWorld({ pragmas: 'PRAGMA journal_mode = DELETE;' });
  scratch = await mkdtemp(join(tmpdir(), 'incrementals-'));
  await world.app.configs.update(1, { incremental: true }, 'test');
});
afterAll(async () => {
  await world.close();
  await rm(scratch, { recursive: true, force: true });
});

/** A database as its own text: the content of every table, whatever the pages. */
async function contentOf(database: string): Promise<Record<string, unknown>> {
  const content: Record<string, unknown> = {};
  const names = await all<{ name: string; sql: string }>(
    database,
    "SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY 1",
  );
  for (const { name, sql } of names)
    content[`${name} ${sql}`] = await all(database, `SELECT * FROM "${name}" ORDER BY 1`);
  return content;
}

/** Deletes by policy what may go. */
async function cleanUp(keep: number): Promise<void> {
  await world.app.configs.update(1, { maxBackupFiles: keep }, 'test');
  const plan = await world.app.cleanup.run(1, 'test');
  expect(plan.items.flatMap(({ error }) => error ?? [])).toEqual([]);
}

async function restored({ id }: BackupRow) {
  const folder = await mkdtemp(join(scratch, 'to-'));
  const media = join(folder, 'media');
  await mkdir(media);
  const { extractBackup } = await import('../../src/core/archives/extract.js');
  const target = join(folder, 'out');
  const open = () => world.app.backups.open(id);
  await extractBackup(world.app.audit, open, target, 'test', { signal: NEVER, onProgress: () => undefined });
  const state = {
    content: await contentOf(join(target, 'database.sqlite3')),
    media: await readTree(join(target, 'media')).catch(() => ({})),
  };
  await rm(folder, { recursive: true });
  return state;
}

/** Makes a full backup of one of the incremental ones that none was made of yet. @returns null where there is none */
async function consolidated(choice: number): Promise<BackupRow | null> {
  const { backups, models } = world.app;
  const rows = await models.Backup.findAll({ where: { status: 'COMPLETED' }, order: [['startedAt', 'ASC']] });
  const made = new Set(rows.map(({ consolidates }) => consolidates));
  const open = rows.filter(({ mode, archiveId }) => mode === 'INCREMENTAL' && !made.has(archiveId));
  const member = open[choice % open.length];
  if (member === undefined) return null;
  const row = await backups.createConsolidation(member.id, 'test', NEVER);
  await backups.run(row.id, NEVER);
  return row.reload();
}

describe('Chains of random changes', () => {
  it('restore every member that retention keeps to what its source was, consolidated or not', async () => {
    const step = fc.record({
      edits: fc.array(fc.tuple(fc.constantFrom(...Object.keys(EDITS)), fc.nat(1_000)), { maxLength: 3 }),
      media: fc.option(fc.tuple(fc.constantFrom('a', 'b', 'uploads/c'), fc.option(fc.string({ maxLength: 20 })))),
      consolidate: fc.option(fc.nat(100)),
      keep: fc.option(fc.integer({ min: 1, max: 5 }), { freq: 2 }),
    });
    const property = async (
      steps: {
        edits: [string, number][];
        media: [string, string | null] | null;
        consolidate: number | null;
        keep: number | null;
      }[],
      last: number,
    ) => {
      await exec(
        world.database,
        'DROP TABLE IF EXISTS t; DROP TABLE IF EXISTS w; CREATE TABLE t (id INTEGER PRIMARY KEY, text)',
      );
      await exec(
        world.database,
        'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT INTO t SELECT i, hex(randomblob(40)) FROM n',
      );
      const states = new Map<string, Awaited<ReturnType<typeof restored>>>();
      for (const { edits, media, consolidate, keep } of steps) {
        for (const [edit, n] of edits) await exec(world.database, EDITS[edit]?.(n) ?? '');
        if (media !== null) {
          const path = join(world.media, media[0]);
          if (media[1] === null) await rm(path, { force: true });
          else await writeFile(path, media[1]);
        }
        const row = await world.backup();
        expect(row).toMatchObject({ status: 'COMPLETED' });
        states.set(row.id, { content: await contentOf(world.database), media: await readTree(world.media) });
        const full = consolidate === null ? null : await consolidated(consolidate);
        if (full !== null) expect(full).toMatchObject({ status: 'COMPLETED' });
        if (keep !== null) await cleanUp(keep);
      }
      await cleanUp(last);
      const rows = await world.app.models.Backup.findAll({ where: { status: 'COMPLETED' } });
      expect(rows.some(({ id, consolidates }) => states.has(consolidates ?? id))).toBe(true);
      for (const row of rows) {
        const state = states.get(row.consolidates ?? row.id);
        if (state !== undefined) expect(await restored(row)).toEqual(state);
      }
    };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 7 }), fc.integer({ min: 1, max: 5 }), property),
      { numRuns: casesOf(30) },
    );
  }, 1_800_000);
});
