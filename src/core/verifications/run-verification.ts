import { join } from 'node:path';
import { AppError, toAppError } from '../../errors.js';
import type {
  BackupRow,
  InvariantResult,
  StoredObjectRow,
  VerificationLevel,
  VerificationRow,
} from '../../models/index.js';
import { noteBroken, parentsOf } from '../archives/chains.js';
import { noteDamaged } from '../archives/copies.js';
import { assertCompleted, openCopy, type Reading, type StoredArchive } from '../archives/stored-archive.js';
import { isDamage, type VerifyOptions, verifyStored } from '../archives/verify.js';
import { readingOf } from '../backups/reading.js';
import { drill, type DrillsEnvironment } from '../drills/drill.js';
import type { DrillReports } from '../drills/reports.js';
import type { CoreEnvironment } from '../environment.js';
import { askInvariants, invariantWarnings } from '../invariants/invariants.js';
import type { Keys } from '../keys/keys.js';
import type { StepContext } from '../ports.js';
import { verificationLease } from '../runs/hold.js';
import { within } from '../runs/progress.js';
import { removeWork, Run, type RunEnvironment, SCHEDULE } from '../runs/run.js';

/** What verifying needs of the process around it. */
export type VerificationsEnvironment = RunEnvironment &
  Pick<CoreEnvironment, 'engines' | 'storages' | 'audit' | 'queue' | 'workFolder'> &
  DrillsEnvironment & { keys: Keys; reports: DrillReports };

/** What a verification says of a sealed backup that no key here opens. */
const UNSEEN =
  'The last verification compared the stored bytes only: their content is encrypted, and no key held here opens it.';

/** What a verification found of one copy. */
interface VerifiedCopy {
  copy: StoredObjectRow;
  error: AppError | null;
  /** What was verified: CHECKSUM for a sealed backup whose key is neither given nor held here. */
  level: VerificationLevel;
}

/** What a verification works with. */
interface Verifying {
  run: Run;
  row: VerificationRow;
  backup: BackupRow;
  /** How thoroughly copies are read. */
  level: VerifyOptions['level'];
  reading: Omit<Reading, 'without'>;
  /** What the invariants came to; null until they were asked: they are the same in every copy. */
  invariants: InvariantResult[] | null;
}

/**
 * True for an error that says how the stored bytes are, not that they could not be read now: a missing program, a server that
 * does not answer or refuses what a dump needs, and an archive that only a newer Node or db-manager reads say nothing about the
 * copy.
 */
export const isFinding = (code: string | null) =>
  /^(ARCHIVE_(?!TOO_NEW$).*|DATABASE_(CORRUPT|WRONG_KIND)|CHAIN_BROKEN)$/.test(code ?? '');

/**
 * Does a PENDING verification: see `Verifications` for what comes of it. All failures end on the row.
 * @param identity opens an encrypted backup; left out, the keys that are held here do
 * @returns 'busy' if the backup is being verified, deleted or encrypted anew: try again later
 */
export async function runVerification(
  env: VerificationsEnvironment,
  id: string,
  stop: AbortSignal,
  identity?: string,
): Promise<'done' | 'busy'> {
  const row = await env.models.Verification.findByPk(id);
  if (row === null || row.status !== 'PENDING') return 'done';
  const run = await Run.claim(env, 'Verification', id, [verificationLease(row.backupId)], stop);
  if (run === 'busy') return 'busy';
  if (run === 'taken') return 'done';
  try {
    const backup = await env.models.Backup.findByPk(row.backupId);
    if (backup === null) throw new AppError('NOT_FOUND', `There is no backup "${row.backupId}".`);
    assertCompleted(backup);
    const reading = readingOf(env, backup, identity);
    const level = row.level === 'DRILL' ? 'ARCHIVE' : row.level;
    const verifying: Verifying = { run, row, backup, reading, level, invariants: null };
    const error = await (row.level === 'DRILL' ? drillBackup : verifyBackup)(env, verifying);
    await env.audit.record(row.createdBy ?? SCHEDULE, 'backup.verify', backup.id, {
      level: row.level,
      result: error?.code ?? 'ok',
    });
    const signed =
      row.level === 'DRILL' ? await signedReport(env, run, { row: await row.reload(), backup, error }) : {};
    if (error === null) await run.complete({ invariants: verifying.invariants ?? [], ...signed });
    else await run.fail(error, signed);
  } catch (thrown) {
    const error = run.explain(thrown);
    env.log.error({ verification: id, backup: row.backupId, err: error }, 'verification failed');
    if (!run.isLost) await run.fail(error);
  } finally {
    await removeWork(env, join(env.workFolder, id));
    await run.close();
  }
  return 'done';
}

