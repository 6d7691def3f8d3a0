import type { CoreEnvironment } from '../environment.js';
import { Op, type Transaction } from 'sequelize';
import type { BackupConfigRow, BackupRow, VerificationRow } from '../../models/index.js';
import type { RunEnvironment } from '../runs/run.js';
import { nextDrill, nextDue } from './due.js';
import { PAUSES } from './retry.js';

/** What the scheduler needs of the process around it. */
export type SchedulerEnvironment = RunEnvironment &
  Pick<CoreEnvironment, 'queue'> & {
    backups: {
      /** Makes the PENDING row of an automatic backup in the transaction that takes its due time. */
      createDue(
        config: BackupConfigRow,
        due: { dueAt: Date | null; attempt: number },
        transaction: Transaction,
      ): Promise<BackupRow>;
    };
    drills: {
      /** The backup that a drill of the config would restore now. Null where none is good, or a drill waits or is under way. */
      findDue(config: BackupConfigRow): Promise<BackupRow | null>;
      /**
       * Makes the PENDING row of a drill that is due in the transaction that takes its due time.
       * @param queued as in the row
       */
      createDue(backup: BackupRow, queued: boolean, transaction: Transaction): Promise<VerificationRow>;
    };
  };

/** How many configs are looked at in one go. */
const BATCH = 100;

/**
 * Makes the automatic backups. Each config's row says when it is due; the node that moves that time on, in the transaction
 * that also makes the backup's row, has taken the run. So a due time is used once, however many nodes look, nothing is
 * lost between the two, and what was missed while all were down is made up for by one run.
 */
export class Scheduler {
  constructor(private readonly env: SchedulerEnvironment) {}

  /** Makes what is due now. @returns how many backups were made */
  async tick(): Promise<number> {
    let made = 0;
    for (;;) {
      const before = made;
      const now = this.env.now();
      const due = await this.env.models.BackupConfig.findAll({
        where: {
          autoBackupEnabled: true,
          [Op.or]: [{ nextRunAt: { [Op.lte]: now } }, { retryAt: { [Op.lte]: now } }],
        },
        order: [['id', 'ASC']],
        limit: BATCH,
      });
      for (const config of due) {
        const row = await this.takeOrTell(config, now);
        if (row === null) continue;
        made += 1;
        await this.env.queue.add({ name: 'run-backup', backupId: row.id });
      }
      if (due.length < BATCH || made === before) return made;
    }
  }

  /** Makes the drills that are due now, and hands them to the queue. */
  async tickDrills(): Promise<void> {
    for (const { id } of await this.takeDrills(true)) {
      await this.env.queue.add({ name: 'run-verification', verificationId: id });
    }
  }

  /**
   * Makes the rows of the drills that are due now, each due time once, as `tick` does. What cannot be drilled yet stays due,
   * and is overdue after a while.
   * @param queued false if the caller runs them itself
   */
  async takeDrills(queued: boolean): Promise<VerificationRow[]> {
    const { models, drills, log } = this.env;
    const now = this.env.now();
    const made: VerificationRow[] = [];
    const where = { nextDrillAt: { [Op.lte]: now } };
    for (const config of await models.BackupConfig.findAll({ where, order: [['id', 'ASC']] })) {
      const { id, nextDrillAt } = config;
      const take = async (backup: BackupRow, transaction: Transaction) => {
        const moved = { nextDrillAt: nextDrill(config, now) };
        const [taken] = await models.BackupConfig.update(moved, { where: { id, nextDrillAt }, transaction });
        return taken === 0 ? null : drills.createDue(backup, queued, transaction);
      };
      try {
        const backup = await drills.findDue(config);
        if (backup === null) continue;
        const row = await models.sequelize.transaction((transaction) => take(backup, transaction));
        if (row !== null) made.push(row);
      } catch (error) {
        log.error({ err: error, config: id }, 'a due drill could not be made');
      }
    }
    return made;
  }

  /**
   * Moves on a due time that a command's backup has met, so that no worker makes up for it and nothing counts as overdue. One
   * that lies ahead stays.
   */
  async meet(config: BackupConfigRow): Promise<void> {
    const now = this.env.now();
    if (config.nextRunAt === null || config.nextRunAt > now) return;
    const where = { id: config.id, nextRunAt: config.nextRunAt };
    await this.env.models.BackupConfig.update({ nextRunAt: nextDue(config, now) }, { where });
  }

  /**
   * Brings back due times that were worked out while the clock was ahead: until then such a config would make no backup. At any
   * other moment no due time is later than the next one of its schedule.
   */
  async realign(): Promise<void> {
    const { BackupConfig } = this.env.models;
    for (let last = 0; ;) {
      const where = {
        id: { [Op.gt]: last },
        [Op.or]: [{ autoBackupEnabled: true }, { nextDrillAt: { [Op.ne]: null } }],
      };
      const configs = await BackupConfig.findAll({ where, order: [['id', 'ASC']], limit: BATCH });
      for (const config of configs) await this.realignOne(config, this.env.now());
      last = configs.at(-1)?.id ?? last;
      if (configs.length < BATCH) return;
    }
  }

  private async realignOne(config: BackupConfigRow, now: Date): Promise<void> {
    const { BackupConfig } = this.env.models;
    const due = nextDue(config, now);
    if (due !== null && config.nextRunAt !== null && config.nextRunAt > due) {
      await BackupConfig.update({ nextRunAt: due }, { where: { id: config.id, nextRunAt: config.nextRunAt } });
    }
    const drill = nextDrill(config, now);
    if (drill !== null && config.nextDrillAt !== null && config.nextDrillAt > drill) {
      await BackupConfig.update({ nextDrillAt: drill }, { where: { id: config.id, nextDrillAt: config.nextDrillAt } });
    }
    const latest = new Date(now.getTime() + Math.max(...PAUSES) * 60_000);
    if (config.retryAt !== null && config.retryAt > latest) {
      await BackupConfig.update({ retryAt: now }, { where: { id: config.id, retryAt: config.retryAt } });
    }
  }

  /** One config that cannot be handled must not keep the others from their backups. */
  private async takeOrTell(config: BackupConfigRow, now: Date): Promise<BackupRow | null> {
    try {
      return await this.take(config, now);
    } catch (error) {
      this.env.log.error({ err: error, config: config.id }, 'a due backup could not be made');
      return null;
    }
  }

  /** Takes the due time of a config. @returns null if another node was faster */
  private take(config: BackupConfigRow, now: Date): Promise<BackupRow | null> {
    return this.env.models.sequelize.transaction(async (transaction) => {
      const regular = config.nextRunAt !== null && config.nextRunAt <= now;
      const dueAt = regular ? config.nextRunAt : config.retryDueAt;
      const moved = regular ? { nextRunAt: nextDue(config, now) } : {};
      const [taken] = await this.env.models.BackupConfig.update(
        { ...moved, retryAt: null, retryAttempt: null, retryDueAt: null },
        { where: { id: config.id, nextRunAt: config.nextRunAt, retryAt: config.retryAt }, transaction },
      );
      if (taken === 0) return null;
      const attempt = regular ? 1 : (config.retryAttempt ?? 1);
      return this.env.backups.createDue(config, { dueAt, attempt }, transaction);
    });
  }
}
