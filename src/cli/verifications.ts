import type { Command } from 'commander';
import { listVerifications } from '../core/lists/lists.js';
import { backupId, ID_HELP } from './ids.js';
import { configNames, moreText, readUpTo } from './paging.js';
import { whole } from './options.js';
import { type GlobalOptions } from './print.js';
import { inSession } from './session.js';
import { verificationDocument, verificationTable } from './views.js';

export function addVerifications(program: Command): void {
  program
    .command('verifications')
    .description('List verifications, newest first. JSON: {verifications: […], more}')
    .option('--config <id>', 'only of backups of this config', whole)
    .option('--backup <id>', `only of this backup: ${ID_HELP}`)
    .option('--limit <n>', 'at most so many', whole, 50)
    .action((options: { config?: number; backup?: string; limit: number }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, print }) => {
        const filter = {
          configId: options.config,
          backupId: options.backup === undefined ? undefined : await backupId(app.models, options.backup),
        };
        const { rows, more } = await readUpTo(options.limit, (first, after) =>
          listVerifications(app.models, filter, { first, after }),
        );
        const names = await configNames(app.models);
        const verifications = rows.map((row) => ({
          ...verificationDocument(row),
          configName: names.get(row.configId) ?? null,
        }));
        print.result({ verifications, more }, () =>
          rows.length === 0 ? 'No verifications.' : `${verificationTable(rows, names)}${moreText(more)}`,
        );
      }),
    );
}
