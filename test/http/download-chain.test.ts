import { createHash } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { fileSource, openArchive } from '../../src/archive/read.js';
import type { BackupRow } from '../../src/models/index.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { makeChain } from '../support/chain.js';
import { contentHash } from '../support/sqlite.js';
import { NEVER, readTree } from '../support/world.js';

let app: TestApp;
let rows: BackupRow[];
let states: Awaited<ReturnType<typeof makeChain>>['states'];
beforeAll(async () => {
  app = await createTestApp({ work: false });
  ({ rows, states } = await makeChain(app));
});
afterAll(() => app.close());

const ask = (row: BackupRow, query = '', options: RequestInit = {}) =>
  fetch(`${app.url}/api/db-manager/backups/${row.id}/download/${query}`, {
    ...options,
    headers: { Authorization: `Bearer ${app.token}`, 'Cache-Control': 'max-age=0', ...options.headers },
  });
const bodyOf = async (response: Response) => Buffer.from(await response.arrayBuffer());

describe('The download of an incremental backup', () => {
  it.each(['', '?as=full'])('%s is a full archive of its state, the same bytes each time', async (query) => {
    for (const [index, row] of rows.slice(1, 3).entries()) {
      const response = await ask(row, query);
      expect(response.status).toBe(200);
      expect(Object.fromEntries(response.headers)).toMatchObject({
        'content-disposition': `attachment; filename=${row.fileName}`,
        'cache-control': 'no-store',
        etag: `"${row.checksum}-full"`,
      });
      expect(response.headers.get('accept-ranges')).toBeNull();
      const body = await bodyOf(response);
      const file = join(app.folder, `full-${index}.zip`);
      await writeFile(file, body);
      const archive = await openArchive(await fileSource(file));
      await archive.verify();
      expect(archive.metadata).toMatchObject({ backup_version: '2.0', backup_id: row.id });
      expect(archive.metadata).not.toHaveProperty('parent');
      const out = join(app.folder, `out-${index}-${query.length}`);
      await archive.extract(out, { signal: NEVER });
      expect([await contentHash(join(out, 'database.sqlite3')), await readTree(join(out, 'media'))]).toEqual(
        states[index + 1],
      );
      expect((await bodyOf(await ask(row, query))).equals(body)).toBe(true);
    }
  });

  it('can be uploaded and restored where the chain is not', async () => {
    const other = await createTestApp({ work: false });
    try {
      const body = Readable.from([await bodyOf(await ask(rows[2]!))]);
      const row = await other.app.backups.upload(body, 'full.zip', undefined, 'test', NEVER);
      expect(row).toMatchObject({ status: 'COMPLETED', mode: 'FULL' });
    } finally {
      await other.close();
    }
  });

  it('?as=stored is its own piece, with ranges', async () => {
    const row = rows[1]!;
    const stored = await readFile(row.filePath);
    const response = await ask(row, '?as=stored');
    const body = await bodyOf(response);
    expect(createHash('sha256').update(body).digest('hex')).toBe(row.checksum);
    expect(response.headers.get('etag')).toBe(`"${row.checksum}"`);
    const part = await ask(row, '?as=stored', { headers: { Range: 'bytes=5-14' } });
    expect([part.status, await bodyOf(part)]).toEqual([206, stored.subarray(5, 15)]);
  });

  it('takes no other word for its form, and answers HEAD and a fresh copy without a body', async () => {
    const row = rows[1]!;
    const wrong = await ask(row, '?as=zip');
    expect([wrong.status, await wrong.json()]).toEqual([400, expect.objectContaining({ field: 'as' })]);
    const head = await ask(row, '', { method: 'HEAD' });
    expect([head.status, (await bodyOf(head)).length]).toEqual([200, 0]);
    const same = await ask(row, '', { headers: { 'If-None-Match': `"${row.checksum}-full"` } });
    expect(same.status).toBe(304);
  });

  it('names what is missing instead of sending a part', async () => {
    await rename(rows[0]!.filePath, `${rows[0]!.filePath}.away`);
    try {
      const response = await ask(rows[1]!);
      expect(response.status).toBe(409);
      expect(await response.json()).toMatchObject({
        code: 'CHAIN_BROKEN',
        message: expect.stringContaining(rows[0]!.id),
      });
    } finally {
      await rename(`${rows[0]!.filePath}.away`, rows[0]!.filePath);
    }
  });

  it('of an encrypted chain is given in the clear only where that is asked for', async () => {
    const { key, identity } = await app.app.keys.create({ name: 'Safe', generate: true }, 'test');
    await app.app.configs.update(1, { encryptionKeyIds: [key.id] }, 'test');
    const row = await app.backup();
    expect(row.mode).toBe('INCREMENTAL');
    const refused = await ask(row);
    expect([refused.status, await refused.json()]).toEqual([
      400,
      expect.objectContaining({ field: 'as', hint: expect.stringContaining('decrypt=true') }),
    ]);
    const response = await ask(row, '?decrypt=true', {
      headers: { 'Encryption-Identity': encodeURIComponent(identity ?? '') },
    });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-disposition')).toMatch(/\.zip$/);
    expect((await bodyOf(response)).subarray(0, 2).toString()).toBe('PK');
  });
});
