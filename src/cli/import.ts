import type { App } from '../app.js';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { configFromBackup, importArchive } from '../core/backups/recover.js';
import { isForeign } from '../core/archives/origin.js';
import { AppError } from '../errors.js';
import type { BackupConfigRow, BackupRow } from '../models/index.js';
import { identityOf, type IdentityOptions, withIdentity } from './identity.js';
import { databaseUrl, whole } from './options.js';
import { fields, moment, type GlobalOptions } from './print.js';
import { askFor, carryOutRestore } from './restore.js';
import { inSession } from './session.js';
import { backupDocument, backupSummary } from './views.js';

interface Options extends IdentityOptions {
  config?: number;
  restore?: boolean;
  database?: string;
  media?: string[];
  name?: string;
  confirm?: boolean;
  allowForeign?: boolean;
  allowExcluded?: boolean;
}

export function addImport(program: Command): void {
  withIdentity(
    program
      .command('import')
      .description(
        'Take in an archive from anywhere, show whose it is, and with --restore bring its application back. JSON: {backup, origin, config}; with --restore also {restore}',
      )
      .argument('<file>', 'the ZIP, encrypted by age or not')
      .option('--config <id>', 'file it under this config (default: the one of the same application, or none)', whole)
      .option('--restore', 'restore it, and make a config of what the archive says if its application has none')
      .option('--database <file>', 'with --restore: where the database goes (default: as the archive says)')
      .option(
        '--media <dir...>',
        'with --restore: where the media folders go, in their order (default: as the archive says)',
      )
      .option('--name <name>', 'with --restore: the name of the config that is made')
      .option('--confirm', 'with --restore: yes, restore (on a terminal you are asked instead)')
      .option('--allow-foreign', "with --config and --restore: replace that config's data by another application's")
      .option('--allow-excluded', 'with --restore: also where the target has tables or rows that were left out'),
  ).action((file: string, options: Options, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const { app, actor, print, stop } = session;
      const identity = await identityOf(session, options);
      const row = await importArchive(app, resolve(file), options.config, actor, stop, identity);
      const config = row.configId === null ? null : await app.configs.get(row.configId);
      if (options.restore !== true) {
        const document = { backup: backupDocument(row), origin: row.origin, config: config?.name ?? null };
        return print.result(document, () => `${importedText(row, config)}\n\n${nextStep(row, config, file)}`);
      }
      print.note(`${importedText(row, config)}\n`);
      if (row.errorCode !== null) throw incomplete(row);
      if (options.confirm !== true && !print.interactive) throw notConfirmed();
      if (config === null) {
        const made = await configFromBackup(app, row.id, settingsOf(options, app), actor);
        print.note(`Config ${made.id} "${made.name}" was made: ${app.configs.maskedUrl(made)}`);
      }
      const { allowForeign, allowExcluded } = options;
      const request = { backupId: row.id, confirm: false, allowForeign, allowExcluded, identity };
      if (options.confirm !== true) await askFor(session, request);
      await carryOutRestore(session, await app.restores.create({ ...request, confirm: true }, actor));
    }),
  );
}

/** What was taken in before the archives that it builds on. */
const incomplete = ({ errorMessage, errorHint }: BackupRow) =>
  new AppError('CHAIN_BROKEN', `The archive was taken in, but cannot be restored yet. ${errorMessage ?? ''}`, {
    hint: (errorHint ?? '').replace('Upload', 'Import'),
  });

function notConfirmed(): AppError {
  return new AppError('CONFIRMATION_REQUIRED', 'The archive was taken in, but not restored: --confirm was not given.', {
    hint: 'Check whose it is and where it goes, then repeat the command with --confirm.',
  });
}

function settingsOf({ database, media, name }: Options, { engines }: App) {
  return {
    name,
    databaseUrl: database === undefined ? undefined : databaseUrl(database, engines),
    mediaPaths: media?.map((path) => resolve(path)),
  };
}

/** What came in, and whose it is. */
function importedText(row: BackupRow, config: BackupConfigRow | null): string {
  const { origin } = row;
  const whose = [
    origin?.config ? `"${origin.config}"` : 'unknown: the archive does not say',
    origin?.host ? `on ${origin.host}` : '',
  ];
  const under = config === null ? 'none here' : `${config.id} "${config.name}"`;
  return [
    backupSummary(row),
    fields([
      ['Application', whose.filter(Boolean).join(' ')],
      ['Its database', origin?.database ?? null],
      ['Its media', origin?.mediaPaths.join(', ') || null],
      ['Data of', moment(row.createdAt)],
      ['Config', isForeign(row, config) ? `${under}, which protects another application` : under],
    ]),
  ].join('\n');
}

function nextStep(row: BackupRow, config: BackupConfigRow | null, file: string): string {
  if (row.errorCode !== null) {
    const { message, hint } = incomplete(row);
    return `${message} ${hint}`;
  }
  if (config === null) {
    return `To bring its application back: npx db-manager import ${file} --restore [--database FILE] [--media DIR …]\nTo look into it first:         npx db-manager restore ${row.id} --to /tmp/look.sqlite3`;
  }
  return `To see what a restore would do: npx db-manager restore ${row.id} --dry-run`;
}
