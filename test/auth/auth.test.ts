import { createHmac, generateKeyPairSync, hkdfSync } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import jwt from 'jsonwebtoken';
import { Auth, type AuthSettings } from '../../src/auth/index.js';
import { LoginLimit } from '../../src/auth/login-limit.js';
import { generatePassword, hashPassword, matchesPassword, NOBODY } from '../../src/auth/passwords.js';
import { toAppError } from '../../src/errors.js';
import { claims, forge, HOST_KEYS } from '../support/app.js';
import { createWorld, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await createWorld();
});
afterAll(() => world.close());

const SECRET = 'a shared secret of more than 32 characters';
const BASE: AuthSettings = {
  confirmWithPassword: false,
  secret: SECRET,
  publicKey: undefined,
  issuer: undefined,
  audience: undefined,
  adminClaim: undefined,
  ttlMinutes: 60,
};

function authWith(settings: Partial<AuthSettings> = {}, now = () => new Date()): Auth {
  return new Auth(world.app.models, { ...BASE, ...settings }, world.app.audit, now);
}

const refusal = (code: string) => expect.objectContaining({ code });

it('No key is made of an empty secret, which anybody has', () => {
  expect(() => authWith({ secret: '' })).toThrow(refusal('CONFIG_INVALID'));
});

describe('Passwords', () => {
  it('are kept as scrypt hashes that carry their parameters and a salt of their own', async () => {
    const [one, two] = await Promise.all([hashPassword('the same one'), hashPassword('the same one')]);
    expect(one).toMatch(/^scrypt\$16384\$8\$5\$[\w-]{22}\$[\w-]{43}$/);
    expect(one).not.toBe(two);
    expect(await matchesPassword('the same one', one)).toBe(true);
    expect(await matchesPassword('the same onE', one)).toBe(false);
  });

  it('match however the keyboard wrote their accents', async () => {
    expect(await matchesPassword('caf\u00e9 au lait', await hashPassword('cafe\u0301 au lait'))).toBe(true);
  });

  it('that no one has are checked with the same work', async () => {
    const shape = (hash: string) => hash.split('$').map((part, index) => (index < 4 ? part : part.length));
    expect(shape(NOBODY)).toEqual(shape(await hashPassword('x')));
    expect(await matchesPassword('', NOBODY)).toBe(false);
  });

  it('that are generated are all different and long', () => {
    const many = new Set(Array.from({ length: 200 }, generatePassword));
    expect(many.size).toBe(200);
    for (const password of many) expect(password).toMatch(/^([a-z2-9]{5}-){3}[a-z2-9]{5}$/);
  });
});

