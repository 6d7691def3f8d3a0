import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { isConfirmed } from '../../src/graphql/confirmed.js';
import { createSchema } from '../../src/graphql/schema.js';
import { claims, createTestApp, forge, HOST_KEYS, PASSWORD, type TestApp } from '../support/app.js';
import { send, socketOf } from '../support/operations.js';

let app: TestApp;
let now = new Date();
beforeAll(async () => {
  app = await createTestApp({ work: false, env: { CONFIRM_WITH_PASSWORD: 'true' }, now: () => now });
});
afterAll(() => app.close());

const DELETE = 'mutation($id: ID!) { deleteBackup(id: $id) { status } }';
const CONFIRM = 'mutation($password: String!) { confirmPassword(password: $password) { token expiresAt } }';

const erase = async (id: string, confirmation?: string, token?: string) =>
  send(app, DELETE, { id }, token, confirmation === undefined ? {} : { 'X-Confirmation': confirmation });
async function confirm(token?: string): Promise<string> {
  const { data, text } = await send(app, CONFIRM, { password: PASSWORD }, token);
  if (data === null) throw new Error(text);
  return (data.confirmPassword as { token: string }).token;
}
const ASKED = {
  code: 'CONFIRMATION_REQUIRED',
  field: 'X-Confirmation',
  hint: expect.stringContaining('confirmPassword'),
};
const actions = async () => (await app.app.models.AuditEvent.findAll({ order: ['id'] })).map(({ action }) => action);

describe('CONFIRM_WITH_PASSWORD', () => {
  it('keeps a backup until the password was typed, and for five minutes does not ask again', async () => {
    const ids = [(await app.backup()).id, (await app.backup()).id, (await app.backup()).id] as const;
    expect((await erase(ids[0])).errors).toEqual([expect.objectContaining({ extensions: ASKED })]);
    expect((await app.app.backups.get(ids[0])).status).toBe('COMPLETED');
    const confirmation = await confirm();
    expect((await erase(ids[0], confirmation)).data).toEqual({ deleteBackup: { status: 'DELETED' } });
    now = new Date(now.getTime() + 299_000);
    expect((await erase(ids[1], confirmation)).errors).toEqual([]);
    now = new Date(now.getTime() + 2_000);
    const [error] = (await erase(ids[2], confirmation)).errors;
    expect(error).toMatchObject({ message: 'The confirmation has expired.', extensions: ASKED });
    expect(await actions()).toContain('session.confirm');
  });

  it('takes no other token, ticket or confirmation of another user, also after a new password', async () => {
    const { users } = app.app.auth;
    const other = await users.create('other@example.org', PASSWORD, 'ADMIN');
    const token = app.app.auth.sessionOf(other).token;
    const confirmation = await confirm(token);
    const { ticket } = await app.app.auth.issueTicket(await app.app.auth.authenticate(app.token), 'backup_x');
    for (const wrong of [confirmation, ticket, app.token, 'x', '']) {
      expect([wrong, (await erase('backup_x', wrong)).errors[0]?.extensions]).toEqual([wrong, ASKED]);
    }
    expect((await erase('backup_x', confirmation, token)).errors[0]?.extensions.code).toBe('NOT_FOUND');
    const changed = await users.changePassword(other.id, 'another long password');
    const again = app.app.auth.sessionOf(changed).token;
    expect((await erase('backup_x', confirmation, again)).errors[0]?.extensions).toEqual(ASKED);
    const link = await fetch(`${app.url}/api/db-manager/backups/backup_x/download/?ticket=${confirmation}`);
    expect(link.status).toBe(401);
  });

  it('counts a wrong password as a failed login, and writes it down', async () => {
    const user = await app.app.auth.users.create('guesser@example.org', PASSWORD, 'ADMIN');
    const { token } = app.app.auth.sessionOf(user);
    const codes = [];
    for (let tries = 0; tries < 11; tries++) {
      const { errors, text } = await send(app, CONFIRM, { password: 'guess' }, token);
      codes.push(errors[0]?.extensions.code);
      expect(text).not.toContain('guess');
    }
    expect(codes).toEqual([...Array<string>(10).fill('BAD_USER_INPUT'), 'RATE_LIMITED']);
    expect((await actions()).filter((action) => action === 'session.confirm-failed')).toHaveLength(10);
    const login = 'mutation { login(email: "guesser@example.org", password: "x") { token } }';
    expect((await send(app, login, {}, null)).errors[0]?.extensions.code).toBe('RATE_LIMITED');
  });

  it('asks no API token, which cannot type, and refuses users who have no password here', async () => {
    const input = { name: 'Robot', scopes: ['ADMIN' as const], expiresAt: null };
    const robot = await app.app.auth.addApiToken(input, { id: null, email: 'admin@example.org' });
    expect((await erase('backup_x', undefined, robot.token)).errors[0]?.extensions.code).toBe('NOT_FOUND');
    const host = forge({ alg: 'RS256' }, claims({ is_staff: true }), HOST_KEYS.privateKey);
    for (const token of [host, robot.token]) {
      const { errors } = await send(app, CONFIRM, { password: PASSWORD }, token);
      expect(errors[0]).toMatchObject({ extensions: { code: 'FORBIDDEN' } });
    }
    expect((await erase('backup_x', undefined, host)).errors[0]).toMatchObject({
      message: 'admin@example.org has no password here.',
      extensions: { code: 'FORBIDDEN', hint: expect.stringContaining('command line on the server') },
    });
  });

  it('cannot be got around by a WebSocket, or by making an API token', async () => {
    const { client } = socketOf(app, { token: app.token, 'X-Confirmation': await confirm() });
    const outcome = await new Promise((resolve) => {
      const query = 'mutation { deleteBackup(id: "backup_x") { status } }';
      client.subscribe({ query }, { next: resolve, error: resolve, complete: () => resolve(null) });
    });
    expect(JSON.stringify(outcome)).toContain('CONFIRMATION_REQUIRED');
    await client.dispose();
    const { errors } = await send(app, 'mutation { createApiToken(input: {name: "x", scopes: [ADMIN]}) { token } }');
    expect(errors[0]?.extensions).toEqual(ASKED);
  });

  it('asks for every mutation that deletes or restores', async () => {
    const schema = await createSchema();
    const names = Object.keys(schema.getMutationType()?.getFields() ?? {});
    const dangerous = names.filter((name) => /^(cleanup|delete|remove|restore|undo|rewrap)/.test(name));
    expect(dangerous).toHaveLength(11);
    expect(dangerous.filter((name) => !isConfirmed('Mutation', name))).toEqual([]);
    const asked = names.filter((name) => isConfirmed('Mutation', name) && !dangerous.includes(name));
    expect(asked.sort()).toEqual([
      ...['acknowledgeAnomalies', 'assignBackup', 'createApiToken', 'createConfigFromBackup'],
      ...['pinBackup', 'updateChannel', 'updateConfig'],
    ]);
  });
});
