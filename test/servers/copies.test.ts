import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.js';
import { S3_CREDENTIALS, startS3 } from '../support/s3.js';
import { contentHash, exec } from '../support/sqlite.js';
import { createWorld, NEVER, readTree, type World } from '../support/world.js';

const server = await startS3();
const missing = 'missing' in server ? server.missing : null;
afterAll(async () => {
  if (!('missing' in server)) await server.stop();
});

(missing === null ? describe : describe.skip)(`A copy in a bucket${missing ? ` (skipped: ${missing})` : ''}`, () => {
  const open: (World | FaultProxy)[] = [];
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
  });

  it('is made by the next attempt after a cut, and restores when the folder is gone', async () => {
    if ('missing' in server) return;
    const bucket = await server.bucket();
    const proxy = await startFaultProxy(server.url);
    let now = Date.now();
    const world = await createWorld({ now: () => new Date(now) });
    open.push(world, proxy);
    const { app, database, media, backups } = world;
    // Random bytes do not compress: the archive takes two parts.
    await writeFile(join(media, 'noise.bin'), randomBytes(12_000_000));
    const values = { bucket, endpoint: proxy.url, forcePathStyle: true, ...S3_CREDENTIALS };
    const { id } = await app.destinations.create({ name: 'Bucket', storageType: 'S3', values }, 'test', NEVER);
    await app.configs.update(1, { destinationIds: [1, id] }, 'test');
    const before = [await contentHash(database), await readTree(media)];
    const backup = await world.backup();
    const copy = async () => (await app.backups.get(backup.id)).copies[1];

    proxy.fault = ({ url }) =>
      url.includes('partNumber=2') ? { kind: 'answer', status: 403, code: 'AccessDenied' } : undefined;
    await app.copies.runDue(NEVER);
    expect(await copy()).toMatchObject({ status: 'FAILED', attempts: 1 });
    expect(await app.backups.get(backup.id)).toMatchObject({ status: 'COMPLETED', errorCode: null });
    expect(await server.everything(bucket)).toEqual([]);

    // A cut within an attempt is made up for by the storage itself.
    let cuts = 0;
    proxy.fault = ({ method, url }) =>
      method === 'PUT' && url.includes('partNumber=1') && cuts++ === 0
        ? { kind: 'cut request', after: 1_000_000 }
        : undefined;
    now += 2 * 60_000;
    await app.copies.runDue(NEVER);
    expect(cuts).toBeGreaterThan(1);
    expect(await copy()).toMatchObject({ status: 'COMPLETED', size: backup.fileSize, errorCode: null });
    expect(await server.everything(bucket)).toEqual([backup.fileName]);

    await rm(backups, { recursive: true });
    await exec(database, 'DELETE FROM entry');
    await rm(join(media, 'noise.bin'));
    const restore = await world.restore({ backupId: backup.id });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect([await contentHash(database), await readTree(media)]).toEqual(before);

    // The folder's copy is made again from the bucket.
    await app.verifications.verify(backup.id, 'ARCHIVE', 'test', NEVER);
    await app.copies.runDue(NEVER);
    expect((await app.backups.get(backup.id)).copies.map(({ status }) => status)).toEqual(['COMPLETED', 'COMPLETED']);
    await app.backups.remove([backup.id], 'test');
    expect(await server.everything(bucket)).not.toContain(backup.fileName);
  });
});
