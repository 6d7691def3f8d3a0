import type { Command } from 'commander';
import type { Cell, QueryRows } from '../core/ports.js';
import { csvOf } from '../core/text/format.js';
import { identityOf, type IdentityOptions, withIdentity } from './identity.js';
import { backupId, ID_HELP } from './ids.js';
import { whole } from './options.js';
import { type GlobalOptions, table } from './print.js';
import { inSession } from './session.js';

interface Options extends IdentityOptions {
  limit: number;
  csv?: boolean;
}

export function addQuery(program: Command): void {
  withIdentity(
    program
      .command('query')
      .description(
        'Run one SELECT on a private copy of the database in a backup (SQLite, PostgreSQL). JSON: {columns, rows, truncated, seconds}',
      )
      .argument('<id>', `a COMPLETED backup: ${ID_HELP}`)
      .argument('<sql>', 'one SELECT, such as "SELECT * FROM auth_user ORDER BY id"')
      .option('--limit <rows>', 'most rows, 1 to 1000', whole, 100)
      .option('--csv', 'as comma-separated values'),
  ).action((given: string, sql: string, options: Options, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const { app, actor, print, stop } = session;
      const { limit, csv } = options;
      const identity = await identityOf(session, options);
      const id = await backupId(app.models, given);
      const found = await app.insight.query({ id, sql, limit, identity }, actor, stop);
      const { columns, rows, truncated, seconds } = found;
      print.result({ columns, rows, truncated, seconds }, () =>
        csv === true ? csvOf([columns, ...rows]) : text(found),
      );
      if (truncated) print.note(`There are more rows than ${limit}: see --limit.`);
    }),
  );
}

const text = ({ columns, rows }: QueryRows) =>
  table(
    rows,
    columns.map((title, index) => ({ title, cell: (row: Cell[]) => row[index] ?? null })),
  );
