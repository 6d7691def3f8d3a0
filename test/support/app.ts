import { createHmac, createSign, generateKeyPairSync, scryptSync } from 'node:crypto';
import { createServer } from '../../src/app.js';
import type { AppOptions } from '../../src/app.js';
import type { UserRow } from '../../src/models/index.js';
import { createWorld, type World } from './world.js';

const SECRET = 'a shared secret of more than 32 characters';
export const PASSWORD = 'correct horse battery';

/** A hash of PASSWORD that takes a thousandth of the product's time: most tests never log in. */
const HASH = `scrypt$16$1$1$salt$${scryptSync(PASSWORD, Buffer.from('salt', 'base64url'), 32, { N: 16, r: 1, p: 1 }).toString('base64url')}`;

/** The key pair of a host application; made once, since that takes a while. */
export const HOST_KEYS = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
});

/** A server on a free port, over a real application, with a worker in the same process. */
export interface TestApp extends World {
  url: string;
  admin: UserRow;
  /** A token of the admin. */
  token: string;
  /** Takes no more requests, as on SIGTERM. */
  stopServing(deadlineMs?: number): Promise<void>;
}

export async function createTestApp(
  options: AppOptions & { env?: NodeJS.ProcessEnv; work?: boolean } = {},
): Promise<TestApp> {
  const world = await createWorld({
    ...options,
    env: { JWT_SECRET: SECRET, JWT_PUBLIC_KEY: HOST_KEYS.publicKey, JWT_ADMIN_CLAIM: 'is_staff=true', ...options.env },
  });
  const { app } = world;
  const admin = await app.models.User.create({
    email: 'admin@example.org',
    passwordHash: HASH,
    role: 'ADMIN',
    createdAt: new Date(),
  });
  const server = await createServer(app);
  const url = await server.listen(0, '127.0.0.1');
  if (options.work !== false) await app.startWork();
  return {
    ...world,
    url,
    admin,
    token: app.auth.sessionOf(admin).token,
    stopServing: (deadlineMs = 0) => server.close(deadlineMs),
    async close() {
      await server.close(0);
      await world.close();
    },
  };
}

/** Claims with an hour to live. */
export function claims(more: Record<string, unknown> = {}): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1000);
  return { sub: '1', email: 'admin@example.org', role: 'ADMIN', ver: 1, iat: now, exp: now + 3600, ...more };
}

/** A token of any making, also one that no library would make. */
export function forge(header: object, payload: object, key: string | null = SECRET): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ typ: 'JWT', ...header })}.${part(payload)}`;
  const { alg } = header as { alg?: string };
  if (key === null) return `${text}.`;
  const signature = alg?.startsWith('HS')
    ? createHmac(`sha${alg.slice(2)}`, key)
        .update(text)
        .digest()
    : createSign(`RSA-SHA${alg?.slice(2)}`)
        .update(text)
        .sign(key);
  return `${text}.${signature.toString('base64url')}`;
}