describe('Users', () => {
  it('creates the first admin and prints its password once, however many processes start', async () => {
    const fresh = await createWorld();
    try {
      const other = await fresh.again();
      const told = await Promise.all(
        [fresh.app, other, fresh.app].map((app) => app.auth.users.ensureAdmin('Boss@Example.org', undefined)),
      );
      expect(await fresh.app.models.User.count()).toBe(1);
      const [password, ...others] = told.flatMap(({ generated }) => generated ?? []);
      expect(others).toEqual([]);
      const session = await fresh.app.auth.login('boss@example.ORG', password ?? '', 'here');
      expect(session.user).toMatchObject({ email: 'boss@example.org', role: 'ADMIN', admin: true });
      expect(await fresh.app.auth.users.ensureAdmin(undefined, undefined)).toEqual({
        email: 'boss@example.org',
        generated: null,
        change: null,
      });
    } finally {
      await fresh.close();
    }
  });

  describe('when the environment names an admin', () => {
    const OLD = 'the first password of all';
    const NEW = 'another password, of the environment';
    let world: World;
    beforeEach(async () => (world = await createWorld()));
    afterEach(() => world.close());
    const ensure = (email?: string, password?: string) => world.app.auth.users.ensureAdmin(email, password);
    const signsIn = (email: string, password: string) =>
      world.app.auth.login(email, password, 'here').then(
        ({ user }) => user.role,
        ({ code }: { code: string }) => code,
      );

    it('after a start without one, takes over the generated account and ends its password', async () => {
      const first = await ensure();
      const { token } = await world.app.auth.login('admin@localhost', first.generated ?? '', 'here');
      expect(await ensure('You@Example.org', NEW)).toEqual({
        email: 'you@example.org',
        generated: null,
        change: 'renamed',
      });
      expect(await signsIn('you@example.org', NEW)).toBe('ADMIN');
      expect(await signsIn('admin@localhost', first.generated ?? '')).toBe('UNAUTHENTICATED');
      expect(await signsIn('you@example.org', first.generated ?? '')).toBe('UNAUTHENTICATED');
      await expect(world.app.auth.authenticate(token)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    });

    it('without a password, a generated one is returned and works', async () => {
      await ensure();
      const { generated, change } = await ensure('you@example.org');
      expect({ change, signsIn: await signsIn('you@example.org', generated ?? '') }).toEqual({
        change: 'renamed',
        signsIn: 'ADMIN',
      });
      expect(await ensure('you@example.org')).toMatchObject({ generated: null, change: null });
    });

    it('beside other users, an account of that address is made', async () => {
      await ensure('first@example.org', OLD);
      expect(await ensure('second@example.org', NEW)).toMatchObject({ change: 'created' });
      expect(await Promise.all([signsIn('first@example.org', OLD), signsIn('second@example.org', NEW)])).toEqual([
        'ADMIN',
        'ADMIN',
      ]);
    });

    it('with another password, that one works from then on and the tokens of the old one end', async () => {
      await ensure('you@example.org', OLD);
      const { token } = await world.app.auth.login('you@example.org', OLD, 'here');
      expect(await ensure('you@example.org', NEW)).toMatchObject({ change: 'password' });
      expect(await ensure('you@example.org', NEW)).toMatchObject({ change: null });
      expect(await signsIn('you@example.org', NEW)).toBe('ADMIN');
      await expect(world.app.auth.authenticate(token)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    });

    it('who was no admin, they become one', async () => {
      await world.app.auth.users.create('you@example.org', OLD, 'USER');
      await ensure('you@example.org');
      expect(await signsIn('you@example.org', OLD)).toBe('ADMIN');
    });

    it('when several processes start at once, all end with the same account', async () => {
      await ensure();
      const other = await world.again();
      const made = await Promise.all(
        [world.app, other, world.app].map((app) => app.auth.users.ensureAdmin('you@example.org', NEW)),
      );
      expect(made.map(({ email }) => email)).toEqual(Array(3).fill('you@example.org'));
      expect(await world.app.models.User.count()).toBe(1);
      expect(await signsIn('you@example.org', NEW)).toBe('ADMIN');
    });
  });

  it('A password that is configured is never printed', async () => {
    const fresh = await createWorld();
    try {
      const made = await fresh.app.auth.users.ensureAdmin('boss@example.org', 'a configured one');
      expect(made).toEqual({ email: 'boss@example.org', generated: null, change: 'created' });
      await fresh.app.auth.login('boss@example.org', 'a configured one', 'here');
    } finally {
      await fresh.close();
    }
  });

  it('A wrong password and an unknown e-mail get the same answer', async () => {
    const auth = authWith();
    await auth.users.create('known@example.org', 'correct horse battery', 'ADMIN');
    const answers = await Promise.all(
      ['known@example.org', 'unknown@example.org'].map((email) =>
        auth.login(email, 'wrong', 'here').catch((error: unknown) => error),
      ),
    );
    expect(answers[0]).toEqual(refusal('UNAUTHENTICATED'));
    expect((answers[0] as Error).message).toBe((answers[1] as Error).message);
  });

  it('A short password and an e-mail that is taken are refused with the field', async () => {
    const { users } = authWith();
    await expect(users.create('a@example.org', 'short', 'ADMIN')).rejects.toMatchObject({ field: 'password' });
    await users.create('taken@example.org', 'correct horse battery', 'USER');
    await expect(users.create('Taken@Example.org', 'correct horse battery', 'USER')).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      field: 'email',
    });
  });
});

