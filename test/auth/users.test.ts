import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as api from '../../src/client/index.js';
import { claims, createTestApp, forge, HOST_KEYS, PASSWORD, type TestApp } from '../support/app.js';
import { clientOf, send } from '../support/operations.js';

const NEXT = 'another long password';
let app: TestApp;
beforeAll(async () => {
  app = await createTestApp({ work: false });
});
afterAll(() => app.close());

const failing = (code: string, field?: string) => expect.objectContaining({ name: 'ClientError', code, field });
const tokenOf = async (email: string, role: 'ADMIN' | 'USER' = 'ADMIN') => {
  const { auth } = app.app;
  const user = (await auth.users.findByEmail(email)) ?? (await auth.users.create(email, PASSWORD, role));
  return { user, token: auth.sessionOf(user).token };
};
const hostToken = () => forge({ alg: 'RS256' }, claims({ sub: '1', is_staff: true }), HOST_KEYS.privateKey);
const change = (token: string, currentPassword: string, newPassword: string) =>
  clientOf(app, token).request(api.ChangePasswordDocument, { currentPassword, newPassword });
const trail = async (action: string) =>
  (await app.app.models.AuditEvent.findAll({ where: { action } })).map((row) => row.get({ plain: true }));

describe("A user's own password", () => {
  it('changes with the present one, ends every old token and answers with a new one', async () => {
    const { user, token } = await tokenOf('one@example.org');
    const other = app.app.auth.sessionOf(user).token;
    const { changePassword } = await change(token, PASSWORD, NEXT);
    expect(changePassword.user).toEqual({ id: String(user.id), email: 'one@example.org', role: 'ADMIN' });
    for (const old of [token, other]) {
      await expect(clientOf(app, old).request(api.MeDocument)).rejects.toEqual(failing('UNAUTHENTICATED'));
    }
    const { me } = await clientOf(app, changePassword.token).request(api.MeDocument);
    expect(me.email).toBe('one@example.org');
    const login = (password: string) =>
      send(app, `mutation { login(email: "one@example.org", password: "${password}") { token } }`);
    expect((await login(PASSWORD)).errors[0]?.extensions.code).toBe('UNAUTHENTICATED');
    expect((await login(NEXT)).errors).toEqual([]);
    expect(await trail('user.password')).toEqual([
      expect.objectContaining({
        actor: 'one@example.org',
        subject: String(user.id),
        details: { email: 'one@example.org' },
      }),
    ]);
  });

  it('stays when the present one is wrong or the new one is too short or too long', async () => {
    const { user, token } = await tokenOf('two@example.org');
    await expect(change(token, 'a wrong password', NEXT)).rejects.toEqual(failing('BAD_USER_INPUT', 'currentPassword'));
    for (const bad of ['', 'elevenchars', 'x'.repeat(1_001)]) {
      await expect(change(token, PASSWORD, bad)).rejects.toEqual(failing('BAD_USER_INPUT', 'newPassword'));
    }
    expect(await app.app.auth.users.check('two@example.org', PASSWORD)).not.toBeNull();
    expect((await app.app.auth.users.find(user.id))?.tokenVersion).toBe(user.tokenVersion);
  });

  it('cannot be guessed with a stolen token: wrong ones are limited as at the login', async () => {
    const { token } = await tokenOf('three@example.org');
    for (let attempt = 0; attempt < 10; attempt++) {
      await expect(change(token, `wrong password ${attempt}`, NEXT)).rejects.toEqual(
        failing('BAD_USER_INPUT', 'currentPassword'),
      );
    }
    await expect(change(token, PASSWORD, NEXT)).rejects.toEqual(failing('RATE_LIMITED'));
  });

  it('is not that of a user here whose id a token of the host application happens to carry', async () => {
    await expect(change(hostToken(), PASSWORD, NEXT)).rejects.toEqual(failing('FORBIDDEN'));
    expect(await app.app.auth.users.check('admin@example.org', PASSWORD)).not.toBeNull();
  });
});

describe('Users', () => {
  it('are listed without anything secret', async () => {
    const { users } = await clientOf(app).request(api.UsersDocument);
    expect(users[0]).toEqual({ id: String(app.admin.id), email: 'admin@example.org', role: 'ADMIN' });
    expect(JSON.stringify(users)).not.toContain('scrypt');
  });

  it('that are removed have no valid token, download link or login any more', async () => {
    const { user, token } = await tokenOf('leaver@example.org');
    const { id } = await app.backup();
    const { createDownloadLink } = await clientOf(app, token).request(api.CreateDownloadLinkDocument, { id });
    const { removeUser } = await clientOf(app).request(api.RemoveUserDocument, { id: String(user.id) });
    expect(removeUser).toEqual({ id: String(user.id), email: 'leaver@example.org' });
    await expect(clientOf(app, token).request(api.MeDocument)).rejects.toEqual(failing('UNAUTHENTICATED'));
    expect((await fetch(new URL(createDownloadLink.url, app.url))).status).toBe(401);
    expect(await app.app.auth.users.check('leaver@example.org', PASSWORD)).toBeNull();
    expect(await trail('user.remove')).toEqual([
      expect.objectContaining({ actor: 'admin@example.org', details: { email: 'leaver@example.org' } }),
    ]);
    // Nobody who comes later gets the id that the old token names.
    const next = await tokenOf('leaver@example.org');
    expect(next.user.id).not.toBe(user.id);
    await expect(clientOf(app, token).request(api.MeDocument)).rejects.toEqual(failing('UNAUTHENTICATED'));
  });

  it('may remove themselves while another admin stays', async () => {
    const { user, token } = await tokenOf('self@example.org');
    await clientOf(app, token).request(api.RemoveUserDocument, { id: String(user.id) });
    await expect(clientOf(app, token).request(api.MeDocument)).rejects.toEqual(failing('UNAUTHENTICATED'));
  });

  it('keep the last admin, also when two remove each other at once', async () => {
    const fresh = await createTestApp({ work: false });
    try {
      const { users } = fresh.app.auth;
      await users.create('user@example.org', PASSWORD, 'USER');
      const remove = (id: number) => fresh.app.auth.removeUser(id, 'test');
      await expect(remove(fresh.admin.id)).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'id' });
      const host = clientOf(fresh, hostToken());
      const asHost = host.request(api.RemoveUserDocument, { id: String(fresh.admin.id) });
      await expect(asHost).rejects.toEqual(failing('BAD_USER_INPUT', 'id'));
      const second = await users.create('second@example.org', PASSWORD, 'ADMIN');
      const other = await fresh.again();
      const outcomes = await Promise.allSettled([remove(fresh.admin.id), other.auth.removeUser(second.id, 'test')]);
      expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      expect((await users.list()).map(({ role }) => role).sort()).toEqual(['ADMIN', 'USER']);
    } finally {
      await fresh.close();
    }
  });

  it.each(['999999', '0', '-1', 'x', '', "1' OR 1=1"])('that do not exist are not removed: "%s"', async (id) => {
    await expect(clientOf(app).request(api.RemoveUserDocument, { id })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
