import type { Command } from 'commander';
import type { BackupComparison } from '../core/insight/insight.js';
import { identityOf, type IdentityOptions, withIdentity } from './identity.js';
import { backupId, ID_HELP } from './ids.js';
import { whole } from './options.js';
import { type GlobalOptions, table } from './print.js';
import { rowText, sign } from './row-text.js';
import { inSession } from './session.js';

interface Options extends IdentityOptions {
  table?: string[];
  samples: number;
}

export function addDiff(program: Command): void {
  withIdentity(
    program
      .command('diff')
      .description(
        'Compare a backup with a later one, or with what is live: rows, definitions, media (SQLite, PostgreSQL). ' +
          'JSON: {tables, schemaChanges, media}',
      )
      .argument('<from>', `the earlier backup, COMPLETED: ${ID_HELP}`)
      .argument('[to]', 'the later backup, or `live`: the database and media of its config', 'live')
      .option('--table <name...>', 'only these tables')
      .option('--samples <rows>', 'how many rows and files are shown of each kind of difference, up to 100', whole, 3),
  ).action((given: string, later: string, options: Options, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const { app, actor, print, stop } = session;
      const identity = await identityOf(session, options);
      const from = await backupId(app.models, given);
      const to = later === 'live' ? null : await backupId(app.models, later);
      print.note(`Comparing ${from} with ${to ?? 'what is live'} …`);
      const { table: tables, samples } = options;
      const wanted = { from, to, tables: tables ?? null, samples, identity };
      const found = await app.insight.compare(wanted, actor, stop);
      print.result({ ...found }, () => text(found));
    }),
  );
}

function text({ tables, schemaChanges, media }: BackupComparison): string {
  const differing = tables.filter(
    ({ added, removed, changed, schemaChanges: changes }) => added + removed + changed + changes.length > 0,
  );
  const same = tables.length - differing.length;
  const isSameMedia = media.added + media.removed + media.changed === 0;
  const parts = [
    ...(differing.length === 0
      ? [`The rows of all ${tables.length} tables are the same.`]
      : [
          table(differing, [
            { title: 'table', cell: ({ name }) => name },
            { title: 'removed', cell: ({ removed }) => removed, right: true },
            { title: 'changed', cell: ({ changed }) => changed, right: true },
            { title: 'added', cell: ({ added }) => added, right: true },
            { title: 'unchanged', cell: ({ unchanged }) => unchanged, right: true },
          ]),
          ...(same > 0 ? [`${same} other tables are the same.`] : []),
        ]),
    ...[
      ...differing.flatMap(({ name, schemaChanges: changes }) => changes.map((change) => `${name}: ${change}`)),
      ...schemaChanges,
    ],
    ...differing.flatMap(({ name, samples }) => samples.map((sample) => `${name}: ${rowText(sample)}`)),
    isSameMedia
      ? sameMedia(media.unchanged)
      : `Media: ${media.removed} removed, ${media.changed} changed, ${media.added} added, ${media.unchanged} unchanged.`,
    ...media.samples.map(({ path, before, after }) => `${sign(before, after)} ${path}`),
  ];
  return parts.join('\n');
}

const sameMedia = (files: number) =>
  files === 0 ? 'Neither has media files.' : `All media files (${files}) are the same.`;
