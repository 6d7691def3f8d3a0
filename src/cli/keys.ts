import { open, rm } from 'node:fs/promises';
import type { Command } from 'commander';
import type { App } from '../app.js';
import { AppError, badInput, errnoOf, fromErrno } from '../errors.js';
import type { EncryptionKeyRow } from '../models/index.js';
import { identityOf, type IdentityOptions, secretIn, withIdentity } from './identity.js';
import { backupId, ID_HELP } from './ids.js';
import { fields, type GlobalOptions, moment, table } from './print.js';
import { inSession, type Session } from './session.js';
import { backupDocument } from './views.js';

interface AddOptions {
  generate?: boolean;
  out?: string;
  keepHere?: boolean;
  recipient?: string;
  passphraseFile?: string;
}

export function addKeys(program: Command): void {
  const keys = program.command('keys').description('The keys that backups are encrypted for');
  keys
    .command('list')
    .description('List all encryption keys, without their secrets. JSON: {keys}')
    .action((_options: object, command: Command) => inSession(command.optsWithGlobals<GlobalOptions>(), list));
  keys
    .command('add')
    .description('Add an encryption key. JSON: {key, identity}; identity is null where it is in a file, or only yours')
    .argument('<name>', 'how it is called')
    .option('--generate', 'generate an identity: with --out into a file, otherwise it is printed this once')
    .option('--out <file>', 'with --generate: a new file for the identity; keep it away from this machine')
    .option('--keep-here', 'with --generate: keep the identity here too, so that backups open without asking')
    .option('--recipient <age1…>', 'the public part of a key that you have')
    .option('--passphrase-file <file>', 'a file with a passphrase; - for stdin')
    .action((name: string, options: AddOptions, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), (session) => add(session, name, options)),
    );
  keys
    .command('remove')
    .description('Remove a key that no config names and that no backup needs. JSON: {key}')
    .argument('<key>', 'its id or name')
    .action((given: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print }) => {
        const key = await app.keys.remove((await keyOf(app, given)).id, actor);
        print.result({ key: documentOf(key) }, () => `${key.name} is removed.`);
      }),
    );
}

export function addRewrap(program: Command): void {
  withIdentity(
    program
      .command('rewrap')
      .description('Encrypt an encrypted backup for other keys, without compressing it again. JSON: {backup}')
      .argument('<id>', `a COMPLETED backup: ${ID_HELP}`)
      .requiredOption('--key <key...>', 'ids or names of its keys from now on'),
  ).action((given: string, options: IdentityOptions & { key: string[] }, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const { app, actor, print, stop } = session;
      const id = await backupId(app.models, given);
      const keys = await Promise.all(options.key.map((key) => keyOf(app, key)));
      const identity = await identityOf(session, options);
      const ids = keys.map((key) => key.id);
      const row = await app.backups.rewrap(id, ids, actor, stop, identity);
      print.result({ backup: backupDocument(row) }, () => `${row.id} is encrypted for other keys: ${row.filePath}`);
    }),
  );
}

/** The key of this id or name. @throws AppError NOT_FOUND */
export async function keyOf({ keys }: App, given: string): Promise<EncryptionKeyRow> {
  const found = (await keys.list()).find(({ id, name }) => String(id) === given || name === given);
  if (found !== undefined) return found;
  throw new AppError('NOT_FOUND', `There is no encryption key "${given}".`, {
    hint: '`db-manager keys list` lists them.',
  });
}

async function list({ app, print }: Session): Promise<void> {
  const keys = (await app.keys.list()).map(documentOf);
  print.result({ keys }, () => (keys.length === 0 ? 'No encryption keys.' : text(keys)));
}

async function add({ app, actor, print }: Session, name: string, options: AddOptions): Promise<void> {
  const { generate, out, keepHere, recipient, passphraseFile } = options;
  if (out !== undefined && generate !== true) throw badInput('out', 'is for --generate.');
  const passphrase = passphraseFile === undefined ? undefined : (await secretIn(passphraseFile)).replace(/\r?\n$/, '');
  const make = () => app.keys.create({ name, generate, keepHere, recipient, passphrase }, actor);
  const { key, identity } = out === undefined ? await make() : await intoFile(out, make);
  const shown = out === undefined ? identity : null;
  print.result({ key: documentOf(key), identity: shown }, () =>
    fields([
      ['Key', `${key.id} "${key.name}"`],
      ['Recipient', key.recipient],
      ['Held here', key.secret === null ? 'no' : 'yes'],
      ['Identity', shown ?? (identity === null ? null : `in ${out}`)],
    ]),
  );
  if (identity === null) return;
  print.note('Keep the identity away from this machine: whoever loses it loses the backups encrypted for it alone.');
}

/** Makes a key of which the identity lies in a new file. The file is made first: a key that nobody has is worth nothing. */
async function intoFile<T extends { key: EncryptionKeyRow; identity: string | null }>(
  path: string,
  make: () => Promise<T>,
): Promise<T> {
  const file = await open(path, 'wx', 0o600).catch((error: unknown) => {
    if (errnoOf(error) === 'EEXIST') throw badInput('out', `${path} is there already.`, 'Name a new file.');
    throw fromErrno(error, `write ${path}`, 'BAD_USER_INPUT', 'BAD_USER_INPUT') ?? error;
  });
  try {
    const made = await make();
    await file.writeFile(`# db-manager: ${made.key.name}\n# public key: ${made.key.recipient}\n${made.identity}\n`);
    await file.sync();
    return made;
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

function documentOf({ id, name, recipient, secret, createdAt, lastUsedAt = null }: EncryptionKeyRow) {
  const heldHere = (secret ?? null) !== null;
  return { id, name, recipient, passphrase: recipient === null, heldHere, createdAt, lastUsedAt };
}

function text(keys: ReturnType<typeof documentOf>[]): string {
  return table(keys, [
    { title: 'id', cell: (key) => key.id, right: true },
    { title: 'name', cell: (key) => key.name },
    { title: 'recipient', cell: (key) => key.recipient ?? 'passphrase' },
    { title: 'held here', cell: (key) => (key.heldHere ? 'yes' : 'no') },
    { title: 'last used', cell: (key) => moment(key.lastUsedAt) },
  ]);
}
