import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Every error that the product shows: its code, what it means and what to do when nothing more precise is known.
 * docs/errors.md, the HTTP statuses and the exit codes are kept equal to this list by types and by a test.
 */
export const ERRORS = {
  BAD_USER_INPUT: {
    meaning: 'A value in the request is missing or wrong.',
    hint: 'Correct the named field and send the request again.',
  },
  CONFIRMATION_REQUIRED: {
    meaning:
      'A restore or another dangerous step was asked for without confirmation, or the server wants the password again first.',
    hint: 'Read the plan first, then repeat with `confirm: true` (command line: `--confirm`).',
  },
  UNAUTHENTICATED: {
    meaning: 'There is no token, or it is expired, revoked or not signed by a key that this server trusts.',
    hint: 'Log in again and send the token as `Authorization: Bearer <token>`.',
  },
  FORBIDDEN: {
    meaning: 'The token is valid but its holder is not an admin.',
    hint: 'Log in as an admin. For tokens of the host application check JWT_ADMIN_CLAIM.',
  },
  RATE_LIMITED: {
    meaning: 'Too many failed logins, or requests without a valid token, in a short time.',
    hint: 'Wait for the time that the message names, then try again.',
  },
  QUERY_TOO_COMPLEX: {
    meaning: 'The GraphQL request is deeper, longer or more expensive than the server allows.',
    hint: 'Ask for fewer fields or smaller pages, or split the request.',
  },
  PAYLOAD_TOO_LARGE: {
    meaning: 'The request or the uploaded file is larger than the configured limit.',
    hint: 'Send less, or raise the limit in the configuration.',
  },
  NOT_FOUND: { meaning: 'No record has this id.', hint: 'List the records and use an id from the list.' },
  BACKUP_NOT_COMPLETED: {
    meaning: 'The backup has no archive, because it has not completed.',
    hint: 'Wait for the run to end, or choose a backup whose status is COMPLETED.',
  },
  BACKUP_DELETED: {
    meaning: 'The backup was deleted, its archive is gone.',
    hint: 'Choose another backup from the list.',
  },
  BACKUP_PINNED: {
    meaning: 'The backup is pinned, so it is not deleted.',
    hint: 'Unpin it first: `pinBackup(id, pinned: false)`.',
  },
  BACKUP_NEEDED: {
    meaning: 'Incremental backups build on the backup, so it cannot be deleted without them.',
    hint: 'Delete the backups that build on it as well: `deleteBackup(id, cascade: true)`.',
  },
  CHAIN_BROKEN: {
    meaning: 'A backup that an incremental one builds on is missing or damaged.',
    hint: 'Put that backup back or repair its copy, then verify again; or restore an older backup.',
  },
  BACKUP_FOREIGN: {
    meaning:
      'The backup was made of another application, or does not say of which, and would replace data of this one.',
    hint: 'Check whose data it is. To restore it all the same, repeat with allowForeign: true.',
  },
  TABLES_DIFFER: {
    meaning: 'The backup and the target have too few tables in common to be of one application.',
    hint: 'Check that this is the right backup. To restore it all the same, repeat with allowForeign: true.',
  },
  TABLES_EXCLUDED: {
    meaning: 'The backup was made without tables or rows that the target has, and a restore would take them away.',
    hint: 'Look at the plan for which they are. To restore it all the same, repeat with allowExcluded: true.',
  },
  BUSY: {
    meaning: 'Another run holds the same backup or database.',
    hint: 'Wait until the other run has ended, or cancel it.',
    retry: true,
  },
  PLAN_CHANGED: {
    meaning: 'The plan is no longer the one that was shown. Nothing was done.',
    hint: 'Look at the new plan, then run it with its hash.',
  },
  CANCELLED: { meaning: 'The run was cancelled.', hint: 'Start it again when you want it.' },
  INTERRUPTED: {
    meaning: 'The process that did the run stopped before the run ended.',
    hint: 'Look in the log for why it stopped (crash, kill, power), then start the run again.',
    retry: true,
  },
  CONFIG_INVALID: {
    meaning: 'The environment has missing or wrong values. The process did not start.',
    hint: 'Correct the named variables; .env.example explains each.',
  },
  CONFIG_IN_USE: {
    meaning: 'The config cannot be changed or deleted while one of its runs is under way.',
    hint: 'Wait for the run to end, or cancel it.',
  },
  DESTINATION_IN_USE: {
    meaning: 'The destination cannot be deleted or moved while backups lie there or configs name it.',
    hint: 'Delete those backups and give those configs another destination first.',
  },
  ENCRYPTION_KEY_MISSING: {
    meaning: 'The archive is encrypted, and none of the keys that open it is held here.',
    hint: 'Give its identity or passphrase: `identity` in the API, `--identity-file` on the command line.',
  },
  ENCRYPTION_KEY_WRONG: {
    meaning: 'The identity or passphrase that was given does not open the archive.',
    hint: 'Give the one of a key that the archive is encrypted for; `encryptionKeys` of the backup names them.',
  },
  ENCRYPTION_KEY_IN_USE: {
    meaning: 'The encryption key cannot be deleted while a config names it or a backup opens with no other key.',
    hint: 'Take it out of the configs, and encrypt those backups for another key with rewrapBackup, first.',
  },
  NOTIFICATION_FAILED: {
    meaning: 'A message could not be delivered to a channel.',
    hint: 'Check the target and the secret of the channel, and that its service can be reached from here.',
    retry: true,
  },
  AUDIT_BROKEN: {
    meaning: 'The audit trail is not what was written: events were changed, removed or put in.',
    hint: 'Compare it with an earlier export and with a copy of the control database, and find out who could write to it.',
  },
  CONTROL_DATABASE_FAILED: {
    meaning: 'The control database cannot be opened, read or written, or brought to the present version.',
    hint: 'Check CONTROL_DATABASE_URL, DATA_DIR, the rights on them and the free space.',
  },
  DATABASE_IS_CONTROL: {
    meaning: "The protected database and the product's own control database are the same.",
    hint: 'Point DATABASE_URL at the application, and DATA_DIR or CONTROL_DATABASE_URL elsewhere.',
  },
  ENGINE_UNSUPPORTED: {
    meaning: 'No engine can handle this kind of database URL.',
    hint: 'Use a URL of a supported kind, such as sqlite:./db.sqlite3, postgres://user@host/database, mysql://user@host/database or mongodb://user@host/database.',
  },
  DATABASE_NOT_FOUND: {
    meaning: 'The database to protect is not there.',
    hint: 'Check the path or address in databaseUrl, and that the disk is mounted.',
    retry: true,
  },
  DATABASE_UNREADABLE: {
    meaning: 'The database is there but cannot be read or written by this process.',
    hint: 'Give the user that runs db-manager the rights on the file and its folder.',
  },
  DATABASE_WRONG_KIND: {
    meaning: 'What lies there is not a database of the kind that the URL names.',
    hint: 'Check the path or address. Encrypted database files and other formats cannot be read.',
  },
  DATABASE_TOOLS_MISSING: {
    meaning:
      'The client programs of the database server (pg_dump, mysqldump and such) are missing here, or too old for it.',
    hint: 'Install those of the version of the server, or name their folder in PG_BIN_DIR or MYSQL_BIN_DIR.',
  },
  DATABASE_CORRUPT: {
    meaning: 'The database fails its own integrity check.',
    hint: 'Run `PRAGMA integrity_check`; restore the newest verified backup if it is damaged.',
  },
  DATABASE_IN_USE: {
    meaning: 'Another program held a lock on the database until the deadline passed. Nothing was changed.',
    hint: 'Stop the program that writes, or allow more time, and try again.',
    retry: true,
  },
  DATABASE_FAILED: {
    meaning: 'The database answered with an error.',
    hint: 'Correct the cause that the message quotes, then try again.',
    retry: true,
  },
  MEDIA_NOT_FOUND: {
    meaning: 'A media path of the config is not there.',
    hint: 'Correct mediaPaths, or mount the disk it lies on.',
  },
  MEDIA_UNREADABLE: {
    meaning: 'A media file cannot be read, so the backup would not be complete.',
    hint: 'Give the user that runs db-manager the right to read it, or move it out of the media path.',
  },
  PATH_NOT_ALLOWED: {
    meaning: 'A path leads outside the folder that it must stay in.',
    hint: 'Use a path inside the allowed folder, without `..`; SYSTEM paths are absolute.',
  },
  STORAGE_NOT_WRITABLE: {
    meaning: 'The storage folder cannot be written.',
    hint: 'Give the user that runs db-manager the right to write there, or choose another folder.',
  },
  STORAGE_FULL: {
    meaning: 'There is not enough free space.',
    hint: 'Free the amount that the message names, or choose another storage.',
    retry: true,
  },
  STORAGE_UNAVAILABLE: {
    meaning: 'The storage does not answer or answered with an error.',
    hint: 'Check that the disk is mounted or the service is reachable, then try again.',
    retry: true,
  },
  STORAGE_REFUSED: {
    meaning: 'The storage answers but refuses: credentials, rights, or the name of its bucket or folder are wrong.',
    hint: 'Correct the settings of the destination, or give its user the rights to read, write, list and delete.',
  },
  NAME_TAKEN: { meaning: 'An object of this name is already stored.', hint: 'Use another name.' },
  ARCHIVE_MISSING: {
    meaning: 'The archive is no longer in its storage.',
    hint: 'Look for the file under the shown path; choose another backup if it is gone.',
  },
  ARCHIVE_CORRUPT: {
    meaning: 'The archive is damaged: bytes, sizes or hashes differ from what was stored.',
    hint: 'Do not rely on this backup. Verify the others, make a new one, and check the disk.',
  },
  ARCHIVE_HOSTILE: {
    meaning: 'The archive contains entries that could harm the machine, so it was refused.',
    hint: 'Do not use this file. Get the archive from the system that wrote it.',
  },
  ARCHIVE_FOREIGN: {
    meaning: 'The file is a ZIP, but not a backup archive of this product.',
    hint: 'Choose a file named <prefix>_backup_<date>_<time>.zip that holds backup_metadata.json.',
  },
  ARCHIVE_TOO_NEW: {
    meaning: 'The archive was written by a newer version of this product.',
    hint: 'Update db-manager, then try again; or unpack the file with unzip.',
  },
  RESTORE_CONFLICT: {
    meaning: 'Rows that a restore would bring back do not fit what the target holds now.',
    hint: 'Look at the plan for which rows they are. Choose others with `where`, or correct the newer rows first.',
  },
  DRILL_FAILED: {
    meaning: 'A drill could not restore the backup, or what it restored is not what was backed up.',
    hint: 'A real restore may fail in the same way: remove the cause, then drill again.',
  },
  DRILL_COMMAND_FAILED: {
    meaning: 'The command of a drill did not end with 0, or not in time: it did not accept what was restored.',
    hint: 'Read the output of the command, which the drill keeps, then drill again.',
  },
  HOOK_FAILED: {
    meaning: 'A hook of the operator did not end with 0, not in time, or may not be run: the run was refused.',
    hint: 'Remove what the hook complains of, and start the run again; `db-manager doctor` checks the hooks themselves.',
    retry: true,
  },
  INVARIANT_BROKEN: {
    meaning: 'A database breaks an invariant of its config, in a drill or after a guarded command.',
    hint: 'Look at the rows that the invariant asks for. Correct the data, or the invariant.',
  },
  RESTORE_ROLLBACK_FAILED: {
    meaning: 'The restore failed and the state before it could not be put back.',
    hint: "Stop the application and restore the run's safety backup.",
  },
  INTERNAL_ERROR: {
    meaning: 'Something unexpected went wrong inside db-manager.',
    hint: 'The log of the server has the details under the shown time. Please report it.',
  },
} as const satisfies Record<string, { meaning: string; hint: string; retry?: true }>;

