import { randomBytes } from 'node:crypto';

/** How the actor of what a command does begins; the system's user follows. */
export const COMMAND_ACTOR = 'cli:';

/** `20250724_143022`: the UTC date and time in ids and file names. */
export function stamp(at: Date): string {
  return at.toISOString().slice(0, 19).replaceAll('-', '').replaceAll(':', '').replace('T', '_');
}

/** An id such as `backup_20250724_143022_a1b2c3d4`: sorts by time, unique. */
export function newId(kind: 'backup' | 'restore' | 'verify' | 'upload' | 'plan' | 'look', at: Date): string {
  return `${kind}_${stamp(at)}_${randomBytes(4).toString('hex')}`;
}
