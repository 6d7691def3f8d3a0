import type { Command } from 'commander';
import { listRestores } from '../core/lists/lists.js';
import type { RunStatus } from '../models/index.js';
import { configNames, moreText, readUpTo } from './paging.js';
import { someOf, RUN_STATUSES, whole } from './options.js';
import { type GlobalOptions } from './print.js';
import { inSession } from './session.js';
import { restoreDocument, restoreTable } from './views.js';

export function addRestores(program: Command): void {
  program
    .command('restores')
    .description('List restores, newest first. JSON: {restores: […], more}')
    .option('--config <id>', 'only of this config', whole)
    .option('--status <status...>', 'one or more statuses', someOf(RUN_STATUSES))
    .option('--limit <n>', 'at most so many', whole, 50)
    .action((options: { config?: number; status?: RunStatus[]; limit: number }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, print }) => {
        const filter = { configId: options.config, status: options.status };
        const { rows, more } = await readUpTo(options.limit, (first, after) =>
          listRestores(app.models, filter, { first, after }),
        );
        const names = await configNames(app.models);
        const restores = rows.map((row) => ({
          ...restoreDocument(row, app.restores.maskedTarget(row)),
          configName: names.get(row.configId) ?? null,
        }));
        print.result({ restores, more }, () =>
          rows.length === 0 ? 'No restores.' : `${restoreTable(rows, names)}${moreText(more)}`,
        );
      }),
    );
}
