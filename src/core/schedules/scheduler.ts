import type { CoreEnvironment } from '../environment.js';
import { Op, type Transaction } from 'sequelize';
import type { BackupConfigRow, BackupRow } from '../../models/index.js';
import type { RunEnvironment } from '../runs/run.js';
import { nextDue } from './due.js';
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
      const where = { id: { [Op.gt]: last }, autoBackupEnabled: true };
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
