import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { FoundControl } from '../core/recovery/control-reader.js';
import type { FoundInstallation, Recovered, RecoverySource } from '../core/recovery/recovery.js';
import type { StorageType } from '../core/ports.js';
import { humanSize } from '../core/text/format.js';
import { badInput } from '../errors.js';
import { KINDS, pair, valuesOf } from './destinations.js';
import { identityOf, type IdentityOptions, withIdentity } from './identity.js';
import { type Document, fields, type GlobalOptions, moment, table } from './print.js';
import { inSession, type Session } from './session.js';
import { backupDocument } from './views.js';

interface Options extends IdentityOptions {
  from: string;
  secretFile?: Record<string, string>;
  controlBackup?: string;
  dryRun?: boolean;
}

export function addRecover(program: Command): void {
  withIdentity(program.command('recover'))
    .description(
      'Recover a whole installation on a machine that has nothing of it (an empty DATA_DIR): configs, destinations, ' +
        'users and history from the newest backup of the control database in a destination, and records for archives ' +
        'that are newer; from the archives alone where there is none. No application is touched: restore them ' +
        'afterwards. JSON: {found: {place, controlBackups, archives}}; without --dry-run also {controlBackup, takenIn, ' +
        'configsMade, configs, passedOver: [{file, error}], withoutSecrets, withoutPasswords}',
    )
    .argument('[setting=value...]', 'as for `destinations add`; left out, the variables of the storage are used')
    .requiredOption('--from <place>', `a folder, or ${KINDS.map((kind) => kind.toLowerCase()).join(', ')}`)
    .option('--secret-file <name=file>', 'a file with one secret, such as secretAccessKey=/run/secrets/s3', pair)
    .option('--control-backup <name>', 'the one to take; none: rebuild everything from archives (default: the newest)')
    .option('--dry-run', 'only list what lies there')
    .action((settings: string[], options: Options, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), (session) => recover(session, settings, options), undefined, {
        firstConfig: false,
      }),
    );
}

async function recover(session: Session, settings: string[], options: Options): Promise<void> {
  const { app, print, stop, actor } = session;
  const source = await sourceOf(session, settings, options);
  if (options.dryRun === true) {
    const found = await app.recovery.look(source);
    return print.result({ found: foundDocument(found) }, () => foundText(found));
  }
  const identity = await identityOf(session, options);
  const done = await app.recovery.run(source, { identity, controlBackup: options.controlBackup, actor }, stop);
  print.note(`${foundText(done.found)}\n`);
  for (const { file, error } of done.passedOver) print.note(`Warning: ${file}: ${error.message}`);
  const configs = await app.configs.list();
  const document = {
    found: foundDocument(done.found),
    controlBackup: done.controlBackup === null ? null : controlDocument(done.controlBackup),
    takenIn: done.takenIn.map(backupDocument),
    configsMade: done.configsMade.map(({ id }) => id),
    configs: configs.map(({ id, name }) => ({ id, name })),
    passedOver: done.passedOver.map(({ file, error: { code, message, hint } }) => ({
      file,
      error: { code, message, hint },
    })),
    withoutSecrets: done.withoutSecrets,
    withoutPasswords: done.withoutPasswords,
  };
  print.result(document, () =>
    doneText(
      done,
      configs.map(({ id, name }) => `${id} "${name}"`),
    ),
  );
}

async function sourceOf(session: Session, given: string[], { from, secretFile }: Options): Promise<RecoverySource> {
  const kind = KINDS.find((one) => one === from.toUpperCase());
  if (kind === undefined) {
    if (given.length > 0) throw badInput('from', `"${from}" is a folder and takes no settings.`);
    return { storageType: 'SYSTEM', values: { path: resolve(from) } };
  }
  const values = { ...environmentOf(session, kind, given), ...(await valuesOf(session, kind, given, secretFile)) };
  return { storageType: kind, values };
}

/** The variables of the storage, where no setting is given. */
const environmentOf = ({ app }: Session, kind: StorageType, given: string[]) =>
  given.length === 0 ? (app.environment.storageValues[kind] ?? {}) : {};

const controlDocument = ({ name, location, size, at, encrypted }: FoundControl) => ({
  name,
  location,
  size,
  at,
  encrypted,
});

const foundDocument = ({ place, controlBackups, archives }: FoundInstallation): Document => ({
  place,
  controlBackups: controlBackups.map(controlDocument),
  archives,
});

function foundText({ place, controlBackups, archives }: FoundInstallation): string {
  const bytes = archives.reduce((sum, { size }) => sum + size, 0);
  const names = archives.map(({ name }) => name).sort();
  const head = fields([
    ['Place', place],
    ['Archives', archives.length === 0 ? 'none' : `${archives.length}, ${humanSize(bytes)} in all`],
    ['First', names[0] ?? null],
    ['Last', names.at(-1) ?? null],
  ]);
  if (controlBackups.length === 0) return `${head}\n\nNo backup of a control database lies there.`;
  const rows = table(controlBackups, [
    { title: 'control database', cell: ({ name }) => name },
    { title: 'made', cell: ({ at }) => moment(at) },
    { title: 'size', cell: ({ size }) => humanSize(size), right: true },
    { title: 'encrypted', cell: ({ encrypted }) => (encrypted ? 'yes' : 'no') },
  ]);
  return `${head}\n\n${rows}`;
}

function doneText(
  { controlBackup, takenIn, configsMade, withoutSecrets, withoutPasswords }: Recovered,
  configs: string[],
): string {
  const from =
    controlBackup === null
      ? 'from the archives alone: check the settings of each config, above all schedule, retention and encryption'
      : `as of ${moment(controlBackup.at)}, from ${controlBackup.host}`;
  const steps = [
    ...withoutSecrets.map((name) => `Give destination "${name}" its secrets again: its backup was not encrypted.`),
    ...withoutPasswords.map((email) => `Set a password: \`npx db-manager password ${email}\`. None was in the backup.`),
    'Restore: `npx db-manager list`, then `npx db-manager restore ID --dry-run`.',
    'Start: `npm start`.',
  ];
  return [
    `The installation is recovered, ${from}.`,
    fields([
      ['Configs', configs.join(', ') || 'none'],
      ['Taken in', `${takenIn.length} archive(s) that had no record`],
      ['Made', configsMade.length === 0 ? null : `${configsMade.length} config(s) of what archives say`],
    ]),
    'Next steps:',
    ...steps.map((step, index) => `  ${index + 1}. ${step}`),
  ].join('\n');
}
