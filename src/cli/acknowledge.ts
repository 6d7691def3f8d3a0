import type { Command } from 'commander';
import { backupId, ID_HELP } from './ids.js';
import { type GlobalOptions } from './print.js';
import { inSession } from './session.js';
import { backupDocument } from './views.js';

export function addAcknowledge(program: Command): void {
  program
    .command('acknowledge')
    .description(
      'Say that a backup that is unlike those before it is as it should be: it counts again, and the clean-up of its ' +
        'config goes on. JSON: {backup}',
    )
    .argument('<id>', `a backup: ${ID_HELP}`)
    .action((given: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print }) => {
        const row = await app.backups.acknowledge(await backupId(app.models, given), actor);
        print.result({ backup: backupDocument(row) }, () => `The anomalies of ${row.id} are acknowledged.`);
      }),
    );
}
