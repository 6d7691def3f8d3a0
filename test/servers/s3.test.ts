import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { AppError } from '../../src/errors.js';
import { RetryingStorage } from '../../src/storages/retry.js';
import { s3Settings } from '../../src/storages/s3-settings.js';
import { S3Storage } from '../../src/storages/s3.js';
import { storageContract } from '../contracts/storage.contract.js';
import { type Fault, type FaultProxy, startFaultProxy } from '../support/fault-proxy.js';
import { S3_CREDENTIALS, startS3 } from '../support/s3.js';
import { NEVER } from '../support/world.js';

const server = await startS3();
const missing = 'missing' in server ? server.missing : null;
const NAME = 'okpuja_backup_20250724_143022.zip';
const POLICY = { budget: 200, first: 1, longest: 20 };

afterAll(async () => {
  if (!('missing' in server)) await server.stop();
});

/** @param endpoint of a proxy in front of the server; the server itself by default */
async function place(endpoint?: string, more: Record<string, string> = {}) {
  if ('missing' in server) throw new Error(server.missing);
  const bucket = await server.bucket();
  const values = { bucket, prefix: 'deep/er', endpoint: endpoint ?? server.url, forcePathStyle: true };
  const storage = new S3Storage(s3Settings({ ...values, ...S3_CREDENTIALS, ...more }), 1_000, POLICY);
  return {
    bucket,
    storage,
    everything: async () => (await server.everything(bucket)).map((key) => key.replace('deep/er/', '')),
    dispose: async () => undefined,
  };
}

