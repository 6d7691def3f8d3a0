import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { openAsBlob } from 'node:fs';
import { mkdtemp, open, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { constants, crc32, deflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createClient, LoginDocument } from '../../src/client/index.js';
import { rawZip } from '../support/archives.js';

const PASSWORD = 'correct horse battery';
const ROOT = new URL('../..', import.meta.url).pathname;
/** What a server may take while it looks at an upload, in MiB. */
const MEMORY = 250;

let folder: string;
let server: ChildProcess;
let url: string;
let token: string;
beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'bombs-')));
  server = spawn(process.execPath, [join(ROOT, 'dist', 'server.js')], {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      PORT: '0',
      ADMIN_EMAIL: 'boss@example.org',
      ADMIN_PASSWORD: PASSWORD,
      DATA_DIR: join(folder, 'data'),
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  url = await new Promise<string>((resolve) => {
    let text = '';
    server.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(text)?.[0];
      if (found !== undefined && text.includes('Next steps')) resolve(found);
    });
  });
  const { login } = await createClient({ url }).request(LoginDocument, {
    email: 'boss@example.org',
    password: PASSWORD,
  });
  token = login.token;
});
afterAll(async () => {
  server.kill('SIGTERM');
  await new Promise((resolve) => server.on('close', resolve));
  await rm(folder, { recursive: true, force: true });
});

/** Peak memory of the server so far, in MiB. Only Linux tells. */
async function peak(): Promise<number> {
  const text = await readFile(`/proc/${server.pid}/status`, 'utf8').catch(() => '');
  return Number(/VmHWM:\s+(\d+)/.exec(text)?.[1] ?? 0) / 1024;
}

