import { createHash } from 'node:crypto';
import { readFile, rename, rm, truncate } from 'node:fs/promises';
import { get as httpGet } from 'node:http';
import { dirname, join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { StoredArchive } from '../../src/core/archives/stored-archive.js';
import type { BackupRow } from '../../src/models/index.js';
import type { Storage } from '../../src/core/ports.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { send } from '../support/operations.js';

let app: TestApp;
let row: BackupRow;
let bytes: Buffer;
beforeAll(async () => {
  app = await createTestApp({ work: false });
  row = await app.backup();
  bytes = await readFile(row.filePath);
});
afterAll(() => app.close());

function download(headers: Record<string, string> = {}, { id = row.id, method = 'GET' } = {}) {
  const url = `${app.url}/api/db-manager/backups/${id}/download/`;
  // Node's fetch adds `no-cache` to conditional requests, which asks for a fresh copy; other clients do not.
  const usual = { Authorization: `Bearer ${app.token}`, 'Cache-Control': 'max-age=0' };
  return fetch(url, { method, headers: { ...usual, ...headers } });
}

const bodyOf = async (response: Response) => Buffer.from(await response.arrayBuffer());

describe('The archive', () => {
  it('comes whole, with its hash, its length, its name, and not to be kept by caches', async () => {
    const response = await download();
    expect(response.status).toBe(200);
    const body = await bodyOf(response);
    expect(createHash('sha256').update(body).digest('hex')).toBe(row.checksum);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/zip',
      'content-length': String(bytes.length),
      'content-disposition': `attachment; filename=${row.fileName}`,
      'cache-control': 'no-store',
      'accept-ranges': 'bytes',
      etag: `"${row.checksum}"`,
      'x-content-type-options': 'nosniff',
    });
  });

  it('comes from the address that the API shows, also without the last slash', async () => {
    const headers = { Authorization: `Bearer ${app.token}` };
    const response = await fetch(`${app.url}/api/db-manager/backups/${row.id}/download`, { headers });
    expect(await bodyOf(response)).toEqual(bytes);
  });

  it('is described by HEAD without being sent', async () => {
    const response = await download({ Range: 'bytes=0-1' }, { method: 'HEAD' });
    expect([response.status, response.headers.get('content-length')]).toEqual([200, String(bytes.length)]);
    expect(await bodyOf(response)).toHaveLength(0);
  });

  it('is written down as downloaded, by whom, but not for HEAD or an unchanged copy', async () => {
    const count = () => app.app.models.AuditEvent.count({ where: { action: 'backup.download', subject: row.id } });
    const before = await count();
    await bodyOf(await download());
    await bodyOf(await download({}, { method: 'HEAD' }));
    await bodyOf(await download({ 'If-None-Match': `"${row.checksum}"` }));
    expect(await count()).toBe(before + 1);
    const event = await app.app.models.AuditEvent.findOne({
      where: { action: 'backup.download' },
      order: [['id', 'DESC']],
    });
    expect(event).toMatchObject({ actor: 'admin@example.org', details: { file: row.fileName } });
  });

  it.each([
    ['ünï cödé.zip', `attachment; filename="?n? c?d?.zip"; filename*=UTF-8''%C3%BCn%C3%AF%20c%C3%B6d%C3%A9.zip`],
    ['a "quoted" name.zip', 'attachment; filename="a \\"quoted\\" name.zip"'],
    ['备份 100%.zip', 'attachment; filename="?? 100%.zip"; filename*=UTF-8\'\'%E5%A4%87%E4%BB%BD%20100%25.zip'],
    ['line\nbreak;x=y.zip', null],
  ])('keeps its name, whatever characters it has: %j', async (fileName, header) => {
    const other = await app.backup();
    const location = join(dirname(other.filePath), fileName);
    await rename(other.filePath, location);
    await other.update({ fileName });
    await other.copy.update({ name: fileName, location });
    const response = await download({}, { id: other.id });
    expect(response.status).toBe(200);
    const got = response.headers.get('content-disposition') ?? '';
    if (header !== null && /[^\u0020-\u00ff]/.test(fileName)) expect(got).toBe(header);
    const extended = /filename\*=UTF-8''([^;]+)/.exec(got)?.[1];
    const plain = /filename="((?:[^"\\]|\\.)*)"/.exec(got)?.[1]?.replace(/\\(.)/g, '$1');
    expect(
      extended === undefined ? Buffer.from(plain ?? '', 'latin1').toString('latin1') : decodeURIComponent(extended),
    ).toBe(fileName);
    expect(await bodyOf(response)).toHaveLength(other.fileSize ?? -1);
  });
});

