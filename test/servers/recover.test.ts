import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { start, translate } from '../cli/command.js';
import { S3_CREDENTIALS, startS3 } from '../support/s3.js';
import { contentHash } from '../support/sqlite.js';
import { createWorld, filesIn, NEVER, readTree, type World } from '../support/world.js';

const server = await startS3();
const missing = 'missing' in server ? server.missing : null;
afterAll(async () => {
  if (!('missing' in server)) await server.stop();
});

(missing === null ? describe : describe.skip)(
  `On an empty machine, \`recover\` from a bucket${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    let lost: World;
    let folder: string;
    let program: string;
    let bucket: string;
    let before: unknown[];
    beforeAll(async () => {
      if ('missing' in server) return;
      bucket = await server.bucket();
      lost = await createWorld();
      const { app } = lost;
      const { key, identity } = await app.keys.create({ name: 'Safe', generate: true }, 'test');
      const values = { bucket, endpoint: server.url, forcePathStyle: true, ...S3_CREDENTIALS };
      const { id } = await app.destinations.create({ name: 'Bucket', storageType: 'S3', values }, 'test', NEVER);
      const settings = { destinationIds: [id], encryptionKeyIds: [key.id], schedule: '30 4 * * *', keepWeekly: 9 };
      await app.configs.update(1, settings, 'test');
      for (let count = 0; count < 2; count++) expect(await lost.backup()).toMatchObject({ status: 'COMPLETED' });
      await app.controlBackups.runDue(NEVER);
      expect(await lost.backup()).toMatchObject({ status: 'COMPLETED' });
      before = [await contentHash(lost.database), await readTree(lost.media)];
      folder = await mkdtemp(join(tmpdir(), 'db-manager-'));
      program = join(await translate(join(folder, 'program')), 'src/cli.js');
      await writeFile(join(folder, 'identity.txt'), `# of the safe\n${identity}\n`);
      for (const side of ['', '-wal', '-shm']) await rm(lost.database + side, { force: true });
      await rm(lost.media, { recursive: true });
    });
    afterAll(async () => {
      await lost?.close();
      if (folder) await rm(folder, { recursive: true, force: true });
    });

    const run = (data: string, ...args: string[]) =>
      start([program, ...args], {
        cwd: folder,
        env: {
          DATA_DIR: join(folder, data),
          DB_BACKUP_PATH: join(folder, 'backups'),
          S3_BUCKET: bucket,
          S3_ENDPOINT: 'missing' in server ? '' : server.url,
          S3_FORCE_PATH_STYLE: 'true',
          S3_ACCESS_KEY_ID: S3_CREDENTIALS.accessKeyId,
          S3_SECRET_ACCESS_KEY: S3_CREDENTIALS.secretAccessKey,
          LOG_LEVEL: 'debug',
        },
      }).ended;
    const identity = () => ['--identity-file', join(folder, 'identity.txt')];
    const reply = ({ stdout }: { stdout: string }) => JSON.parse(stdout);

    it('lists what lies there, and asks for the key', async () => {
      const listed = await run('listed', 'recover', '--from', 's3', '--dry-run', '--json');
      expect(reply(listed).found).toMatchObject({
        place: `s3://${bucket}`,
        controlBackups: [{ encrypted: true }],
        archives: [{}, {}, {}],
      });
      const refused = await run('listed', 'recover', '--from', 's3');
      expect(refused).toMatchObject({ code: 72, stderr: expect.stringContaining('ENCRYPTION_KEY_MISSING') });
    });

    it('gives a working installation with all configs and history, and its applications restored', async () => {
      const done = await run('fresh', 'recover', '--from', 's3', ...identity(), '--json');
      expect(reply(done)).toMatchObject({
        controlBackup: { encrypted: true },
        takenIn: [{ status: 'COMPLETED', configId: 1 }],
        configs: [{ id: 1, name: 'App' }],
        withoutSecrets: [],
        passedOver: [],
      });
      expect(done.stdout + done.stderr).not.toContain(S3_CREDENTIALS.secretAccessKey);
      expect(reply(await run('fresh', 'config', 'show', '1', '--json')).config).toMatchObject({
        schedule: '30 4 * * *',
        keepWeekly: 9,
      });
      const { backups } = reply(await run('fresh', 'list', '--json'));
      expect(backups).toHaveLength(3);
      for (const { id } of backups) {
        const restored = await run('fresh', 'restore', id, '--confirm', ...identity());
        expect([restored.code, restored.stderr]).toEqual([0, expect.anything()]);
        expect([await contentHash(lost.database), await readTree(lost.media)]).toEqual(before);
      }
      expect(await run('fresh', 'backup')).toMatchObject({ code: 0 });
      const again = await run('fresh', 'recover', '--from', 's3', ...identity(), '--json');
      expect(reply(again).error).toMatchObject({ code: 'BAD_USER_INPUT' });
    });

    it('rebuilds configs from the archives where there is no control backup', async () => {
      const done = await run('rebuilt', 'recover', '--from', 's3', '--control-backup', 'none', ...identity(), '--json');
      const { controlBackup, configs, takenIn, passedOver } = reply(done);
      expect({ controlBackup, configs, passedOver }).toEqual({
        controlBackup: null,
        configs: [{ id: 1, name: 'App' }],
        passedOver: [],
      });
      expect(takenIn.length).toBeGreaterThanOrEqual(3);
    });

    it('leaves the secrets of the bucket sealed in the new control database', async () => {
      for (const name of await filesIn(join(folder, 'fresh'))) {
        const text = await readFile(join(folder, 'fresh', name), 'latin1');
        expect(text.includes(S3_CREDENTIALS.secretAccessKey)).toBe(false);
      }
    });
  },
);
