import { Op, QueryTypes } from 'sequelize';
import { AppError } from '../../errors.js';
import type { VerificationRow } from '../../models/index.js';
import type { CoreEnvironment } from '../environment.js';
import type { StorageAddress } from '../ports.js';
import { Hold, isHeld, verificationLease } from '../runs/hold.js';
import { type RunEnvironment, SCHEDULE } from '../runs/run.js';
import type { Verifications } from './verifications.js';

const DAY = 86_400_000;
/** How old the verification of a copy may become, in days: with that it is verified again at least once a month. */
const DUE_AFTER = 28;
/** The lease of the one process that verifies what is due. */
const LEASE = 'reverification';
/** No row has it; a list must not be empty. */
const NONE = 0;

/** What verifying again needs of the process around it. */
type ReverificationEnvironment = RunEnvironment &
  Pick<CoreEnvironment, 'storages'> & { verifications: Verifications; dailyBytes: number };

/** A stored copy whose verification is too old. */
interface DueCopy extends StorageAddress {
  copyId: number;
  backupId: string;
  destinationId: number;
  name: string;
  /** Text, as PostgreSQL gives large numbers. */
  size: number | string | null;
  /** False for an archive of which no SHA-256 is known. */
  hasChecksum: boolean | 0 | 1;
}

/**
 * Verifies stored copies again before their verification is a month old, the oldest first: disks and buckets lose bits
 * without a word. It reads no more than the budget of a day, and works in the background, beside the jobs.
 */
export class Reverification {
  private readonly stopping = new AbortController();
  private working: Promise<unknown> | null = null;

  /** @param env `dailyBytes`: how much it may read within 24 hours; 0: nothing */
  constructor(private readonly env: ReverificationEnvironment) {}

  /** Begins to verify what is due, unless this process is at it. Never fails. */
  begin(): void {
    if (this.stopping.signal.aborted || this.working !== null) return;
    this.working = this.runDue(this.stopping.signal)
      .catch((error: unknown) => {
        if (this.stopping.signal.aborted) return;
        this.env.log.error({ err: error }, 'the stored copies could not be verified again');
      })
      .finally(() => (this.working = null));
  }

  /** Ends what `begin` began; it goes on with the next start. */
  async stop(): Promise<void> {
    this.stopping.abort(new AppError('INTERRUPTED', 'The process was stopped before the verification had ended.'));
    await this.working;
  }

  /**
   * Verifies what is due, as far as the budget reaches, and waits for it. Another process that is at it is left alone.
   * @returns the runs, ended
   */
  runDue(stop: AbortSignal): Promise<VerificationRow[]> {
    const work = (hold: Hold) => this.verifyDue(AbortSignal.any([stop, hold.lost]));
    return Hold.during<VerificationRow[]>(this.env, [LEASE], work, () => []);
  }

  private async verifyDue(signal: AbortSignal): Promise<VerificationRow[]> {
    const { verifications, models } = this.env;
    const done: VerificationRow[] = [];
    const passed = { copies: [NONE], destinations: [NONE] };
    while (!signal.aborted) {
      const due = await this.oldest(passed);
      if (due === null || !(await this.fits(Number(due.size ?? 0)))) return done;
      if (!(await this.answers(due))) {
        passed.destinations.push(due.destinationId);
        continue;
      }
      // It is due until it is verified: one that could not be read is tried again with the next look.
      passed.copies.push(due.copyId);
      if (await isHeld(models, verificationLease(due.backupId))) continue;
      const level = due.hasChecksum ? 'CHECKSUM' : 'ARCHIVE';
      const row = await verifications.create({ ...due, level }, SCHEDULE).catch(ifGone);
      if (row === null) continue;
      done.push(await verifications.runOrEnd(row, signal));
    }
    return done;
  }

  /** The good copy that was verified longest ago, if that is too long. What is damaged or not verified has its own warning. */
  private async oldest(passed: { copies: number[]; destinations: number[] }): Promise<DueCopy | null> {
    const before = new Date(this.env.now().getTime() - DUE_AFTER * DAY);
    const [due] = await this.env.models.sequelize.query<DueCopy>(
      `SELECT o.id AS "copyId", o."backupId", o."destinationId", o.name, o.size, d."storageType", d."storagePath",
         b.checksum IS NOT NULL AS "hasChecksum"
       FROM stored_objects o JOIN backups b ON b.id = o."backupId" JOIN destinations d ON d.id = o."destinationId"
       WHERE (o."verifiedAt" IS NULL OR o."verifiedAt" < :before) AND o.status = 'COMPLETED' AND o."errorCode" IS NULL
         AND b.status = 'COMPLETED' AND NOT b.damaged AND b."verifiedAt" IS NOT NULL
         AND o.id NOT IN (:copies) AND o."destinationId" NOT IN (:destinations)
       ORDER BY o."verifiedAt" NULLS FIRST, o.id LIMIT 1`,
      { type: QueryTypes.SELECT, replacements: { before, ...passed } },
    );
    return due ?? null;
  }

  /** True if the budget of the last 24 hours has room. What is larger than all of it is read when nothing else was. */
  private async fits(size: number): Promise<boolean> {
    const { dailyBytes, now, models } = this.env;
    if (dailyBytes === 0) return false;
    const since = new Date(now().getTime() - DAY);
    const where = { createdBy: SCHEDULE, level: { [Op.ne]: 'DRILL' }, createdAt: { [Op.gt]: since } };
    const read = Number((await models.Verification.sum('bytes', { where })) ?? 0);
    return read === 0 || read + size <= dailyBytes;
  }

  /** False if the destination cannot be asked now: `status` says so, and nothing is known of the copy. */
  private async answers({ storageType, storagePath, name }: DueCopy): Promise<boolean> {
    try {
      await this.env.storages.open({ storageType, storagePath }).stat(name);
      return true;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      this.env.log.warn({ err: error, place: storagePath }, 'copies there cannot be verified again now');
      return false;
    }
  }
}

/** The copy was deleted since it was found. */
function ifGone(error: unknown): null {
  if (error instanceof AppError) return null;
  throw error;
}