describe('A part of the archive', () => {
  const last = () => bytes.length - 1;
  it.each<[string, () => [number, number]]>([
    ['bytes=0-0', () => [0, 0]],
    ['bytes=10-19', () => [10, 19]],
    ['bytes=100-', () => [100, last()]],
    ['bytes=-50', () => [bytes.length - 50, last()]],
    ['bytes=5-99999999999', () => [5, last()]],
    ['bytes=-99999999999', () => [0, last()]],
    ['bytes= 3-4 ', () => [3, 4]],
  ])('%s', async (range, expected) => {
    const response = await download({ Range: range });
    const [start, end] = expected();
    expect(response.status).toBe(206);
    expect(response.headers.get('content-range')).toBe(`bytes ${start}-${end}/${bytes.length}`);
    expect(response.headers.get('content-length')).toBe(String(end - start + 1));
    expect(await bodyOf(response)).toEqual(bytes.subarray(start, end + 1));
  });

  it('after a break continues to the same file', async () => {
    const half = Math.floor(bytes.length / 2);
    const headers = { 'If-Range': `"${row.checksum}"` };
    const one = await bodyOf(await download({ ...headers, Range: `bytes=0-${half}` }));
    const two = await bodyOf(await download({ ...headers, Range: `bytes=${half + 1}-` }));
    expect(Buffer.concat([one, two])).toEqual(bytes);
  });

  it('of another version, of several parts, or of another unit, is the whole', async () => {
    for (const headers of <Record<string, string>[]>[
      { Range: 'bytes=0-9', 'If-Range': '"other"' },
      { Range: 'bytes=0-9', 'If-Range': `W/"${row.checksum}"` },
      { Range: 'bytes=0-1,4-5' },
      { Range: 'lines=0-1' },
      { Range: 'bytes' },
      { Range: 'bytes=-' },
      { Range: 'bytes=9-5' },
    ]) {
      const response = await download(headers);
      expect([headers, response.status, (await bodyOf(response)).length]).toEqual([headers, 200, bytes.length]);
    }
  });

  it('that lies outside is refused with the size', async () => {
    const response = await download({ Range: `bytes=${bytes.length}-` });
    expect([response.status, response.headers.get('content-range')]).toEqual([416, `bytes */${bytes.length}`]);
    expect(response.headers.get('content-disposition')).toBeNull();
    expect(await response.json()).toMatchObject({ code: 'BAD_USER_INPUT', hint: expect.any(String) });
  });
});

it.each(['"{}"', 'W/"{}"', '"a", "{}"', '*'])(
  'A copy that is still right is not sent again: If-None-Match %s',
  async (header) => {
    const response = await download({ 'If-None-Match': header.replace('{}', row.checksum ?? '') });
    expect([response.status, response.headers.get('etag')]).toEqual([304, `"${row.checksum}"`]);
  },
);

