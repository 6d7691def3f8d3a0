import { randomBytes } from 'node:crypto';

/** How the actor of what a command does begins; the system's user follows. */
export const COMMAND_ACTOR = 'cli:';

/** `20250724_143022`: the UTC date and time in ids and file names. */
export function stamp(at: Date): string {
  return at.toISOString().slice(0, 19).replaceAll('-', '').replaceAll(':', '').replace('T', '_');
}

/** An id such as `backup_20250724_143022_a1b2c3d4`: sorts by time, unique. */
export function newId(kind: 'backup' | 'restore' | 'verify' | 'upload' | 'plan', at: Date): string {
  return `${kind}_${stamp(at)}_${randomBytes(4).toString('hex')}`;
}

/** `okpuja_backup_20250724_143022.zip`, then `…_2.zip` and so on. @param attempt 1 for the first choice */
export function archiveName(prefix: string, at: Date, attempt: number): string {
  return `${prefix}_backup_${stamp(at)}${attempt > 1 ? `_${attempt}` : ''}.zip`;
}

/** True for a name that `archiveName` gives, also while the archive is being written (`.<name>.<run>.partial`). */
export function isArchiveName(name: string): boolean {
  return /_backup_\d{8}_\d{6}(_\d+)?\.zip(\.[^.]+\.partial)?$/.test(name);
}

/** A database file and what may lie beside it. */
export function databaseFiles(file: string): string[] {
  return ['', '-wal', '-shm', '-journal'].map((suffix) => file + suffix);
}

/** The first three of several names, for a sentence: `a, b, c, …`. */
export function firstOf(names: string[]): string {
  return `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''}`;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** Bytes for people: `12.5 MiB`. */
export function humanSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${UNITS[unit]}`;
}
