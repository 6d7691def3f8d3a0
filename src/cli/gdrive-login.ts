import { rm, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { loginToGdrive } from '../app.js';
import { badInput } from '../errors.js';
import { writeNewFile } from './new-file.js';
import type { GlobalOptions } from './print.js';
import { readHidden } from './prompt.js';
import { inSession, type Session } from './session.js';

interface LoginOptions {
  clientId?: string;
  out: string;
}

export function addGdriveLogin(program: Command): void {
  program
    .command('gdrive-login')
    .description(
      'Get a refresh token for Google Drive: shows an address to open in a browser of this machine, and writes the token ' +
        'to a file that only its owner can read. The client secret comes from GDRIVE_CLIENT_SECRET, or is asked for. ' +
        'JSON: {file}',
    )
    .option('--client-id <id>', 'of the OAuth client, type "Desktop app" (default: GDRIVE_CLIENT_ID)')
    .requiredOption('--out <file>', 'a new file for the token')
    .action((options: LoginOptions, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), (session) => login(session, options)),
    );
}

async function login({ app, print, stop }: Session, options: LoginOptions): Promise<void> {
  const saved = app.environment.storageValues.GDRIVE ?? {};
  const clientId = options.clientId ?? textOf(saved.clientId);
  if (clientId === '') throw badInput('client-id', 'is missing.', 'Give --client-id, or set GDRIVE_CLIENT_ID.');
  let clientSecret = textOf(saved.clientSecret);
  if (clientSecret === '' && print.interactive) clientSecret = await readHidden('Client secret: ', print.err, stop);
  if (clientSecret === '') throw badInput('GDRIVE_CLIENT_SECRET', 'is missing.');
  const file = resolve(options.out);
  // Made first: a token that cannot be kept is not worth a person's consent.
  await writeNewFile(file, '', 'out');
  const token = await loginToGdrive({
    clientId,
    clientSecret,
    rootUrl: textOf(saved.rootUrl) || undefined,
    show: (url) => print.err.write(`Open this address in a browser of this machine:\n\n${url}\n\n`),
    signal: stop,
  }).catch(async (error: unknown) => {
    await rm(file);
    throw error;
  });
  await writeFile(file, token);
  print.result({ file }, () =>
    [
      `The refresh token is in ${file}. With GDRIVE_CLIENT_SECRET set, add the destination; then delete the file:`,
      `  npx db-manager destinations add gdrive folder=Backups clientId=${clientId} --secret-file refreshToken=${file}`,
    ].join('\n'),
  );
}

const textOf = (value: unknown) => (typeof value === 'string' ? value : '');
