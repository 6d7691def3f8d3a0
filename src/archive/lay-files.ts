import { closeSync, fchmodSync, fchownSync, fstatSync, fsyncSync, futimesSync, openSync, writeSync } from 'node:fs';
import { isLacking } from '../disk.js';
import { errnoOf } from '../errors.js';

/** Who a file belongs to. */
export interface Owner {
  uid: number;
  gid: number;
}

/** What a file gets besides its content. */
export interface FileAttributes {
  owner: Owner;
  mode: number;
  /** Milliseconds since 1970; null to leave it. */
  mtime: number | null;
}

/** An attribute that the disk or the user could not give to a file, and the code of the error. */
export interface Missed {
  kind: 'owner' | 'permissions' | 'times';
  code: string;
}

/** Small files to lay: all their content in one buffer, one after the other. */
export interface FilesToLay {
  files: { path: string; size: number; attributes: FileAttributes | null }[];
  bytes: Uint8Array;
  /** True to flush each to the disk. */
  flush: boolean;
}

/** What came of it: laying ends at the first error. */
export interface FilesLaid {
  missed: Missed[];
  failed: { index: number; code: string | undefined; message: string } | null;
}

const PRIVATE = 0o600;

/** Makes new files on the calling thread, and blocks it: for a thread that does nothing else, or for few files. */
export function layFiles({ files, bytes, flush }: FilesToLay): FilesLaid {
  const missed = new Map<Missed['kind'], Missed>();
  let from = 0;
  for (const [index, { path, size, attributes }] of files.entries()) {
    try {
      for (const one of layFile(path, bytes.subarray(from, from + size), attributes, flush)) missed.set(one.kind, one);
    } catch (error) {
      const failed = { index, code: errnoOf(error), message: (error as Error).message };
      return { missed: [...missed.values()], failed };
    }
    from += size;
  }
  return { missed: [...missed.values()], failed: null };
}

function layFile(path: string, content: Uint8Array, attributes: FileAttributes | null, flush: boolean): Missed[] {
  const file = openSync(path, 'wx', attributes?.mode ?? PRIVATE);
  try {
    for (let at = 0; at < content.length;) at += writeSync(file, content, at);
    const missed = attributes === null ? [] : giveAttributes(file, attributes);
    if (flush) flushOpen(file);
    return missed;
  } finally {
    closeSync(file);
  }
}

/** Gives an open file what it does not have yet. @throws the error of a system call that has another reason than the disk */
export function giveAttributes(file: number, { owner, mode, mtime }: FileAttributes): Missed[] {
  const missed: Missed[] = [];
  const give = (kind: Missed['kind'], work: () => void) => {
    try {
      work();
    } catch (error) {
      if (!isLacking(error)) throw error;
      missed.push({ kind, code: errnoOf(error) ?? '' });
    }
  };
  const own = fstatSync(file);
  if (own.uid !== owner.uid || own.gid !== owner.gid) give('owner', () => giveOpenTo(file, own, owner));
  if ((own.mode & 0o7777) !== mode) give('permissions', () => fchmodSync(file, mode));
  if (mtime !== null) give('times', () => futimesSync(file, mtime / 1000, mtime / 1000));
  return missed;
}

/** As `giveOwner`: who is not root gives at least the group. */
function giveOpenTo(file: number, own: Owner, { uid, gid }: Owner): void {
  if (process.geteuid?.() === 0 || own.uid === uid) return fchownSync(file, uid, gid);
  fchownSync(file, own.uid, gid);
  throw Object.assign(new Error('only root gives files to another user'), { code: 'EPERM' });
}

function flushOpen(file: number): void {
  try {
    fsyncSync(file);
  } catch (error) {
    if (!isLacking(error)) throw error;
  }
}
