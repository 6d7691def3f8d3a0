import type { Command } from 'commander';
import { AppError } from '../errors.js';
import type { BackupRow } from '../models/index.js';
import { backupId, ID_HELP } from './ids.js';
import { type GlobalOptions, moment } from './print.js';
import { inSession } from './session.js';
import { backupDocument } from './views.js';

const said = ({ id, filePath, deleteAfter = null }: BackupRow) =>
  deleteAfter === null
    ? `Deleted ${id} (${filePath}).`
    : `${id} is to be deleted after ${moment(deleteAfter)}. To take that back: db-manager keep ${id}`;

export function addDelete(program: Command): void {
  program
    .command('delete')
    .description(
      'Delete the archives of backups; their records stay as DELETED. With DELETION_DELAY_HOURS, later. JSON: {backups: […]}',
    )
    .argument('<id...>', `backups: for each ${ID_HELP}`)
    .option('--cascade', 'also delete the incremental backups that build on them')
    .option('--yes', 'needed: yes, delete them')
    .action((given: string[], { yes, cascade }: { yes?: boolean; cascade?: boolean }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print }) => {
        const ids = await Promise.all(given.map((id) => backupId(app.models, id)));
        if (yes !== true) {
          throw new AppError('CONFIRMATION_REQUIRED', `Deleting ${ids.join(', ')} cannot be undone.`, {
            hint: 'Repeat the command with --yes.',
          });
        }
        const rows = await app.backups.remove(ids, actor, undefined, cascade);
        print.result({ backups: rows.map(backupDocument) }, () => rows.map((row) => said(row)).join('\n'));
      }),
    );
}
