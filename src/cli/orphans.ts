import type { Command } from 'commander';
import type { FileReferences } from '../core/ports.js';
import { identityOf, type IdentityOptions, withIdentity } from './identity.js';
import { backupId, ID_HELP } from './ids.js';
import { whole } from './options.js';
import { type GlobalOptions, table } from './print.js';
import { inSession } from './session.js';

interface Options extends IdentityOptions {
  column?: string[];
  samples: number;
}

export function addOrphans(program: Command): void {
  withIdentity(
    program
      .command('orphans')
      .description(
        'Look for rows of a backup whose media files are not in it, and for files that no row names (SQLite, PostgreSQL). ' +
          'JSON: {columns, unreferenced, unreferencedSamples}',
      )
      .argument('<id>', `a COMPLETED backup with media: ${ID_HELP}`)
      .option('--column <table.column...>', 'columns that name files; left out, those that look so')
      .option('--samples <rows>', 'how many rows of each column, and files, are shown, up to 100', whole, 3),
  ).action((given: string, options: Options, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const { app, actor, print, stop } = session;
      const { column: columns = null, samples } = options;
      const identity = await identityOf(session, options);
      const id = await backupId(app.models, given);
      const found = await app.insight.references({ id, columns, samples, identity }, actor, stop);
      print.result({ ...found }, () => text(found));
    }),
  );
}

const text = ({ columns, unreferenced, unreferencedSamples }: FileReferences) =>
  [
    table(columns, [
      { title: 'column', cell: ({ table: name, column }) => `${name}.${column}` },
      { title: 'rows', cell: ({ rows }) => rows, right: true },
      { title: 'without file', cell: ({ missing }) => missing, right: true },
    ]),
    ...columns.flatMap(({ table: name, samples }) =>
      samples.map(({ key, path }) => `${name}: ${JSON.stringify(key)} ${String(path)}`),
    ),
    `Files that no row names: ${unreferenced}`,
    ...unreferencedSamples,
  ].join('\n');
