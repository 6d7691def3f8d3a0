import { AppError } from '../errors.js';
import type { Sealer } from './ports.js';

/** The address of a server as an engine normalises it: what stands before its password, the password, what follows. */
const ADDRESS = /^([a-z+]+:\/\/[^:@/?#]+):([^@]*)@(.+)$/;
/** How a sealed password begins. */
const MARK = 'sealed-';

/**
 * The URL as a row may keep it: with its password sealed. One without a password, or with a sealed one, stays as it is.
 * @param url as `Engine.resolve` gives it
 * @param saved a sealed one: it is returned if it means the same, so that nothing looks changed
 */
export async function sealUrl(sealer: Sealer, url: string, saved?: string): Promise<string> {
  const [, before = '', password, after = ''] = ADDRESS.exec(url) ?? [];
  if (password === undefined || password.startsWith(MARK)) return url;
  const same = saved === undefined ? null : await openUrl(sealer, saved).catch(() => null);
  if (saved !== undefined && same === url) return saved;
  // With its address: a password that was sealed for one server is sent to no other.
  const sealed = await sealer.seal({ password, at: `${before}@${after}` });
  return `${before}:${MARK}${sealed}@${after}`;
}

/** The URL with its password in the clear, for the moment in which it is used. @throws AppError CONFIG_INVALID */
export async function openUrl(sealer: Sealer, url: string): Promise<string> {
  const [, before = '', sealed = '', after = ''] = ADDRESS.exec(url) ?? [];
  if (!sealed.startsWith(MARK)) return url;
  const { password = '', at } = await sealer.open(sealed.slice(MARK.length));
  if (at === `${before}@${after}`) return `${before}:${password}@${after}`;
  throw new AppError('CONFIG_INVALID', 'The password of a database URL was sealed for another address.', {
    hint: 'Write the whole URL anew, with the password.',
  });
}

/** Opens a URL with one key and seals it with another. */
export async function resealUrl(from: Sealer, to: Sealer, url: string): Promise<string> {
  return sealUrl(to, await openUrl(from, url));
}
