import { createHash } from 'node:crypto';
import { badInput } from '../errors.js';
import type { Values } from './remote-kind.js';
import { assertKnown, neededText, textOf, wholeOf } from './values.js';

/** How a folder of an SSH server is reached. */
export interface SftpSettings {
  host: string;
  port: number;
  username: string;
  /** Without a slash at its end; relative ones begin in the user's home. */
  path: string;
  password: string | undefined;
  privateKey: string | undefined;
  passphrase: string | undefined;
  /** `SHA256:…`; undefined until it was seen for the first time. */
  hostKey: string | undefined;
}

const NAMES = ['host', 'port', 'username', 'path', 'password', 'privateKey', 'passphrase', 'hostKey'];

/** @throws AppError BAD_USER_INPUT naming the setting */
export function sftpSettings(values: Values): SftpSettings {
  assertKnown(values, NAMES);
  const host = neededText(values, 'host');
  if (!/^[A-Za-z0-9._:-]+$/.test(host)) throw badInput('host', `"${host}" is not a host name or address.`);
  const [password, privateKey] = [textOf(values, 'password'), textOf(values, 'privateKey')];
  if (password === undefined && privateKey === undefined) throw badInput('password', 'or privateKey is needed.');
  if (privateKey !== undefined && !privateKey.includes('PRIVATE KEY')) {
    throw badInput('privateKey', 'is not a private key.', 'Give the text of the file, from -----BEGIN to -----END.');
  }
  const hostKey = textOf(values, 'hostKey');
  return {
    host,
    port: wholeOf(values, 'port', 1, 65_535) ?? 22,
    username: neededText(values, 'username'),
    path: folderOf(neededText(values, 'path')),
    password,
    privateKey,
    passphrase: textOf(values, 'passphrase'),
    hostKey: hostKey === undefined ? undefined : fingerprint(hostKey.trim()),
  };
}

/** Where the settings lead, as a person writes it. */
export function sftpPlace({ host, port, path }: SftpSettings): string {
  const address = `${host.includes(':') ? `[${host}]` : host}${port === 22 ? '' : `:${port}`}`;
  return `sftp://${address}${path.startsWith('/') ? '' : '/~/'}${path}`;
}

/** The fingerprint of a key as OpenSSH shows it. @param key its bytes */
export const fingerprintOf = (key: Buffer): string =>
  `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;

/** As `ssh-keyscan` or `ssh-keygen -l` write it. */
function fingerprint(hostKey: string): string {
  if (/^SHA256:[A-Za-z0-9+/]{43}=?$/.test(hostKey)) return hostKey.replace(/=$/, '');
  const [, bytes] = /(?:^|\s)(?:ssh-|ecdsa-)[\w@.-]+\s+([A-Za-z0-9+/=]+)/.exec(hostKey) ?? [];
  if (bytes !== undefined) return fingerprintOf(Buffer.from(bytes, 'base64'));
  throw badInput('hostKey', 'is no fingerprint such as SHA256:… and no key such as ssh-ed25519 AAAA….');
}

function folderOf(path: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(path)) throw badInput('path', 'holds a control character.');
  if (path.split('/').includes('..')) throw badInput('path', `"${path}" holds "..".`);
  const folder = path
    .replace(/\/{2,}/g, '/')
    .replace(/(.)\/$/, '$1')
    .replace(/^~\/|^\.\//, '');
  if (folder === '/' || folder === '~' || folder === '.') {
    throw badInput('path', 'names no folder of its own.', 'Give a folder, such as backups.');
  }
  return folder;
}
