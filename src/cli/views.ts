import { isEncrypted } from '../core/archives/names.js';
import { humanSize } from '../core/text/format.js';
import { copyWarnings } from '../core/archives/copies.js';
import type { BackupRow, RestoreRow, StoredObjectRow, VerificationRow } from '../models/index.js';
import { type Column, type Document, fields, moment, table } from './print.js';

/** A backup as --json shows it. Sizes in bytes, times in ISO 8601, UTC. */
export function backupDocument(row: BackupRow): Document {
  return {
    id: row.id,
    configId: row.configId,
    backupType: row.backupType,
    mode: row.mode,
    chainPosition: row.chainPosition,
    consolidates: row.consolidates ?? null,
    status: row.status,
    engine: row.engine,
    databaseName: row.databaseName,
    applicationId: row.applicationId ?? null,
    origin: row.origin ?? null,
    storageType: row.storageType,
    fileName: row.fileName,
    filePath: row.filePath,
    copies: row.copies.map(copyDocument),
    fileSize: row.fileSize,
    checksum: row.checksum,
    encrypted: isEncrypted(row.fileName),
    pinned: row.pinned,
    note: row.note,
    verifiedAt: row.verifiedAt,
    verificationLevel: row.verificationLevel,
    tables: row.tables,
    excluded: row.excluded ?? [],
    damaged: row.damaged,
    invariants: row.invariants,
    anomalies: row.anomalies,
    anomaliesAcknowledgedAt: row.anomaliesAcknowledgedAt ?? null,
    mediaFileCount: row.mediaFileCount,
    ...runDocument(row),
    warnings: [...row.warnings, ...copyWarnings(row)],
    deleteAfter: row.deleteAfter ?? null,
    deletedAt: row.deletedAt,
    deletedBy: row.deletedBy,
    deleteReason: row.deleteReason,
  };
}

/** A copy as --json shows it. */
export function copyDocument(copy: StoredObjectRow): Document {
  return {
    destinationId: copy.destinationId,
    storageType: copy.destination.storageType,
    filePath: copy.location,
    status: copy.status,
    size: copy.size ?? null,
    verifiedAt: copy.verifiedAt ?? null,
    errorCode: copy.errorCode ?? null,
    errorMessage: copy.errorMessage ?? null,
    errorHint: copy.errorHint ?? null,
    attempts: copy.attempts,
    nextTryAt: copy.nextTryAt ?? null,
  };
}

/** A restore as --json shows it. @param target the database that it writes, without a password */
export function restoreDocument(row: RestoreRow, target: string): Document {
  return {
    id: row.id,
    backupId: row.backupId,
    configId: row.configId,
    status: row.status,
    target,
    restoreDatabase: row.restoreDatabase,
    restoreMedia: row.restoreMedia,
    tables: row.tables,
    rows: row.repair?.mode ?? 'REPLACE',
    where: row.repair?.where ?? null,
    withParents: row.repair?.withParents ?? false,
    media: row.media,
    mediaMode: row.mediaMode,
    rebuildIndexes: row.rebuildIndexes,
    safetyBackupId: row.safetyBackupId,
    undoOf: row.undoOf,
    ...runDocument(row),
  };
}

/** A verification as --json shows it. */
export function verificationDocument(row: VerificationRow): Document {
  return {
    id: row.id,
    backupId: row.backupId,
    configId: row.configId,
    level: row.level,
    destinationId: row.destinationId,
    bytes: row.bytes,
    invariants: row.invariants,
    restoreSeconds: row.restoreSeconds ?? null,
    drill: row.drill ?? null,
    status: row.status,
    ...runDocument(row),
  };
}

function runDocument(row: BackupRow | RestoreRow | VerificationRow): Document {
  return {
    progress: row.progress,
    phase: row.phase,
    phases: row.phases,
    errorCode: row.errorCode,
    errorMessage: row.errorMessage,
    errorHint: row.errorHint,
    warnings: row.warnings,
    createdBy: row.createdBy,
    createdAt: row.createdAt,
    startedAt: row.startedAt,
    completedAt: row.completedAt,
  };
}

/** The names of configs by id. */
export type ConfigNames = Map<number | null, string>;