/** The columns with the report of a drill. One that cannot be signed is a warning: the drill's own outcome counts. */
async function signedReport(
  { reports, log }: VerificationsEnvironment,
  run: Run,
  { row, backup, error }: { row: VerificationRow; backup: BackupRow; error: AppError | null },
): Promise<Partial<Awaited<ReturnType<DrillReports['make']>>>> {
  try {
    return await reports.make(row, backup, error);
  } catch (thrown) {
    const { message, hint } = toAppError(thrown);
    log.error({ err: thrown, verification: row.id }, 'the report of a drill could not be signed');
    run.warn(`There is no signed report of this drill: ${message} ${hint}`);
    return {};
  }
}

/**
 * Drills the nearest good copy and notes the outcome. Where it finds the archive itself wanting, all copies are read, so that
 * what is damaged is known of each.
 * @returns why the drill failed; null if nothing is wrong
 */
async function drillBackup(env: VerificationsEnvironment, verifying: Verifying): Promise<AppError | null> {
  const { run, row, backup, reading } = verifying;
  const others = backup.copies.filter(
    ({ destinationId: at }) => row.destinationId !== null && at !== row.destinationId,
  );
  const wanted = { ...reading, without: others.map(({ id }) => id) };
  try {
    const { copy, invariants } = await drill(env, run, { row, backup, reading: wanted });
    await run.assertOwn();
    const good = copy === null ? [] : [{ copy, error: null, level: row.level }];
    await noteVerified(env, verifying, { good, bad: [] }, row.level);
    verifying.invariants = invariants;
    return null;
  } catch (error) {
    run.signal.throwIfAborted();
    if (!(error instanceof AppError)) throw error;
    const damaged: boolean = isDamage(error);
    if (!damaged && !/^(ARCHIVE_|CHAIN_BROKEN$)/.test(error.code)) return error;
    return (await verifyBackup(env, damaged ? { ...verifying, level: 'CONTENT' } : verifying)) ?? error;
  }
}

/** Verifies the copies and notes the outcome. @returns why the verification failed; null if a copy is good */
async function verifyBackup(env: VerificationsEnvironment, verifying: Verifying): Promise<AppError | null> {
  const { run, backup } = verifying;
  const below = await parentIds(env, backup);
  const found = await verifyCopies(env, verifying);
  const good = found.filter(({ error }) => error === null);
  const broken = found.find(({ error }) => error?.code === 'CHAIN_BROKEN')?.error;
  if (broken) {
    // What it builds on was replaced and deleted while it was read.
    if ((await parentIds(env, backup)) !== below) return verifyBackup(env, verifying);
    await run.assertOwn();
    const { code: errorCode, message: errorMessage, hint: errorHint } = broken;
    await backup.update({ verifiedAt: null, verificationLevel: null, errorCode, errorMessage, errorHint });
    return broken;
  }
  const bad = found.filter(({ error }) => error !== null && isFinding(error.code));
  const [failed] = found.flatMap(({ error }) => error ?? []);
  if (good.length + bad.length === 0) return failed ?? null;
  await run.assertOwn();
  await noteVerified(env, verifying, { good, bad });
  if (good.length === 0) await noteBroken(env.models, backup);
  for (const { copy, error } of bad) {
    env.log.error({ backup: backup.id, copy: copy.location, err: error }, 'a copy is damaged or gone');
  }
  if (good.length === 0) return bad[0]?.error ?? null;
  run.warn(...found.flatMap((one) => warningOf(one)));
  if (good[0]?.level !== verifying.level) run.warn(UNSEEN);
  run.warn(...invariantWarnings(verifying.invariants ?? []));
  return null;
}

function warningOf({ copy, error }: VerifiedCopy): string[] {
  if (error === null) return [];
  if (!isFinding(error.code)) return [`The copy ${copy.location} could not be read: ${error.message}`];
  return [`The copy ${copy.location} is not intact: ${error.message} It is repaired from a good one.`];
}

/** Which backups it is read together with. */
async function parentIds({ models }: VerificationsEnvironment, backup: BackupRow): Promise<string> {
  const parents = await parentsOf(models, backup).catch(() => []);
  return parents.map(({ id }) => id).join();
}

/** Reads each copy in turn. What is no AppError is thrown. */
async function verifyCopies(env: VerificationsEnvironment, verifying: Verifying): Promise<VerifiedCopy[]> {
  const { run, row, backup } = verifying;
  const copies = copiesToVerify(backup, row.destinationId);
  const sizeOf = (copy: StoredObjectRow) => copy.size ?? backup.fileSize ?? 0;
  const total = copies.reduce((sum, copy) => sum + sizeOf(copy), 0);
  const step = await run.phase('verify');
  const found: VerifiedCopy[] = [];
  let done = 0;
  for (const copy of copies) {
    const from = done;
    done += sizeOf(copy);
    try {
      found.push({ copy, error: null, level: await verifyCopy(env, verifying, copy, within(step, from, done, total)) });
    } catch (error) {
      run.signal.throwIfAborted();
      if (!(error instanceof AppError)) throw error;
      found.push({ copy, error, level: verifying.level });
    }
  }
  return found;
}

