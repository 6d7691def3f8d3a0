import type { Command } from 'commander';
import { Op } from 'sequelize';
import { lastDue } from '../core/schedules/cron.js';
import { AppError } from '../errors.js';
import type { BackupConfigRow, BackupRow } from '../models/index.js';
import { carryOutBackup, makeBackup } from './backup.js';
import { whole } from './options.js';
import { CommandError, moment, type GlobalOptions } from './print.js';
import { inSession, type Session } from './session.js';
import { backupDocument, backupSummary } from './views.js';

/** What came of one config. `reason` says why nothing was done. */
interface Outcome {
  config: BackupConfigRow;
  backup: BackupRow | null;
  reason: string | null;
}

/** What is to be done for a config: a backup, of which the row may be there already, or nothing, and why. */
type Due = { waiting: BackupRow | null } | { reason: string; fresh?: true };

const NEW: Due = { waiting: null };

export function addAutoBackup(program: Command): void {
  program
    .command('auto-backup')
    .description(
      'Do what the daily job does, for a timer of the system: back up each config whose automatic backup is on and ' +
        'whose last scheduled time has no backup yet. JSON: {results: [{configId, done, reason, backup}]}',
    )
    .option('--force', 'back up also where automatic backup is off or a fresh backup exists')
    .option('--config <id>', 'only this config', whole)
    .action((options: { force?: boolean; config?: number }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
        const { app, print } = session;
        const configs =
          options.config === undefined ? await app.configs.list() : [await app.configs.get(options.config)];
        const outcomes: Outcome[] = [];
        const failures: AppError[] = [];
        for (const config of configs) {
          const due = options.force === true ? NEW : await whatIsDue(session, config, new Date());
          if ('reason' in due) {
            if (due.fresh) await app.scheduler.meet(config);
            outcomes.push({ config, backup: null, reason: due.reason });
            continue;
          }
          session.stop.throwIfAborted();
          const { backup, error } = await attempt(session, config, due.waiting);
          if (error === null) await app.scheduler.meet(config);
          else failures.push(error);
          outcomes.push({ config, backup, reason: backup?.errorMessage ?? error?.message ?? null });
        }
        // Copies that failed before: where no server runs, nothing else tries them again.
        await app.copies.runDue(session.stop);
        await app.controlBackups.runDue(session.stop);
        const results = outcomes.map(({ config, backup, reason }) => ({
          configId: config.id,
          done: backup?.status === 'COMPLETED',
          reason,
          backup: backup === null ? null : backupDocument(backup),
        }));
        const [failed] = failures;
        if (failed !== undefined) throw new CommandError(failed, { results });
        print.result({ results }, () => outcomes.map(sentence).join('\n') || 'No configs.');
      }),
    );
}

/** Backs up one config. What stops it, even before there is a row, does not keep the other configs from theirs. */
async function attempt(
  session: Session,
  config: BackupConfigRow,
  waiting: BackupRow | null,
): Promise<{ backup: BackupRow | null; error: AppError | null }> {
  try {
    const made =
      waiting === null
        ? makeBackup(session, { backupType: 'AUTO', configId: config.id })
        : carryOutBackup(session, waiting.id, config.databaseKey);
    return { backup: await made, error: null };
  } catch (thrown) {
    if (thrown instanceof AppError) return { backup: null, error: thrown };
    if (!(thrown instanceof CommandError)) throw thrown;
    const { id } = thrown.details.backup as { id: string };
    return { backup: await session.app.backups.get(id), error: thrown.error };
  }
}

/**
 * A backup that still waits is taken over: where no server runs, the process that made its row may be gone, and no other would
 * ever begin it. If another begins it at the same moment, only one of the two gets the row, and the other follows it.
 */
async function whatIsDue({ app }: Session, config: BackupConfigRow, now: Date): Promise<Due> {
  if (!config.autoBackupEnabled) return { reason: 'automatic backup is off' };
  const due = lastDue(config.schedule, config.timezone, now);
  const latest = (where: object) =>
    app.models.Backup.findOne({
      where: { configId: config.id, backupType: ['AUTO', 'MANUAL'], ...where },
      order: [['createdAt', 'DESC']],
    });
  const fresh = await latest({ status: 'COMPLETED', damaged: false, createdAt: { [Op.gte]: due } });
  if (fresh !== null)
    return { reason: `${fresh.id} was made since the last scheduled time (${moment(due)})`, fresh: true };
  const running = await latest({ status: 'RUNNING', backupType: 'AUTO' });
  if (running !== null) return { reason: `${running.id} is under way` };
  return { waiting: await latest({ status: 'PENDING', backupType: 'AUTO' }) };
}

function sentence({ config, backup, reason }: Outcome): string {
  if (backup !== null) return backupSummary(backup);
  return `Nothing to do for config ${config.id} "${config.name}": ${reason}. Use --force to back up all the same.`;
}
