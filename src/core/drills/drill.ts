import { mkdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, badInput, toAppError } from '../../errors.js';
import type {
  BackupConfigRow,
  BackupRow,
  DrillFacts,
  InvariantResult,
  StoredObjectRow,
  VerificationRow,
} from '../../models/index.js';
import { contentOf } from '../archives/contents.js';
import type { Archive, ArchiveEntry } from '../../archive/read.js';
import type { Reading } from '../archives/stored-archive.js';
import { assertSameCounts, isDamage } from '../archives/verify.js';
import { type CommandKind, type Commands, failureOf } from '../commands/commands.js';
import { Protection } from '../configs/protection.js';
import type { CoreEnvironment } from '../environment.js';
import { answersOf, askInvariants, invariantWarnings } from '../invariants/invariants.js';
import type { Engine, ScratchDatabases } from '../ports.js';
import { checkedDump, layMedia, mediaParts, readGoodCopy } from '../restores/steps.js';
import type { MediaTarget } from '../restores/media/survey.js';
import { MediaSwap } from '../restores/media/swap.js';
import { mediaTargets } from '../restores/scope.js';
import { within } from '../runs/progress.js';
import type { Run, RunEnvironment } from '../runs/run.js';
import { humanSize } from '../text/format.js';
import { stamp } from '../text/ids.js';
import { loadScratch, type ScratchEnvironment, scratchServer } from './scratch.js';

/** What drills need of the process around them. */
export type DrillsEnvironment = RunEnvironment &
  ScratchEnvironment &
  Pick<CoreEnvironment, 'storages' | 'workFolder'> & { commands: Commands };

/** What a config names to be run on what a drill has restored. */
export const DRILL_COMMANDS: CommandKind = {
  noun: 'drill command',
  folderVariable: 'DRILL_COMMANDS_DIR',
  secondsVariable: 'DRILL_COMMAND_SECONDS',
  refusal: (text, hint) => badInput('drillCommand', text, hint),
  failed: 'DRILL_COMMAND_FAILED',
};

/** What is drilled. */
export interface Drilling {
  row: VerificationRow;
  backup: BackupRow;
  reading: Reading;
}

/** What a drill that nothing was wrong with came to. */
export interface Drilled {
  copy: StoredObjectRow | null;
  invariants: InvariantResult[];
}

/** Nothing that lies in the folder of a drill is anything but what it restored. */
const UNPROTECTED = new Protection(new Set(), new Set());

/**
 * Restores a backup with the code of a real restore, into a scratch database and a scratch folder; then reads all of it,
 * asks the invariants and runs the command of its config. All that it made is removed, whatever happens.
 * @throws AppError as `assertDrillable`; of the archive as `readGoodCopy` and `checkedDump`; DRILL_FAILED, INVARIANT_BROKEN, DRILL_COMMAND_FAILED,
 * STORAGE_FULL; the signal's reason
 */
export async function drill(env: DrillsEnvironment, run: Run, { row, backup, reading }: Drilling): Promise<Drilled> {
  // Of those of the schedule, nothing was judged before.
  await assertDrillable(env, backup);
  const engine = env.engines.of(backup.engine);
  const config = backup.configId === null ? null : await env.models.BackupConfig.findByPk(backup.configId);
  const folders = foldersOf(env, row.id);
  for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true, mode: 0o700 });
  const { scratch } = engine;
  const scratchId = scratchIdOf(await row.reload());
  const url = await scratchUrl(env, { id: row.id, scratchId }, backup, config);
  const start = performance.now();
  try {
    const restored = await restoreInto(env, run, { row, backup, reading, engine, folders, url, scratchId });
    const restoreSeconds = (performance.now() - start) / 1_000;
    const { facts, archive, media, copy } = restored;
    const note = (values: Partial<DrillFacts>) => run.update({ drill: Object.assign(facts, values) });
    await run.update({ restoreSeconds, drill: facts });
    if (facts.target !== null) {
      const step = await run.phase('check', 'steps');
      const info = await scratch.readAll(url, step).catch((error: unknown) => {
        throw asFailure(run, 'The restored database cannot be read', error);
      });
      assertRestored(archive, info);
      await note({ tables: info.tables.map(({ name, rows }) => ({ name, rows })) });
    }
    const place = engine.capabilities.onServer ? url : folders.database;
    const invariants = await askRestored(run, engine, { backup, config, place });
    const command = config?.drillCommand ?? null;
    if (command !== null) await runCommand(env, run, { command, url, folders, media, facts, note, backup });
    return { copy, invariants };
  } finally {
    await dropScratch(env, scratch, url, scratchId);
  }
}

/** As the id of the run, with the time when it began: a database is named after it, and is not left behind before a day. */
const scratchIdOf = ({ id, startedAt }: VerificationRow): string =>
  startedAt === null ? id : id.replace(/\d{8}_\d{6}/, stamp(startedAt));

/**
 * Fails unless a drill of the backup can be made here.
 * @throws AppError as `scratchServer`; DATABASE_CORRUPT; BAD_USER_INPUT for the command
 */