/**
 * @returns the level that was verified: CHECKSUM for a sealed backup whose key is neither given nor held here
 * @throws AppError as `verifyStored`, ENCRYPTION_KEY_WRONG
 */
async function verifyCopy(
  env: VerificationsEnvironment,
  verifying: Verifying,
  copy: StoredObjectRow,
  step: StepContext,
): Promise<VerificationLevel> {
  const { row, backup, reading } = verifying;
  const stored = await openCopy(env.storages, backup, copy, reading);
  const sees = verifying.level === 'CHECKSUM' || (await opens(stored, step.signal));
  const level: VerifyOptions['level'] = sees ? verifying.level : 'CHECKSUM';
  const { checksum, damaged } = backup;
  const scratch = join(env.workFolder, row.id);
  const engine = env.engines.of(backup.engine);
  const databaseUrl = await serverUrl(env, backup);
  const inspect = async (folder: string) => {
    // On a server, only a drill has a database that could be asked.
    if (engine.rows === null || engine.capabilities.onServer || verifying.invariants !== null) return;
    // Compared with what they were compared with then: the state is the same.
    const before = new Map(backup.invariants.map(({ name, before: known }) => [name, known]));
    const options = { before, signal: step.signal };
    verifying.invariants = await askInvariants(engine.rows, folder, backup.invariants, options);
  };
  await verifyStored(stored, { level, engine, checksum, scratch, damaged, databaseUrl, inspect }, step);
  return level;
}

/** What an uploaded archive says that it is of is no reason to run its statements on a server. */
async function serverUrl(
  { models }: VerificationsEnvironment,
  { backupType, configId, engine }: BackupRow,
): Promise<string | null> {
  if (backupType === 'UPLOADED' || configId === null) return null;
  const config = await models.BackupConfig.findByPk(configId);
  return config?.engine === engine ? config.databaseUrl : null;
}

/** False if no key for the archive is held here. @throws AppError ENCRYPTION_KEY_WRONG, ARCHIVE_…, STORAGE_… */
async function opens(stored: StoredArchive, signal: AbortSignal): Promise<boolean> {
  try {
    await stored.content(signal);
    return true;
  } catch (error) {
    if (error instanceof AppError && error.code === 'ENCRYPTION_KEY_MISSING') return false;
    throw error;
  }
}

/** Writes the outcome of a verification to the backup and its copies. */
async function noteVerified(
  { models, now }: VerificationsEnvironment,
  { row, backup, level: wanted }: Verifying,
  { good, bad }: { good: VerifiedCopy[]; bad: VerifiedCopy[] },
  level: VerificationLevel = wanted,
): Promise<void> {
  // The bytes of a damaged database are as they were stored, which makes it no good backup.
  const verified = backup.damaged ? {} : { verifiedAt: now() };
  const well = { errorCode: null, errorMessage: null, errorHint: null };
  await models.sequelize.transaction(async (transaction) => {
    for (const { copy } of good) await copy.update({ ...verified, ...well }, { transaction });
    const [first] = good;
    if (first !== undefined) {
      const seen = backup.warnings.filter((warning) => warning !== UNSEEN);
      const warnings = first.level === level ? seen : [...seen, UNSEEN];
      // The schedule finds the very bytes of which more was verified before: that still holds.
      const isAgain = row.createdBy === SCHEDULE && level !== 'DRILL' && backup.checksum !== null;
      const former = isAgain ? backup.verificationLevel : null;
      const mark = backup.damaged ? {} : { ...verified, verificationLevel: former ?? first.level };
      const values = row.createdBy === SCHEDULE ? { ...mark, ...well } : { ...mark, ...well, warnings };
      await backup.update(values, { transaction });
    }
    for (const { copy, error } of bad) {
      if (error !== null) await noteDamaged({ models, now, transaction }, backup, copy, error);
    }
  });
}

/** @throws AppError NOT_FOUND if there is no copy in the destination that was asked for */
export function copiesToVerify({ id, copies }: BackupRow, destinationId: number | null): StoredObjectRow[] {
  const stored = copies.filter(({ status }) => status === 'COMPLETED');
  if (destinationId === null) return stored;
  const wanted = stored.filter((copy) => copy.destinationId === destinationId);
  if (wanted.length > 0) return wanted;
  throw new AppError('NOT_FOUND', `destinationId: ${id} has no stored copy in destination ${destinationId}.`, {
    field: 'destinationId',
  });
}