/** Uploads a file while the server is asked for its health again and again. @returns the error's code and those answers */
async function upload(file: string): Promise<{ code: string | undefined; asked: number; late: number }> {
  const form = new FormData();
  form.set(
    'operations',
    JSON.stringify({
      query: 'mutation($file: Upload!) { uploadBackup(file: $file) { id } }',
      variables: { file: null },
    }),
  );
  form.set('map', '{"0":["variables.file"]}');
  form.set('0', await openAsBlob(file), 'x.zip');
  let running = true;
  const health = { asked: 0, late: 0 };
  const asking = (async () => {
    while (running) {
      const answer = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(1_000) }).catch(() => null);
      health.asked += 1;
      if (answer?.status !== 200) health.late += 1;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  const headers = { Authorization: `Bearer ${token}`, 'apollo-require-preflight': 'true' };
  const response = await fetch(`${url}/graphql`, { method: 'POST', headers, body: form });
  const { errors } = (await response.json()) as { errors?: { extensions: { code: string } }[] };
  running = false;
  await asking;
  return { code: errors?.[0]?.extensions.code, ...health };
}

/** A ZIP on disk of very many empty files, with its directory in ZIP64. */
async function manyEntries(count: number, metadata: (names: string[]) => string): Promise<string> {
  const file = join(folder, `${count}-${randomBytes(4).toString('hex')}.zip`);
  const handle = await open(file, 'w');
  const names = Array.from({ length: count }, (_, index) => `media/uploads/2025/${index % 1000}/photo-${index}.jpg`);
  let at = 0;
  let records: Buffer[] = [];
  const directory: Buffer[] = [];
  let locals: Buffer[] = [];
  const add = (name: string, data: Buffer) => {
    const bytes = Buffer.from(name);
    const stored = data.length === 0 ? data : deflateRawSync(data);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(0x800, 2);
    common.writeUInt16LE(data.length === 0 ? 0 : 8, 4);
    common.writeUInt32LE(0x58a10000, 6);
    common.writeUInt32LE(crc32(data), 10);
    common.writeUInt32LE(stored.length, 14);
    common.writeUInt32LE(data.length, 18);
    common.writeUInt16LE(bytes.length, 22);
    const record = Buffer.alloc(46);
    record.writeUInt32LE(0x02014b50, 0);
    record.writeUInt16LE((3 << 8) | 45, 4);
    common.copy(record, 6);
    record.writeUInt32LE((0o100644 << 16) >>> 0, 38);
    record.writeUInt32LE(at, 42);
    const head = Buffer.from('PK\x03\x04', 'latin1');
    locals.push(head, common, bytes, stored);
    records.push(record, bytes);
    at += 30 + bytes.length + stored.length;
  };
  const flush = async () => {
    await handle.write(Buffer.concat(locals));
    directory.push(Buffer.concat(records));
    locals = [];
    records = [];
  };
  for (const [index, name] of names.entries()) {
    add(name, Buffer.alloc(0));
    if (index % 10_000 === 0) await flush();
  }
  add('backup_metadata.json', Buffer.from(metadata(names)));
  await flush();
  const bytes = directory.reduce((sum, part) => sum + part.length, 0);
  for (const part of directory) await handle.write(part);
  const zip64 = {
    count: BigInt(count + 1),
    directorySize: BigInt(bytes),
    directoryStart: BigInt(at),
    recordStart: BigInt(at + bytes),
  };
  await handle.write(rawZip([], { zip64 }));
  await handle.close();
  return file;
}

const DJANGO = JSON.stringify({
  backup_version: '1.0',
  backup_date: '2025-01-02T03:04:05Z',
  django_version: '5.2',
  database_engine: 'django.db.backends.sqlite3',
  database_name: 'db.sqlite3',
});

const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

function listed(names: string[]): string {
  return JSON.stringify({
    backup_version: '2.0',
    backup_id: null,
    backup_type: null,
    backup_date: '2025-01-02T03:04:05Z',
    database_engine: 'SQLITE',
    database_name: 'db.sqlite3',
    app_version: null,
    node_version: null,
    apps: [],
    tables: [],
    source: {},
    entries: names.map((path) => ({ path, size: 0, sha256: EMPTY_SHA256, mode: 0o644 })),
  });
}

/** An archive whose metadata is one of these texts again and again, for 500 MiB. */
async function repeated(piece: string): Promise<string> {
  const chunk = Buffer.from(piece.repeat(Math.ceil((1 << 20) / piece.length)));
  const count = Math.ceil((500 << 20) / chunk.length);
  const head = Buffer.from('{"backup_version":"2.0","x":[');
  let crc = crc32(head);
  const parts = [deflateRawSync(head, { finishFlush: constants.Z_FULL_FLUSH })];
  const packed = deflateRawSync(chunk, { level: 9, finishFlush: constants.Z_FULL_FLUSH });
  for (let index = 0; index < count; index++) {
    crc = crc32(chunk, crc);
    parts.push(packed);
  }
  const tail = Buffer.from('0]}');
  crc = crc32(tail, crc);
  parts.push(deflateRawSync(tail));
  const data = Buffer.concat(parts);
  const size = head.length + count * chunk.length + tail.length;
  const file = join(folder, `metadata-${randomBytes(4).toString('hex')}.zip`);
  const handle = await open(file, 'w');
  await handle.write(
    rawZip([{ name: 'backup_metadata.json', data, method: 8, crc, size, compressedSize: data.length }]),
  );
  await handle.close();
  return file;
}

describe('While a bomb is uploaded, the server answers within a second and stays small', () => {
  it('with 1.2 million entries in an archive of format 1.0', async () => {
    const { code, asked, late } = await upload(await manyEntries(1_200_000, () => DJANGO));
    expect({ code, late }).toEqual({ code: 'PAYLOAD_TOO_LARGE', late: 0 });
    expect(asked).toBeGreaterThan(0);
    expect(await peak()).toBeLessThan(MEMORY);
  });

  it.each(['[],', '{"a":1},', '"x",', '[[[[[[[[', ' '])('with 500 MiB of metadata that says %j', async (piece) => {
    const { code, late } = await upload(await repeated(piece));
    expect(code).toMatch(/^ARCHIVE_(HOSTILE|FOREIGN)$/);
    expect(late).toBe(0);
    expect(await peak()).toBeLessThan(MEMORY);
  });

  it('with as many entries as are allowed, all listed', async () => {
    const { code, late } = await upload(await manyEntries(99_999, listed));
    expect({ code, late }).toEqual({ code: undefined, late: 0 });
    expect(await peak()).toBeLessThan(MEMORY + 50);
  });
});