describe('Own tokens', () => {
  it('say who it is by the row, not by what they say themselves', async () => {
    const auth = authWith();
    const user = await auth.users.create('promoted@example.org', 'correct horse battery', 'USER');
    const { token } = auth.sessionOf(user);
    await user.update({ role: 'ADMIN' });
    expect(await auth.authenticate(`Bearer ${token}`)).toMatchObject({ admin: true, email: 'promoted@example.org' });
    await user.update({ role: 'USER' });
    expect(await auth.authenticate(token)).toMatchObject({ admin: false });
    await user.destroy();
    await expect(auth.authenticate(token)).rejects.toEqual(refusal('UNAUTHENTICATED'));
  });

  it('end when they say', async () => {
    let now = new Date('2025-07-24T10:00:00Z');
    const auth = authWith({}, () => now);
    const user = await auth.users.create('late@example.org', 'correct horse battery', 'ADMIN');
    const { token, expiresAt } = auth.sessionOf(user);
    expect(expiresAt).toEqual(new Date('2025-07-24T11:00:00Z'));
    now = new Date('2025-07-24T10:59:59Z');
    await auth.authenticate(token);
    now = new Date('2025-07-24T11:00:00Z');
    await expect(auth.authenticate(token)).rejects.toMatchObject({ message: expect.stringMatching(/expired/) });
  });

  it('of a public key are not taken for our own', async () => {
    const auth = authWith({ publicKey: HOST_KEYS.publicKey });
    const user = await auth.users.create('target@example.org', 'correct horse battery', 'ADMIN');
    const payload = claims({ iss: 'db-manager', sub: String(user.id) });
    const actor = await auth.authenticate(forge({ alg: 'RS256' }, payload, HOST_KEYS.privateKey));
    expect(actor).toMatchObject({ admin: false });
  });
});

