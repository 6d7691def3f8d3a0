import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Scope } from '../../src/auth/index.js';
import { translate } from '../cli/command.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { all, exec } from '../support/sqlite.js';

interface Result {
  content: { type: string; text: string }[];
  isError?: boolean;
}

let app: TestApp;
let first: string;
const clients: Client[] = [];
beforeAll(async () => {
  app = await createTestApp();
  first = (await app.backup()).id;
  await ended(first);
});
afterAll(async () => {
  for (const client of clients) await client.close();
  await app.close();
});

const tokenOf = async (...scopes: Scope[]) => {
  const made = { name: `${scopes.join(' ')} ${randomUUID()}`, scopes, expiresAt: null };
  return (await app.app.auth.addApiToken(made, { id: app.admin.id, email: app.admin.email })).token;
};

/** The SDK's own client, with a token. */
async function connect(token: string): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' });
  const requestInit = { headers: { Authorization: `Bearer ${token}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL(`${app.url}/api/mcp`), { requestInit }));
  clients.push(client);
  return client;
}

/** What a tool says: its answer, or its error as a text. */
async function call(client: Client, name: string, given: Record<string, unknown> = {}) {
  const { content, isError } = (await client.callTool({ name, arguments: given })) as Result;
  const [{ text } = { text: '' }] = content;
  return isError === true ? text : (JSON.parse(text) as unknown);
}

/** Waits for the worker to end a run. */
async function ended(id: string): Promise<void> {
  const { Backup, Restore } = app.app.models;
  for (;;) {
    const row = (await Backup.findByPk(id)) ?? (await Restore.findByPk(id));
    if (row !== null && !['PENDING', 'RUNNING'].includes(row.status)) return;
    await sleep(20);
  }
}

describe('An assistant', () => {
  it('finds the tools, and which of them change something', async () => {
    const { tools } = await (await connect(await tokenOf('READ'))).listTools();
    const changing = tools.filter(({ annotations }) => annotations?.readOnlyHint === false).map(({ name }) => name);
    expect(changing).toEqual(['restore', 'delete_backups']);
    expect(tools.filter(({ description, inputSchema }) => !description || !inputSchema)).toEqual([]);
    expect(tools.length).toBe(11);
  });

  it('with the scope READ looks at everything, and neither plans nor changes anything', async () => {
    const client = await connect(await tokenOf('READ'));
    expect(await call(client, 'status')).toMatchObject({ status: { configCount: 1 } });
    expect(await call(client, 'list_backups')).toMatchObject({ backups: { nodes: [{ id: first }] } });
    expect(await call(client, 'list_backups', { configId: '99' })).toMatchObject({ backups: { nodes: [] } });
    expect(await call(client, 'show_backup', { id: first })).toMatchObject({ backup: { id: first } });
    expect(await call(client, 'compare', { from: first })).toMatchObject({
      compareBackups: { tables: expect.any(Array) },
    });
    const sql = 'SELECT 1 AS one';
    expect(await call(client, 'query', { id: first, sql })).toMatchObject({ queryBackup: { rows: [[1]] } });
    expect(await call(client, 'plan_restore', { backupId: first })).toMatch(/^FORBIDDEN: .*RESTORE.*\n/);
    const planned = await call(client, 'plan_deletion', { ids: [first] });
    expect(planned).toMatchObject({ backups: [{ id: first }] });
    const { planHash } = planned as { planHash: string };
    expect(await call(client, 'delete_backups', { ids: [first], planHash })).toMatch(/^FORBIDDEN: /);
    expect(await call(client, 'query', { id: first, sql: 'DELETE FROM person' })).toMatch(/^BAD_USER_INPUT: /);
  });

  it('follows a row through the backups', async () => {
    const client = await connect(await tokenOf('READ'));
    const [table] = (await app.app.models.Backup.findByPk(first))!.tables;
    const given = { configId: '1', table: table?.name, key: { id: 1 } };
    expect(await call(client, 'row_history', given)).toMatchObject({ rowHistory: expect.any(Array) });
  });

  it('restores only with the hash of the plan that it was shown, after a safety backup', async () => {
    const client = await connect(await tokenOf('READ', 'RESTORE'));
    const given = { backupId: first, restoreMedia: false };
    const { planHash } = (await call(client, 'plan_restore', given)) as { planHash: string };
    expect(planHash).toMatch(/^[0-9a-f]{64}$/);
    expect(await call(client, 'plan_restore', given)).toMatchObject({ planHash });
    for (const wrong of [
      { ...given, planHash: '0'.repeat(64) },
      { backupId: first, planHash },
    ]) {
      expect(await call(client, 'restore', wrong)).toMatch(/^PLAN_CHANGED: /);
    }
    await exec(app.database, 'CREATE TABLE new_since (id INTEGER PRIMARY KEY)');
    expect(await call(client, 'restore', { ...given, planHash })).toMatch(/^PLAN_CHANGED: /);
    expect(await app.app.models.Restore.count()).toBe(0);

    const again = (await call(client, 'plan_restore', given)) as { planHash: string };
    const { restoreBackup } = (await call(client, 'restore', { ...given, planHash: again.planHash })) as {
      restoreBackup: { id: string };
    };
    await ended(restoreBackup.id);
    const shown = await call(client, 'show_restore', { id: restoreBackup.id });
    expect(shown).toMatchObject({ restore: { status: 'COMPLETED', safetyBackup: { pinned: true } } });
    expect(await all(app.database, "SELECT name FROM sqlite_master WHERE name = 'new_since'")).toEqual([]);
  });

  it('deletes only what it was shown, with the scope ADMIN, and not what was pinned since', async () => {
    const client = await connect(await tokenOf('READ', 'ADMIN'));
    const { id } = await app.backup();
    await ended(id);
    const { planHash } = (await call(client, 'plan_deletion', { ids: [id] })) as { planHash: string };
    await app.app.models.Backup.update({ pinned: true }, { where: { id } });
    expect(await call(client, 'delete_backups', { ids: [id], planHash })).toMatch(/^PLAN_CHANGED: /);
    await app.app.models.Backup.update({ pinned: false }, { where: { id } });
    expect(await call(client, 'delete_backups', { ids: [first], planHash })).toMatch(/^PLAN_CHANGED: /);
    expect(await call(client, 'plan_deletion', { ids: ['backup_20250101_000000_aaaaaaaa'] })).toMatch(/^NOT_FOUND: /);
    const deleted = await call(client, 'delete_backups', { ids: [id], planHash });
    expect(deleted).toMatchObject({ deleteBackups: [{ id, status: 'DELETED' }] });
  });

  it('is let in with an API token only: not with none, nor with the session of a person', async () => {
    const ask = (headers: Record<string, string>, method = 'POST') =>
      fetch(`${app.url}/api/mcp`, {
        method,
        headers: { 'Content-Type': 'application/json', ...headers },
        ...(method === 'POST' && { body: '{}' }),
      });
    const none = await ask({});
    expect([none.status, await none.json()]).toEqual([401, expect.objectContaining({ code: 'UNAUTHENTICATED' })]);
    const person = await ask({ Authorization: `Bearer ${app.token}` });
    expect([person.status, await person.json()]).toEqual([403, expect.objectContaining({ code: 'FORBIDDEN' })]);
    expect((await ask({}, 'GET')).status).toBe(405);
  });
});

describe('`db-manager mcp`', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), 'db-manager-mcp-')));
    await translate(join(folder, 'program'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const open = async (env: Record<string, string>) => {
    const args = [join(folder, 'program/src/cli.js'), 'mcp'];
    const stdio = { command: process.execPath, args, cwd: folder, stderr: 'ignore' as const };
    const client = new Client({ name: 'test', version: '1' });
    await client.connect(new StdioClientTransport({ ...stdio, env: { DB_MANAGER_URL: app.url, ...env } }));
    clients.push(client);
    return client;
  };

  it('passes on what an assistant asks over standard input, with the rights of its token', async () => {
    const client = await open({ DB_MANAGER_TOKEN: await tokenOf('READ') });
    expect(await call(client, 'show_backup', { id: first })).toMatchObject({ backup: { id: first } });
    expect(await call(client, 'plan_restore', { backupId: first })).toMatch(/^FORBIDDEN: /);
  });

  it('says so when the server refuses the token, and ends when it has none', async () => {
    await expect(open({ DB_MANAGER_TOKEN: 'of nobody' })).rejects.toThrow(
      /The server does not take it: .*UNAUTHENTICATED/,
    );
    await expect(open({})).rejects.toThrow();
  });
});
