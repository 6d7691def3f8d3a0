import { readFile } from 'node:fs/promises';
import { Writable } from 'node:stream';
import jwt from 'jsonwebtoken';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import * as api from '../../src/client/index.js';
import { createLog } from '../../src/log.js';
import type { BackupRow } from '../../src/models/index.js';
import { claims, createTestApp, forge, HOST_KEYS, PASSWORD, type TestApp } from '../support/app.js';
import { clientOf, send } from '../support/operations.js';

let app: TestApp;
let row: BackupRow;
let bytes: Buffer;
let log = '';
let ahead = 0;
beforeAll(async () => {
  const lines = new Writable({
    write(chunk: Buffer, _encoding, done) {
      log += chunk.toString();
      done();
    },
  });
  app = await createTestApp({
    work: false,
    log: createLog('trace', lines),
    now: () => new Date(Date.now() + ahead),
  });
  row = await app.backup();
  bytes = await readFile(row.filePath);
});
afterEach(() => {
  ahead = 0;
});
afterAll(() => app.close());

async function linkTo(id = row.id, token = app.token): Promise<{ url: string; ticket: string; expiresAt: string }> {
  const { createDownloadLink } = await clientOf(app, token).request(api.CreateDownloadLinkDocument, { id });
  const url = new URL(createDownloadLink.url, app.url);
  return { ...createDownloadLink, url: url.href, ticket: url.searchParams.get('ticket') ?? '' };
}

const bodyOf = async (response: Response) => Buffer.from(await response.arrayBuffer());

async function assertRefused(url: string, about: RegExp, status = 401) {
  const response = await fetch(url);
  expect([response.status, response.headers.get('content-type')]).toEqual([status, expect.stringMatching(/json/)]);
  expect(response.headers.get('cache-control')).toBe('no-store');
  expect(response.headers.get('referrer-policy')).toBe('no-referrer');
  expect(await response.json()).toEqual({
    code: status === 401 ? 'UNAUTHENTICATED' : 'FORBIDDEN',
    message: expect.stringMatching(about),
    hint: expect.stringMatching(/.{10}/),
  });
}

describe('A download link', () => {
  it('gives the archive to a browser that sends no token, also in parts', async () => {
    const link = await linkTo();
    expect(link.url).toMatch(new RegExp(`/api/db-manager/backups/${row.id}/download/\\?ticket=`));
    const response = await fetch(link.url);
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
      'content-disposition': `attachment; filename=${row.fileName}`,
    });
    expect(await bodyOf(response)).toEqual(bytes);
    const part = await fetch(link.url, { headers: { Range: 'bytes=5-9', 'If-Range': `"${row.checksum}"` } });
    expect([part.status, await bodyOf(part)]).toEqual([206, bytes.subarray(5, 10)]);
    expect((await fetch(link.url, { method: 'HEAD' })).headers.get('content-length')).toBe(String(bytes.length));
  });

  it('is audited when it is made and when it is used, under the admin who made it', async () => {
    const { url, ticket, expiresAt } = await linkTo();
    const [made] = await app.app.models.AuditEvent.findAll({ order: [['id', 'DESC']], limit: 1 });
    expect(made).toMatchObject({
      actor: 'admin@example.org',
      action: 'backup.link',
      subject: row.id,
      details: { until: expiresAt },
    });
    expect(JSON.stringify(made)).not.toContain(ticket.split('.')[2]);
    await bodyOf(await fetch(url));
    const [event] = await app.app.models.AuditEvent.findAll({
      where: { action: 'backup.download', subject: row.id },
      order: [['id', 'DESC']],
    });
    expect(event).toMatchObject({ actor: 'admin@example.org', details: { file: row.fileName } });
  });

  it('is good for five minutes', async () => {
    const before = Date.now();
    const { url, expiresAt } = await linkTo();
    const after = Date.now();
    // Tickets count whole seconds.
    expect(Date.parse(expiresAt)).toBeGreaterThan(before + 299_000);
    expect(Date.parse(expiresAt)).toBeLessThanOrEqual(after + 300_000);
    ahead = 290_000;
    expect((await fetch(url, { method: 'HEAD' })).status).toBe(200);
    ahead = 301_000;
    await assertRefused(url, /has expired/);
  });

  it('never lives longer than the token that it was asked for with', async () => {
    const exp = Math.floor(Date.now() / 1_000) + 60;
    const own = claims({ iss: 'db-manager', sub: String(app.admin.id), exp });
    const { expiresAt } = await linkTo(row.id, forge({ alg: 'HS256' }, own));
    expect(expiresAt).toBe(new Date(exp * 1_000).toISOString());
  });

  it('is made for an archive that is there, or not at all', async () => {
    await expect(linkTo('backup_20250101_000000_00000000')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const { id } = await app.app.backups.create({ backupType: 'MANUAL' }, 'test');
    await expect(linkTo(id)).rejects.toMatchObject({ code: 'BACKUP_NOT_COMPLETED' });
    expect(await app.app.models.AuditEvent.count({ where: { action: 'backup.link', subject: id } })).toBe(0);
    await app.app.backups.cancel(id, 'test');
  });

  it('of an admin of the host application works, and is written down under their name', async () => {
    const token = forge(
      { alg: 'RS256' },
      claims({ is_staff: true, email: 'host@example.org', sub: '1' }),
      HOST_KEYS.privateKey,
    );
    const { url } = await linkTo(row.id, token);
    expect(await bodyOf(await fetch(url))).toEqual(bytes);
    const [event] = await app.app.models.AuditEvent.findAll({ order: [['id', 'DESC']], limit: 1 });
    expect(event).toMatchObject({ action: 'backup.download', actor: 'host@example.org' });
  });
});

