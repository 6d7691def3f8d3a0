import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { badInput, fromErrno } from '../errors.js';
import { readHidden } from './prompt.js';
import type { Session } from './session.js';

/** The options of a command that opens encrypted backups. */
export interface IdentityOptions {
  identityFile?: string;
  askIdentity?: boolean;
}

/** Gives a command the options that open encrypted backups. Never an argument: others could see it among the processes. */
export function withIdentity(command: Command): Command {
  return command
    .option(
      '--identity-file <file>',
      'opens an encrypted backup: an age key file, or one with a passphrase; - for stdin',
    )
    .option('--ask-identity', 'ask for the identity or passphrase that opens an encrypted backup');
}

/** What the options give; undefined: the keys that are held here. @throws AppError BAD_USER_INPUT */
export async function identityOf(
  { print, stop }: Pick<Session, 'print' | 'stop'>,
  { identityFile, askIdentity }: IdentityOptions,
): Promise<string | undefined> {
  if (identityFile !== undefined && askIdentity === true) {
    throw badInput('identity-file', 'cannot be combined with --ask-identity.');
  }
  if (identityFile !== undefined) return secretIn(identityFile);
  if (askIdentity !== true) return undefined;
  if (!print.interactive) throw badInput('ask-identity', 'needs a terminal.', 'Use --identity-file.');
  return readHidden('Identity or passphrase: ', print.err, stop);
}

/** The text of a file with a secret, or of standard input for `-`. @throws AppError BAD_USER_INPUT */
export async function secretIn(path: string): Promise<string> {
  try {
    return path === '-' ? await text(process.stdin) : await readFile(path, 'utf8');
  } catch (error) {
    throw fromErrno(error, `read ${path}`, 'BAD_USER_INPUT', 'BAD_USER_INPUT') ?? error;
  }
}
