import type { Command } from 'commander';
import { backupId, ID_HELP } from './ids.js';
import { type GlobalOptions } from './print.js';
import { inSession } from './session.js';
import { backupDocument } from './views.js';

export function addKeep(program: Command): void {
  program
    .command('keep')
    .description('Take back the deletion of a backup, while it waits (DELETION_DELAY_HOURS). JSON: {backup}')
    .argument('<id>', `a backup: ${ID_HELP}`)
    .action((given: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print }) => {
        const row = await app.backups.keep(await backupId(app.models, given), actor);
        print.result({ backup: backupDocument(row) }, () => `${row.id} is kept.`);
      }),
    );
}
