import {
  isRegular,
  REGULAR_TYPES,
  type BackupConfigRow,
  type BackupRow,
  type Invariant,
  type InvariantResult,
} from '../../models/index.js';
import type { CoreEnvironment } from '../environment.js';
import { forgetNormals, formerInvariants, judgeBackup, type Judged } from '../anomalies/history.js';
import { updateCopies } from '../archives/copies.js';
import { mkdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { Op } from 'sequelize';
import { measureMedia } from '../../archive/measure.js';
import { type ArchiveMetadata, BACKUP_VERSION } from '../../archive/metadata.js';
import { shown } from '../../archive/names.js';
import type { Collected, Compression } from '../../archive/write.js';
import { AppError, toAppError } from '../../errors.js';
import { answersOf, askInvariants, invariantWarnings } from '../invariants/invariants.js';
import { configFacts, type Hooks } from '../hooks/hooks.js';
import type { Keys } from '../keys/keys.js';
import type { Configs } from '../configs/configs.js';
import { unmatchedWarnings } from '../configs/settings.js';
import { databaseLease } from '../runs/hold.js';
import { firstOf, humanSize } from '../text/format.js';
import type {
  ChangedSnapshot,
  DamagePolicy,
  Exclusions,
  OnProgress,
  Snapshot,
  SnapshotContents,
  StepContext,
  Storage,
} from '../ports.js';
import type { Places } from '../configs/places.js';
import { type Protection, protectedPaths } from '../configs/protection.js';
import { endPending, noDeadRestore, removeWork, Run, type RunEnvironment } from '../runs/run.js';
import { Beginning, Increment } from './increment.js';
import {
  auditHead,
  type LaidArchive,
  layArchive,
  mostBytes,
  type Seal,
  sealFor,
  statedKeys,
  verifyLaid,
} from './lay-archive.js';

/** What the backups need of the process around them. */
export type BackupsEnvironment = RunEnvironment &
  Pick<
    CoreEnvironment,
    | 'engines'
    | 'storages'
    | 'audit'
    | 'queue'
    | 'dataDir'
    | 'prefix'
    | 'version'
    | 'compressionThreads'
    | 'workFolder'
    | 'exclude'
    | 'maxUploadBytes'
    | 'maxUploadEntries'
    | 'deletionDelayMs'
    | 'onDeletionPlanned'
  > & { configs: Configs; places: Places; keys: Keys; hooks: Hooks };

/** What a backup reads. */
export interface BackupSource {
  /** Null: there is no database, only media are kept. */
  databaseUrl: string | null;
  mediaPaths: string[];
  /** What is left out; of a state that is about to be replaced, nothing is. */
  exclusions?: Exclusions;
}

/** How a run may be started. */
export interface RunOptions {
  /** In place of the config's own; the caller holds the database: a restore that makes its safety backup. */
  source?: BackupSource;
  /** What becomes of damaged pages; by default as the request says. */
  damage?: DamagePolicy;
  /** Told how many bytes of all that the run has to do are done. */
  onProgress?: OnProgress;
}

/** What a snapshot may grow by while it is taken. */
export const SNAPSHOT_MARGIN = 1.05;

/** Does a PENDING backup: see `Backups.run`. */
export async function runBackup(
  env: BackupsEnvironment,
  row: BackupRow,
  stop: AbortSignal,
  options: RunOptions,
): Promise<'done' | 'busy'> {
  const { id } = row;
  // Safety backups and uploads are run by the process that made them, never from the queue.
  if (options.source === undefined && !isRegular(row.backupType)) return 'done';
  const config = row.configId === null ? null : await env.models.BackupConfig.findByPk(row.configId);
  const source: BackupSource | null =
    options.source ??
    (config && { databaseUrl: config.databaseUrl, mediaPaths: config.mediaPaths, exclusions: config });
  if (source === null) {
    const error = new AppError('NOT_FOUND', 'The config of this backup was deleted before the run began.');
    await endPending(env, 'Backup', id, error);
    return 'done';
  }
  // Asked for anew: the file may lie behind a link that leads elsewhere by now.
  const key = options.source || config === null ? null : await env.engines.of(config.engine).keyOf(config.databaseUrl);
  const holds = key === null ? [] : [databaseLease(key)];
  const storage = env.storages.open(row.address);
  const ready = () => noDeadRestore(env.models, key);
  const run = await Run.claim(env, 'Backup', id, holds, stop, ready);
  if (run === 'busy') return 'busy';
  if (run === 'taken') return 'done';
  const folder = join(env.workFolder, id);
  const hooks = options.source ? null : hooksOf(env, run, row, config);
  let stored: string | null = null;
  let snapshot = null as Snapshot | null;
  let answers = null as Promise<InvariantResult[]> | null;
  try {
    await hooks?.before();
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const damage = options.damage ?? (row.allowDamaged ? 'keep' : 'refuse');
    const ground = await checkGround(env, run, row, source, storage, { damage, onProgress: options.onProgress });
    const { databaseUrl: url, mediaPaths } = source;
    const beginning = await Beginning.of(env, run, row, { config, url, mediaPaths });
    const invariants = options.source ? [] : (config?.invariants ?? []);
    const about = { beginning, folder, damage, whole: invariants.length > 0 };
    const state = await takeState(env, run, row, source, about, (taken) => (snapshot = taken));
    const { increment } = state;
    answers = answered(env, run, row, { invariants, snapshot: state.snapshot, folder });
    answers.catch(() => undefined);
    const seal = await sealFor(env, run, row);
    const archive = await store(
      env,
      run,
      row,
      { ...ground, mediaPaths, settings: config, seal, increment, answers },
      storage,
      state.snapshot,
      (name) => (stored = name),
    );
    // All of the snapshot is in the archive now. To free a large file takes as long as to verify it.
    const removed = removeWork(env, folder);
    await verifyLaid(env, run, row, storage, { ...archive, seal });
    const judged = options.source ? null : await compared(env, run, row, config, archive.metadata, state);
    const completed = await run.complete(outcomeOf(env, archive, judged));
    // The hook works in that folder.
    await removed;
    if (!completed) throw new AppError('INTERRUPTED', 'This process lost its hold of the run.');
    await increment?.note(env, row, archive.metadata, archive.metadataSha256);
    await tellAnomalies(env, row, judged);
    if (config?.testError) await config.update({ testError: null });
    env.log.info({ backup: id, size: archive.size }, 'backup completed');
    await hooks?.completed();
  } catch (thrown) {
    await hooks?.failed(run.explain(thrown));
    await endBadly(env, run, { storage, stored, thrown });
  } finally {
    run.abandon(new AppError('INTERRUPTED', 'The run has ended.'));
    await snapshot?.contents.catch(() => undefined);
    await answers?.catch(() => undefined);
    await removeWork(env, folder);
    await run.close();
  }
  return 'done';
}

/** The hooks around a run. The one after it runs once, and not where another process has taken over. */
function hooksOf({ engines, hooks }: BackupsEnvironment, run: Run, row: BackupRow, config: BackupConfigRow | null) {
  const facts = async () => ({
    DATABASE: config === null ? row.databaseName : engines.of(row.engine).resolve(config.databaseUrl).display,
    BACKUP_ID: row.id,
    BACKUP_TYPE: row.backupType,
    ...configFacts(config),
  });
  let isOver = false;
  return {
    before: () => hooks.before('backup', run, facts),
    /** The row is COMPLETED before: what dies now takes no good backup with it. */
    async completed() {
      isOver = true;
      if (run.isLost) return;
      const warning = await hooks.after('backup', run, facts, null, true);
      if (warning !== null) await (await row.reload()).update({ warnings: [...row.warnings, warning] });
    },
    async failed(error: AppError) {
      if (isOver || run.isLost) return;
      isOver = true;
      const warning = await hooks.after('backup', run, facts, error);
      if (warning !== null) run.warn(warning);
    },
  };
}

/** How long a run waits for a lock of another program, as long as its snapshot does, in milliseconds. */
const LOCK_PATIENCE = 60_000;

/** What a backup stands on, known before anything is taken. */
interface Ground {
  media: { files: number; bytes: number };
  protection: Protection;
}

/** Looks at the storage, the media and the space first: what cannot end well should not take a snapshot. */
async function checkGround(
  env: BackupsEnvironment,
  run: Run,
  row: BackupRow,
  { databaseUrl: url, mediaPaths, exclusions }: BackupSource,
  storage: Storage,
  { damage, onProgress }: { damage: DamagePolicy; onProgress: OnProgress | undefined },
): Promise<Ground> {
  await run.phase('check', 'steps');
  await storage.prepare();
  const engine = env.engines.of(row.engine);
  const options = { wait: LOCK_PATIENCE, signal: run.signal, damage, exclusions };
  const database = url === null ? 0 : (await engine.check(url, options)).bytes;
  const protection = await protectedPaths(env, url === null ? null : { engine, url });
  await protection.assertMedia(mediaPaths);
  const media = await measureMedia(mediaPaths, protection.covers, run.signal);
  await assertStorageSpace(env, storage, row, database + media.bytes);
  run.expect(backupWork(database, media.bytes), onProgress);
  return { media, protection };
}

/** How much faster stored bytes are read back than they were written. */
export const READ_BACK = 8;

/** Bytes of each phase of a backup. How well the archive compresses is not known before. */
export function backupWork(database: number, media: number): Record<string, number> {
  const all = database + media;
  return { snapshot: database, archive: all, verify: all / READ_BACK };
}

/** How a state is taken. */
interface Taking {
  beginning: Beginning | null;
  folder: string;
  damage: DamagePolicy;
  /** Take all of the database, even if little of it is stored: it is queried. */
  whole: boolean;
}

/**
 * Takes as little of the database as the last backup allows: nothing, what has changed, or all.
 * @param onSnapshot called with a snapshot whose contents are still being looked at
 */
async function takeState(
  env: BackupsEnvironment,
  run: Run,
  row: BackupRow,
  source: BackupSource,
  { beginning, folder, damage, whole }: Taking,
  onSnapshot: (snapshot: Snapshot) => void,
): Promise<{ snapshot: Snapshot; increment: Increment | null }> {
  const { databaseUrl: url, mediaPaths } = source;
  const plan = (snapshot: Snapshot | ChangedSnapshot) => Increment.plan(run, row, beginning, { snapshot, mediaPaths });
  const untouched = whole ? null : (beginning?.untouched(row) ?? null);
  if (untouched !== null) return { snapshot: untouched, increment: await plan(untouched) };
  const step = await run.phase('snapshot');
  const former = damage === 'refuse' && url !== null && !whole ? (beginning?.former() ?? null) : null;
  if (former !== null && url !== null) {
    const changed = await env.engines.of(row.engine).snapshotChanges(url, folder, step, former);
    const increment = changed && (await plan(changed));
    if (changed !== null && increment?.isIncremental) return { snapshot: changed, increment };
  }
  const snapshot = await takeSnapshot(env, row, source, { folder, damage }, step);
  onSnapshot(snapshot);
  // What the snapshot is refused for ends the writing of it.
  snapshot.contents.catch((error: unknown) => run.abandon(toAppError(error)));
  return { snapshot, increment: await plan(snapshot) };
}

async function takeSnapshot(
  env: BackupsEnvironment,
  row: BackupRow,
  { databaseUrl, exclusions }: BackupSource,
  { folder, damage }: { folder: string; damage: DamagePolicy },
  step: StepContext,
): Promise<Snapshot> {
  if (databaseUrl === null) {
    const nothing = { tables: [], apps: [], source: {}, findings: [], damaged: false };
    return { engine: row.engine, name: row.databaseName, files: [], contents: Promise.resolve(nothing) };
  }
  const engine = env.engines.of(row.engine);
  const { bytes } = await engine.check(databaseUrl, { wait: LOCK_PATIENCE, signal: step.signal, damage, exclusions });
  if (engine.capabilities.snapshotOnDisk) {
    const { bavail, bsize } = await statfs(folder);
    assertSpace(bavail * bsize, bytes * SNAPSHOT_MARGIN, `for the snapshot in ${env.workFolder}`);
  }
  return engine.snapshot(databaseUrl, folder, step, damage, exclusions);
}

/** What goes into an archive beside the snapshot, and the config whose settings it is written with. */
type Material = Ground &
  Pick<BackupSource, 'mediaPaths'> & {
    settings: BackupConfigRow | null;
    seal: Seal | null;
    increment: Increment | null;
    /** What the config's invariants come to in the snapshot. */
    answers: Promise<InvariantResult[]>;
  };

/** So many times its bytes uncompressed must be free for a safety backup that is stored as it is. */
const AMPLE = 3;

/**
 * As the config says. A safety backup is waited for by someone whose data is gone: on a folder of this machine with ample
 * room it is stored as it is, and otherwise compressed at the fastest level.
 */
async function compressionOf(
  { backupType }: BackupRow,
  config: BackupConfigRow | null,
  storage: Storage,
  bytes: number,
): Promise<Compression> {
  if (backupType !== 'SAFETY') {
    return { method: config?.compression ?? 'DEFLATE', level: config?.compressionLevel ?? 1 };
  }
  const space = storage.folder() === null ? null : await storage.space();
  return { method: space !== null && space.free > AMPLE * bytes ? 'NONE' : 'DEFLATE', level: 1 };
}

/** Streams snapshot and media into one archive and stores it. Calls `onStored` with the name under which it lies. */
async function store(
  env: BackupsEnvironment,
  run: Run,
  row: BackupRow,
  { mediaPaths, media, protection, settings, seal, increment, answers }: Material,
  storage: Storage,
  snapshot: Snapshot,
  onStored: (name: string) => void,
): Promise<LaidArchive> {
  const step = await run.phase('archive');
  await updateCopies(env.models, row.id, { status: 'RUNNING' });
  const files = increment?.files(snapshot.files) ?? snapshot.files;
  const total = media.bytes + files.reduce((sum, file) => sum + (file.size ?? file.expected ?? 0), 0);
  const unsure = files.reduce((sum, file) => sum + (file.size === undefined ? (file.expected ?? 0) : 0), 0);
  await assertStorageSpace(env, storage, row, total);
  const compression = await compressionOf(row, settings, storage, total);
  // What writes archives is slow to load, and only a backup needs it.
  const { writeArchive } = await import('../../archive/write.js');
  const make = () =>
    writeArchive({
      compression,
      ...(env.compressionThreads !== null && { threads: env.compressionThreads }),
      files,
      ...(increment && { isUnchanged: increment.watchMedia() }),
      mediaPaths,
      excluded: protection.covers,
      describe: async (collected) => ({
        ...describe(env, row, snapshot, seal, await snapshot.contents, collected),
        ...(await auditHead(env)),
        ...increment?.describe(collected),
        ...stateInvariants(await answers),
      }),
      signal: run.signal,
      onProgress: (done) => step.onProgress(done, total),
    });
  const size = mostBytes(total + unsure * UNSURE, media.files);
  const archive = await layArchive(env, run, row, { storage, seal, size, make, onStored });
  const { metadata } = archive;
  if (increment?.isSame(metadata)) await noteUnchanged(run, row, increment);
  run.warn(...unmatchedWarnings((await snapshot.contents).exclusions?.unmatched ?? []));
  run.warn(...invariantWarnings(metadata.invariants ?? []));
  run.warn(...databaseWarnings(metadata), ...mediaWarnings(metadata), ...(await emptyRoots(env, row, metadata)));
  return archive;
}

/** Asks the config's invariants of the snapshot, while it is archived. */
async function answered(
  env: BackupsEnvironment,
  run: Run,
  row: BackupRow,
  { invariants, snapshot, folder }: { invariants: readonly Invariant[]; snapshot: Snapshot; folder: string },
): Promise<InvariantResult[]> {
  const { query } = snapshot;
  const asked = query ? { query: (_place: string, ...rest: Parameters<typeof query>) => query(...rest) } : null;
  const rows = asked ?? env.engines.of(row.engine).rows;
  if (rows === null || invariants.length === 0) return [];
  try {
    const before = answersOf(await formerInvariants(env.models, row), invariants);
    return await askInvariants(rows, folder, invariants, { before, signal: run.signal });
  } catch (error) {
    run.signal.throwIfAborted();
    // The data is what counts, and must not be lost for this.
    env.log.error({ backup: row.id, err: error }, 'the invariants could not be asked');
    run.warn(`Its invariants were not asked: ${toAppError(error).message}`);
    return [];
  }
}

const stateInvariants = (results: InvariantResult[]): Pick<ArchiveMetadata, 'invariants'> =>
  results.length === 0 ? {} : { invariants: results };

async function noteUnchanged(run: Run, row: BackupRow, { parentId }: Increment): Promise<void> {
  const note = [row.note, `Unchanged since ${parentId ?? ''}.`].filter(Boolean).join(' ');
  await run.update({ note });
}

/** By how many times more a file without a known size may exceed what it is expected to come to: binary values as text. */
const UNSURE = 4;

/** What a completed row says. */
function outcomeOf(env: BackupsEnvironment, archive: LaidArchive, judged: Judged | null): Partial<BackupRow> {
  const { size: fileSize, checksum, metadata } = archive;
  const { tables, damaged } = metadata;
  return {
    fileSize,
    checksum,
    tables: tables.map(({ name, row_count: rows }) => ({ name, rows })),
    excluded: metadata.excluded ?? null,
    invariants: metadata.invariants ?? [],
    mediaFileCount: mediaOf(metadata).reduce((sum, root) => sum + root.files, 0),
    damaged,
    ...(damaged ? {} : { verifiedAt: env.now(), verificationLevel: 'ARCHIVE' }),
    ...judged,
  };
}

/**
 * Compares the backup with those before it. One of a damaged database counts for nothing anyway, and a safety backup is of a
 * state that someone is about to replace.
 * @returns null where it is not to be compared
 */
async function compared(
  env: BackupsEnvironment,
  run: Run,
  row: BackupRow,
  config: BackupConfigRow | null,
  metadata: ArchiveMetadata,
  { snapshot, increment }: { snapshot: Snapshot; increment: Increment | null },
): Promise<Judged | null> {
  if (config === null || metadata.damaged) return null;
  const { freeBytes = 0 } = await snapshot.contents;
  const changed = increment?.changedShare ?? null;
  try {
    return await judgeBackup(env.models, row, { metadata, freeBytes, changed, databaseKey: config.databaseKey });
  } catch (error) {
    // The archive is good, and must not be lost for this.
    env.log.error({ backup: row.id, err: error }, 'the backup could not be compared with those before it');
    run.warn(`It was not compared with the backups before it: ${toAppError(error).message}`);
    return null;
  }
}

/** Says aloud that a backup is suspicious; otherwise it is what the next one is compared with. */
async function tellAnomalies(env: BackupsEnvironment, row: BackupRow, judged: Judged | null): Promise<void> {
  if (judged === null) return;
  if (!judged.suspicious) {
    // It is only room in the control database: the next backup tries again.
    await forgetNormals(env.models, row).catch((error: unknown) =>
      env.log.warn({ backup: row.id, err: error }, 'what older backups knew could not be removed'),
    );
    return;
  }
  const anomalies = judged.anomalies.map(({ message }) => message);
  env.log.warn(
    { backup: row.id, config: row.configId, anomalies },
    'the backup is suspicious; its clean-up is stopped',
  );
  const codes = [...new Set(judged.anomalies.map(({ code }) => code))];
  await env.audit.record('system', 'backup.suspicious', row.id, { anomalies: codes, first: anomalies[0] });
}

function describe(
  env: BackupsEnvironment,
  row: BackupRow,
  snapshot: Snapshot,
  seal: Seal | null,
  contents: SnapshotContents,
  collected: Collected,
): ArchiveMetadata {
  return {
    backup_version: BACKUP_VERSION,
    backup_id: row.id,
    backup_type: row.backupType,
    backup_date: env.now().toISOString().replace('Z', '000Z'),
    database_engine: snapshot.engine,
    database_name: snapshot.name,
    ...stated(row),
    ...(seal === null ? {} : { encryption: statedKeys(seal) }),
    app_version: env.version,
    node_version: process.version,
    apps: contents.apps.map(({ app, latestMigration }) => ({ app, latest_migration: latestMigration })),
    tables: contents.tables.map(({ rows, ...table }) => ({ ...table, row_count: rows })),
    ...(contents.exclusions?.excluded.length ? { excluded: contents.exclusions.excluded } : {}),
    source: contents.source,
    damaged: contents.damaged,
    findings: contents.findings,
    ...collected,
  };
}

/** Whose data this is, for a reader of the archive without these records. */
function stated({ applicationId, origin }: BackupRow): Pick<ArchiveMetadata, 'origin'> {
  if (applicationId === null || applicationId === undefined || !origin) return {};
  const { config, host, database } = origin;
  return {
    origin: { application_id: applicationId, config: config ?? '', host: host ?? '', database: database ?? '' },
  };
}

/** Needs as much as the last archive of this config took, and a tenth more; before the first, all bytes uncompressed. */
async function assertStorageSpace(
  env: BackupsEnvironment,
  storage: Storage,
  { configId, mode }: BackupRow,
  uncompressed: number,
): Promise<void> {
  const space = await storage.space();
  if (space === null) return;
  const last = await env.models.Backup.unscoped().findOne({
    attributes: ['fileSize'],
    // An incremental one says nothing of how large a full one becomes.
    where: { configId: { [Op.eq]: configId }, status: 'COMPLETED', mode },
    order: [['createdAt', 'DESC']],
  });
  const needed = Math.min(last?.fileSize ? last.fileSize * 1.1 : uncompressed, uncompressed);
  assertSpace(space.free, needed, `for the archive in ${storage.place}`);
}

/**
 * Ends a run in which something was thrown: what it had stored goes, so that no file is left without its COMPLETED row, and
 * the row is FAILED. A row that is COMPLETED stays: then only the answer of the control database was lost. While that does
 * not say how the row stands, nothing is touched: recovery decides once it does.
 * @returns the error, as the row has it; null if the run is completed
 * @throws what was thrown, if the control database does not answer
 */
export async function endBadly(
  env: BackupsEnvironment,
  run: Run,
  { storage, stored, thrown }: { storage: Storage; stored: string | null; thrown: unknown },
): Promise<AppError | null> {
  const error = run.explain(thrown);
  const row = await env.models.Backup.unscoped()
    .findByPk(run.id, { attributes: ['status'] })
    .catch(() => null);
  if (row === null) throw thrown;
  if (row.status === 'COMPLETED') {
    env.log.warn({ backup: run.id, err: error }, 'backup completed, though the last answer was lost');
    return null;
  }
  env.log.error({ backup: run.id, err: error }, 'backup failed');
  const shown = stored === null ? error : await withdraw(env, storage, stored, error);
  await run.fail(shown);
  return shown;
}

async function withdraw(env: BackupsEnvironment, storage: Storage, stored: string, error: AppError): Promise<AppError> {
  try {
    await storage.remove(stored);
    return error;
  } catch (cause) {
    env.log.error({ err: cause, file: stored }, 'the archive of a failed run could not be removed');
    const left = `${error.message} Its file ${storage.locate(stored)} could not be removed.`;
    return new AppError(error.code, left, { hint: error.hint, cause: error });
  }
}

/** @throws AppError STORAGE_FULL */
export function assertSpace(free: number, needed: number, what: string): void {
  if (free >= needed) return;
  throw new AppError('STORAGE_FULL', `${humanSize(needed)} are needed ${what}, ${humanSize(free)} are free.`, {
    hint: `Free at least ${humanSize(needed - free)} there, or choose another storage.`,
  });
}

/** The media of the state, whether they lie in this archive or in one that it builds on. */
const mediaOf = ({ media, reproduces }: ArchiveMetadata) => reproduces?.media ?? media;

/** Media folders that hold nothing, where the config's backup before had more files: an unmounted disk looks like that. */
async function emptyRoots(env: BackupsEnvironment, row: BackupRow, metadata: ArchiveMetadata): Promise<string[]> {
  const media = mediaOf(metadata);
  const empty = media.filter(({ files }) => files === 0);
  if (empty.length === 0 || row.configId === null || !isRegular(row.backupType)) return [];
  const before = await env.models.Backup.unscoped().findOne({
    attributes: ['id', 'mediaFileCount'],
    where: { configId: row.configId, status: 'COMPLETED', backupType: REGULAR_TYPES },
    order: [['createdAt', 'DESC']],
  });
  const now = media.reduce((sum, { files }) => sum + files, 0);
  if (before === null || (before.mediaFileCount ?? 0) <= now) return [];
  return empty.map(
    ({ path }) => `${path} holds no file, and ${before.id} had ${before.mediaFileCount}: is a disk not mounted?`,
  );
}

/** Why something is not stored, or not as one state, in words. */
const SKIPPED: Record<string, string> = {
  vanished: 'vanished while the media were read',
  changed: 'changed while the media were read',
  replaced: 'was replaced while the media were read',
  special: 'is not a regular file',
  name: 'holds something whose path is too long for an archive',
};

/** What the admin should know of an archive's database. */
export function databaseWarnings({ damaged, findings }: Pick<ArchiveMetadata, 'damaged' | 'findings'>): string[] {
  const words = findings.map(({ kind, message }) => (kind === 'pages' ? `Damaged pages: ${message}` : message));
  if (!damaged) return words;
  return ['The database is damaged and was kept as it is. This does not count as a good backup.', ...words];
}

/** What the admin should know of an archive's media. */
export function mediaWarnings({ skipped, symlinks, renamed }: ArchiveMetadata): string[] {
  const links = symlinks.map(({ path, target }) => `${bare(path)} (leads to ${bare(target)})`);
  const names = renamed.map(({ path }) => bare(path));
  return [
    ...skipped.slice(0, 20).map(({ path, reason }) => `${bare(path)} ${SKIPPED[reason] ?? bare(reason)}`),
    ...(skipped.length > 20
      ? [`${skipped.length - 20} more media files changed, vanished or were not regular files`]
      : []),
    ...(links.length > 0
      ? [
          `${links.length} symbolic links in the media were noted, not followed; what they lead to is not in the backup: ${firstOf(links)}`,
        ]
      : []),
    ...(names.length > 0
      ? [
          `${names.length} media files or folders have names that a ZIP cannot hold; they are stored under escaped names, and a restore gives them their own names back: ${firstOf(names)}`,
        ]
      : []),
  ];
}

/** A text of an archive within a sentence: as `shown`, without the quotes where it needs none. */
const bare = (text: string) => (shown(text) === `"${text}"` ? text : shown(text));
