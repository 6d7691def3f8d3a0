import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { Archive, ArchiveEntry } from '../../../archive/read.js';
import { AppError } from '../../../errors.js';
import type { Protection } from '../../configs/protection.js';
import { firstOf } from '../../text/format.js';
import { type MediaTarget, type Survey, surveyMedia } from './survey.js';

/** What of an archive's media a restore writes to one folder. */
export interface MediaPart {
  target: MediaTarget;
  /** True for the archive's paths of this folder that are chosen and may be written. */
  wanted(path: string): boolean;
  /** The files among the entries that are wanted. */
  files: ArchiveEntry[];
  /** What they meet in the folder. */
  survey: Survey;
  /** Chosen files that are left out, because something protected lies in their place. */
  leftOut: string[];
}

/**
 * Works out what is written to a media folder: the same for a plan and for the run.
 * @param chosen only these paths of the archive and what lies below; null for all
 * @throws AppError PATH_NOT_ALLOWED for a folder that is wholly db-manager's own; as `surveyMedia`
 */
export async function mediaPart(
  { media }: { media: string[] | null },
  archive: Archive,
  target: MediaTarget,
  protection: Protection,
): Promise<MediaPart> {
  const root = await realpath(target.root).catch(() => target.root);
  if (protection.covers(root)) {
    throw new AppError('PATH_NOT_ALLOWED', `The media cannot go to ${target.root}: it is db-manager's own folder.`, {
      hint: "Choose another targetMediaPath, or correct the config's mediaPaths.",
    });
  }
  const forbidden = protection.forbidden(root);
  const isChosen = (path: string) =>
    path.startsWith(target.prefix) && (media === null || media.some((chosen) => isOrIsBelow(path, chosen)));
  const mayGo = (path: string) => !forbidden(join(root, archive.original(path).slice(target.prefix.length)));
  const going: ArchiveEntry[] = [];
  const staying: string[] = [];
  for (const entry of archive.entries) {
    if (!isChosen(entry.path)) continue;
    if (mayGo(entry.path)) going.push(entry);
    else if (!entry.directory) staying.push(entry.path);
  }
  return {
    target,
    wanted: (path) => isChosen(path) && mayGo(path),
    files: going.filter(({ directory }) => !directory),
    survey: await surveyMedia(target, going),
    leftOut: staying,
  };
}

/** The warning about files that are left out; none if all go. */
export function leftOut(parts: MediaPart[]): string[] {
  const paths = parts.flatMap((part) => part.leftOut);
  if (paths.length === 0) return [];
  return [
    `${paths.length} of the backup's files are not restored, because the database, an archive or db-manager's own folder lies in their place: ${firstOf(paths)}.`,
  ];
}

/** True if the archive path is the chosen file or lies in the chosen folder. */
export function isOrIsBelow(path: string, chosen: string): boolean {
  const bare = chosen.replace(/\/+$/, '');
  return path === bare || path.startsWith(`${bare}/`);
}
