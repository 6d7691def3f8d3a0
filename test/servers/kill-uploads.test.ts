import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { start, translate } from '../cli/command.js';
import { S3_CREDENTIALS, startS3 } from '../support/s3.js';
import { startSftp } from '../support/sftp.js';
import { exec } from '../support/sqlite.js';
import { createWorld, filesIn, NEVER, type World } from '../support/world.js';

const s3 = await startS3();
const sftp = await startSftp();
/** Bytes per second of a distant destination, so that there is time to kill in. */
const SLOW = 4 * 1024 * 1024;

/** A place in which a half object can be seen. */
interface Target {
  id: number;
  /** Names of unfinished objects there. */
  halves(): Promise<string[]>;
}

let world: World;
let program: string;
beforeAll(async () => {
  world = await createWorld();
  program = join(await translate(join(world.folder, 'program')), 'src/cli.js');
  // Nothing of it compresses: the archive has three parts of an upload to S3.
  await exec(
    world.database,
    `CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
     SELECT i, randomblob(4000) AS bytes FROM n`,
  );
});
afterEach(async () => {
  for (const row of await world.app.models.Backup.findAll({ where: { status: 'PENDING' } })) {
    await world.app.backups.cancel(row.id, 'test');
  }
});
afterAll(async () => {
  await world?.close();
  if (!('missing' in s3)) await s3.stop();
  if (!('missing' in sftp)) await sftp.stop();
});

let last = 0;
const destination = async (storageType: 'S3' | 'SFTP' | 'SYSTEM', values: Record<string, string | number | boolean>) =>
  (await world.app.destinations.create({ storageType, values }, 'test', NEVER)).id;
const partials = async (folder: string) => (await filesIn(folder)).filter((name) => name.endsWith('.partial'));

const targets: Record<string, [missing: string | null, make: () => Promise<Target>]> = {
  S3: [
    'missing' in s3 ? s3.missing : null,
    async () => {
      if ('missing' in s3) throw new Error(s3.missing);
      const bucket = await s3.bucket();
      const values = { bucket, endpoint: s3.url, forcePathStyle: true, bandwidthLimit: SLOW, ...S3_CREDENTIALS };
      const halves = async () => (await s3.everything(bucket)).filter((key) => key.endsWith('…'));
      return { id: await destination('S3', values), halves };
    },
  ],
  SFTP: [
    'missing' in sftp ? sftp.missing : null,
    async () => {
      if ('missing' in sftp) throw new Error(sftp.missing);
      const path = join(sftp.folder, `place ${(last += 1)}`);
      const id = await destination('SFTP', { ...sftp.values, path, bandwidthLimit: SLOW });
      return { id, halves: () => partials(path) };
    },
  ],
  'a folder': [
    null,
    async () => {
      const path = join(world.folder, `place ${(last += 1)}`);
      return { id: await destination('SYSTEM', { path }), halves: () => partials(path) };
    },
  ],
};

/** Starts a backup in a process of its own and kills it as soon as half an object lies in the target. */
async function killInUpload({ halves }: Target): Promise<void> {
  const env = { DATA_DIR: join(world.folder, 'data'), DB_BACKUP_PATH: world.backups, LEASE_SECONDS: '5' };
  const { child, ended } = start([program, 'backup'], { cwd: world.folder, env });
  let over = false;
  void ended.then(() => (over = true));
  // What only tries whether the place can be written goes at once.
  while (!(await halves()).some((name) => !name.includes('probe-'))) {
    if (over) throw new Error(`It ended before: ${(await ended).stderr}`);
    await sleep(2);
  }
  child.kill('SIGKILL');
  expect((await ended).signal).toBe('SIGKILL');
}

/** All that a storage shows is an archive that its row calls COMPLETED, as long as that says. */
async function expectOnlyWhole(id: number): Promise<void> {
  const row = await world.app.destinations.get(id);
  const copies = await world.app.models.StoredObject.findAll({ where: { destinationId: id, status: 'COMPLETED' } });
  const known = new Map(copies.map(({ name, size }) => [name, size]));
  for await (const { name, size } of world.app.storages.open(row).list()) expect(known.get(name)).toBe(size);
}

/** What any process does first: the killed one cannot come back, so its leases may lapse at once. */
async function sweep(): Promise<void> {
  await world.app.models.sequelize.query('DELETE FROM leases');
  await world.app.backups.recover();
  // A copy that was cut off is tried again in a minute.
  await world.app.models.StoredObject.update({ nextTryAt: new Date() }, { where: { status: ['PENDING', 'RUNNING'] } });
  await world.app.copies.runDue(NEVER);
}

const kinds = Object.entries(targets).map(([kind, [missing, make]]) => ({
  kind: missing === null ? kind : `${kind} (skipped: ${missing})`,
  missing,
  make,
}));

describe.each(kinds)('A process killed while it writes to $kind', ({ missing, make }) => {
  const itThere = missing === null ? it : it.skip;

  itThere('leaves no half archive that can be seen, and the next one removes what it left', async () => {
    const target = await make();
    await world.app.configs.update(1, { destinationIds: [target.id] }, 'test');
    await killInUpload(target);
    await expectOnlyWhole(target.id);
    await sweep();
    expect(await target.halves()).toEqual([]);
    await expectOnlyWhole(target.id);
    const [row] = await world.app.models.Backup.findAll({ order: [['createdAt', 'DESC']], limit: 1 });
    expect(row).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED' });
    expect(await readdir(join(world.folder, 'data', 'tmp'))).toEqual([]);
  });

  itThere('while it is a copy, leaves none either, and the copy is made by the next one', async () => {
    const target = await make();
    const first = (await world.app.destinations.list()).find(({ storagePath }) => storagePath === world.backups);
    await world.app.configs.update(1, { destinationIds: [first?.id ?? 0, target.id] }, 'test');
    await killInUpload(target);
    await expectOnlyWhole(target.id);
    await sweep();
    expect(await target.halves()).toEqual([]);
    await expectOnlyWhole(target.id);
    const [row] = await world.app.models.Backup.findAll({ order: [['createdAt', 'DESC']], limit: 1 });
    expect(row?.copies.map(({ status }) => status)).toEqual(['COMPLETED', 'COMPLETED']);
    expect(await world.app.verifications.verify(row?.id ?? '', 'ARCHIVE', 'test', NEVER)).toMatchObject({
      errorCode: null,
    });
  });
});
