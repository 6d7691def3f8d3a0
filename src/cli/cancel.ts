import type { Command } from 'commander';
import { ID_HELP, runId } from './ids.js';
import { type GlobalOptions } from './print.js';
import { inSession } from './session.js';
import { backupDocument, restoreDocument, verificationDocument } from './views.js';

export function addCancel(program: Command): void {
  program
    .command('cancel')
    .description(
      'Cancel a backup, a restore or a verification that waits or is under way. JSON: {backup}, {restore} or {verification}',
    )
    .argument('<id>', `a backup, restore or verification: ${ID_HELP} (\`restore_latest\`, \`verify_latest\`)`)
    .action((given: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print }) => {
        const { kind, id } = await runId(app.models, given);
        const told = (status: string) =>
          status === 'FAILED' ? `${id} is cancelled.` : `${id} is stopping; see \`db-manager show ${id}\`.`;
        if (kind === 'restore') {
          const row = await app.restores.cancel(id, actor);
          const document = restoreDocument(row, app.restores.maskedTarget(row));
          return print.result({ restore: document }, () => told(row.status));
        }
        if (kind === 'verify') {
          const row = await app.verifications.cancel(id, actor);
          return print.result({ verification: verificationDocument(row) }, () => told(row.status));
        }
        const row = await app.backups.cancel(id, actor);
        print.result({ backup: backupDocument(row) }, () => told(row.status));
      }),
    );
}
