import type { Stats } from 'node:fs';
import { open, rm, stat } from 'node:fs/promises';
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
 * Makes the empty file of a new database, so that SQLite gives its journals the same permissions and owner: those of the
 * dump's source where they are known and mean this machine's users, otherwise private and of the folder's owner.
 * @returns a warning if the file could not be given to that owner, and `undo`, which takes the file away while it is empty
 */
export async function makeDatabaseFile(
  path: string,
  source: Record<string, string | number>,
  madeHere: boolean,
): Promise<{ warnings: string[]; undo(): Promise<void> }> {
  const nothing = { warnings: [], undo: async () => {} };
  const folder = await stat(dirname(path));
  const owner = madeHere ? ownerIn(source) : null;
  const { uid, gid } = owner ?? folder;
  const handle = await open(path, 'wx', OWNER).catch((error: unknown) => {
    if (errnoOf(error) !== 'EEXIST') throw error;
    return null;
  });
  // An empty file that is there already has its own permissions.
  if (handle === null) return nothing;
  const undo = async () => {
    if ((await stat(path).catch(() => null))?.size === 0) await rm(path, { force: true });
  };
  try {
    const warnings: string[] = [];
    await giveOwner(path, { uid, gid }).catch((error: unknown) => {
      if (!isLacking(error)) throw error;
      warnings.push(`${path} belongs to the user of db-manager: it could not be given to the user ${uid}:${gid}.`);
    });
    await handle.chmod(modeIn(source)).catch((error: unknown) => {
      if (!isLacking(error)) throw error;
    });
    return { warnings, undo };
  } catch (error) {
    await undo();
    throw error;
  } finally {
    await handle.close();
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
