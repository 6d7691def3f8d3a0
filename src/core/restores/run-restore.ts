import type { CoreEnvironment } from '../environment.js';
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { measureMedia } from '../../archive/measure.js';
import type { Archive } from '../../archive/read.js';
import { FILE_KEY_BYTES } from '../../archive/seal-header.js';
import { parentsOf } from '../archives/chains.js';
import { AppError, type ErrorCode } from '../../errors.js';
import type { BackupRow, RestoreRow } from '../../models/index.js';
import { configFacts, type HookFacts, type Hooks } from '../hooks/hooks.js';
import type { Backups } from '../backups/backups.js';
import { backupWork } from '../backups/run-backup.js';
import { databaseLease } from '../runs/hold.js';
import { isFolder } from './media/move-file.js';
import { MediaSwap } from './media/swap.js';
import { originOf } from '../archives/origin.js';
import { leftOut } from './media/part.js';
import { type PlanEnvironment } from './plan.js';
import { within } from '../runs/progress.js';
import { warningsAfter } from './after.js';
import { protectedPaths } from '../configs/protection.js';
import { endPending, noDeadRestore, removeWork, Run, type RunEnvironment } from '../runs/run.js';
import { NO_FILE_KEY, type Reading, type StoredArchive } from '../archives/stored-archive.js';
import { checkedDump, type Extracted, isCheckedHere, layMedia, loadedFrom, mediaParts, readGoodCopy } from './steps.js';
import { isDamage } from '../archives/verify.js';

/** What the restores need of the process around them. */
export type RestoresEnvironment = RunEnvironment &
  PlanEnvironment &
  Pick<CoreEnvironment, 'audit' | 'queue'> & { backups: Backups; hooks: Hooks };

/** Does a PENDING restore: see `Restores` for the steps. */
export async function runRestore(env: RestoresEnvironment, id: string, stop: AbortSignal): Promise<'done' | 'busy'> {
  const row = await env.models.Restore.findByPk(id);
  if (row === null || row.status !== 'PENDING') return 'done';
  const backup = await env.models.Backup.findByPk(row.backupId);
  if (backup?.status !== 'COMPLETED') {
    await endPending(env, 'Restore', id, new AppError('BACKUP_NOT_COMPLETED', `Backup ${row.backupId} is gone.`));
    return 'done';
  }
  const holds = [databaseLease(row.targetKey), ...row.mediaTargets.map(({ root }) => `media:${root}`)];
  const ready = () => noDeadRestore(env.models, row.targetKey);
  const run = await Run.claim(env, 'Restore', id, holds, stop, ready);
  if (run === 'busy') return 'busy';
  if (run === 'taken') return 'done';
  run.warn(...row.warnings);
  const folder = join(env.workFolder, id);
  const facts = () => hookFacts(env, row);
  const warn = (text: string | null) => run.warn(...(text === null ? [] : [text]));
  let inForce = false;
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const extracted = { backup, folder, ...(await verified(env, run, row, { backup, folder })) };
    await checkDump(env, run, row, extracted);
    await env.hooks.before('restore', run, facts);
    await makeSafetyBackup(env, run, row, extracted);
    await switchOver(env, run, row, extracted);
    inForce = true;
    // Written before the evidence (the stamp, the old files) goes, so that a crash in between is not taken for a failure.
    row.changes = { ...row.changes, settled: true };
    if (!(await run.update({ changes: row.changes }))) throw new AppError('INTERRUPTED', 'The run was lost.');
    const removed = removeWork(env, folder);
    run.warn(...(await settle(env, row)));
    await removed;
    run.warn(...(await warningsAfter(env, { row, backup, folder, signal: run.signal })));
    warn(await env.hooks.after('restore', run, facts, null));
    await run.complete();
    env.log.info({ restore: id, backup: backup.id }, 'restore completed');
  } catch (thrown) {
    const error = run.explain(thrown);
    env.log.error({ restore: id, err: error, inForce }, 'restore failed');
    // Once the new state is in force or may be, or another process has taken over, `recover` ends the row as what it is.
    if (!inForce && !run.isLost && !(thrown instanceof Undecided)) {
      warn(await env.hooks.after('restore', run, facts, error));
      await run.fail(error);
    }
  } finally {
    await removeWork(env, folder);
    await run.close();
  }
  return 'done';
}