(missing === null ? describe : describe.skip)(`S3${missing === null ? '' : ` (skipped: ${missing})`}`, () => {
  storageContract('S3', place);

  describe('behind a proxy that does damage', () => {
    let proxy: FaultProxy;
    let there: Awaited<ReturnType<typeof place>>;
    const bytes = randomBytes(20 * 1024 * 1024);
    const put = (body = Readable.from([bytes])) => there.storage.put(NAME, body, { owner: 'run', signal: NEVER });

    /** Does damage to the first requests that match. */
    const damage = (matches: (request: { method: string; url: string }) => boolean, ...faults: Fault[]) => {
      proxy.fault = (request) => (matches(request) ? faults.shift() : undefined);
    };
    const isPart = ({ method, url }: { method: string; url: string }) =>
      method === 'PUT' && url.includes('partNumber=');
    const isGet = ({ method, url }: { method: string; url: string }) => method === 'GET' && url.includes(NAME);

    beforeEach(async () => {
      if ('missing' in server) return;
      proxy = await startFaultProxy(server.url);
      there = await place(proxy.url);
    });
    afterEach(() => proxy.close());

    it.each<[string, Fault]>([
      ['500', { kind: 'answer', status: 500, code: 'InternalError' }],
      ['503 SlowDown', { kind: 'answer', status: 503, code: 'SlowDown' }],
      ['a connection cut within a part', { kind: 'cut request', after: 100_000 }],
      ['an answer lost', { kind: 'lose answer' }],
    ])('stores the whole object despite %s', async (_title, fault) => {
      damage(isPart, fault, fault, fault, fault);
      expect(await put()).toMatchObject({ size: bytes.length });
      expect((await buffer(await there.storage.get(NAME))).equals(bytes)).toBe(true);
      expect(await there.everything()).toEqual([NAME]);
    });

    it.each([
      [
        'that completes an upload',
        ({ method, url }: { method: string; url: string }) => method === 'POST' && /uploadId=/.test(url),
        bytes,
      ],
      [
        'of a small object',
        ({ method, url }: { method: string; url: string }) => method === 'PUT' && url.includes(NAME),
        bytes.subarray(0, 99),
      ],
    ])('knows its own object when the answer %s is lost', async (_title, matches, body) => {
      damage(matches, { kind: 'lose answer' }, { kind: 'lose answer' });
      expect(await put(Readable.from([body]))).toMatchObject({ size: body.length });
      expect((await buffer(await there.storage.get(NAME))).equals(body)).toBe(true);
    });

    it('leaves nothing when a part is refused', async () => {
      damage(isPart, { kind: 'answer', status: 403, code: 'AccessDenied' });
      await expect(put()).rejects.toMatchObject({ code: 'STORAGE_REFUSED' });
      expect(await there.everything()).toEqual([]);
    });

    it('goes on with a read at the byte at which the connection was cut or stalled', async () => {
      await put();
      const storage = new RetryingStorage(there.storage, POLICY);
      damage(isGet, { kind: 'cut answer', after: 5_000_000 }, { kind: 'stall', after: 3_000_000 });
      expect((await buffer(await storage.get(NAME))).equals(bytes)).toBe(true);
      expect(proxy.seen.filter(isGet)).toHaveLength(3);
    });

    it('ends with an error when the service is away for good', async () => {
      proxy.fault = () => ({ kind: 'answer', status: 503, code: 'SlowDown' });
      await expect(put()).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
      await proxy.close();
      await expect(there.storage.stat(NAME)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
      proxy = await startFaultProxy('http://127.0.0.1:1');
    });

    it.each([
      [403, 'RequestTimeTooSkewed', /clock/],
      [403, 'AccessDenied', /Allow/],
      [403, 'SignatureDoesNotMatch', /secret access key/],
    ])('explains %s %s', async (status, code, hint) => {
      proxy.fault = () => ({ kind: 'answer', status, code });
      await expect(there.storage.prepare()).rejects.toMatchObject({ code: 'STORAGE_REFUSED' });
      const listing = (async () => {
        for await (const _ of there.storage.list()) break;
      })();
      await expect(listing).rejects.toMatchObject({ code: 'STORAGE_REFUSED', hint: expect.stringMatching(hint) });
    });

    it('does without checksums and conditions that the service does not know', async () => {
      let refused = 0;
      proxy.fault = ({ method, url }) =>
        method !== 'HEAD' && url.includes(NAME) && (refused += 1) <= 1
          ? { kind: 'answer', status: 501, code: 'NotImplemented' }
          : undefined;
      expect(await put()).toMatchObject({ size: bytes.length });
      expect((await buffer(await there.storage.get(NAME))).equals(bytes)).toBe(true);
    });

    it('sends parts while the source is still read, and holds only a few of them', async () => {
      const block = randomBytes(1024 * 1024);
      const before = process.memoryUsage().rss;
      let most = 0;
      const source = Readable.from(
        (function* () {
          for (let count = 0; count < 300; count++) {
            most = Math.max(most, process.memoryUsage().rss);
            yield block;
          }
        })(),
      );
      expect(await put(source)).toMatchObject({ size: 300 * block.length });
      expect(most - before).toBeLessThan(200 * 1024 * 1024);
    });

    it('reads a range with one request', async () => {
      await put();
      proxy.seen.length = 0;
      await buffer(await there.storage.get(NAME, { start: 100, end: 199 }));
      expect(proxy.seen).toHaveLength(1);
    });
  });

  it('discards the unfinished upload that a dead run left, and no other', async () => {
    const there = await place();
    const endless = (name: string) => {
      const stop = new AbortController();
      const source = Readable.from(
        (async function* () {
          for (let count = 0; count < 40; count++) yield randomBytes(1024 * 1024);
          await new Promise((_resolve, reject) => stop.signal.addEventListener('abort', reject));
        })(),
      );
      const done = there.storage.put(name, source, { owner: 'run', signal: stop.signal }).catch(() => undefined);
      return { stop, done };
    };
    const other = NAME.replace('okpuja', 'other');
    const runs = [endless(NAME), endless(other)];
    while ((await there.everything()).length < 2) await new Promise((wake) => setTimeout(wake, 50));
    await there.storage.discard('run', NAME);
    expect(await there.everything()).toEqual([`${other}…`]);
    runs.forEach(({ stop }) => stop.abort(new AppError('CANCELLED', 'stopped')));
    await Promise.all(runs.map(({ done }) => done));
    expect(await there.everything()).toEqual([]);
  });

  it('refuses a wrong key and a bucket that is not there, and names neither secret', async () => {
    const wrong = await place(undefined, { secretAccessKey: 'canary-wrong-secret' });
    const refused = await wrong.storage.prepare().catch((error: unknown) => error as AppError);
    expect(refused).toMatchObject({ code: 'STORAGE_REFUSED' });
    const nowhere = await place(undefined, { bucket: 'nobody-has-this-bucket' });
    const missingBucket = await nowhere.storage.stat(NAME).catch((error: unknown) => error as AppError);
    expect(missingBucket).toMatchObject({ code: 'STORAGE_REFUSED' });
    expect(JSON.stringify([refused, missingBucket])).not.toContain('canary');
  });

  it('ignores what has no name of an archive or lies deeper', async () => {
    const there = await place();
    const outer = new S3Storage(
      s3Settings({
        bucket: there.bucket,
        endpoint: 'missing' in server ? '' : server.url,
        forcePathStyle: true,
        ...S3_CREDENTIALS,
      }),
    );
    for (const name of ['notes.txt', NAME]) {
      await outer.put(name, Readable.from(['x']), { owner: 'run', signal: NEVER });
    }
    await there.storage.put(NAME, Readable.from(['yy']), { owner: 'run', signal: NEVER });
    const found = [];
    for await (const { name, size } of outer.list()) found.push([name, size]);
    expect(found).toEqual([[NAME, 1]]);
  });
});