describe("A host application's tokens", () => {
  const host = (payload: object, settings: Partial<AuthSettings>) =>
    authWith({ publicKey: HOST_KEYS.publicKey, ...settings }).authenticate(
      forge({ alg: 'RS256' }, payload, HOST_KEYS.privateKey),
    );

  it.each([
    ['is_staff=true', { is_staff: true }, true],
    ['is_staff=true', { is_staff: 'true' }, true],
    ['is_staff=true', { is_staff: false }, false],
    ['is_staff=true', {}, false],
    ['role=ADMIN', { role: 'ADMIN' }, true],
    ['role=ADMIN', { role: 'admin' }, false],
    ['level=3', { level: 3 }, true],
    ['roles=admin', { roles: ['user', 'admin'] }, true],
    ['roles=admin', { roles: ['user', 'administrator'] }, false],
    ['realm_access.roles=admin', { realm_access: { roles: ['admin'] } }, true],
    ['https://okpuja.in/role=ADMIN', { 'https://okpuja.in/role': 'ADMIN' }, true],
    ['constructor.name=Object', {}, false],
    ['role=[object Object]', { role: {} }, false],
    ['role=null', { role: null }, false],
  ])('make an admin by %s of %j: %s', async (claim, payload, admin) => {
    const cut = claim.lastIndexOf('=');
    const adminClaim = { name: claim.slice(0, cut), value: claim.slice(cut + 1) };
    const actor = await host({ ...claims({ role: undefined }), ...payload }, { adminClaim });
    expect(actor).toMatchObject({ admin, role: admin ? 'ADMIN' : 'USER' });
  });

  it('must name the issuer and the audience that are configured', async () => {
    const settings = { issuer: 'okpuja', audience: 'db-manager' };
    await host(claims({ iss: 'okpuja', aud: ['other', 'db-manager'] }), settings);
    for (const wrong of [
      { iss: 'okpuja' },
      { aud: 'db-manager' },
      { iss: 'x', aud: 'db-manager' },
      { iss: 'okpuja', aud: 'x' },
    ]) {
      await expect(host(claims(wrong), settings)).rejects.toEqual(refusal('UNAUTHENTICATED'));
    }
  });

  it('must have an end, a beginning that has come, and a subject', async () => {
    for (const wrong of [
      { exp: undefined },
      { exp: 'never' },
      { nbf: 4_000_000_000 },
      { sub: undefined, email: undefined },
    ]) {
      await expect(host(claims(wrong), {})).rejects.toEqual(refusal('UNAUTHENTICATED'));
    }
  });

  it('may be signed with the shared secret under a name of their own', async () => {
    const auth = authWith({ adminClaim: { name: 'is_staff', value: 'true' } });
    const actor = await auth.authenticate(forge({ alg: 'HS256' }, claims({ iss: 'okpuja', sub: 7, is_staff: true })));
    expect(actor).toMatchObject({ id: '7', email: 'admin@example.org', admin: true });
  });

  it('of an EC key are checked as ES256 and nothing else', async () => {
    const keys = generateKeyPairSync('ec', {
      namedCurve: 'prime256v1',
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    const auth = authWith({ publicKey: keys.publicKey });
    await auth.authenticate(jwt.sign(claims(), keys.privateKey, { algorithm: 'ES256' }));
    await expect(auth.authenticate(forge({ alg: 'RS256' }, claims(), HOST_KEYS.privateKey))).rejects.toEqual(
      refusal('UNAUTHENTICATED'),
    );
  });

  it('are refused where no public key is configured', async () => {
    const token = forge({ alg: 'RS256' }, claims(), HOST_KEYS.privateKey);
    await expect(authWith().authenticate(token)).rejects.toEqual(refusal('UNAUTHENTICATED'));
  });

  it('of a key that is too weak or none at all stop the start', () => {
    const weak = generateKeyPairSync('rsa', {
      modulusLength: 1024,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    for (const publicKey of [weak.publicKey, 'no key']) {
      expect(() => authWith({ publicKey })).toThrow(refusal('CONFIG_INVALID'));
    }
  });
});

describe('The limit on failed logins', () => {
  const sql = (text: string) => world.app.models.sequelize.query(text);
  const limitOf = (models = world.app.models) => new LoginLimit(models.sequelize);
  /** Lets every count be older, in milliseconds. */
  const age = (ms: number) => sql(`UPDATE login_limits SET "expiresAt" = "expiresAt" - ${ms}`);
  const rows = async () => ((await sql('SELECT COUNT(*) AS n FROM login_limits'))[0] as { n: number }[])[0]?.n;
  beforeEach(() => sql('DELETE FROM login_limits'));

  it('counts in memory while the disk of the control database is full', async () => {
    const { sequelize } = world.app.models;
    const full = Object.assign(new Error('full'), { name: 'SequelizeError', original: { code: 'SQLITE_FULL' } });
    const query = jest.spyOn(sequelize, 'query').mockRejectedValue(full);
    const limit = limitOf();
    for (let i = 0; i < 20; i++) await (await limit.begin('a@example.org', 'one'))();
    for (let i = 0; i < 10; i++) await limit.begin('a@example.org', 'one');
    await expect(limit.begin('a@example.org', 'one')).rejects.toEqual(refusal('RATE_LIMITED'));
    await limit.begin('b@example.org', 'one');
    query.mockRestore();
  });

  it('stops guessing one e-mail, names the wait, and ends', async () => {
    const limit = limitOf();
    for (let i = 0; i < 10; i++) await limit.begin('a@example.org', `address ${i}`);
    await expect(limit.begin('a@example.org', 'another')).rejects.toEqual(refusal('RATE_LIMITED'));
    await expect(limit.begin('a@example.org', 'another')).rejects.toThrow(/15 minute/);
    await limit.begin('b@example.org', 'another');
    await age(15 * 60_000 + 1_000);
    await limit.begin('a@example.org', 'another');
  });

  it('stops one address that tries many e-mails', async () => {
    const limit = limitOf();
    for (let i = 0; i < 50; i++) await limit.begin(`${i}@example.org`, 'one');
    await expect(limit.begin('another@example.org', 'one')).rejects.toEqual(refusal('RATE_LIMITED'));
    await limit.begin('another@example.org', 'two');
  });

  it('does not count logins that succeed', async () => {
    const limit = limitOf();
    for (let i = 0; i < 100; i++) await (await limit.begin('a@example.org', 'one'))();
    await limit.begin('a@example.org', 'one');
  });

  it('does not count tries that it refuses against the address', async () => {
    const limit = limitOf();
    for (let i = 0; i < 10; i++) await limit.begin('a@example.org', 'one');
    for (let i = 0; i < 50; i++) {
      await expect(limit.begin('a@example.org', 'one')).rejects.toEqual(refusal('RATE_LIMITED'));
    }
    await limit.begin('b@example.org', 'one');
  });

  it('lets tries at the same time not slip through, over the whole way', async () => {
    const auth = authWith();
    await auth.users.create('guessed@example.org', 'correct horse battery', 'ADMIN');
    const tries = await Promise.allSettled(
      Array.from({ length: 14 }, () => auth.login('Guessed@example.org ', 'wrong password', 'one')),
    );
    const codes = tries.map((each) => (each.status === 'rejected' ? (each.reason as { code: string }).code : 'in'));
    expect(codes.filter((code) => code === 'UNAUTHENTICATED')).toHaveLength(10);
    expect(codes.filter((code) => code === 'RATE_LIMITED')).toHaveLength(4);
    await expect(auth.login('guessed@example.org', 'correct horse battery', 'one')).rejects.toEqual(
      refusal('RATE_LIMITED'),
    );
  });

  it('is shared by all processes on one control database, and outlives them', async () => {
    const one = authWith();
    await one.users.create('shared@example.org', 'correct horse battery', 'ADMIN');
    const other = await world.again();
    const two = new Auth(other.models, BASE, other.audit, () => new Date());
    for (let i = 0; i < 8; i++) await limitOf().begin('shared@example.org', `address ${i}`);
    for (const auth of [one, two]) {
      await expect(auth.login('shared@example.org', 'wrong password', 'one')).rejects.toEqual(
        refusal('UNAUTHENTICATED'),
      );
    }
    const started = await world.again();
    for (const auth of [one, two, new Auth(started.models, BASE, started.audit, () => new Date())]) {
      await expect(auth.login('shared@example.org', 'correct horse battery', 'another')).rejects.toEqual(
        refusal('RATE_LIMITED'),
      );
    }
  });

  it('lets nobody in while the control database is locked, and everyone again afterwards', async () => {
    const auth = authWith();
    await auth.users.create('locked@example.org', 'correct horse battery', 'ADMIN');
    const { sequelize } = (await world.again()).models;
    const check = jest.spyOn(auth.users, 'check');
    await sql('PRAGMA busy_timeout = 50');
    const lock = await sequelize.transaction();
    const refused = await auth.login('locked@example.org', 'correct horse battery', 'one').catch((error) => error);
    await lock.rollback();
    expect(toAppError(refused)).toMatchObject({ code: 'CONTROL_DATABASE_FAILED', message: /another process holds it/ });
    expect(check).not.toHaveBeenCalled();
    await sql('PRAGMA busy_timeout = 20000');
    await auth.login('locked@example.org', 'correct horse battery', 'one');
  });

  it('locks nobody out for longer when the clock of the database is set back', async () => {
    const limit = limitOf();
    for (let i = 0; i < 10; i++) await limit.begin('a@example.org', 'one');
    await age(-3_600_000);
    await limit.begin('a@example.org', 'one');
  });

  it('keeps its table bounded', async () => {
    const limit = limitOf();
    await limit.begin('a@example.org', 'one');
    await age(15 * 60_000 + 1_000);
    await limit.begin('b@example.org', 'two');
    expect(await rows()).toBe(2);
    await sql(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
      INSERT INTO login_limits (key, tries, "expiresAt")
      SELECT 'email:' || i, 1, (SELECT MAX("expiresAt") FROM login_limits) - i FROM n`);
    await limit.begin('c@example.org', 'three');
    expect(await rows()).toBeLessThanOrEqual(10_000);
    for (let i = 1; i < 10; i++) await limit.begin('c@example.org', 'three');
    await expect(limit.begin('c@example.org', 'three')).rejects.toEqual(refusal('RATE_LIMITED'));
  });
});

describe('A token whose header names critical extensions', () => {
  it.each([
    ['an unknown one', ['exp-plus']],
    ['a known one that is not understood here', ['b64']],
    ['an empty list', []],
    ['none of a list', 'b64'],
  ])('is refused: %s', async (_name, crit) => {
    const auth = authWith({ publicKey: HOST_KEYS.publicKey, adminClaim: { name: 'role', value: 'ADMIN' } });
    const tokens = [
      forge({ alg: 'HS256', crit }, claims({ iss: 'db-manager' })),
      forge({ alg: 'HS256', crit }, claims({ iss: 'okpuja' })),
      forge({ alg: 'RS256', crit }, claims(), HOST_KEYS.privateKey),
    ];
    for (const token of tokens) await expect(auth.authenticate(token)).rejects.toEqual(refusal('UNAUTHENTICATED'));
    expect(await auth.authenticate(forge({ alg: 'HS256' }, claims({ iss: 'okpuja' })))).toMatchObject({ admin: true });
  });

  it('is refused as a ticket too', async () => {
    const auth = authWith();
    const user = await auth.users.ensureAdmin('tickets@example.org', 'correct horse battery');
    const row = await auth.users.findByEmail(user.email);
    const actor = auth.sessionOf(row as NonNullable<typeof row>).user;
    const { ticket } = await auth.issueTicket(actor, 'backup_1');
    const [, body] = ticket.split('.');
    const key = Buffer.from(hkdfSync('sha256', SECRET, '', 'db-manager:download', 32));
    const header = Buffer.from(JSON.stringify({ alg: 'HS256', crit: ['x'] })).toString('base64url');
    const signature = createHmac('sha256', key).update(`${header}.${body}`).digest('base64url');
    await expect(auth.authenticateTicket(`${header}.${body}.${signature}`, 'backup_1')).rejects.toEqual(
      refusal('UNAUTHENTICATED'),
    );
    expect(await auth.authenticateTicket(ticket, 'backup_1')).toMatchObject({ email: user.email });
  });
});
