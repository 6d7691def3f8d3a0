import { literal, Op, QueryTypes, type WhereOptions, where as compare } from 'sequelize';
import type {
  AuditEventRow,
  BackupConfigRow,
  BackupMode,
  BackupRow,
  BackupStatus,
  BackupType,
  Models,
  RestoreRow,
  RunStatus,
  VerificationRow,
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
  mode?: Optional<BackupMode[]>;
  /** Of each chain only the full backup and the newest one that builds on it: what another one builds on is left out. */
  newestOfChain?: Optional<boolean>;
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

/** Which verifications. */
export interface VerificationFilter {
  configId?: Optional<number>;
  backupId?: Optional<string>;
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
export async function listBackups(
  models: Models,
  filter: BackupFilter,
  order: BackupOrder,
  page: PageRequest,
): Promise<Page<BackupRow>> {
  const search = searched(models, filter.search);
  // A search goes through the one index that holds the text: SQLite must not take another for the sake of a filter.
  const plain = search !== null && models.sequelize.getDialect() === 'sqlite' ? '+' : '';
  const where = all([
    equal('configId', filter.configId),
    oneOf('status', filter.status, plain),
    oneOf('backupType', filter.backupType, plain),
    oneOf('mode', filter.mode, plain),
    filter.newestOfChain ? literal(ENDS_OF_CHAINS) : null,
    await inStorage(models, filter.storageType),
    period('createdAt', filter),
    search,
  ]);
  const { expression, ...rest } = BACKUP_ORDERS[order];
  const by = expression === undefined ? rest : { ...rest, expression: plain + expression };
  return readPage(models.Backup, where, by, page);
}

/** Oldest first. @param search part of the name or of a path, in any case. @throws AppError BAD_USER_INPUT for a bad `first` or `after` */
export function listConfigs(
  models: Models,
  search: Optional<string>,
  page: PageRequest,
): Promise<Page<BackupConfigRow>> {
  // The key, not the URL, which may hold a password.
  const where = all([
    contains(models, ['name', '"databaseKey"', '"storagePath"', 'CAST("mediaPaths" AS text)'], search),
  ]);
  return readPage(models.BackupConfig, where, { column: 'id', descending: false, kind: 'number', ids: 'number' }, page);
}

/** Newest first. @throws AppError BAD_USER_INPUT for a bad `first` or `after` */
export function listRestores(models: Models, filter: RestoreFilter, page: PageRequest): Promise<Page<RestoreRow>> {
  const where = all([
    equal('configId', filter.configId),
    equal('backupId', filter.backupId),
    oneOf('status', filter.status),
    period('createdAt', filter),
    contains(models, ['id', '"backupId"', '"errorMessage"'], filter.search),
  ]);
  return readPage(models.Restore, where, byDate('createdAt', true), page);
}

/** Newest first. @throws AppError BAD_USER_INPUT for a bad `first` or `after` */
export function listVerifications(
  models: Models,
  { configId, backupId }: VerificationFilter,
  page: PageRequest,
): Promise<Page<VerificationRow>> {
  const where = all([equal('configId', configId), equal('backupId', backupId)]);
  return readPage(models.Verification, where, byDate('createdAt', true), page);
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

/** @param operator `+` keeps SQLite from looking the column up in an index */
function oneOf(column: string, values: Optional<string[]>, operator: '' | '+' = ''): WhereOptions | null {
  return values?.length ? compare(literal(`${operator}"${column}"`), { [Op.in]: values }) : null;
}

/** Runs that are not over, and failed ones, are never left out. */
const ENDS_OF_CHAINS = `("Backup".mode = 'FULL' OR "Backup".status NOT IN ('COMPLETED', 'DELETED') OR NOT EXISTS (
  SELECT 1 FROM backups next WHERE next."parentArchiveId" = "Backup"."archiveId"
  AND next.status IN ('COMPLETED', 'DELETED') AND next.id <> "Backup".id))`;

/** Up to how many copies a list of their backups is faster than a look at the copies of each backup. */
const FEW_COPIES = 2_000;

/** Backups with a copy in a storage of one of these kinds. */
async function inStorage(models: Models, types: Optional<StorageType[]>): Promise<WhereOptions | null> {
  if (!types?.length) return null;
  const destinations = await models.Destination.findAll({ attributes: ['id', 'storageType'] });
  const wanted = destinations.filter(({ storageType }) => types.includes(storageType));
  // Every backup has a copy.
  if (wanted.length === destinations.length) return null;
  const ids = wanted.map(({ id }) => id).join(', ') || '-1';
  const [row] = await models.sequelize.query<{ copies: number | string }>(
    `SELECT count(*) AS copies FROM (SELECT 1 FROM stored_objects WHERE "destinationId" IN (${ids}) LIMIT ${FEW_COPIES}) AS counted`,
    { type: QueryTypes.SELECT },
  );
  const copies = `FROM stored_objects o WHERE o."destinationId" IN (${ids})`;
  return Number(row?.copies) < FEW_COPIES
    ? literal(`id IN (SELECT o."backupId" ${copies})`)
    : literal(`EXISTS (SELECT 1 ${copies} AND o."backupId" = "Backup".id)`);
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

/** Stands between the columns in the text that `backups_search` holds. */
const SEPARATOR = '\x1f';

/**
 * True where the id, file name, note, database name or error message of a backup holds the text, in any case. The index
 * `backups_search` holds them as one text: the expression must stay as its migration has it.
 */
function searched(models: Models, text: Optional<string>): WhereOptions | null {
  const wanted = text?.trim();
  if (!wanted) return null;
  const { sequelize } = models;
  const postgres = sequelize.getDialect() === 'postgres';
  const separator = `|| ${postgres ? 'chr' : 'char'}(31) ||`;
  const joined = `(id ${separator} "fileName" ${separator} coalesce(note, '') ${separator} "databaseName" ${separator}
   coalesce("errorMessage", ''))`;
  const column = postgres ? `(${joined} COLLATE "C")` : joined;
  const like = (part: string) =>
    `${column} ${postgres ? 'ILIKE' : 'LIKE'} ${sequelize.escape(`%${part.replace(/[!%_]/g, '!$&')}%`)} ESCAPE '!'`;
  // It would match from the end of one column into the next.
  if (wanted.includes(SEPARATOR)) return literal('1 = 0');
  const foreign = [...wanted].find((letter) => letter > '\x7f');
  // LIKE knows the two cases of ASCII only. It finds the few texts with the first other letter much faster than a pattern.
  if (foreign === undefined) return literal(like(wanted));
  return literal(`(${formsOf(foreign).map(like).join(' OR ')}) AND ${column} ${patternOf(models, wanted)}`);
}

/** True where one of the columns holds the text, in any case. */
function contains(models: Models, columns: string[], text: Optional<string>): WhereOptions | null {
  const wanted = text?.trim();
  if (!wanted) return null;
  const condition = patternOf(models, wanted);
  return { [Op.or]: columns.map((column) => literal(`${column} ${condition}`)) };
}

/** An operator and a pattern: true for what holds the text, in any case. */
function patternOf({ sequelize }: Models, text: string): string {
  return sequelize.getDialect() === 'postgres'
    ? `~ ${sequelize.escape(inAnyCase(text, /[!-/:-@[-`{-~]/, (sign) => `\\${sign}`))}`
    : `GLOB ${sequelize.escape(`*${inAnyCase(text, /[*?[]/, (sign) => `[${sign}]`)}*`)}`;
}

/**
 * A pattern in which each letter stands in all its cases, `[üÜ]`: SQLite's `lower` and LIKE know only the letters of ASCII,
 * and PostgreSQL's those of the language that the database was made with.
 * @param special the signs that mean something in a pattern
 * @param plain how such a sign is written where it stands for itself
 */
function inAnyCase(text: string, special: RegExp, plain: (sign: string) => string): string {
  const cased = (letter: string) => {
    const forms = formsOf(letter);
    return forms.length > 1 ? `[${forms.join('')}]` : letter;
  };
  return [...text].map((sign) => (special.test(sign) ? plain(sign) : cased(sign))).join('');
}

/** The letter as it is, small and large, where that is one letter. */
function formsOf(letter: string): string[] {
  const forms = new Set([letter, letter.toLowerCase(), letter.toUpperCase()]);
  return [...forms].filter((form) => [...form].length === 1);
}
