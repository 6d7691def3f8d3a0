import type { Command } from 'commander';
import { ID_HELP, runId } from './ids.js';
import { type GlobalOptions } from './print.js';
import { inSession } from './session.js';
import {
  backupDocument,
  backupText,
  restoreDocument,
  restoreText,
  verificationDocument,
  verificationText,
} from './views.js';

export function addShow(program: Command): void {
  program
    .command('show')
    .description('Show one backup, restore or verification in full. JSON: {backup}, {restore} or {verification}')
    .argument('<id>', `a backup, restore or verification: ${ID_HELP} (\`restore_latest\`, \`verify_latest\`)`)
    .action((given: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, print }) => {
        const { kind, id } = await runId(app.models, given);
        if (kind === 'restore') {
          const row = await app.restores.get(id);
          const target = app.restores.maskedTarget(row);
          return print.result({ restore: restoreDocument(row, target) }, () => restoreText(row, target));
        }
        if (kind === 'verify') {
          const row = await app.verifications.get(id);
          return print.result({ verification: verificationDocument(row) }, () => verificationText(row));
        }
        const row = await app.backups.get(id);
        const archives = await app.backups.chainLength(row);
        print.result({ backup: backupDocument(row) }, () => backupText(row, archives));
      }),
    );
}
