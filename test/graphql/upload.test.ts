import { readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { createTestApp, type TestApp } from '../support/app.js';
import { send, sendFile } from '../support/operations.js';
import { filesIn } from '../support/world.js';

const QUERY =
  'mutation($file: Upload!) { uploadBackup(file: $file) { id status backupType fileName verificationLevel } }';

let app: TestApp;
let archive: Buffer;
let name: string;
beforeAll(async () => {
  app = await createTestApp({ work: false, env: { MAX_UPLOAD_MB: '1' } });
  const row = await app.backup();
  archive = await readFile(row.filePath);
  name = row.fileName;
});
afterAll(() => app.close());

const blob = (bytes: Buffer) => new Blob([new Uint8Array(bytes)]);

it('lists a downloaded archive that is uploaded again as UPLOADED, verified, under a free name', async () => {
  const { errors, data } = await sendFile(app, QUERY, blob(archive), name);
  expect(errors).toEqual([]);
  const { uploadBackup } = data as { uploadBackup: { fileName: string } };
  expect(uploadBackup).toMatchObject({ status: 'COMPLETED', backupType: 'UPLOADED', verificationLevel: 'ARCHIVE' });
  expect(uploadBackup.fileName).not.toBe(name);
});

it.each([
  ['no ZIP', Buffer.from('hello')],
  ['empty', Buffer.alloc(0)],
])('A file that is %s is refused and leaves nothing', async (_name, bytes) => {
  const before = await app.app.models.Backup.count();
  const { errors } = await sendFile(app, QUERY, blob(bytes), 'x.zip');
  expect(errors[0]?.extensions.code).toBe('ARCHIVE_FOREIGN');
  expect(await app.app.models.Backup.count()).toBe(before);
  expect(await filesIn(`${app.folder}/data/tmp`)).toEqual([]);
});

it('refuses an archive damaged on its way, advises to fetch it again, and leaves nothing', async () => {
  const before = await app.app.models.Backup.count();
  const damaged = Buffer.from(archive);
  const at = Math.floor(damaged.length / 2);
  damaged.writeUInt8(damaged.readUInt8(at) ^ 0xff, at);
  const { errors } = await sendFile(app, QUERY, blob(damaged), name);
  expect(errors[0]?.extensions).toEqual({
    code: 'ARCHIVE_CORRUPT',
    field: 'file',
    hint: 'Download or copy the file again, and upload that copy.',
  });
  expect(await app.app.models.Backup.count()).toBe(before);
  expect(await filesIn(`${app.folder}/data/tmp`)).toEqual([]);
});

it('A file beyond the limit is refused, told or found out, and leaves nothing', async () => {
  const small = await sendFile(app, QUERY, blob(Buffer.alloc(1_100_000)), 'x.zip');
  expect(small.errors[0]?.extensions).toMatchObject({ code: 'PAYLOAD_TOO_LARGE', field: 'file' });
  const told = await sendFile(app, QUERY, blob(Buffer.alloc(3_000_000)), 'x.zip').catch(() => null);
  if (told !== null) expect([told.status, told.errors[0]?.extensions.code]).toEqual([413, 'PAYLOAD_TOO_LARGE']);
  expect(await filesIn(`${app.folder}/data/tmp`)).toEqual([]);
});

it('An upload that another site could have sent is refused', async () => {
  const { status, errors } = await sendFile(app, QUERY, blob(archive), name, { headers: {} });
  expect([status, errors[0]?.extensions]).toMatchObject([
    400,
    { code: 'BAD_USER_INPUT', field: 'apollo-require-preflight' },
  ]);
});

it('An upload into a mutation that does not exist is answered, and the file is not kept', async () => {
  const { errors } = await sendFile(app, 'mutation($file: Upload!) { other(file: $file) { id } }', blob(archive), name);
  expect(errors[0]?.extensions.code).toBe('GRAPHQL_VALIDATION_FAILED');
});

it('A file in a variable of plain JSON is refused', async () => {
  const { errors } = await send(app, QUERY, { file: 'text' });
  expect(errors[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'file' });
});

async function post(form: FormData) {
  const headers = { Authorization: `Bearer ${app.token}`, 'apollo-require-preflight': 'true' };
  const response = await fetch(`${app.url}/graphql`, { method: 'POST', headers, body: form });
  const { errors } = (await response.json()) as { errors: { extensions: { code: string; field: string } }[] };
  return [response.status, errors[0]?.extensions.code, errors[0]?.extensions.field];
}

const FILE_IN_VARIABLES = '{"variables":{"file":null}}';
const TO_VARIABLES = '{"0":["variables.file"]}';

it.each<[string, [string, string][], string]>([
  [
    'without operations',
    [
      ['map', TO_VARIABLES],
      ['0', 'x'],
    ],
    'operations',
  ],
  [
    'without a map',
    [
      ['operations', '{}'],
      ['0', 'x'],
    ],
    'map',
  ],
  [
    'without a file',
    [
      ['operations', '{}'],
      ['map', TO_VARIABLES],
    ],
    'file',
  ],
  [
    'whose operations are no JSON',
    [
      ['operations', '{'],
      ['map', '{}'],
      ['0', 'x'],
    ],
    'operations',
  ],
  [
    'that is a batch',
    [
      ['operations', '[]'],
      ['map', '{"0":["0.variables.file"]}'],
      ['0', 'x'],
    ],
    'operations',
  ],
  [
    'whose map leads nowhere',
    [
      ['operations', '{"variables":{}}'],
      ['map', TO_VARIABLES],
      ['0', 'x'],
    ],
    'map',
  ],
  [
    'whose map leads astray',
    [
      ['operations', '{}'],
      ['map', '{"0":["__proto__.x"]}'],
      ['0', 'x'],
    ],
    'map',
  ],
  [
    'whose map names another file',
    [
      ['operations', FILE_IN_VARIABLES],
      ['map', '{"1":["variables.file"]}'],
      ['0', 'x'],
    ],
    'map',
  ],
  [
    'whose file comes first',
    [
      ['0', 'x'],
      ['operations', FILE_IN_VARIABLES],
      ['map', TO_VARIABLES],
    ],
    'operations',
  ],
])('A multipart request %s is refused with the part that is wrong', async (_name, parts, field) => {
  const form = new FormData();
  for (const [key, value] of parts) {
    if (key === '0') form.append(key, new Blob([value]), 'x.zip');
    else form.append(key, value);
  }
  expect(await post(form)).toEqual([400, 'BAD_USER_INPUT', field]);
});

it('An upload that breaks off leaves nothing', async () => {
  const before = await app.app.models.Backup.count();
  const boundary = 'x1x';
  const part = (disposition: string, text: string) =>
    `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n${text}\r\n`;
  await new Promise<void>((resolve) => {
    const request = httpRequest(`${app.url}/graphql`, {
      method: 'POST',
      headers: {
        Authorization: `Bearer ${app.token}`,
        'apollo-require-preflight': 'true',
        'Content-Type': `multipart/form-data; boundary=${boundary}`,
        'Content-Length': '1000000',
      },
    });
    request.on('error', () => resolve());
    request.write(part('name="operations"', JSON.stringify({ query: QUERY, variables: { file: null } })));
    request.write(part('name="map"', '{"0":["variables.file"]}'));
    request.write(part('name="0"; filename="x.zip"', archive.subarray(0, 200).toString('latin1')).trimEnd());
    setTimeout(() => request.destroy(), 300);
  });
  for (let i = 0; i < 50 && (await filesIn(`${app.folder}/data/tmp`)).length > 0; i++) await sleep(50);
  expect(await filesIn(`${app.folder}/data/tmp`)).toEqual([]);
  expect(await app.app.models.Backup.count()).toBe(before);
});

/** Posts a form that is written by hand. */
async function postRaw(part: string, query = QUERY): Promise<{ errors?: object[]; data?: { uploadBackup: object } }> {
  const text = (field: string, value: string) =>
    `--edge\r\nContent-Disposition: form-data; name="${field}"\r\n\r\n${value}\r\n`;
  const head =
    text('operations', JSON.stringify({ query, variables: { file: null } })) +
    text('map', TO_VARIABLES) +
    `--edge\r\n${part}\r\n\r\n`;
  const response = await fetch(`${app.url}/graphql`, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${app.token}`,
      'apollo-require-preflight': 'true',
      'Content-Type': 'multipart/form-data; boundary=edge',
    },
    body: Buffer.concat([Buffer.from(head), archive, Buffer.from('\r\n--edge--\r\n')]),
  });
  return (await response.json()) as { errors?: object[]; data?: { uploadBackup: object } };
}

it('A file part without a file name is taken in under a name of ours', async () => {
  const { errors, data } = await postRaw(
    'Content-Disposition: form-data; name="0"\r\nContent-Type: application/octet-stream',
  );
  expect(errors).toBeUndefined();
  expect(data?.uploadBackup).toMatchObject({
    status: 'COMPLETED',
    fileName: expect.stringMatching(/^[\w-]+_backup_\d{8}_\d{6}(_\d+)?\.zip$/),
  });
});

it('A part without a file name and type is no file, and the error says how to send one', async () => {
  const before = await app.app.models.Backup.count();
  const { errors } = await postRaw('Content-Disposition: form-data; name="0"');
  expect(errors).toEqual([
    expect.objectContaining({ extensions: expect.objectContaining({ code: 'BAD_USER_INPUT', field: '0' }) }),
  ]);
  expect(await app.app.models.Backup.count()).toBe(before);
});

it.each([
  [
    'uploaded twice',
    'mutation($file: Upload!) { a: uploadBackup(file: $file) { id } b: uploadBackup(file: $file) { id } }',
  ],
  [
    'uploaded beside another field',
    'mutation($file: Upload!) { uploadBackup(file: $file) { id } deleteBackup(id: "x") { id } }',
  ],
])('A file that is %s is refused, so that no answer hides what was stored', async (_how, query) => {
  const before = await app.app.models.Backup.count();
  const { errors } = await sendFile(app, query, blob(archive), name);
  expect(errors[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'file' });
  expect(await app.app.models.Backup.count()).toBe(before);
});