async function hookFacts({ models, engines }: RestoresEnvironment, row: RestoreRow): Promise<HookFacts> {
  const config = row.configId === null ? null : await models.BackupConfig.findByPk(row.configId);
  const engine = engines.of(row.engine);
  const isOwn = config !== null && (await engine.keyOf(config.databaseUrl)) === row.targetKey;
  return {
    DATABASE: engine.resolve(row.targetUrl).display,
    RESTORE_ID: row.id,
    BACKUP_ID: row.backupId,
    TARGET: isOwn ? 'config' : 'other',
    ...configFacts(config),
  };
}

/** Nothing of the target has been looked at for writing yet. */
async function verified(
  env: RestoresEnvironment,
  run: Run,
  row: RestoreRow,
  { backup, folder }: Pick<Extracted, 'backup' | 'folder'>,
): Promise<Pick<Extracted, 'archive' | 'stored'>> {
  return readGoodCopy(env, run, {
    backup,
    folder,
    holdsDatabase: () => row.restoreDatabase,
    reading: () => readingOf(env, row, backup),
    opened: async (archive) => run.expect(await workOf(env, row, archive, isCheckedHere(backup))),
  });
}

/** How the archive and what it builds on are opened: with the keys from when the restore was requested. */
async function readingOf(env: RestoresEnvironment, row: RestoreRow, backup: BackupRow): Promise<Reading> {
  const parents = await parentsOf(env.models, backup);
  const unsealAt = (index: number) => () => fileKeyAt(env, row, index);
  return {
    unseal: unsealAt(parents.length),
    parents: async () => parents.map((parent, index) => ({ row: parent, unseal: unsealAt(index) })),
  };
}

/** @param index 0 for the full backup of a chain */
async function fileKeyAt({ keys }: RestoresEnvironment, { sealedFileKey }: RestoreRow, index: number): Promise<Buffer> {
  const all = sealedFileKey === null ? Buffer.alloc(0) : await keys.openFileKey(sealedFileKey);
  const own = all.subarray(index * FILE_KEY_BYTES, (index + 1) * FILE_KEY_BYTES);
  if (own.length === FILE_KEY_BYTES && !own.equals(NO_FILE_KEY)) return own;
  throw new AppError('ENCRYPTION_KEY_MISSING', 'The backup was encrypted after this restore was requested.');
}

/** Bytes of each phase of the restore, from the archive's list and from what is at the target now. */
async function workOf(
  env: RestoresEnvironment,
  row: RestoreRow,
  archive: Archive,
  isChecked: boolean,
): Promise<Record<string, number>> {
  const engine = env.engines.of(row.engine);
  const sum = (isWanted: (path: string) => boolean) =>
    archive.entries.filter(({ path }) => isWanted(path)).reduce((bytes, { size }) => bytes + size, 0);
  const dump = row.restoreDatabase ? sum(engine.ownsEntry) : 0;
  const media = sum((path) => row.mediaTargets.some(({ prefix }) => path.startsWith(prefix)));
  const unknown = () => ({ bytes: 0 });
  const live = await engine.check(row.targetUrl).catch(unknown);
  const { covers } = await protectedPaths(env, { engine, url: row.targetUrl });
  const present = await measureMedia(await presentRoots(row), covers, NEVER).catch(unknown);
  const safety = Object.values(backupWork(live.bytes, present.bytes)).reduce((bytes, part) => bytes + part, 0);
  return { verify: archive.totalBytes, check: isChecked ? 0 : dump, safety, media, switch: 0, load: dump };
}

const NEVER = new AbortController().signal;

/** Looks for what could do harm in the database that was laid, and for damage where nobody here has done so before. */
async function checkDump(
  env: RestoresEnvironment,
  run: Run,
  row: RestoreRow,
  { backup, archive, folder }: Extracted,
): Promise<void> {
  if (!row.restoreDatabase) return;
  const engine = env.engines.of(row.engine);
  const step = await run.phase('check', 'steps');
  if (backup.damaged) {
    await engine.describeDump(folder, step).catch(unlessDamaged);
    run.warn('The backup is of a damaged database: its files are put back as they were.');
  } else {
    const findings = await checkedDump(engine, { backup, archive, folder }, step);
    const left = row.rebuildIndexes ? await engine.rebuild(folder, findings, step) : findings;
    run.warn(...left.map(({ message }) => message));
  }
  await engine.checkWritable(row.targetUrl).catch(unlessDamaged);
}

