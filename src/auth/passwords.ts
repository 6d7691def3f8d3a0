import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify<string, Buffer, number, { N: number; r: number; p: number }, Buffer>(scrypt);

/** 16 MiB and about 0.15 s for each try: the strength that OWASP names for scrypt. */
const COST = { N: 16_384, r: 8, p: 5 };
const KEY_BYTES = 32;

/** A well-formed hash that no password has: checked for unknown users, so that they take as long as known ones. */
export const NOBODY = `scrypt$${COST.N}$${COST.r}$${COST.p}$${'A'.repeat(22)}$${'A'.repeat(43)}`;

/** `scrypt$N$r$p$salt$key`, the last two in base64url: parameters may rise later and old hashes still work. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const key = await derive(normal(password), salt, KEY_BYTES, COST);
  return ['scrypt', COST.N, COST.r, COST.p, salt.toString('base64url'), key.toString('base64url')].join('$');
}

/** True if the hash was made of this password. */
export async function matchesPassword(password: string, hash: string): Promise<boolean> {
  const [kind, N, r, p, salt, key] = hash.split('$');
  if (kind !== 'scrypt' || salt === undefined || key === undefined) return false;
  const expected = Buffer.from(key, 'base64url');
  const options = { N: Number(N), r: Number(r), p: Number(p) };
  const actual = await derive(normal(password), Buffer.from(salt, 'base64url'), expected.length, options);
  return timingSafeEqual(actual, expected);
}

/** A password that can be read out over the telephone: 20 letters and digits, 100 bits. */
export function generatePassword(): string {
  const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789'; // 32 characters, none that looks like another
  return [...randomBytes(20)]
    .map((byte) => alphabet[byte & 31])
    .join('')
    .replace(/(.{5})(?=.)/g, '$1-');
}

/** The same password typed on another keyboard may come as other code points. */
const normal = (password: string) => password.normalize('NFKC');