/** A code of the catalogue. */
export type ErrorCode = keyof typeof ERRORS;

/** True if trying again later may help: the cause can pass by itself. */
export const mayPass = (code: ErrorCode): boolean => 'retry' in ERRORS[code];

/** The only error that leaves a function of the product: a code of the catalogue, what happened, and what to do next. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;
  /** The input field that the error is about, if it is about one. */
  readonly field: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; field?: string; cause?: unknown } = {}) {
    super(maskSecrets(message), { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.hint = maskSecrets(options.hint ?? ERRORS[code].hint);
    this.field = options.field;
  }
}

/** A message that its channel refuses for what it says: sent again, it is refused again. */
export class MessageRefused extends AppError {
  constructor(message: string) {
    super('NOTIFICATION_FAILED', message);
  }
}

const SECRET_PARAMETER = /([?&;](?:ticket|token|secret|pass|passwd|password|pwd|sslpassword)=)[^\s&;#"']+/gi;
/** `scheme://user:password@`, up to the last @ of the word: a password may hold every other sign. */
const URL_PASSWORD = /([a-z][a-z0-9+.-]*:\/\/[^\s:/@"']*):\S*@/gi;
/** The same with a slip in the scheme, or without one: `postgres:/user:password@`, `user:password@`. */
const STRAY_PASSWORD = /((?:^|[\s"'(=<,])(?:[a-z][a-z0-9+.-]*:\/*)?[^\s:@"'(=<,]*):(?!\/)\S*@/gi;

/** The same text with the passwords and tickets of all URLs in it, also of malformed ones, replaced by ***. */
export function maskSecrets(text: string): string {
  return text.replace(URL_PASSWORD, '$1:***@').replace(STRAY_PASSWORD, '$1:***@').replace(SECRET_PARAMETER, '$1***');
}

/** An error about one input field; `message` starts with the field's name. */
export function badInput(field: string, message: string, hint?: string): AppError {
  return new AppError('BAD_USER_INPUT', `${field}: ${message}`, { field, ...(hint ? { hint } : {}) });
}

/**
 * Any thrown value as an AppError. Of others, those of the control database and of a full or broken disk have codes of their
 * own; what is left becomes INTERNAL_ERROR, with the cause kept for the log only.
 */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const known = controlDatabaseError(error) ?? diskError(error);
  if (known !== undefined) return known;
  return new AppError('INTERNAL_ERROR', 'An unexpected error happened.', { cause: error });
}

/** True for an error that belongs in the server's log: no request caused it. */
export const isOurs = ({ code }: AppError) => code === 'INTERNAL_ERROR' || code === 'CONTROL_DATABASE_FAILED';

/** What a driver of the control database says of causes outside the product: by code, for SQLite and PostgreSQL. */
const CONTROL_CAUSES: [RegExp, string, string][] = [
  [
    /^(SQLITE_FULL|53100|ENOSPC)$/,
    'its disk is full',
    'Free space on the disk of DATA_DIR (or of the database server).',
  ],
  [/^(SQLITE_READONLY|25006)$/, 'it is read-only', 'Give the user that runs db-manager the right to write DATA_DIR.'],
  [
    /^SQLITE_(CANTOPEN|IOERR)$/,
    'its file cannot be read or written',
    'Check that the disk of DATA_DIR is there and has space, then start again.',
  ],
  [/^SQLITE_(CORRUPT|NOTADB)$/, 'its file is damaged', 'Stop db-manager and put a copy of DATA_DIR back.'],
  [/^SQLITE_(BUSY|LOCKED)$/, 'another process holds it', 'Try again; look for a process that keeps it locked.'],
  [
    /^(08...|57P0.|53.00|28...|3D000|ECONN.*|ENOTFOUND|ETIMEDOUT|EHOSTUNREACH|EPIPE)$/,
    'its server does not answer',
    'Check that the server of CONTROL_DATABASE_URL runs and lets db-manager in.',
  ],
];

/** Only the control database is read and written through Sequelize. */
function controlDatabaseError(error: unknown): AppError | undefined {
  if (!(error instanceof Error) || !error.name.startsWith('Sequelize')) return undefined;
  const { original } = error as { original?: unknown };
  const code = errnoOf(original) ?? /SQLITE_[A-Z]+/.exec(error.message)?.[0] ?? '';
  const known = CONTROL_CAUSES.find(([pattern]) => pattern.test(code));
  const isConnection = /^Sequelize(Connection|Host|Timeout|AccessDenied|InvalidConnection)/.test(error.name);
  if (known === undefined && !isConnection) return undefined;
  const [, reason, hint] = known ?? [null, 'it does not answer', ERRORS.CONTROL_DATABASE_FAILED.hint];
  const message = `The control database cannot be used: ${reason}${code === '' ? '' : ` (${code})`}.`;
  return new AppError('CONTROL_DATABASE_FAILED', message, { hint, cause: error });
}

/** A disk that is full, has no inodes left, is read-only or does not answer, wherever that is met. */
function diskError(error: unknown): AppError | undefined {
  if (!['ENOSPC', 'EDQUOT', 'EROFS', 'EIO'].includes(causeOf(error) ?? '')) return undefined;
  const { path, syscall } = error as NodeJS.ErrnoException;
  const doing = `${syscall ?? 'use'} ${path ?? 'the disk'}`;
  return fromErrno(error, doing, 'STORAGE_NOT_WRITABLE', 'STORAGE_UNAVAILABLE');
}

/** The `code` of a system error such as ENOENT, or undefined. */
export function errnoOf(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : undefined;
}

/** As `errnoOf`, but for a recursive `mkdir` on a full disk, of which Node says ENOENT: then the disk itself is asked. */
function causeOf(error: unknown): string | undefined {
  const code = errnoOf(error);
  const { syscall, path } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' && syscall === 'mkdir' && path !== undefined && isFull(path) ? 'ENOSPC' : code;
}

function isFull(path: string): boolean {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    try {
      const { blocks, bavail, files, ffree } = statfsSync(folder);
      return (blocks > 0 && bavail === 0) || (files > 0 && ffree === 0);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' || folder === dirname(folder)) return false;
    }
  }
}

/**
 * The error that a failed system call means for the user, or undefined if the call's error is not one of the known ones.
 * @param doing what was tried, with the path: 'write /srv/backups'
 */
export function fromErrno(error: unknown, doing: string, denied: ErrorCode, missing: ErrorCode): AppError | undefined {
  if (error instanceof AppError) return error;
  switch (causeOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new AppError('STORAGE_FULL', `No space left to ${doing}.`, { cause: error });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new AppError(denied, `No permission to ${doing}.`, { cause: error });
    case 'ENAMETOOLONG':
      return new AppError(denied, `Cannot ${doing}: the path is longer than the system allows.`, {
        hint: 'Shorten the names of the folders above it, or nest them less deeply.',
        cause: error,
      });
    case 'ENOENT':
    case 'ENOTDIR':
      return new AppError(missing, `Not there: cannot ${doing}.`, { cause: error });
    case 'EIO':
    case 'ESTALE':
    case 'ENOTCONN':
    case 'ETIMEDOUT':
      return new AppError('STORAGE_UNAVAILABLE', `The disk did not answer: cannot ${doing}.`, { cause: error });
    default:
      return undefined;
  }
}
