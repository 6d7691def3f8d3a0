import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { rcloneSettings } from '../../src/storages/rclone-settings.js';
import { RcloneStorage } from '../../src/storages/rclone.js';
import { storageContract } from '../contracts/storage.contract.js';
import { roundTrip } from '../support/round-trip.js';
import { S3_CREDENTIALS, startS3 } from '../support/s3.js';
import { NEVER, type World } from '../support/world.js';

const NAME = 'okpuja_backup_20250724_143022.zip';
const rclone = (...args: string[]) => execFileSync('rclone', args, { encoding: 'utf8', stdio: 'pipe' });

function missingRclone(): string | null {
  try {
    rclone('version');
    return null;
  } catch {
    return 'rclone is not installed (Debian: rclone)';
  }
}

const missing = missingRclone();
const there = missing === null ? describe : describe.skip;
const s3 = missing === null ? await startS3() : { missing };
const missingS3 = 'missing' in s3 ? s3.missing : null;
const folder = await mkdtemp(join(tmpdir(), 'rclone-'));
const configFile = join(folder, 'rclone.conf');
const worlds: World[] = [];

await mkdir(join(folder, 'sealed'));
await writeFile(
  configFile,
  [
    `[disk]\ntype = alias\nremote = ${folder}\n`,
    `[sealed]\ntype = crypt\nremote = ${join(folder, 'sealed')}\npassword = ${missing === null ? rclone('obscure', 'a password') : ''}`,
    'missing' in s3
      ? ''
      : `[bucket]\ntype = s3\nprovider = Other\nendpoint = ${s3.url}\naccess_key_id = ${S3_CREDENTIALS.accessKeyId}\n` +
        `secret_access_key = ${S3_CREDENTIALS.secretAccessKey}\n`,
  ].join('\n'),
);

afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});
afterAll(async () => {
  if (!('missing' in s3)) await s3.stop();
  await rm(folder, { recursive: true, force: true });
});

// rclone's S3 cannot use a list of certificate authorities that this machine may name, and needs none on loopback.
const program = join(folder, 'rclone');
await writeFile(program, '#!/bin/sh\nunset AWS_CA_BUNDLE\nexec rclone "$@"\n', { mode: 0o755 });

const storageAt = (remote: string, path: string) =>
  new RcloneStorage(rcloneSettings({ remote, path, configFile }), program);

/** A place of a remote, whose names rclone itself lists. */
const placeOf = (remote: string, root: () => Promise<string>) => async () => {
  const path = `${await root()}/deep/er`;
  const everything = async () =>
    rclone('lsf', '--config', configFile, `${remote}:${path}`)
      .split('\n')
      .filter((name) => name !== '');
  return { storage: storageAt(remote, path), everything, dispose: async () => undefined };
};

there(`rclone${missing === null ? '' : ` (skipped: ${missing})`}`, () => {
  storageContract(
    'rclone crypt',
    placeOf('sealed', async () => `place-${Date.now()}-${Math.random()}`),
  );
  storageContract(
    'rclone local',
    placeOf('disk', async () => `place-${Date.now()}-${Math.random()}`),
  );

  it('knows what the remote names, and refuses what could be an option or hold secrets', () => {
    for (const remote of ['-v', ':s3,env_auth=true', 'a:b', '', '--config=x']) {
      expect(() => rcloneSettings({ remote })).toThrow(/remote/);
    }
    expect(() => rcloneSettings({ remote: 'x', configFile: 'relative' })).toThrow(/configFile/);
  });

  it('says what rclone says: a remote that is not configured, a folder that is not there', async () => {
    await expect(storageAt('nobody', 'x').prepare()).rejects.toMatchObject({ code: 'STORAGE_REFUSED' });
    await expect(storageAt('sealed', 'never-made').stat(NAME)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  });

  it('holds a sealed backup that is verified, restored and compared', async () => {
    const values = { remote: 'sealed', path: 'destination', configFile };
    const { world, fileName } = await roundTrip({ name: 'Sealed', storageType: 'RCLONE', values });
    worlds.push(world);
    const names = await readdir(join(folder, 'sealed'), { recursive: true });
    expect(names.length).toBeGreaterThan(0);
    expect(names.join()).not.toContain(fileName);
    expect(rclone('lsf', '--config', configFile, 'sealed:destination')).toContain(fileName);
  });

  (missingS3 === null ? it : it.skip)(
    `stores in a bucket${missingS3 === null ? '' : ` (skipped: ${missingS3})`}, and tells what cannot be asked`,
    async () => {
      if ('missing' in s3) return;
      const bucket = await s3.bucket();
      const storage = storageAt('bucket', `${bucket}/deep`);
      await storage.prepare();
      const body = Readable.from([Buffer.alloc(12_000_000, 1)]);
      expect(await storage.put(NAME, body, { owner: 'run', signal: NEVER })).toMatchObject({ size: 12_000_000 });
      expect(await s3.everything(bucket)).toEqual([`deep/${NAME}`]);
      expect(await storage.space()).toBeNull();
    },
  );
});