describe('A ticket is refused', () => {
  it('for another backup than its own', async () => {
    const other = await app.backup();
    const { ticket } = await linkTo();
    const url = `${app.url}/api/db-manager/backups/${other.id}/download/?ticket=${ticket}`;
    await assertRefused(url, /is for another backup/);
  });

  it('if it is not one, or was tampered with, or is given twice or in another way', async () => {
    const { url, ticket } = await linkTo();
    const [head, body, signature] = ticket.split('.') as [string, string, string];
    const changed = { ...(JSON.parse(Buffer.from(body, 'base64url').toString()) as object), ver: 2 };
    const forged = Buffer.from(JSON.stringify(changed)).toString('base64url');
    const with_ = (text: string) => url.replace(ticket, text);
    await assertRefused(with_(`${head}.${forged}.${signature}`), /is not valid/);
    await assertRefused(with_(`${Buffer.from('{"alg":"none"}').toString('base64url')}.${body}.`), /is not valid/);
    await assertRefused(with_('x'), /is not valid/);
    await assertRefused(with_(`x${'y'.repeat(5_000)}`), /is not valid/);
    await assertRefused(with_(''), /is not valid/);
    await assertRefused(`${url}&ticket=${ticket}`, /carries no token/);
    await assertRefused(url.replace('ticket', 'token'), /carries no token/);
  });

  it('is no token, and a token is no ticket: each has a key and an audience of its own', async () => {
    const { url, ticket } = await linkTo();
    await assertRefused(url.replace(ticket, app.token), /is not valid/);
    const { errors } = await send(app, '{ me { email } }', {}, ticket);
    expect(errors[0]?.extensions.code).toBe('UNAUTHENTICATED');
    const direct = await fetch(url.split('?')[0] ?? '', { headers: { Authorization: `Bearer ${ticket}` } });
    expect(direct.status).toBe(401);
    const known = jwt.decode(ticket) as jwt.JwtPayload;
    // Whoever shares JWT_SECRET, such as a host application, can make tokens with it, but no tickets.
    await assertRefused(url.replace(ticket, forge({ alg: 'HS256' }, known)), /is not valid/);
  });

  it('with a header that is wrong: a link does not mend it', async () => {
    const { url } = await linkTo();
    expect((await fetch(url, { headers: { Authorization: 'Bearer x' } })).status).toBe(401);
  });

  it('once its admin has another password, is none any more, or is gone', async () => {
    const { users } = app.app.auth;
    const user = await users.create('second@example.org', PASSWORD, 'ADMIN');
    const first = await linkTo(row.id, app.app.auth.sessionOf(user).token);
    expect((await fetch(first.url, { method: 'HEAD' })).status).toBe(200);
    await users.changePassword(user.id, 'another long password');
    await assertRefused(first.url, /was revoked/);
    await user.reload();
    const second = await linkTo(row.id, app.app.auth.sessionOf(user).token);
    await user.update({ role: 'USER' });
    await assertRefused(second.url, /is not an admin/, 403);
    await user.destroy();
    await assertRefused(second.url, /was revoked/);
  });
});

it('No log ever shows a ticket, whatever goes wrong', async () => {
  const { url, ticket } = await linkTo();
  log = '';
  const open = app.app.backups.open.bind(app.app.backups);
  app.app.backups.open = async () => {
    throw new Error(`failed for ${url}`);
  };
  expect((await fetch(url)).status).toBe(500);
  app.app.backups.open = open;
  app.app.log.info({ ticket, request: { ticket } }, `GET ${url}`);
  await fetch(url.replace('/download/', '/elsewhere/'));
  await fetch(`${app.url}/api/%E0%A4%A?ticket=${ticket}`);
  await assertRefused(url.replace(row.id, 'backup_20250101_000000_00000000'), /another backup/);
  expect(log).toMatch(/a request failed/);
  expect(log).toContain('ticket=***');
  for (const part of ticket.split('.').slice(1)) expect(log).not.toContain(part);
});
