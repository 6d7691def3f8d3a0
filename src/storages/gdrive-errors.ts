import { AppError, errnoOf } from '../errors.js';

/** An answer of Drive that is an error. */
export interface DriveFailure {
  /** HTTP status; undefined if there was no answer. */
  status: number | undefined;
  /** Drive's own word for it, such as `rateLimitExceeded`. */
  reason: string;
  message: string;
}

const PASSING = new Set([408, 425, 429]);
/** Answered with 403 although trying again later helps. */
const RATE_LIMITS = /^(rateLimitExceeded|userRateLimitExceeded|sharingRateLimitExceeded|backendError)$/;
const FULL = /^(storageQuotaExceeded|teamDriveFileLimitExceeded|numChildrenInNonRootLimitExceeded)$/;

const HINTS: Record<string, string> = {
  insufficientFilePermissions: 'Share the folder with the account of the destination, as an editor.',
  insufficientParentPermissions: 'Share the folder with the account of the destination, as an editor.',
  accessNotConfigured: 'Switch on the Google Drive API in the Google Cloud project of the account.',
  notFound: 'Check the folder, and that it is shared with the account of the destination.',
  authError: 'Make a new refresh token with `db-manager gdrive-login`, or a new key of the service account.',
  storageQuotaExceeded:
    'Free space, or use a shared drive: a service account has no space of its own in somebody’s drive.',
};

interface ErrorBody {
  error?: { message?: string; errors?: { reason?: string }[] } | string;
}

/** What the body of an answer says. */
export function failureOf(status: number | undefined, body: unknown): DriveFailure {
  const { error } = (typeof body === 'object' && body !== null ? body : {}) as ErrorBody;
  if (typeof error === 'object') {
    return { status, reason: error.errors?.[0]?.reason ?? '', message: error.message ?? '' };
  }
  return { status, reason: '', message: error ?? '' };
}

/** What an error of Drive means for the user. @param doing what was tried, with the place */
export function driveError(error: unknown, doing: string): AppError {
  if (error instanceof AppError) return error;
  const { response, message } = error as { response?: { status?: number; data?: unknown }; message?: string };
  if (response?.status !== undefined) return answered(failureOf(response.status, response.data), doing, error);
  const net = errnoOf(error) ?? errnoOf((error as { cause?: unknown }).cause) ?? message ?? 'no answer';
  return new AppError('STORAGE_UNAVAILABLE', `Cannot ${doing}: ${net.replace(/\.$/, '')}.`, { cause: error });
}

/** As `driveError`, for an answer that was read by hand. */
export function answered({ status = 0, reason, message }: DriveFailure, doing: string, cause?: unknown): AppError {
  const what = [reason, message].filter((part) => part !== '').join(': ') || `status ${status}`;
  const text = `Cannot ${doing}: ${what.replace(/[.\s]+$/, '')}.`;
  const hint = HINTS[reason] ?? (status === 401 ? HINTS.authError : undefined);
  const options = { cause, ...(hint !== undefined && { hint }) };
  if (FULL.test(reason)) return new AppError('STORAGE_FULL', text, options);
  const passing = status >= 500 || PASSING.has(status) || RATE_LIMITS.test(reason);
  return new AppError(passing ? 'STORAGE_UNAVAILABLE' : 'STORAGE_REFUSED', text, options);
}