const backupColumns = (names: ConfigNames): Column<BackupRow>[] => [
  { title: 'id', cell: (row) => row.id },
  { title: 'created', cell: (row) => moment(row.createdAt) },
  { title: 'config', cell: (row) => configOf(row, names) },
  { title: 'type', cell: (row) => row.backupType },
  { title: 'status', cell: (row) => row.status },
  { title: 'size', cell: (row) => (row.fileSize === null ? null : humanSize(row.fileSize)), right: true },
  { title: 'verified', cell: (row) => stateOf(row) },
  { title: 'pinned', cell: (row) => (row.pinned ? 'yes' : null) },
  { title: 'database', cell: (row) => row.databaseName },
  { title: 'error', cell: (row) => row.errorCode },
  { title: 'note', cell: (row) => row.note },
];

const stateOf = ({ damaged, suspicious, verificationLevel, deleteAfter = null }: BackupRow) =>
  deleteAfter !== null ? 'TO BE DELETED' : damaged ? 'DAMAGED' : suspicious ? 'SUSPICIOUS' : verificationLevel;

/** When a deletion that waits is due, who wants it and why; null if none waits. */
const plannedOf = ({ deleteAfter = null, deletedBy, deleteReason }: BackupRow) =>
  deleteAfter && `after ${moment(deleteAfter)}, by ${deletedBy}: ${deleteReason}`;

export const backupTable = (rows: BackupRow[], names: ConfigNames) => table(rows, backupColumns(names));

/** The config's name; its id where it is deleted. */
const configOf = ({ configId }: BackupRow | RestoreRow | VerificationRow, names: ConfigNames) =>
  names.get(configId) ?? configId;

const restoreColumns = (names: ConfigNames): Column<RestoreRow>[] => [
  { title: 'id', cell: (row) => row.id },
  { title: 'created', cell: (row) => moment(row.createdAt) },
  { title: 'config', cell: (row) => configOf(row, names) },
  { title: 'status', cell: (row) => row.status },
  { title: 'backup', cell: (row) => row.backupId },
  { title: 'safety backup', cell: (row) => row.safetyBackupId },
  { title: 'what', cell: (row) => scope(row) },
  { title: 'by', cell: (row) => row.createdBy },
  { title: 'error', cell: (row) => row.errorCode },
];

export const restoreTable = (rows: RestoreRow[], names: ConfigNames) => table(rows, restoreColumns(names));

const verificationColumns = (names: ConfigNames): Column<VerificationRow>[] => [
  { title: 'id', cell: (row) => row.id },
  { title: 'created', cell: (row) => moment(row.createdAt) },
  { title: 'config', cell: (row) => configOf(row, names) },
  { title: 'level', cell: (row) => row.level },
  { title: 'status', cell: (row) => row.status },
  { title: 'backup', cell: (row) => row.backupId },
  { title: 'by', cell: (row) => row.createdBy },
  { title: 'error', cell: (row) => row.errorCode },
];

export const verificationTable = (rows: VerificationRow[], names: ConfigNames) =>
  table(rows, verificationColumns(names));

/** A backup in all its parts. @param archives how many a restore of it reads */
export function backupText(row: BackupRow, archives: number): string {
  const head = fields([
    ['Backup', row.id],
    ['Status', row.status],
    ['Type', row.backupType],
    ['Builds on', row.parentArchiveId && `${row.parentArchiveId}, restored from ${archives} archives`],
    ['Consolidates', row.consolidates],
    ['Database', `${row.databaseName} (${row.engine})`],
    ['File', row.filePath],
    ...copies(row),
    ['Size', row.fileSize === null ? null : `${humanSize(row.fileSize)} (${row.fileSize} bytes)`],
    ['SHA-256', row.checksum],
    ['Verified', row.verifiedAt === null ? null : `${moment(row.verifiedAt)} (${row.verificationLevel})`],
    ['Damaged', row.damaged ? 'yes: it does not count as a good backup' : null],
    ['Pinned', row.pinned ? 'yes' : null],
    ['Note', row.note],
    ['Created', `${moment(row.createdAt)} by ${row.createdBy ?? 'system'}`],
    ['Completed', moment(row.completedAt)],
    ['To be deleted', plannedOf(row)],
    ['Deleted', row.deletedAt && `${moment(row.deletedAt)} by ${row.deletedBy}: ${row.deleteReason}`],
    ['Contents', row.status === 'COMPLETED' ? contents(row) : null],
    ...leftOut(row),
    ...problems(row),
  ]);
  const rows = [...row.tables];
  if (rows.length === 0) return head;
  const columns: Column<(typeof rows)[number]>[] = [
    { title: 'table', cell: ({ name }) => name },
    { title: 'rows', cell: (entry) => entry.rows, right: true },
  ];
  return `${head}\n\n${table(rows, columns)}`;
}

