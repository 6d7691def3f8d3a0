import { AppError } from '../errors.js';

/** The archive is damaged. @param message what is wrong, naming the entry */
export function corrupt(message: string, cause?: unknown): AppError {
  return new AppError('ARCHIVE_CORRUPT', message, { cause });
}

/** The archive was made to do harm. @param message what is wrong, naming the entry */
export function hostile(message: string): AppError {
  return new AppError('ARCHIVE_HOSTILE', message);
}

/** The file is not an archive of this product. @param message what is missing or unknown */
export function foreign(message: string, cause?: unknown): AppError {
  return new AppError('ARCHIVE_FOREIGN', message, { cause });
}

/** Why a signal was aborted, as the error to throw: its own reason if that is an AppError, CANCELLED otherwise. */
export function abortReason(signal: AbortSignal): AppError {
  const reason: unknown = signal.reason;
  return reason instanceof AppError ? reason : new AppError('CANCELLED', 'The run was cancelled.', { cause: reason });
}
