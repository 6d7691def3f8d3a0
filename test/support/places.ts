import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DestinationInput } from '../../src/core/destinations/destinations.js';
import { startDrive } from './drive-server.js';
import { startPasswordSftp } from './password-sftp.js';
import { S3_CREDENTIALS, startS3 } from './s3.js';
import { startSftp } from './sftp.js';

/** A place of each kind that archives can lie in, with the server behind it. */
export interface Place {
  /** The kind for a title, with the reason where it cannot be had. */
  title: string;
  missing: string | null;
  /** A destination in a place of its own. */
  input(): Promise<DestinationInput>;
}

export const DRIVE_USER = {
  clientId: 'client',
  clientSecret: 'canary-client-secret',
  refreshToken: 'canary-refresh-token',
};

/** All of them. `stop` takes them away. */
export async function startPlaces(): Promise<{ places: Place[]; stop: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'db-manager-places-'));
  const [s3, sftp, withPassword, drive] = await Promise.all([
    startS3(),
    startSftp(),
    startPasswordSftp(),
    startDrive(),
  ]);
  const configFile = join(folder, 'rclone.conf');
  await writeFile(configFile, `[disk]\ntype = alias\nremote = ${folder}\n`);
  let last = 0;
  const own = () => `place ${(last += 1)}`;
  const place = (name: string, missing: string | null, input: Place['input']): Place => ({
    title: missing === null ? name : `${name} (skipped: ${missing})`,
    missing,
    input,
  });
  const places = [
    place('a folder', null, async () => ({ storageType: 'SYSTEM', values: { path: join(folder, own()) } })),
    place('S3', 'missing' in s3 ? s3.missing : null, async () => {
      if ('missing' in s3) throw new Error(s3.missing);
      const values = { bucket: await s3.bucket(), endpoint: s3.url, forcePathStyle: true, ...S3_CREDENTIALS };
      return { storageType: 'S3', values };
    }),
    place('SFTP with a key', 'missing' in sftp ? sftp.missing : null, async () => {
      if ('missing' in sftp) throw new Error(sftp.missing);
      return { storageType: 'SFTP', values: { ...sftp.values, path: join(sftp.folder, own()) } };
    }),
    place('SFTP with a password', null, async () => ({
      storageType: 'SFTP',
      values: { ...withPassword.values, path: join(withPassword.folder, own()) },
    })),
    place('rclone', missingRclone(), async () => ({
      storageType: 'RCLONE',
      values: { remote: 'disk', path: own(), configFile },
    })),
    place('Google Drive', null, async () => ({
      storageType: 'GDRIVE',
      values: { folder: own(), rootUrl: drive.url, ...DRIVE_USER },
    })),
  ];
  return {
    places,
    async stop() {
      if (!('missing' in s3)) await s3.stop();
      if (!('missing' in sftp)) await sftp.stop();
      await Promise.all([withPassword.stop(), drive.close()]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function missingRclone(): string | null {
  try {
    execFileSync('rclone', ['version'], { stdio: 'pipe' });
    return null;
  } catch {
    return 'rclone is not installed (Debian: rclone)';
  }
}
