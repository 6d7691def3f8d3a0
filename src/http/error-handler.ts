import type { ErrorRequestHandler, Request, RequestHandler } from 'express';
import { AppError, badInput, type ErrorCode, isOurs, toAppError } from '../errors.js';
import type { Log } from '../log.js';
import { errorPage } from './error-page.js';

/** The HTTP status of each error. A new code does not compile before it has one. */
export const HTTP_STATUS: Record<ErrorCode, number> = {
  BAD_USER_INPUT: 400,
  CONFIRMATION_REQUIRED: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  RATE_LIMITED: 429,
  QUERY_TOO_COMPLEX: 400,
  PAYLOAD_TOO_LARGE: 413,
  NOT_FOUND: 404,
  BACKUP_NOT_COMPLETED: 409,
  BACKUP_DELETED: 410,
  BACKUP_PINNED: 409,
  BACKUP_NEEDED: 409,
  CHAIN_BROKEN: 409,
  BACKUP_FOREIGN: 409,
  TABLES_DIFFER: 409,
  TABLES_EXCLUDED: 409,
  BUSY: 409,
  PLAN_CHANGED: 409,
  CANCELLED: 409,
  INTERRUPTED: 503,
  CONFIG_INVALID: 500,
  CONFIG_IN_USE: 409,
  DESTINATION_IN_USE: 409,
  ENCRYPTION_KEY_MISSING: 409,
  ENCRYPTION_KEY_WRONG: 422,
  ENCRYPTION_KEY_IN_USE: 409,
  AUDIT_BROKEN: 409,
  CONTROL_DATABASE_FAILED: 503,
  DATABASE_IS_CONTROL: 400,
  ENGINE_UNSUPPORTED: 400,
  DATABASE_NOT_FOUND: 409,
  DATABASE_UNREADABLE: 409,
  DATABASE_WRONG_KIND: 409,
  DATABASE_TOOLS_MISSING: 409,
  DATABASE_CORRUPT: 409,
  DATABASE_IN_USE: 409,
  DATABASE_FAILED: 502,
  MEDIA_NOT_FOUND: 409,
  MEDIA_UNREADABLE: 409,
  PATH_NOT_ALLOWED: 400,
  STORAGE_NOT_WRITABLE: 503,
  STORAGE_FULL: 507,
  STORAGE_UNAVAILABLE: 503,
  STORAGE_REFUSED: 502,
  NOTIFICATION_FAILED: 502,
  NAME_TAKEN: 409,
  ARCHIVE_MISSING: 410,
  ARCHIVE_CORRUPT: 422,
  DRILL_FAILED: 422,
  DRILL_COMMAND_FAILED: 422,
  HOOK_FAILED: 422,
  INVARIANT_BROKEN: 422,
  ARCHIVE_HOSTILE: 422,
  ARCHIVE_FOREIGN: 422,
  ARCHIVE_TOO_NEW: 422,
  RESTORE_CONFLICT: 409,
  RESTORE_ROLLBACK_FAILED: 500,
  INTERNAL_ERROR: 500,
};

/** The answer to an address that is none of ours. */
export const unknownRoute: RequestHandler = (request) => {
  throw new AppError('NOT_FOUND', `There is nothing at ${request.method} ${request.path}.`, {
    hint: 'The API is at /graphql, downloads at /api/db-manager/backups/{id}/download/; /api/openapi.json describes both.',
  });
};

/**
 * Shows every error as `{ code, message, hint, field? }`, or in GraphQL's own form below its address. What is not the
 * caller's doing is logged and shown without its words.
 * @param graphqlPath where answers have GraphQL's form
 * @param basePath as `Environment.basePath`: where the admin page is
 */
export function errorHandler(log: Log, graphqlPath: string, basePath: string): ErrorRequestHandler {
  return (thrown, request, response, next) => {
    const error = explain(thrown);
    if (isOurs(error)) log.error({ err: thrown as unknown, path: request.path }, 'a request failed');
    if (response.headersSent) return next(thrown);
    const { code, message, hint, field } = error;
    response.status(HTTP_STATUS[code]).set('Cache-Control', 'no-store');
    if (code === 'UNAUTHENTICATED') response.set('WWW-Authenticate', 'Bearer');
    response.vary('Accept');
    if (isBrowser(request)) {
      response.type('html').send(errorPage(HTTP_STATUS[code], message, hint, basePath));
      return;
    }
    const about = { hint, ...(field === undefined ? {} : { field }) };
    const isGraphql = request.path === graphqlPath || request.path.startsWith(`${graphqlPath}/`);
    response.json(isGraphql ? { errors: [{ message, extensions: { code, ...about } }] } : { code, message, ...about });
  };
}

/** True where a person follows a link or opens an address: programs ask for JSON, or for anything. */
const isBrowser = (request: Request) => request.method === 'GET' && request.accepts(['json', 'html']) === 'html';

/** Express and its body parser throw errors with a status and, where it is the caller's doing, `expose`. */
function explain(thrown: unknown): AppError {
  if (thrown instanceof AppError || !(thrown instanceof Error) || !('status' in thrown)) return toAppError(thrown);
  if (thrown.status === 413) return new AppError('PAYLOAD_TOO_LARGE', 'The request is larger than MAX_BODY_KB allows.');
  // Its own words quote the body, which may hold a password.
  if ('type' in thrown && thrown.type === 'entity.parse.failed') {
    return badInput('request', 'the body is not JSON.', 'Send well-formed JSON with Content-Type: application/json.');
  }
  if (typeof thrown.status === 'number' && thrown.status >= 400 && thrown.status < 500) {
    return badInput('request', `${thrown.message}.`, 'Send well-formed JSON with Content-Type: application/json.');
  }
  return toAppError(thrown);
}
