import { AppError } from '../errors.js';

/** Codes of the protocol. */
const NO_SUCH_FILE = 2;
const PERMISSION_DENIED = 3;
const CONNECTION_LOST = new Set([6, 7]);
const UNSUPPORTED = 8;

interface SshError {
  message?: string;
  code?: number | string;
  /** Where ssh2 met it. */
  level?: string;
}

/** True for an error that says that a file or folder is not there. */
export const isMissing = (error: unknown): boolean =>
  error instanceof AppError && (error.cause as SshError | undefined)?.code === NO_SUCH_FILE;

/** True for an error that says that the server has no such request, or that its client knows it from the server's list. */
export const isUnsupported = (error: unknown): boolean => {
  const { code, message = '' } = ((error instanceof AppError ? error.cause : null) ?? {}) as SshError;
  return code === UNSUPPORTED || message.includes('does not support this extended request');
};

/** What an error of the SSH client means for the user. @param doing what was tried, with the place */
export function sftpError(error: unknown, doing: string): AppError {
  if (error instanceof AppError) return error;
  const { message = '', code, level } = (error ?? {}) as SshError;
  const refused = (hint: string) =>
    new AppError('STORAGE_REFUSED', `Cannot ${doing}: ${message}.`, { hint, cause: error });
  if (level === 'client-authentication') return refused('Check the user name and the password or key.');
  if (level === 'handshake') return refused('The server offers no method that both sides know: update it.');
  if (/private ?key|passphrase/i.test(message)) return refused('Check the private key and its passphrase.');
  if (code === PERMISSION_DENIED) return refused('Give the user the rights to read and write the folder.');
  if (typeof code === 'number' && code !== NO_SUCH_FILE && !CONNECTION_LOST.has(code)) {
    const hint = 'The server says no more than that: check its free space, quota and rights.';
    return new AppError('STORAGE_UNAVAILABLE', `Cannot ${doing}: ${message || 'failure'}.`, { hint, cause: error });
  }
  const what = typeof code === 'string' ? code : message || 'the connection was lost';
  return new AppError('STORAGE_UNAVAILABLE', `Cannot ${doing}: ${what}.`, { cause: error });
}
