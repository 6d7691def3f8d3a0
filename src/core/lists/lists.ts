import { literal, Op, type WhereOptions } from 'sequelize';
import type {
  AuditEventRow,
  BackupRow,
  BackupStatus,
  BackupType,
  Models,
  RestoreRow,
  RunStatus,
} from '../../models/index.js';
import { type Page, type PageOrder, readPage } from './page.js';
import type { StorageType } from '../ports.js';

type Optional<T> = T | null | undefined;

/** What part of a list is wanted: `first` rows after a cursor. */
export interface PageRequest {
  first: number;
  after?: Optional<string>;
}

/** From a moment on (inclusive) up to another (exclusive). */
interface Period {
  createdAfter?: Optional<Date>;
  createdBefore?: Optional<Date>;
}

/** Which backups. Parts are AND-ed; a part that is left out, null or an empty list restricts nothing. */
export interface BackupFilter extends Period {
  configId?: Optional<number>;
  status?: Optional<BackupStatus[]>;
  backupType?: Optional<BackupType[]>;
  storageType?: Optional<StorageType[]>;
  /** Part of the id, file name, note, database name or error message, in any case. */
  search?: Optional<string>;
}

/** Which restores. */
export interface RestoreFilter extends Period {
  configId?: Optional<number>;
  backupId?: Optional<string>;
  status?: Optional<RunStatus[]>;
  /** Part of the id, the backup's id or the error message, in any case. */
  search?: Optional<string>;
}

/** Which entries of the audit trail. */
export interface AuditFilter extends Period {
  actor?: Optional<string>;
  /** A whole action such as `backup.delete`, or a noun such as `backup` for all of its actions. */
  action?: Optional<string>;
  subject?: Optional<string>;
}

export type BackupOrder = 'CREATED_AT_DESC' | 'CREATED_AT_ASC' | 'FILE_SIZE_DESC' | 'FILE_SIZE_ASC';

const byDate = (column: string, descending: boolean): PageOrder => ({ column, descending, kind: 'date', ids: 'text' });
const bySize = (descending: boolean): PageOrder => ({
  column: 'fileSize',
  expression: 'coalesce("fileSize", -1)',
  descending,
  kind: 'number',
  ids: 'text',
});

const BACKUP_ORDERS: Record<BackupOrder, PageOrder> = {
  CREATED_AT_DESC: byDate('createdAt', true),
  CREATED_AT_ASC: byDate('createdAt', false),
  FILE_SIZE_DESC: bySize(true),
  FILE_SIZE_ASC: bySize(false),
};

/** @throws AppError BAD_USER_INPUT for a bad `first` or `after` */
export function listBackups(
  models: Models,
  filter: BackupFilter,
  order: BackupOrder,
  page: PageRequest,
): Promise<Page<BackupRow>> {
  const where = all([
    equal('configId', filter.configId),
    oneOf('status', filter.status),
    oneOf('backupType', filter.backupType),
    inStorage(models, filter.storageType),
    period('createdAt', filter),
    contains(models, ['id', 'fileName', 'note', 'databaseName', 'errorMessage'], filter.search),
  ]);
  return readPage(models.Backup, where, BACKUP_ORDERS[order], page);
}

/** Newest first. @throws AppError BAD_USER_INPUT for a bad `first` or `after` */
export function listRestores(models: Models, filter: RestoreFilter, page: PageRequest): Promise<Page<RestoreRow>> {
  const where = all([
    equal('configId', filter.configId),
    equal('backupId', filter.backupId),
    oneOf('status', filter.status),
    period('createdAt', filter),
    contains(models, ['id', 'backupId', 'errorMessage'], filter.search),
  ]);
  return readPage(models.Restore, where, byDate('createdAt', true), page);
}

/** Newest first. @throws AppError BAD_USER_INPUT for a bad `first` or `after` */
export function listAuditEvents(models: Models, filter: AuditFilter, page: PageRequest): Promise<Page<AuditEventRow>> {
  const { action } = filter;
  const where = all([
    equal('actor', filter.actor),
    action ? { [Op.or]: [{ action }, beginsWith(models, 'action', `${action}.`)] } : null,
    equal('subject', filter.subject),
    period('at', filter),
  ]);
  return readPage(models.AuditEvent, where, { ...byDate('at', true), ids: 'number' }, page);
}

function all(conditions: (WhereOptions | null)[]): WhereOptions {
  return { [Op.and]: conditions.filter((condition) => condition !== null) };
}

function equal(column: string, value: Optional<string | number>): WhereOptions | null {
  return value === null || value === undefined ? null : { [column]: value };
}

function oneOf(column: string, values: Optional<string[]>): WhereOptions | null {
  return values?.length ? { [column]: values } : null;
}

/** Backups with a copy in a storage of one of these kinds. */
function inStorage({ sequelize }: Models, types: Optional<StorageType[]>): WhereOptions | null {
  if (!types?.length) return null;
  const kinds = types.map((type) => sequelize.escape(type)).join(', ');
  return literal(`id IN (SELECT o."backupId" FROM stored_objects o JOIN destinations d ON d.id = o."destinationId"
    WHERE d."storageType" IN (${kinds}))`);
}

function period(column: string, { createdAfter, createdBefore }: Period): WhereOptions | null {
  if (!createdAfter && !createdBefore) return null;
  return {
    [column]: {
      ...(createdAfter ? { [Op.gte]: createdAfter } : {}),
      ...(createdBefore ? { [Op.lt]: createdBefore } : {}),
    },
  };
}

/** LIKE, written out, because Sequelize cannot say which character escapes the wildcards. */
function beginsWith({ sequelize }: Models, column: string, text: string): WhereOptions {
  return literal(`"${column}" LIKE ${sequelize.escape(`${text.replace(/[!%_]/g, '!$&')}%`)} ESCAPE '!'`);
}

/** True where one of the columns holds the text, in any case. */
function contains({ sequelize }: Models, columns: string[], text: Optional<string>): WhereOptions | null {
  const wanted = text?.trim();
  if (!wanted) return null;
  const condition =
    sequelize.getDialect() === 'postgres'
      ? `~ ${sequelize.escape(inAnyCase(wanted, /[!-/:-@[-`{-~]/, (sign) => `\\${sign}`))}`
      : `GLOB ${sequelize.escape(`*${inAnyCase(wanted, /[*?[]/, (sign) => `[${sign}]`)}*`)}`;
  return { [Op.or]: columns.map((column) => literal(`"${column}" ${condition}`)) };
}

/**
 * A pattern in which each letter stands in all its cases, `[üÜ]`: SQLite's `lower` and LIKE know only the letters of ASCII,
 * and PostgreSQL's those of the language that the database was made with.
 * @param special the signs that mean something in a pattern
 * @param plain how such a sign is written where it stands for itself
 */
function inAnyCase(text: string, special: RegExp, plain: (sign: string) => string): string {
  const cased = (letter: string) => {
    const forms = new Set([letter, letter.toLowerCase(), letter.toUpperCase()]);
    const single = [...forms].filter((form) => [...form].length === 1);
    return single.length > 1 ? `[${single.join('')}]` : letter;
  };
  return [...text].map((sign) => (special.test(sign) ? plain(sign) : cased(sign))).join('');
}
