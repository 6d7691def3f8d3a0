import { AppError } from '../../errors.js';
import type { BackupConfigRow, BackupRow } from '../../models/index.js';
import type { CoreEnvironment } from '../environment.js';
import type { Engine, StepContext } from '../ports.js';
import { type Extracted, loadedFrom } from '../restores/steps.js';

/** What it takes to find a server for scratch databases. */
export interface ScratchEnvironment extends Pick<CoreEnvironment, 'engines'> {
  /** DRILL_DATABASE_URL: scratch databases of its kind are made on its server; null: on that of the config's database. */
  drillDatabaseUrl: string | null;
}

/** How long a load waits for locks of a database that no one else knows, in milliseconds. */
const LOCK_WAIT = 30_000;

/**
 * A database of the server on which a scratch database for a backup is made; null where databases are files.
 * @throws AppError ENGINE_UNSUPPORTED for an uploaded backup, DATABASE_NOT_FOUND
 */
export function scratchServer(
  { engines, drillDatabaseUrl }: ScratchEnvironment,
  backup: BackupRow,
  config: BackupConfigRow | null,
): string | null {
  if (!engines.of(backup.engine).capabilities.onServer) return null;
  // What an uploaded archive says that it is of is no reason to run its statements on a server.
  if (backup.backupType === 'UPLOADED') {
    const text = `Backup ${backup.id} was uploaded: its statements are not run on a server that nobody chose for it.`;
    throw new AppError('ENGINE_UNSUPPORTED', text, {
      hint: 'Restore it into a database of a server of your choice: targetDatabaseUrl.',
    });
  }
  if (drillDatabaseUrl !== null && engines.forUrl(drillDatabaseUrl).kind === backup.engine) return drillDatabaseUrl;
  if (config?.engine === backup.engine) return config.databaseUrl;
  throw new AppError('DATABASE_NOT_FOUND', `Backup ${backup.id} is of a server, and its config is gone.`, {
    hint: 'Set DRILL_DATABASE_URL to a database of a server on which scratch databases may be made.',
  });
}

/**
 * Loads an extracted dump into a scratch database with the code of a restore. No event of it starts.
 * @param scratch its URL, and the id of the run that it was made for
 * @returns what to warn of
 */
export async function loadScratch(
  engine: Engine,
  { backup, archive, folder }: Omit<Extracted, 'stored'>,
  { url, id }: { url: string; id: string },
  step: StepContext,
): Promise<string[]> {
  await engine.checkWritable(url);
  const warnings = await engine.load(folder, url, {
    ...step,
    ...loadedFrom(archive, backup),
    lockTimeoutMs: LOCK_WAIT,
    stamp: id,
    tables: null,
    exact: false,
    isScratch: true,
    onSwitch: () => undefined,
  });
  await engine.clearStamp(url, LOCK_WAIT);
  return warnings;
}
