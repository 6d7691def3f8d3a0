import type { Stats } from 'node:fs';
import { chmod, open, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { giveOwner, isLacking } from '../../disk.js';
import { errnoOf } from '../../errors.js';

/** Read and write for the owner at least; nothing but reading and writing for anyone. */
const ALLOWED = 0o666;
const OWNER = 0o600;

/** Permissions and owner of a database file, for the metadata's `source`. */
export function rightsOf({ mode, uid, gid }: Stats): Record<string, string | number> {
  return { file_mode: (mode & 0o777).toString(8).padStart(4, '0'), file_uid: uid, file_gid: gid };
}

/**
 * Gives the file of a new database the permissions and owner of the dump's source where they are known and mean this
 * machine's users; otherwise it is private and of the folder's owner. SQLite gives its journals the same.
 * @param target where the database will lie
 * @returns a warning if the file could not be given to that owner
 */
export async function giveRights(
  file: string,
  target: string,
  source: Record<string, string | number>,
  madeHere: boolean,
): Promise<string[]> {
  const { uid, gid } = (madeHere ? ownerIn(source) : null) ?? (await stat(dirname(target)));
  const warnings: string[] = [];
  await giveOwner(file, { uid, gid }).catch((error: unknown) => {
    if (!isLacking(error)) throw error;
    warnings.push(`${target} belongs to the user of db-manager: it could not be given to the user ${uid}:${gid}.`);
  });
  await chmod(file, modeIn(source)).catch((error: unknown) => {
    if (!isLacking(error)) throw error;
  });
  return warnings;
}

/**
 * Makes the empty file of a new database, with its rights. One that is there already keeps its own.
 * @returns the warnings of `giveRights`, and `undo`, which takes the file away while it is empty
 */
export async function makeDatabaseFile(
  path: string,
  source: Record<string, string | number>,
  madeHere: boolean,
): Promise<{ warnings: string[]; undo(): Promise<void> }> {
  try {
    await (await open(path, 'wx', OWNER)).close();
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return { warnings: [], undo: async () => {} };
    throw error;
  }
  const undo = async () => {
    if ((await stat(path).catch(() => null))?.size === 0) await rm(path, { force: true });
  };
  try {
    return { warnings: await giveRights(path, path, source, madeHere), undo };
  } catch (error) {
    await undo();
    throw error;
  }
}

function ownerIn({ file_uid: uid, file_gid: gid }: Record<string, string | number>) {
  const isId = (id: unknown): id is number =>
    Number.isInteger(id) && (id as number) >= 0 && (id as number) < 2 ** 32 - 1;
  return isId(uid) && isId(gid) ? { uid, gid } : null;
}

function modeIn({ file_mode: mode }: Record<string, string | number>): number {
  const known = typeof mode === 'string' && /^[0-7]{4}$/.test(mode);
  return known ? (parseInt(mode, 8) & ALLOWED) | OWNER : OWNER;
}
