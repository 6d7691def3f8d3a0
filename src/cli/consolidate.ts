import type { Command } from 'commander';
import { carryOutBackup } from './backup.js';
import { backupId, ID_HELP } from './ids.js';
import type { GlobalOptions } from './print.js';
import { inSession } from './session.js';
import { backupDocument, backupSummary } from './views.js';

export function addConsolidate(program: Command): void {
  program
    .command('consolidate')
    .description('Make a full backup of an incremental one, of the stored archives alone. JSON: {backup}')
    .argument('<id>', `a COMPLETED, incremental backup: ${ID_HELP}`)
    .action((given: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
        const { app, actor, print, stop } = session;
        const member = await backupId(app.models, given);
        print.note(`Consolidating ${member} …`);
        const { id } = await app.backups.createConsolidation(member, actor, stop);
        const row = await carryOutBackup(session, id, null);
        print.result({ backup: backupDocument(row) }, () => backupSummary(row));
      }),
    );
}
