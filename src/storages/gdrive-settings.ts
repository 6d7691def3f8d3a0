import { badInput } from '../errors.js';
import type { Values } from './remote-kind.js';
import { assertKnown, innerPath, neededText, textOf } from './values.js';

/** How a folder of Google Drive is reached. */
export interface GdriveSettings {
  /** Exactly one of the two. */
  folder: { id: string } | { path: string };
  /** Shared drive that the folder lies in; undefined: the account's own drive. */
  driveId: string | undefined;
  account: DriveAccount;
  /** Without a slash at its end; undefined: Google's own addresses. */
  rootUrl: string | undefined;
}

/** As whom Google is asked. */
export type DriveAccount =
  | { kind: 'service'; email: string; privateKey: string }
  | { kind: 'user'; clientId: string; clientSecret: string; refreshToken: string };

const NAMES = ['folder', 'serviceAccountKey', 'clientId', 'clientSecret', 'refreshToken', 'driveId', 'rootUrl'];

/** @throws AppError BAD_USER_INPUT naming the setting */
export function gdriveSettings(values: Values): GdriveSettings {
  assertKnown(values, NAMES);
  const driveId = textOf(values, 'driveId');
  if (driveId !== undefined && !isId(driveId)) throw badInput('driveId', 'is not the id of a shared drive.');
  return { folder: folderOf(values), driveId, account: accountOf(values), rootUrl: rootUrlOf(values) };
}

/** Where the settings lead, as a person writes it. */
export function gdrivePlace(values: Values): string {
  const driveId = textOf(values, 'driveId');
  const folder = folderOf(values);
  return `gdrive://${driveId === undefined ? '' : `${driveId}/`}${'id' in folder ? folder.id : folder.path}`;
}

function folderOf(values: Values): GdriveSettings['folder'] {
  const folder = neededText(values, 'folder');
  if (isId(folder)) return { id: folder };
  const path = innerPath(values, 'folder');
  if (path === '') throw badInput('folder', 'is empty.', 'Write a path such as Backups/okpuja, or the id of a folder.');
  return { path };
}

/** Ids are long, and no word: a folder of that name is written with a slash in front. */
const isId = (text: string) => /^(?=.*\d)[A-Za-z0-9_-]{19,}$/.test(text);

function accountOf(values: Values): DriveAccount {
  const key = textOf(values, 'serviceAccountKey');
  const user = ['clientId', 'clientSecret', 'refreshToken'].filter((name) => textOf(values, name) !== undefined);
  if (key === undefined) {
    const [clientId, clientSecret, refreshToken] = ['clientId', 'clientSecret', 'refreshToken'].map((name) =>
      user.length === 0 ? undefined : neededText(values, name),
    );
    if (clientId !== undefined && clientSecret !== undefined && refreshToken !== undefined) {
      return { kind: 'user', clientId, clientSecret, refreshToken };
    }
    throw badInput(
      'serviceAccountKey',
      'is missing.',
      'Give the key of a service account, or clientId, clientSecret and refreshToken.',
    );
  }
  if (user[0] !== undefined) throw badInput(user[0], 'does not go with serviceAccountKey.', 'Give one of the two.');
  return serviceAccount(key);
}

function serviceAccount(text: string): DriveAccount {
  const { client_email: email, private_key: privateKey } = parsed(text);
  if (typeof email === 'string' && typeof privateKey === 'string') return { kind: 'service', email, privateKey };
  throw badInput(
    'serviceAccountKey',
    'is not the JSON key of a service account.',
    'Paste the whole file that Google Cloud gave out, from { to }.',
  );
}

/** An empty object if it is no JSON. An error would hold a part of the text, which is a secret. */
function parsed(text: string): { client_email?: unknown; private_key?: unknown } {
  try {
    return (JSON.parse(text) as object | null) ?? {};
  } catch {
    return {};
  }
}

function rootUrlOf(values: Values): string | undefined {
  const text = textOf(values, 'rootUrl');
  if (text === undefined) return undefined;
  const url = URL.canParse(text) ? new URL(text) : null;
  const plain = url !== null && url.username === '' && url.password === '' && url.search === '';
  if (plain && /^https?:$/.test(url.protocol)) return text.replace(/\/+$/, '');
  throw badInput('rootUrl', 'is not a URL such as https://www.googleapis.com.');
}
