import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { ArchiveMetadata } from '../../../src/archive/metadata.js';
import { packed, unpacking } from '../../../src/archive/pack.js';
import { fileSource } from '../../../src/archive/read.js';
import { takeInAll } from '../../../src/core/backups/take-in.js';
import type { BackupRow } from '../../../src/models/index.js';
import { makeChain } from '../../support/chain.js';
import { contentHash } from '../../support/sqlite.js';
import { createWorld, NEVER, readTree, type World } from '../../support/world.js';

const run = promisify(execFile);
const PROGRAM = join(process.cwd(), 'recovery', 'recover.mjs');

let world: World;
let rows: BackupRow[];
let states: Awaited<ReturnType<typeof makeChain>>['states'];
let out: string;
beforeAll(async () => {
  world = await createWorld();
  ({ rows, states } = await makeChain(world));
  out = join(world.folder, 'out');
});
afterAll(() => world.close());

const recover = async (row: BackupRow) => {
  await rm(out, { recursive: true, force: true });
  return run('node', [PROGRAM, row.filePath, out]);
};

it('The chain is a full backup and incremental ones', () => {
  expect(rows.map(({ mode, status }) => `${mode} ${status}`)).toEqual([
    'FULL COMPLETED',
    'INCREMENTAL COMPLETED',
    'INCREMENTAL COMPLETED',
    expect.stringMatching(/COMPLETED/),
  ]);
});

it('The program of the kit puts every member together as its source was, with nothing else', async () => {
  for (const [index, row] of rows.entries()) {
    const { stdout } = await recover(row);
    expect([await contentHash(join(out, 'database.sqlite3')), await readTree(join(out, 'media'))]).toEqual(
      states[index],
    );
    expect((await readdir(out)).sort()).toEqual(['backup_metadata.json', 'database.sqlite3', 'media']);
    if (row.mode === 'INCREMENTAL') expect(stdout).toContain(`${index + 1} archives are put together`);
    expect(stdout).toContain(`belong in ${world.media}`);
  }
});

it('A member that is not there or is another one is named, and nothing is passed off as whole', async () => {
  const [full, first, second] = rows as [BackupRow, BackupRow, BackupRow];
  await rename(first.filePath, `${first.filePath}.away`);
  await expect(recover(second)).rejects.toThrow(`Put ${first.fileName} into the folder`);
  await writeFile(first.filePath, await readFile(full.filePath));
  await expect(recover(second)).rejects.toThrow(`${first.fileName} is not the archive that was built on`);
  await rename(`${first.filePath}.away`, first.filePath);
  await recover(second);
});

it.each([
  ['pages that no archive has', 20, 0xffff_ffff, 'lacks pages'],
  ['pages of a size that no database has', 12, 0x8000_0000, 'does not fit'],
])('A list of changes that speaks of %s is refused, and allocates nothing', async (_what, at, value, message) => {
  const source = await fileSource(rows[1]!.filePath);
  const contentOf = async (path: string) => buffer(unpacking(source, path, NEVER));
  const delta = await contentOf('database.delta');
  delta.writeUInt32LE(value, at);
  const metadata = JSON.parse((await contentOf('backup_metadata.json')).toString()) as ArchiveMetadata;
  metadata.entries = metadata.entries.filter(({ path }) => path === 'database.delta');
  metadata.entries[0]!.sha256 = createHash('sha256').update(delta).digest('hex');
  const evil = join(world.backups, 'evil.zip');
  const files = { 'database.delta': delta, 'backup_metadata.json': JSON.stringify(metadata) };
  await writeFile(evil, await packed(files, new Date()));
  await rm(out, { recursive: true, force: true });
  await expect(run('node', [PROGRAM, evil, out])).rejects.toThrow(message);
  await rm(evil);
});

it('backups.txt says what each one builds on', async () => {
  const zip = join(world.folder, 'kit.zip');
  await writeFile(zip, await world.app.recoveryKits.make('test'));
  await run('node', [PROGRAM, zip, join(world.folder, 'kit')]);
  const text = await readFile(join(world.folder, 'kit', 'backups.txt'), 'utf8');
  expect(text).toContain(`  builds on ${rows[0]!.fileName}`);
  expect(text).toContain(`  builds on ${rows[1]!.fileName}`);
});

it('The programs of the kit build on a full backup that was made of a chain', async () => {
  const [full, first, second] = rows as [BackupRow, BackupRow, BackupRow];
  const row = await world.app.backups.createConsolidation(first.id, 'test', NEVER);
  await world.app.backups.run(row.id, NEVER);
  const older = [full, first].map(({ filePath }) => filePath);
  for (const path of older) await rename(path, `${path}.away`);
  const script = join(process.cwd(), 'recovery', 'recover.sh');
  for (const [program, file] of [
    ['node', PROGRAM],
    ['sh', script],
  ] as const) {
    await rm(out, { recursive: true, force: true });
    await run(program, [file, second.filePath, out]);
    expect([await contentHash(join(out, 'database.sqlite3')), await readTree(join(out, 'media'))]).toEqual(states[2]);
  }
  for (const path of older) await rename(`${path}.away`, path);
  await world.app.backups.remove([row.id], 'test');
});

it('Archives without a record are taken in whatever their order, and restore as they were', async () => {
  const { backups, models } = world.app;
  const files = rows.map(({ fileName }) => fileName).reverse();
  const { address } = rows[0]!;
  await models.StoredObject.destroy({ where: {} });
  await models.Backup.destroy({ where: {} });
  const taken: string[] = [];
  const take = async (fileName: string) => {
    const row = await backups.adopt({ address, fileName }, { sameApplication: false }, 'test', NEVER);
    taken.push(row.fileName);
  };
  const lacking = files.filter((fileName) => fileName !== rows[0]!.fileName);
  const refused = await takeInAll(lacking.slice(-1), take, NEVER);
  expect(refused).toEqual([{ item: rows[1]!.fileName, error: expect.objectContaining({ code: 'CHAIN_BROKEN' }) }]);
  expect(await takeInAll(files, take, NEVER)).toEqual([]);
  expect(taken.sort()).toEqual(files.sort());
  for (const [index, { fileName }] of rows.entries()) {
    const row = await models.Backup.findOne({ where: { fileName }, rejectOnEmpty: true });
    const restore = await world.restore({ backupId: row.id, restoreMedia: true, mediaMode: 'MIRROR' });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect([await contentHash(world.database), await readTree(world.media)]).toEqual(states[index]);
  }
});
