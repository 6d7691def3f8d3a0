import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectRetentionCommand,
  ListObjectVersionsCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.js';
import { roundTrip } from '../support/round-trip.js';
import { S3_CREDENTIALS, startS3 } from '../support/s3.js';
import { contentHash } from '../support/sqlite.js';
import { createWorld, NEVER, type World } from '../support/world.js';

const server = await startS3();
const missing = 'missing' in server ? server.missing : null;
afterAll(async () => {
  if (!('missing' in server)) await server.stop();
});

(missing === null ? describe : describe.skip)(
  `A bucket as destination${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    const open: (World | FaultProxy)[] = [];
    afterEach(async () => {
      for (const one of open.splice(0)) await one.close();
    });

    it('holds a backup that is verified, restored and compared, with few requests, and is deleted', async () => {
      if ('missing' in server) return;
      const bucket = await server.bucket();
      const proxy = await startFaultProxy(server.url);
      open.push(proxy);
      const values = { bucket, endpoint: proxy.url, forcePathStyle: true, ...S3_CREDENTIALS };
      const { world, fileName } = await roundTrip({ name: 'Bucket', storageType: 'S3', values });
      open.push(world);
      const reads = proxy.seen.filter(({ method, url }) => method === 'GET' && url.includes(fileName));
      // The backup's own verification, three more, the plan and the restore: each reads 12 MB and 200 small files.
      expect(reads.length).toBeLessThan(30);
      const rows = await world.app.models.Backup.findAll();
      for (const { id } of rows) await world.app.backups.pin(id, false, 'test');
      const ids = rows.map(({ id }) => id);
      expect(await world.app.backups.remove(ids, 'test')).toHaveLength(2);
      expect(await server.everything(bucket)).toEqual([]);
      const destinations = await world.app.models.Destination.findAll();
      const events = await world.app.models.AuditEvent.findAll();
      expect(JSON.stringify([destinations, events])).not.toContain('canary');
    });

    it('is made from the environment alone, and holds the backups of its config', async () => {
      if ('missing' in server) return;
      const bucket = await server.bucket();
      const world = await createWorld({
        env: {
          DB_BACKUP_STORAGE_TYPE: 'S3',
          S3_BUCKET: bucket,
          S3_FORCE_PATH_STYLE: 'true',
          AWS_ENDPOINT_URL_S3: server.url,
          AWS_ACCESS_KEY_ID: S3_CREDENTIALS.accessKeyId,
          AWS_SECRET_ACCESS_KEY: S3_CREDENTIALS.secretAccessKey,
        },
      });
      open.push(world);
      const { storageType, storagePath } = world.app.environment.seed;
      await world.app.configs.update(1, { storageType, storagePath }, 'test');
      const backup = await world.backup();
      expect(backup).toMatchObject({ status: 'COMPLETED', filePath: `s3://${bucket}/${backup.fileName}` });
      expect(await world.restore({ backupId: backup.id })).toMatchObject({ status: 'COMPLETED' });
    });

    it('locks an archive for as long as it is set to: a deletion only hides it', async () => {
      if ('missing' in server) return;
      const client = new S3Client({
        endpoint: server.url,
        region: 'us-east-1',
        forcePathStyle: true,
        credentials: { ...S3_CREDENTIALS },
      });
      const bucket = 'locked';
      await client.send(new CreateBucketCommand({ Bucket: bucket, ObjectLockEnabledForBucket: true }));
      const world = await createWorld();
      open.push(world);
      const values = { bucket, endpoint: server.url, forcePathStyle: true, objectLockDays: 2, ...S3_CREDENTIALS };
      const { id } = await world.app.destinations.create({ storageType: 'S3', values }, 'test', NEVER);
      await world.app.configs.update(1, { destinationIds: [id] }, 'test');
      const backup = await world.backup();
      const object = { Bucket: bucket, Key: backup.fileName };
      const { Retention } = await client.send(new GetObjectRetentionCommand(object));
      expect(Retention).toMatchObject({ Mode: 'COMPLIANCE' });
      const days = ((Retention?.RetainUntilDate?.getTime() ?? 0) - Date.now()) / 86_400_000;
      expect(Math.round(days)).toBe(2);
      await world.app.backups.remove([backup.id], 'test');
      const { Versions = [] } = await client.send(new ListObjectVersionsCommand({ Bucket: bucket }));
      const kept = Versions.find(({ Key }) => Key === backup.fileName);
      expect(kept?.Size).toBe(backup.fileSize);
      const forGood = new DeleteObjectCommand({ ...object, VersionId: kept?.VersionId });
      await expect(client.send(forGood)).rejects.toThrow();
      client.destroy();
    });

    it('gives an encrypted backup to a new machine that has only the key of the old one', async () => {
      if ('missing' in server) return;
      const bucket = await server.bucket();
      const values = { bucket, endpoint: server.url, forcePathStyle: true, ...S3_CREDENTIALS };
      const input = { name: 'Bucket', storageType: 'S3' as const, values };
      const [lost, fresh] = [await createWorld(), await createWorld()];
      open.push(lost, fresh);
      const { key, identity } = await lost.app.keys.create({ name: 'Safe', generate: true }, 'test');
      const { id } = await lost.app.destinations.create(input, 'test', NEVER);
      await lost.app.configs.update(1, { destinationIds: [id], encryptionKeyIds: [key.id] }, 'test');
      const backup = await lost.backup();
      const before = await contentHash(lost.database);

      await fresh.app.destinations.create(input, 'test', NEVER);
      const found = (await fresh.app.cleanup.reconcile()).find(({ storage }) => storage.storageType === 'S3');
      expect(found).toMatchObject({ files: [backup.filePath], error: null });
      const at = { address: found!.storage, fileName: backup.fileName };
      const options = { sameApplication: false };
      await expect(fresh.app.backups.adopt(at, options, 'test', NEVER)).rejects.toMatchObject({
        code: 'ENCRYPTION_KEY_MISSING',
      });
      const taken = await fresh.app.backups.adopt(at, { ...options, identity: identity! }, 'test', NEVER);
      const target = join(fresh.folder, 'restored.sqlite3');
      const restore = await fresh.restore({
        backupId: taken.id,
        identity: identity!,
        targetDatabaseUrl: `sqlite:${target}`,
        restoreMedia: false,
        allowForeign: true,
      });
      expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
      expect(await contentHash(target)).toBe(before);
    });
  },
);
