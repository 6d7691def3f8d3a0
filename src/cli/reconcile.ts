import { basename, resolve } from 'node:path';
import type { Command } from 'commander';
import type { Orphans } from '../core/retention/cleanup.js';
import { AppError } from '../errors.js';
import { takeInAll } from '../core/backups/take-in.js';
import type { BackupRow } from '../models/index.js';
import { whole } from './options.js';
import { CommandError, type Document, fields, type GlobalOptions } from './print.js';
import { identityOf, type IdentityOptions, withIdentity } from './identity.js';
import { inSession, type Session } from './session.js';
import { backupDocument } from './views.js';

interface Options extends IdentityOptions {
  takeIn?: boolean;
  config?: number;
  sameApplication?: boolean;
}

export function addReconcile(program: Command): void {
  withIdentity(program.command('reconcile'))
    .description(
      'Compare the storages with the records: archives that no record knows, and records whose archive is gone. Looks ' +
        'into all destinations and into other folders. Only reports, unless --take-in is given; ' +
        'nothing is ever deleted. JSON: {storages: [{storageType, storagePath, files, missing: [{id, filePath}], ' +
        'error}]}; with --take-in also {takenIn: [backup], refused: [{file, error}]}',
    )
    .argument('[folders...]', 'other folders to look into')
    .option('--take-in', 'verify each archive without a record and make one for it; the archives stay where they are')
    .option(
      '--config <id>',
      'with --take-in: file them under it (default: that of the same application, or none)',
      whole,
    )
    .option('--same-application', 'with --config: they are of this application, whatever they say')
    .action((folders: string[], options: Options, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
        const { app, print } = session;
        if (options.sameApplication === true && options.config === undefined) {
          throw new AppError('BAD_USER_INPUT', 'config: is needed with --same-application.', { field: 'config' });
        }
        const found = await app.cleanup.reconcile(folders.map((folder) => resolve(folder)));
        const done = options.takeIn === true ? await takeIn(session, found, options) : null;
        const document = { storages: found.map(storageDocument), ...(done !== null && doneDocument(done)) };
        // A foreign ZIP may lie there; one of ours that is damaged must not pass unseen.
        const damaged = done?.refused.find(({ error }) => error.code !== 'ARCHIVE_FOREIGN')?.error;
        const failed = found.find(({ error }) => error !== null)?.error ?? damaged;
        if (failed) throw new CommandError(failed, document);
        print.result(document, () => (done === null ? reportText(found) : takenInText(done.takenIn)));
      }),
    );
}

interface TakenIn {
  takenIn: BackupRow[];
  refused: { file: string; error: AppError }[];
}

/** Takes in all that can be; one that is refused does not keep the others from it. */
async function takeIn({ app, actor, print, stop }: Session, found: Orphans[], options: Options): Promise<TakenIn> {
  const takenIn: BackupRow[] = [];
  const identity = await identityOf({ print, stop }, options);
  const adoption = { configId: options.config, sameApplication: options.sameApplication === true, identity };
  const items = found.flatMap(({ storage, files }) => files.map((file) => ({ address: storage, file })));
  const take = async ({ address, file }: (typeof items)[number]) => {
    takenIn.push(await app.backups.adopt({ address, fileName: basename(file) }, adoption, actor, stop));
    print.note(`taken in   ${file}`);
  };
  const refused = (await takeInAll(items, take, stop)).map(({ item: { file }, error }) => ({ file, error }));
  for (const { file, error } of refused) print.note(`refused    ${file}: ${error.message}`);
  return { takenIn, refused };
}

const doneDocument = ({ takenIn, refused }: TakenIn): Document => ({
  takenIn: takenIn.map(backupDocument),
  refused: refused.map(({ file, error }) => ({ file, error: errorDocument(error) })),
});

const errorDocument = ({ code, message, hint }: AppError) => ({ code, message, hint });

function storageDocument({ storage, files, rows, error }: Orphans): Document {
  return {
    ...storage,
    files,
    missing: rows.map(({ id, filePath }) => ({ id, filePath })),
    error: error === null ? null : errorDocument(error),
  };
}

function takenInText(rows: BackupRow[]): string {
  if (rows.length === 0) return 'Every archive has its record: there was nothing to take in.';
  const foreign = rows.filter(({ configId }) => configId === null).length;
  return [
    `${rows.length} archive(s) were verified and taken in. \`db-manager list\` shows them.`,
    ...(foreign === 0
      ? []
      : [
          `${foreign} of them belong to no config: \`db-manager import\` and the page's recovery restore such; ` +
            'if they are of an application that is protected here, file them under it in the page.',
        ]),
  ].join('\n');
}

function reportText(found: Orphans[]): string {
  const files = found.flatMap((storage) => storage.files);
  const [first] = files;
  return [
    ...found.map(text),
    ...(first === undefined
      ? []
      : [
          'Files without a record are never touched. Take them in: `db-manager reconcile --take-in`' +
            (found.length > 1 ? `, or only one: \`db-manager import ${first}\`` : ''),
        ]),
    ...(found.some(({ rows }) => rows.length > 0)
      ? ['Records without a file: look for the file, or delete the record with `delete ID --yes`.']
      : []),
  ].join('\n\n');
}

function text({ storage, files, rows }: Orphans): string {
  const place = `${storage.storageType} ${storage.storagePath}`;
  if (files.length === 0 && rows.length === 0)
    return fields([[place, 'every archive has its record, and every record its archive.']]);
  return [
    fields([[place, `${files.length} file(s) without a record, ${rows.length} record(s) without a file.`]]),
    ...files.map((file) => `  no record  ${file}`),
    ...rows.map(({ id, filePath }) => `  no file    ${id} (${filePath})`),
  ].join('\n');
}