/** The switch was begun and its answer lost, and the database does not say now whether it happened. */
class Undecided extends AppError {
  constructor(cause: unknown) {
    super('DATABASE_FAILED', 'The database does not answer, so it is not known yet whether the switch happened.', {
      hint: 'Start the server of the database again: the restore is ended as soon as it answers.',
      cause,
    });
  }
}

function unlessDamaged(error: unknown): null {
  if (isDamage(error)) return null;
  throw error;
}

/** A verified, pinned backup of all that is about to change. A target that holds nothing yet needs none. */
async function makeSafetyBackup(
  env: RestoresEnvironment,
  run: Run,
  row: RestoreRow,
  { backup, stored }: Extracted,
): Promise<void> {
  const { onProgress } = await run.phase('safety');
  const exists = await env.engines.of(row.engine).exists(row.targetUrl);
  const source = { databaseUrl: exists ? row.targetUrl : null, mediaPaths: await presentRoots(row) };
  if (source.databaseUrl === null && source.mediaPaths.length === 0) {
    run.warn('The target held nothing before, so there was nothing to keep as a safety backup.');
    return;
  }
  const engine = env.engines.of(row.engine);
  const config = row.configId === null ? null : await env.models.BackupConfig.findByPk(row.configId);
  // The state of another place is not the application's, even if the archive came from it.
  const own = config !== null && (await engine.keyOf(config.databaseUrl)) === row.targetKey ? config : null;
  const { name, display } = engine.resolve(row.targetUrl);
  // What leaves the application is encrypted as the config says, this too.
  const keys = await (config === null ? env.keys.ofBackup(backup.id) : env.keys.ofConfig(config.id));
  const safety = await env.backups.createSafety({
    configId: row.configId,
    address: safetyAddress(backup, stored),
    engine: row.engine,
    databaseName: name,
    applicationId: own?.applicationId ?? null,
    archivePrefix: config?.archivePrefix ?? null,
    origin:
      own === null
        ? { config: null, host: hostname(), database: display, mediaPaths: source.mediaPaths }
        : originOf(env.engines, own),
    note: `State before ${row.id}`,
    keyIds: keys.map(({ id }) => id),
    actor: row.createdBy ?? 'system',
  });
  row.safetyBackupId = safety.id;
  await run.update({ safetyBackupId: safety.id });
  await env.backups.run(safety.id, run.signal, { source, onProgress, damage: 'keep-raw' });
  await safety.reload();
  if (safety.status === 'COMPLETED') {
    if (safety.damaged) run.warn(keptRaw(safety));
    return;
  }
  run.signal.throwIfAborted();
  const code = (safety.errorCode ?? 'INTERNAL_ERROR') as ErrorCode;
  throw new AppError(code, `The safety backup failed: ${safety.errorMessage ?? ''} Nothing was changed.`, {
    hint: safety.errorHint ?? 'Correct the cause and restore again.',
  });
}

/** Where the archive was read from: that place answers. */
const safetyAddress = ({ address }: BackupRow, { copy }: StoredArchive) => {
  if (copy === null) return address;
  const { storageType, storagePath } = copy.destination;
  return { storageType, storagePath };
};

const keptRaw = ({ id }: BackupRow) =>
  `The database was damaged before: the safety backup ${id} holds its files byte by byte, compared by SHA-256. Undoing this restore puts them back.`;

async function presentRoots(row: RestoreRow): Promise<string[]> {
  const present: string[] = [];
  for (const { root } of row.mediaTargets) {
    if (await isFolder(root)) present.push(root);
  }
  return present;
}

/**
 * Media first, each file by a rename that can be undone; the database last, by its own atomic switch, which is the point
 * of no return. A failure before it puts the media back; a crash is decided by the stamp in the database: see `repair`.
 */
