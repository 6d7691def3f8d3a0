import { type Models, REGULAR_TYPES } from '../../models/index.js';
import type { CoreEnvironment } from '../environment.js';
import { compareHead, type TrailBreak } from '../audit-trail.js';
import { openReadable } from './stored-archive.js';
import { AppError } from '../../errors.js';

/** What archives say of the audit trail. */
export interface HeadsState {
  /** How many archives were asked. */
  compared: number;
  breaks: TrailBreak[];
  /** Those that could not be asked, with the reason. */
  unread: { backupId: string; error: AppError }[];
}

/**
 * Compares the audit trail with what the newest archive of each config knew of it: a trail that was written anew from its
 * beginning agrees with itself, but not with them.
 */
export async function compareArchiveHeads(
  { models, storages }: Pick<CoreEnvironment, 'models' | 'storages'>,
  signal: AbortSignal,
): Promise<HeadsState> {
  const state: HeadsState = { compared: 0, breaks: [], unread: [] };
  for (const backup of await newestOfEach(models)) {
    try {
      const { metadata } = await (await openReadable(storages, backup, signal)).archive(signal);
      if (metadata.audit === undefined) continue;
      state.compared += 1;
      const found = await compareHead(models, metadata.audit, `the archive of ${backup.id}`);
      if (found !== null) state.breaks.push(found);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof AppError)) throw error;
      state.unread.push({ backupId: backup.id, error });
    }
  }
  return state;
}

async function newestOfEach({ BackupConfig, Backup }: Models) {
  const configs = await BackupConfig.findAll({ attributes: ['id'], order: [['id', 'ASC']] });
  const newest = [];
  for (const { id: configId } of configs) {
    const row = await Backup.findOne({
      where: { configId, status: 'COMPLETED', backupType: REGULAR_TYPES },
      order: [['createdAt', 'DESC']],
    });
    if (row !== null) newest.push(row);
  }
  return newest;
}
