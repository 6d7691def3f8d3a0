import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { toAppError } from '../../errors.js';
import type { BackupRow, RestoreRow } from '../../models/index.js';
import { rowsOfLive } from '../configs/live-copy.js';
import type { CoreEnvironment } from '../environment.js';
import { answersOf, askInvariants, invariantWarnings } from '../invariants/invariants.js';

/**
 * Asks the invariants of a config of the database that a restore has put in force. The restore stands whatever comes of it.
 * @param folder of the run; a copy of a database that is a file is laid in it
 * @returns what to warn of; empty where the target is not the config's own database, or nothing can be asked
 */
export async function warningsAfter(
  env: Pick<CoreEnvironment, 'models' | 'engines' | 'log'>,
  { row, backup, folder, signal }: { row: RestoreRow; backup: BackupRow; folder: string; signal: AbortSignal },
): Promise<string[]> {
  const config = row.configId === null ? null : await env.models.BackupConfig.findByPk(row.configId);
  if (!row.restoreDatabase || config === null || config.invariants.length === 0) return [];
  const engine = env.engines.of(row.engine);
  const { rows } = engine;
  try {
    if (rows === null || (await engine.keyOf(config.databaseUrl)) !== row.targetKey) return [];
    const copy = join(folder, 'after');
    await mkdir(copy, { recursive: true, mode: 0o700 });
    const place = await rowsOfLive(engine, row.targetUrl, copy, { signal, onProgress: () => undefined });
    const before = answersOf(backup.invariants, config.invariants);
    const answers = await askInvariants(rows, place, config.invariants, { before, signal });
    return invariantWarnings(answers).map((text) => `After the restore: ${text}`);
  } catch (error) {
    env.log.warn({ restore: row.id, err: error }, 'the invariants could not be asked after the restore');
    return [`The invariants were not asked after the restore: ${toAppError(error).message}`];
  }
}