/** What is worth saying after a backup has completed. */
export function backupSummary(row: BackupRow): string {
  return fields([
    ['Backup', row.id],
    ['Status', `${row.status}, ${state(row)}`],
    ['File', row.filePath],
    ...copies(row),
    ['Size', row.fileSize === null ? null : humanSize(row.fileSize)],
    ['Contents', contents(row)],
    ...leftOut(row),
    ...problems(row),
  ]);
}

/** Where the further copies lie. */
const copies = ({ copies: all }: BackupRow): [string, string][] =>
  all.slice(1).map(({ location, status }) => ['Copy', status === 'COMPLETED' ? location : `${location} (${status})`]);

function state({ damaged, verifiedAt, verificationLevel }: BackupRow): string {
  if (damaged) return 'damaged';
  return verifiedAt === null ? 'not verified' : `verified (${verificationLevel})`;
}

/** @param target the database that it writes, without a password */
export function restoreText(row: RestoreRow, target: string): string {
  return fields([
    ['Restore', row.id],
    ['Status', row.status],
    ['Backup', row.backupId],
    ['Target', target],
    ['What', scope(row)],
    ['Undoes', row.undoOf],
    ['Safety backup', row.safetyBackupId],
    ['Created', `${moment(row.createdAt)} by ${row.createdBy ?? 'system'}`],
    ['Completed', moment(row.completedAt)],
    ...problems(row),
    [
      'To undo',
      row.status === 'COMPLETED' && row.safetyBackupId !== null ? `db-manager undo ${row.id} --confirm` : null,
    ],
  ]);
}

export function verificationText(row: VerificationRow): string {
  return fields([
    ['Verification', row.id],
    ['Status', row.status],
    ['Level', row.level],
    ['Backup', row.backupId],
    ['Copies', row.destinationId === null ? 'all' : `in destination ${row.destinationId}`],
    ['Read', humanSize(row.bytes)],
    ['Created', `${moment(row.createdAt)} by ${row.createdBy ?? 'system'}`],
    ['Completed', moment(row.completedAt)],
    ...problems(row),
  ]);
}

/** What was left out on request. */
function leftOut({ excluded }: BackupRow): [string, string | null][] {
  const named = (what: string) => (excluded ?? []).filter((each) => each.what === what).map(({ table: name }) => name);
  return [
    ['Without tables', named('TABLE').join(', ') || null],
    ['Without rows of', named('ROWS').join(', ') || null],
  ];
}

function contents(row: BackupRow): string {
  const rows = row.tables.reduce((sum, entry) => sum + (entry.rows ?? 0), 0);
  return `${count(row.tables.length, 'table')} with ${count(rows, 'row')}, ${count(row.mediaFileCount, 'media file')}`;
}

function scope(row: RestoreRow): string {
  const database = row.tables === null ? 'database' : `${rowsOf(row)}tables ${row.tables.join(', ')}`;
  const media = row.media === null ? `media (${row.mediaMode})` : `media ${row.media.join(', ')}`;
  return [row.restoreDatabase ? database : '', row.restoreMedia ? media : ''].filter((part) => part !== '').join('; ');
}

const rowsOf = ({ repair }: RestoreRow) =>
  !repair ? '' : `${repair.mode.toLowerCase()} rows${repair.where === null ? '' : ` (${repair.where})`} of `;

function problems(row: BackupRow | RestoreRow | VerificationRow): [string, string | null][] {
  return [
    ['Error', row.errorCode === null ? null : `${row.errorCode}: ${row.errorMessage}`],
    ['Hint', row.errorHint],
    ...row.warnings.map((warning): [string, string] => ['Warning', warning]),
    ...('copies' in row ? anomalyLines(row) : []),
    ...('copies' in row ? copyWarnings(row) : []).map((warning): [string, string] => ['Warning', warning]),
  ];
}

function anomalyLines({ id, anomalies, anomaliesAcknowledgedAt = null }: BackupRow): [string, string][] {
  if (anomalies.length === 0) return [];
  const end: [string, string] =
    anomaliesAcknowledgedAt === null
      ? ['To acknowledge', `db-manager acknowledge ${id}`]
      : ['Acknowledged', String(moment(anomaliesAcknowledgedAt))];
  return [...anomalies.map(({ message }): [string, string] => ['Anomaly', message]), end];
}

const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? '' : 's'}`;