async function switchOver(
  env: RestoresEnvironment,
  run: Run,
  row: RestoreRow,
  { backup, archive, folder }: Extracted,
): Promise<void> {
  const engine = env.engines.of(row.engine);
  const roots = row.mediaTargets.map((target) => target.root);
  const protection = await protectedPaths(env, { engine, url: row.targetUrl });
  row.changes = { roots, database: row.restoreDatabase };
  await run.assertOwn({ changes: row.changes });
  const swaps: MediaSwap[] = [];
  let isSwitching = false;
  try {
    const laying = await run.phase('media');
    const parts = await mediaParts(row, archive, row.mediaTargets, protection);
    run.warn(...leftOut(parts), ...parts.flatMap(({ survey }) => survey.warnings));
    await layMedia(swaps, archive, parts, { runId: row.id, mode: row.mediaMode, protection }, laying);
    const step = await run.phase('switch', 'steps');
    for (const [index, swap] of swaps.entries()) await swap.apply(within(step, index, index + 1, swaps.length));
    run.warn(...swaps.flatMap(({ warnings }) => warnings));
    await run.assertOwn();
    if (!row.restoreDatabase) return;
    const loaded = await engine.load(folder, row.targetUrl, {
      ...(await run.phase('load')),
      lockTimeoutMs: row.lockTimeout * 1000,
      stamp: row.id,
      tables: row.tables,
      ...(row.repair !== null && { repair: row.repair }),
      exact: row.undoOf !== null,
      ...loadedFrom(archive, backup),
      onSwitch: () => void (isSwitching = true),
    });
    run.warn(...loaded);
  } catch (error) {
    const stamp = row.restoreDatabase ? engine.stampOf(row.targetUrl) : Promise.resolve(null);
    const left = await stamp.catch((cause: unknown) => {
      if (isSwitching) throw new Undecided(cause);
      return null;
    });
    if (left === row.id) return;
    if (!run.isLost) await putBack(env, row, run.explain(error), swaps);
    throw error;
  } finally {
    for (const swap of swaps) await swap.close();
  }
}

/** @param swaps those that this process still has open: they reach their folders whatever became of the paths */
async function putBack(
  env: RestoresEnvironment,
  row: RestoreRow,
  cause: AppError,
  swaps: MediaSwap[] = [],
): Promise<void> {
  const failures: Error[] = [];
  // Backwards: where one media folder lies in another, the later swap keeps what the earlier one had put there.
  for (const root of (row.changes.roots ?? []).toReversed()) {
    const open = swaps.find((swap) => swap.isOf(root));
    const undo = open === undefined ? MediaSwap.finish(root, row.id, 'undo') : open.undo();
    await undo.catch((error: unknown) => failures.push(error as Error));
  }
  if (failures.length === 0) return;
  env.log.error({ restore: row.id, err: failures[0] }, 'the media could not be put back');
  throw new AppError(
    'RESTORE_ROLLBACK_FAILED',
    `${cause.message} The database was not changed, but the media could not be put back: ${failures.map(({ message }) => message).join(' ')}`,
    { hint: `Restore the media of the safety backup ${row.safetyBackupId ?? ''}.`, cause },
  );
}

/** Removes what putting back would need. Past the point of no return: failures here become warnings. @returns them */
async function settle(env: RestoresEnvironment, row: RestoreRow): Promise<string[]> {
  try {
    for (const root of row.changes.roots ?? []) await MediaSwap.finish(root, row.id, 'settle');
    if (row.restoreDatabase) await env.engines.of(row.engine).clearStamp(row.targetUrl, row.lockTimeout * 1000);
    return [];
  } catch (error) {
    env.log.warn({ restore: row.id, err: error }, 'the restore could not be tidied up');
    return [(error as Error).message];
  }
}

/**
 * Decides what a restore whose process died has done, and ends it: if the row or the stamp in the database says so, the
 * switch happened and the rest is tidied up; if not, the media go back to what they were. Never a mixture.
 * @returns whether the restore is in force, and what could not be tidied up
 */
export async function repair(
  env: RestoresEnvironment,
  row: RestoreRow,
): Promise<{ inForce: boolean; warnings: string[] }> {
  const { roots, settled } = row.changes;
  if (roots === undefined) return { inForce: false, warnings: [] };
  const stamped = row.restoreDatabase && (await env.engines.of(row.engine).stampOf(row.targetUrl)) === row.id;
  if (settled === true || stamped) return { inForce: true, warnings: await settle(env, row) };
  await putBack(env, row, new AppError('INTERRUPTED', 'The process that did this restore stopped.'));
  if (row.restoreDatabase) await env.engines.of(row.engine).discard(row.targetUrl, row.id);
  return { inForce: false, warnings: [] };
}