describe('What cannot be downloaded says why', () => {
  const refusal = async (id: string) => {
    const response = await download({}, { id });
    const body = (await response.json()) as { code: string; message: string; hint: string };
    expect(body).toMatchObject({ message: expect.any(String), hint: expect.stringMatching(/.{10}/) });
    expect(response.headers.get('content-type')).toMatch(/json/);
    return [response.status, body.code];
  };

  it('an id that nothing has', async () => {
    expect(await refusal('backup_20250101_000000_00000000')).toEqual([404, 'NOT_FOUND']);
    expect(await refusal('..%2f..%2fetc%2fpasswd')).toEqual([404, 'NOT_FOUND']);
    expect(await refusal('%00')).toEqual([404, 'NOT_FOUND']);
    expect(await refusal('%E0%A4%A')).toEqual([400, 'BAD_USER_INPUT']);
  });

  it('a backup that is not made yet', async () => {
    const { id } = await app.app.backups.create({ backupType: 'MANUAL' }, 'test');
    expect(await refusal(id)).toEqual([409, 'BACKUP_NOT_COMPLETED']);
    await app.app.backups.cancel(id, 'test');
    expect(await refusal(id)).toEqual([409, 'BACKUP_NOT_COMPLETED']);
  });

  it('a backup that was deleted', async () => {
    const { id } = await app.backup();
    await app.app.backups.remove([id], 'test');
    expect(await refusal(id)).toEqual([410, 'BACKUP_DELETED']);
  });

  it('an archive that is gone', async () => {
    const other = await app.backup();
    await rm(other.filePath);
    expect(await refusal(other.id)).toEqual([410, 'ARCHIVE_MISSING']);
  });

  it.each([
    ['was cut off', (size: number) => size - 1],
    ['was replaced by a longer one', (size: number) => size + 1],
    ['is empty', () => 0],
  ])('an archive that %s, whatever its row says, also when a link is made', async (_name, change) => {
    const other = await app.backup();
    const size = other.fileSize ?? NaN;
    await truncate(other.filePath, change(size));
    expect(await refusal(other.id)).toEqual([422, 'ARCHIVE_CORRUPT']);
    const { errors } = await send(app, `mutation { createDownloadLink(id: "${other.id}") { url } }`);
    expect(errors).toMatchObject([
      {
        message: expect.stringMatching(new RegExp(`${change(size)} bytes, but ${size} were`)),
        extensions: { code: 'ARCHIVE_CORRUPT', hint: expect.stringContaining(other.filePath) },
      },
    ]);
  });
});

describe('A large archive', () => {
  const LARGE = 3 * 1024 ** 3;

  /** A storage of zeros, which tells how much was taken from it and whether it was given up. */
  function zeros() {
    const seen = { read: 0, destroyed: false };
    const chunk = Buffer.alloc(1024 * 1024);
    const get = async () => {
      const body = new Readable({
        read() {
          seen.read += chunk.length;
          this.push(seen.read > LARGE ? null : chunk);
        },
        destroy(error, done) {
          seen.destroyed = true;
          done(error);
        },
      });
      return body;
    };
    const open = app.app.backups.open.bind(app.app.backups);
    app.app.backups.open = async () => ({
      row,
      stored: new StoredArchive({ get } as unknown as Storage, row.fileName, LARGE),
    });
    return { seen, restore: () => (app.app.backups.open = open) };
  }

  it('goes through in constant memory', async () => {
    const { restore } = zeros();
    const before = process.memoryUsage().rss;
    let peak = 0;
    let got = 0;
    for await (const chunk of (await download()).body ?? []) {
      got += (chunk as Uint8Array).length;
      if (got % 64 === 0) peak = Math.max(peak, process.memoryUsage().rss - before);
    }
    restore();
    expect(got).toBe(LARGE);
    expect(peak).toBeLessThan(150 * 1024 ** 2);
  }, 60_000);

  it('is not read further than the client takes it, and given up when the client goes', async () => {
    const { seen, restore } = zeros();
    const headers = { Authorization: `Bearer ${app.token}` };
    await new Promise<void>((resolve) => {
      const request = httpGet(`${app.url}/api/db-manager/backups/${row.id}/download/`, { headers }, (response) => {
        response.pause();
        setTimeout(() => {
          expect(seen.read).toBeLessThan(100 * 1024 ** 2);
          request.destroy();
          resolve();
        }, 500);
      });
      request.on('error', () => undefined);
    });
    for (let i = 0; i < 100 && !seen.destroyed; i++) await sleep(20);
    restore();
    expect(seen.destroyed).toBe(true);
  });

  it('whose storage fails half-way ends the connection instead of looking whole', async () => {
    const open = app.app.backups.open.bind(app.app.backups);
    const get = async () => {
      const body = new PassThrough();
      body.write(Buffer.alloc(1_000));
      setTimeout(() => body.destroy(new Error('the disk is gone')), 100);
      return body;
    };
    app.app.backups.open = async () => ({
      row,
      stored: new StoredArchive({ get } as unknown as Storage, row.fileName, 5_000),
    });
    await expect(download().then(bodyOf)).rejects.toThrow();
    app.app.backups.open = open;
  });
});
