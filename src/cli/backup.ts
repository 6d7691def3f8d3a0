import { type Command, Option } from 'commander';
import { resolve } from 'node:path';
import type { BackupRequest } from '../core/backups/backups.js';
import type { BackupRow } from '../models/index.js';
import { oneOf, whole } from './options.js';
import { CommandError, type GlobalOptions } from './print.js';
import { carryOut, errorOf } from './runs.js';
import { inSession, type Session } from './session.js';
import { backupDocument, backupSummary } from './views.js';

interface Options {
  config?: number;
  path?: string;
  storage?: 'LOCAL' | 'SYSTEM';
  note?: string;
  allowDamaged?: boolean;
  incremental?: boolean;
  full?: boolean;
}

export function addBackup(program: Command): void {
  program
    .command('backup')
    .description('Back up a database with its media now, and verify what was stored. JSON: {backup}')
    .option('--config <id>', 'the config to back up (default: the first)', whole)
    .option('--path <dir>', "another folder than the config's; relative to the backups folder with storage LOCAL")
    .option('--storage <type>', "another storage than the config's: LOCAL or SYSTEM", oneOf(['LOCAL', 'SYSTEM']))
    .option('--note <text>', 'a remark to keep with the backup')
    .option('--allow-damaged', 'keep a database with damaged pages as it is; never counts as a good backup')
    .addOption(new Option('--incremental', 'store only what changed since the last one').conflicts('full'))
    .option('--full', 'store everything, also where the config is incremental')
    .action((options: Options, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
        const row = await makeBackup(session, {
          backupType: 'MANUAL',
          configId: options.config,
          storageType: options.storage,
          customPath: options.storage === 'SYSTEM' && options.path !== undefined ? resolve(options.path) : options.path,
          note: options.note,
          allowDamaged: options.allowDamaged,
          mode: options.full ? 'FULL' : options.incremental ? 'INCREMENTAL' : undefined,
        });
        session.print.result({ backup: backupDocument(row) }, () => backupSummary(row));
      }),
    );
}

/** Makes one backup in this process. @throws CommandError with the row, if the run fails */
export async function makeBackup(session: Session, request: BackupRequest): Promise<BackupRow> {
  const { backups, configs } = session.app;
  const config = await configs.get(request.configId);
  const { id } = await backups.create({ ...request, configId: config.id }, session.actor);
  return carryOutBackup(session, id, config.databaseKey);
}

/**
 * Does a PENDING backup in this process.
 * @param databaseKey of the database that it reads; null for none
 * @throws CommandError with the row, if the run fails
 */
export async function carryOutBackup(session: Session, id: string, databaseKey: string | null): Promise<BackupRow> {
  const row = await carryOut(session, session.app.backups, id, databaseKey);
  if (row.status !== 'COMPLETED') throw new CommandError(errorOf(row), { backup: backupDocument(row) });
  if (row.copies.length === 1) return row;
  await session.app.copies.runDue(session.stop, id);
  return row.reload();
}
