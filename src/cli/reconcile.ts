import type { Command } from 'commander';
import type { Orphans } from '../core/cleanup.js';
import { CommandError, type Document, fields } from './print.js';
import { type GlobalOptions, inSession } from './session.js';

export function addReconcile(program: Command): void {
  program
    .command('reconcile')
    .description(
      'Compare the storages with the records: archives that no record knows, and records whose archive is gone. Only ' +
        'reports; nothing is deleted or changed. JSON: {storages: [{storageType, storagePath, files, missing: [{id, ' +
        'filePath}], error}]}',
    )
    .action((_options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, print }) => {
        const found = await app.cleanup.reconcile();
        const document = { storages: found.map(storageDocument) };
        const unreachable = found.find(({ error }) => error !== null)?.error;
        if (unreachable) throw new CommandError(unreachable, document);
        print.result(document, () => found.map(text).join('\n\n') || 'There is no stored backup yet.');
      }),
    );
}

function storageDocument({ storage, files, rows, error }: Orphans): Document {
  return {
    ...storage,
    files,
    missing: rows.map(({ id, filePath }) => ({ id, filePath })),
    error: error === null ? null : { code: error.code, message: error.message, hint: error.hint },
  };
}

function text({ storage, files, rows }: Orphans): string {
  const place = `${storage.storageType} ${storage.storagePath}`;
  if (files.length === 0 && rows.length === 0)
    return fields([[place, 'every archive has its record, and every record its archive.']]);
  return [
    fields([[place, `${files.length} file(s) without a record, ${rows.length} record(s) without a file.`]]),
    ...files.map((file) => `  no record  ${file}`),
    ...rows.map(({ id, filePath }) => `  no file    ${id} (${filePath})`),
    'Files without a record are never touched; records without a file: look for the file, or delete the record with `delete ID --yes`.',
  ].join('\n');
}
