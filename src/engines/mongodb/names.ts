import { createHash } from 'node:crypto';

/** The folder of the archive's entries: what stands below it lies as mongodump lays it. */
export const FOLDER = 'database.bson/';
/** What ends the entry of a collection's documents, and of its definition. */
export const DATA = '.bson';
export const DEFINITION = '.metadata.json';

/** Where mongodump begins to cut names of files, in bytes, and what is left of them before the hash. */
const LONGEST_FILE = 238;
const KEPT = 208;

/** The name of a collection as mongodump writes it in names of files: percent signs as Go's `url.PathEscape`, and for colons. */
export function fileNameOf(collection: string): string {
  const escaped = encodeURIComponent(collection)
    .replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/%(24|26|2B|3D|40)/g, (sign) => decodeURIComponent(sign));
  if (escaped.length <= LONGEST_FILE) return escaped;
  return `${escaped.slice(0, KEPT)}%24${createHash('sha1').update(collection).digest('base64url')}`;
}

/** The name of the collection in a file's name, for dumps whose definitions do not say it; null if it says none. */
export function collectionOf(fileName: string): string | null {
  try {
    return decodeURIComponent(fileName);
  } catch {
    return null;
  }
}

/** True for the archive's entries that are a database. */
export const isEntry = (path: string): boolean =>
  path.startsWith(FOLDER) && /^[^/\\]+(\.bson|\.metadata\.json)$/.test(path.slice(FOLDER.length));

/** The record of a switch that a restore makes: one document in a collection of the target. */
export const JOURNAL = 'dbm_switch';
/** A collection that a restore fills, and one that it has put aside. */
export const newName = (stamp: string, index: number): string => `dbm_new_${stamp}_${index}`;
export const oldName = (stamp: string, index: number): string => `dbm_old_${stamp}_${index}`;

const OWN = /^dbm_(new|old)_(.+)_\d+$/;
const STAMP = /^(?:restore|drill|verify)_(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)_[0-9a-f]{8}$/;

/** What a collection of ours is, and of which restore; null for one of the application's. */
export function ownOf(collection: string): { kind: 'new' | 'old'; stamp: string } | null {
  const [, kind, stamp = ''] = OWN.exec(collection) ?? [];
  return kind === undefined || !STAMP.test(stamp) ? null : { kind: kind as 'new' | 'old', stamp };
}

/** True for a collection that this product has made in the database. */
export const isOwn = (collection: string): boolean => collection === JOURNAL || ownOf(collection) !== null;

/** When a stamp was made, in milliseconds since 1970. */
export function timeOf(stamp: string): number {
  const [year = 0, month = 1, ...rest] = (STAMP.exec(stamp) ?? []).slice(1).map(Number);
  return Date.UTC(year, month - 1, ...rest);
}

/** True for a name that MongoDB itself gives a meaning. */
export const isSystem = (collection: string): boolean => collection.startsWith('system.');

/** MongoDB's own limit for `database.collection`, in bytes. */
const LONGEST_NAMESPACE = 255;

/** True for a name that an application's collection can have. */
export const isCollectionName = (name: string): boolean =>
  name !== '' &&
  !/[\0$]/.test(name) &&
  !/\p{Surrogate}/u.test(name) &&
  Buffer.byteLength(name) < LONGEST_NAMESPACE &&
  !isSystem(name) &&
  !isOwn(name);
