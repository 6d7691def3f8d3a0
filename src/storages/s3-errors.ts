import { AppError, errnoOf } from '../errors.js';

interface ServiceError {
  name?: string;
  message?: string;
  $metadata?: { httpStatusCode?: number };
  $response?: { statusCode?: number };
}

/** The HTTP status of an answer that is an error; undefined if there was no answer. */
export function statusOf(error: unknown): number | undefined {
  const { $metadata, $response } = (error ?? {}) as ServiceError;
  return $metadata?.httpStatusCode ?? $response?.statusCode;
}

/** True if the service does not know conditional writes or SHA-256 checksums. */
export function refusesExtras(error: unknown): boolean {
  const { name = '', message = '' } = (error ?? {}) as ServiceError;
  if (name === 'NotImplemented' || statusOf(error) === 501) return true;
  return statusOf(error) === 400 && /checksum|if-none-match|unsupported header/i.test(message);
}

/** Why a service refuses, by its own code: what to do about it. */
const HINTS: Record<string, string> = {
  InvalidAccessKeyId: 'Check the access key of the destination.',
  SignatureDoesNotMatch: 'Check the secret access key of the destination.',
  InvalidSignature: 'Check the secret access key of the destination.',
  ExpiredToken: 'Give the destination a new session token.',
  RequestTimeTooSkewed: 'Set the clock of this machine (or of the storage): they differ by more than 15 minutes.',
  AccessDenied: 'Allow the key to get, put, list and delete objects and multipart uploads in this bucket.',
  NoSuchBucket: 'Create the bucket, or correct its name or region.',
  PermanentRedirect: 'Correct the region of the destination.',
  AuthorizationHeaderMalformed: 'Correct the region of the destination.',
  CredentialsProviderError: 'Give the destination an access key, or this machine a role.',
};

const PASSING = new Set([408, 425, 429]);

/** What an error of the S3 client means for the user. @param doing what was tried, with the place */
export function s3Error(error: unknown, doing: string): AppError {
  if (error instanceof AppError) return error;
  const { name = '', message = '' } = (error ?? {}) as ServiceError;
  const status = statusOf(error);
  const code = name === 'NotFound' || name === '404' ? 'NoSuchBucket' : name;
  const what = `Cannot ${doing}: ${[code, message === name ? '' : message].filter((part) => part !== '').join(': ')}`;
  const text = `${what.replace(/[.\s]+$/, '')}.`;
  const options = { cause: error, ...(HINTS[code] !== undefined && { hint: HINTS[code] }) };
  if (status === 507 || /^(QuotaExceeded|XMinioStorageFull|InsufficientStorage)/i.test(code)) {
    return new AppError('STORAGE_FULL', text, { cause: error });
  }
  const refused = status !== undefined && status >= 300 && status < 500 && !PASSING.has(status);
  if (refused || code === 'CredentialsProviderError') return new AppError('STORAGE_REFUSED', text, options);
  const net = errnoOf(error);
  return new AppError('STORAGE_UNAVAILABLE', net === undefined ? text : `Cannot ${doing}: ${net}.`, { cause: error });
}