export async function assertDrillable(env: DrillsEnvironment, backup: BackupRow): Promise<void> {
  if (backup.damaged) {
    throw new AppError('DATABASE_CORRUPT', `Backup ${backup.id} is of a damaged database: it cannot be drilled.`, {
      hint: 'Choose a good backup.',
    });
  }
  const config = backup.configId === null ? null : await env.models.BackupConfig.findByPk(backup.configId);
  scratchServer(env, backup, config);
  const command = config?.drillCommand ?? null;
  if (command !== null) await env.commands.find(command);
}

/** Removes the scratch database of a drill whose process died. Its files are in its work folder. */
export async function dropLeft(env: DrillsEnvironment, row: VerificationRow, backup: BackupRow | null): Promise<void> {
  if (backup === null) return;
  const engine = env.engines.of(backup.engine);
  if (!engine.capabilities.onServer) return;
  const config = backup.configId === null ? null : await env.models.BackupConfig.findByPk(backup.configId);
  const { id } = row;
  const scratchId = scratchIdOf(row);
  try {
    await dropScratch(env, engine.scratch, await scratchUrl(env, { id, scratchId }, backup, config), scratchId);
  } catch (error) {
    env.log.warn({ err: error, verification: id }, 'the scratch database of a drill cannot be found');
  }
}

/** The folders of a drill: the extracted database, the restored one, the media, and where its command runs. */
interface Folders {
  dump: string;
  database: string;
  media: string;
  command: string;
}

function foldersOf({ workFolder }: DrillsEnvironment, id: string): Folders {
  const own = (name: string) => join(workFolder, id, name);
  return { dump: own('dump'), database: own('database'), media: own('media'), command: own('command') };
}

function scratchUrl(
  env: DrillsEnvironment,
  { id, scratchId }: { id: string; scratchId: string },
  backup: BackupRow,
  config: BackupConfigRow | null,
): Promise<string> {
  const { scratch } = env.engines.of(backup.engine);
  return scratch.urlFor(scratchId, foldersOf(env, id).database, scratchServer(env, backup, config));
}

interface Restoring extends Drilling {
  engine: Engine;
  folders: Folders;
  url: string;
  scratchId: string;
}

/** The restore's own part: what is measured. */
async function restoreInto(env: DrillsEnvironment, run: Run, restoring: Restoring) {
  const { row, backup, reading, engine, folders, url, scratchId } = restoring;
  const isDatabase = (archive: Archive) => contentOf(archive, engine).database;
  const { archive, stored } = await readGoodCopy(env, run, {
    backup,
    folder: folders.dump,
    holdsDatabase: isDatabase,
    reading: async () => reading,
    opened: async (listed) => {
      const work = workOf(listed, engine);
      await assertRoom(env, work, engine);
      run.expect({ verify: listed.totalBytes, media: work.media, load: work.database, check: work.database });
    },
  });
  const holdsDatabase = isDatabase(archive);
  if (holdsDatabase) {
    const step = await run.phase('check', 'steps');
    const dump = { backup, archive, folder: folders.dump };
    const found = await checkedDump(engine, dump, step).catch((error: unknown) => {
      const isOfArchive = isDamage(error) || (error instanceof AppError && error.code.startsWith('ARCHIVE_'));
      throw isOfArchive ? error : asFailure(run, 'The database of the backup cannot be looked at', error);
    });
    run.warn(...found.map(({ message }) => message));
  }
  const media = contentOf(archive, engine).media ? mediaTargets(archive, null, folders.media) : [];
  try {
    const mediaFiles = await restoreMedia(run, row.id, archive, media);
    if (holdsDatabase) {
      const dump = { backup, archive, folder: folders.dump };
      run.warn(...(await loadScratch(engine, dump, { url, id: scratchId }, await run.phase('load'))));
    }
    const bytes = archive.entries.reduce((sum, { size }) => sum + size, 0);
    const facts: DrillFacts = {
      target: holdsDatabase ? engine.resolve(url).display : null,
      location: stored.location,
      checksum: backup.checksum,
      bytes,
      mediaFiles,
      tables: [],
      command: null,
    };
    return { facts, archive, media, copy: stored.copy };
  } catch (error) {
    throw asFailure(run, 'The backup could not be restored', error);
  }
}

/** @returns how many files were restored */
async function restoreMedia(run: Run, id: string, archive: Archive, targets: MediaTarget[]): Promise<number> {
  if (targets.length === 0) return 0;
  const swaps: MediaSwap[] = [];
  try {
    const laying = await run.phase('media');
    const parts = await mediaParts({ media: null }, archive, targets, UNPROTECTED);
    run.warn(...parts.flatMap(({ survey }) => survey.warnings));
    await layMedia(swaps, archive, parts, { runId: id, mode: 'MERGE', protection: UNPROTECTED }, laying);
    const step = await run.phase('switch', 'steps');
    for (const [index, swap] of swaps.entries()) await swap.apply(within(step, index, index + 1, swaps.length));
    run.warn(...swaps.flatMap(({ warnings }) => warnings));
    return parts.reduce((sum, { files }) => sum + files.length, 0);
  } finally {
    for (const swap of swaps) await swap.close();
    for (const { root } of targets) await MediaSwap.finish(root, id, 'settle');
  }
}

