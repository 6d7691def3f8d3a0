import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bufferSource } from '../support/archives.js';
import { openArchive } from '../../src/archive/read.js';
import type { BackupRow } from '../../src/models/index.js';
import { createTestApp, type TestApp } from '../support/app.js';

let app: TestApp;
let row: BackupRow;
let identity: string;
beforeAll(async () => {
  app = await createTestApp({ work: false });
  const made = await app.app.keys.create({ name: 'Safe', generate: true }, 'test');
  identity = made.identity ?? '';
  await app.app.configs.update(1, { encryptionKeyIds: [made.key.id] }, 'test');
  row = await app.backup();
});
afterAll(() => app.close());

function download(query: string, headers: Record<string, string> = {}) {
  const url = `${app.url}/api/db-manager/backups/${row.id}/download/${query}`;
  return fetch(url, { headers: { Authorization: `Bearer ${app.token}`, ...headers } });
}

const bodyOf = async (response: Response) => Buffer.from(await response.arrayBuffer());

describe('The download of an encrypted backup', () => {
  it('is the stored file, encrypted, unless it is asked for otherwise', async () => {
    const response = await download('');
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': `attachment; filename=${row.fileName}`,
      etag: `"${row.checksum}"`,
    });
    expect((await bodyOf(response)).equals(await readFile(row.filePath))).toBe(true);
  });

  it('is the ZIP where an identity is given to decrypt it, whole and in parts', async () => {
    const headers = { 'Encryption-Identity': encodeURIComponent(identity) };
    const response = await download('?decrypt=true', headers);
    expect(response.headers.get('content-type')).toBe('application/zip');
    expect(response.headers.get('content-disposition')).toBe(
      `attachment; filename=${row.fileName.replace(/\.age$/, '')}`,
    );
    const zip = await bodyOf(response);
    const archive = await openArchive(bufferSource(zip));
    await archive.verify();
    expect(archive.metadata.backup_id).toBe(row.id);
    const part = await download('?decrypt=true', { ...headers, Range: 'bytes=10-99' });
    expect(part.status).toBe(206);
    expect((await bodyOf(part)).equals(zip.subarray(10, 100))).toBe(true);
  });

  it.each([
    ['no key', '?decrypt=true', {}, 409, 'ENCRYPTION_KEY_MISSING'],
    ['a wrong passphrase', '?decrypt=true', { 'Encryption-Identity': 'some%20words' }, 422, 'ENCRYPTION_KEY_WRONG'],
    ['what is not encoded', '?decrypt=true', { 'Encryption-Identity': '%' }, 400, 'BAD_USER_INPUT'],
    ['an identity for nothing', '', { 'Encryption-Identity': 'x' }, 400, 'BAD_USER_INPUT'],
    ['another word', '?decrypt=maybe', {}, 400, 'BAD_USER_INPUT'],
  ])('is refused with %s', async (_title, query, headers, status, code) => {
    const response = await download(query, headers as Record<string, string>);
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([status, code]);
  });
});