/** Bytes of the database and of the media in an archive. */
function workOf({ entries }: Archive, engine: Engine): { database: number; media: number } {
  const sum = (some: readonly ArchiveEntry[]) => some.reduce((bytes, { size }) => bytes + size, 0);
  const own = entries.filter(({ path }) => engine.ownsEntry(path));
  return { database: sum(own), media: sum(entries.filter(({ path }) => path.startsWith('media/'))) };
}

/** The dump, a file's database where it is copied and not moved, and the media lie in the work folder at once. */
async function assertRoom(
  { workFolder }: DrillsEnvironment,
  { database, media }: { database: number; media: number },
  { capabilities }: Engine,
): Promise<void> {
  const { bavail, bsize } = await statfs(workFolder);
  const needed = media + (capabilities.onServer ? database : 2 * database);
  const free = bavail * bsize;
  if (needed <= free) return;
  const text = `A drill needs ${humanSize(needed)} in ${workFolder}, ${humanSize(free)} are free.`;
  throw new AppError('STORAGE_FULL', text, { hint: 'Free space there, or move DATA_DIR to a larger disk.' });
}

/** @throws AppError DRILL_FAILED */
function assertRestored(archive: Archive, info: Parameters<typeof assertSameCounts>[1]): void {
  try {
    assertSameCounts(archive, info);
  } catch (error) {
    const { message } = toAppError(error);
    throw new AppError('DRILL_FAILED', `The restored database is not what was backed up: ${message}`, { cause: error });
  }
}

/**
 * Asks the invariants of the restored database: those that the config has now, or else those of the backup.
 * @throws AppError INVARIANT_BROKEN
 */
async function askRestored(
  run: Run,
  { rows }: Engine,
  { backup, config, place }: { backup: BackupRow; config: BackupConfigRow | null; place: string },
): Promise<InvariantResult[]> {
  const asked = config?.invariants ?? backup.invariants;
  if (rows === null || asked.length === 0) return [];
  const { signal } = await run.phase('invariants', 'steps');
  // Compared with what they were compared with in the backup: the state is the same.
  const known = answersOf(
    backup.invariants.map((result) => ({ ...result, actual: result.before })),
    asked,
  );
  const results = await askInvariants(rows, place, asked, { before: known, signal });
  await run.update({ invariants: results });
  const broken = invariantWarnings(results);
  if (broken.length === 0) return results;
  throw new AppError('INVARIANT_BROKEN', `The restored database breaks what must hold. ${broken.join(' ')}`);
}

/** What a command works with. */
interface Commanding {
  command: string;
  url: string;
  folders: Folders;
  media: MediaTarget[];
  facts: DrillFacts;
  note(values: Partial<DrillFacts>): Promise<boolean>;
  backup: BackupRow;
}

/** @throws AppError DRILL_COMMAND_FAILED; the signal's reason */
async function runCommand(env: DrillsEnvironment, run: Run, commanding: Commanding): Promise<void> {
  const { command, url, folders, media, facts, note, backup } = commanding;
  const { signal } = await run.phase('command', 'steps');
  const roots = media.map(({ root }) => root);
  const given = {
    ...(facts.target !== null && { DATABASE_URL: url }),
    ...(roots[0] !== undefined && { MEDIA_PATH: roots.length === 1 ? roots[0] : folders.media }),
    MEDIA_PATHS: roots.join(','),
    BACKUP_ID: backup.id,
    DRILL_ID: run.id,
  };
  const ended = await env.commands
    .run(command, { cwd: folders.command, env: given, signal })
    .catch((error: unknown) => {
      throw asFailure(run, `The drill command "${command}" cannot be run`, error);
    });
  const { exitCode, late, seconds, output } = ended;
  await note({ command: { name: command, exitCode, seconds, output } });
  const failure = failureOf(ended, 1);
  if (failure === null) return;
  throw new AppError('DRILL_COMMAND_FAILED', `The drill command "${command}" ${failure}`, {
    ...(late && { hint: `Find out what it waits for, or raise ${DRILL_COMMANDS.secondsVariable}.` }),
  });
}

/** What is not about the archive, but about what was made of it. */
function asFailure(run: Run, what: string, thrown: unknown): AppError {
  const error = run.explain(thrown);
  const isOwn =
    run.signal.aborted || /^(STORAGE_FULL|INTERRUPTED|DRILL_|INVARIANT_|CONTROL_|INTERNAL_)/.test(error.code);
  if (isOwn) return error;
  return new AppError('DRILL_FAILED', `${what}: ${error.message}`, { hint: error.hint, cause: error });
}

/** What cannot be removed now is dropped by the next restore or drill on the server a day later, or with the work folder. */
async function dropScratch(env: DrillsEnvironment, scratch: ScratchDatabases, url: string, id: string): Promise<void> {
  try {
    await scratch.drop(url, id);
  } catch (error) {
    env.log.warn({ err: error, verification: id }, 'the scratch database of a drill could not be removed');
  }
}
