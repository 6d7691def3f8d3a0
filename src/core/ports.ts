import type { Readable } from 'node:stream';
import type { DatabaseEngine, FileEngine, StorageType } from '../models/kinds.js';
import type { Beat, ChannelKind, Notice } from '../models/notification.js';
import type { AppVersion, ExcludedTable, FindingMetadata, SourceFile, TableInfo } from '../archive/metadata.js';
import type { PageHashes } from '../archive/page-hashes.js';
import type { AppError } from '../errors.js';

export type { AppVersion, ExcludedTable, SourceFile, TableInfo };

export type { DatabaseEngine, FileEngine, StorageType };
export type { Beat, ChannelKind, Notice };

/**
 * Reports how much of a step is done, of how much in all: bytes, unless its run says that the phase counts something else.
 * May be called as often as one likes.
 */
export type OnProgress = (done: number, total: number) => void;

/** What a step of a run gets from its run. `signal` aborts when the run is cancelled, loses its lease or must stop. */
export interface StepContext {
  signal: AbortSignal;
  onProgress: OnProgress;
}

/**
 * Something wrong with a database. `pages`: bytes are damaged. All else is derived or logical, so nothing is lost and the
 * database can be backed up and restored: `index` and `virtual` (a search index) are out of step with their rows, `rows`
 * break the table's own rules, `foreign-keys` are broken or do not fit, `access` is a caution about the rights on a live one,
 * `uncounted` and `unchecked` could not be looked at.
 * `schema`: the definitions are not safe to run, so a restore refuses them.
 */
export type Finding = FindingMetadata;

/** What an engine knows of a database, live or extracted. Never a password. */
export interface DatabaseInfo {
  engine: DatabaseEngine;
  /** Name to show: the file's name or the database's. */
  name: string;
  tables: TableInfo[];
  apps: AppVersion[];
  /** Page size, journal mode, versions, …: written to the metadata's `source`. */
  source: Record<string, string | number>;
  /** Bytes of its file that hold nothing; left out where an engine keeps none or cannot say. */
  freeBytes?: number;
  /** What is wrong with it; empty if nothing was found. */
  findings: Finding[];
}

/** One consistent state of a database, laid ready to be archived. */
export interface Snapshot extends Pick<DatabaseInfo, 'engine' | 'name'> {
  files: SourceFile[];
  /** The same state as one file of pages; left out where the engine has none, or the database is damaged. */
  pages?: PagedFile;
  /** Worked out while the files are archived. Rejects with what a damaged database is refused for. */
  contents: Promise<SnapshotContents>;
  /** As `RowReader.query`, of this very state, until the step has ended; left out where its files are read. */
  query?(sql: string, options: { limit: number; signal: AbortSignal }): Promise<QueryRows>;
}

/**
 * Which tables are left out: patterns of their names as lists show them, in which `*` stands for any characters.
 * `excludeTables`: as a whole; `excludeTableData`: only their rows.
 */
export interface Exclusions {
  excludeTables: readonly string[];
  excludeTableData: readonly string[];
}

/** What exclusions come to in a database. */
export interface ExclusionMatches {
  excluded: ExcludedTable[];
  /** Patterns that fit no table. */
  unmatched: string[];
}

/** A file that is made of pages of one size, so that two states can be compared page by page. */
export interface PagedFile {
  /** Absolute; stays as it is until the run has ended. */
  file: string;
  /** Bytes. */
  pageSize: number;
  /** The entry that it is in a full archive. */
  entry: string;
}

/** A former state that the database is compared with. */
export interface FormerState {
  hashes: PageHashes;
  /** What was wrong with it. */
  findings: readonly Finding[];
  /** The largest share of the pages that may differ, from 0 to 1. */
  mostChanged: number;
}

/** A snapshot of which only the pages are laid that differ from a former state: its file has holes in place of the others. */
export interface ChangedSnapshot extends Snapshot {
  pages: PagedFile;
  hashes: PageHashes;
}

/** What a snapshot holds, and what is wrong with it. */
export interface SnapshotContents extends Omit<DatabaseInfo, 'engine' | 'name'> {
  /** True if its pages are damaged: it is kept as it is, and counts for nothing. */
  damaged: boolean;
  /** Left out where nothing was asked to be left out. */
  exclusions?: ExclusionMatches;
}

/**
 * What becomes of a database with damaged pages. `refuse`: an error. `keep`: a copy as far as the engine can make one, else
 * its raw files. `keep-raw`: its files, byte by byte, with what lies beside them; for a state that is about to be replaced,
 * so that nothing is looked for that a restore of it can still find.
 */
export type DamagePolicy = 'refuse' | 'keep' | 'keep-raw';

/** How `Engine.check` should look. */
export interface CheckOptions {
  /** How long to wait for a lock that another program holds, in milliseconds; a few seconds by default. */
  wait?: number;
  signal?: AbortSignal;
  /** Default: `refuse`. */
  damage?: DamagePolicy;
  /** What is left out does not count for the size. */
  exclusions?: Exclusions | undefined;
}

/** Which rows a restore brings back. REPLACE: whole tables. MISSING: those that the target lost. CHANGED: also those that differ. */
export type RowsMode = 'REPLACE' | 'MISSING' | 'CHANGED';

/** A restore that brings rows back into tables, which keep all that is newer. */
export interface RowRepair {
  mode: Exclude<RowsMode, 'REPLACE'>;
  /** The chosen tables. */
  tables: string[];
  /** An SQL condition on the rows of the backup, where one table is chosen; null for all rows. */
  where: string | null;
  /** Rows that the restored ones refer to come along where they are missing. */
  withParents: boolean;
}

/** Rows that stand in the way of a repair. */
export interface RepairConflict {
  /** What they break, in words. */
  reason: string;
  rows: number;
  /** Some of the rows of the backup. */
  samples: RowSample[];
}

/** What a repair does to one table. */
export interface TableRepair {
  name: string;
  /** True where only rows are added that repaired ones refer to. */
  parents: boolean;
  /** Rows that the target lost. */
  add: number;
  /** Rows that differ, and get the values of the backup. */
  overwrite: number;
  /** Rows of the target that stay as they are. */
  keep: number;
  /** Some of the rows that are added and overwritten: `before` is the target's, `after` the backup's. */
  samples: RowSample[];
  conflicts: RepairConflict[];
}

/** How `Engine.load` should load. */
export interface LoadOptions extends StepContext {
  /** How long to wait for a lock that another program holds, in milliseconds. */
  lockTimeoutMs: number;
  /**
   * Left inside the database by the same atomic switch. After a crash it shows whether the switch happened, so that
   * recovery never has to guess; `clearStamp` removes it.
   */
  stamp: string;
  /** Only these tables, with rows, indexes and triggers; null for the whole database. One that the dump lacks is dropped. */
  tables: string[] | null;
  /**
   * True for an undo: what hangs on the tables is laid as the dump has it, even where it did not agree with them; not so
   * where tables that stay have changed since.
   */
  exact: boolean;
  /**
   * Rows in place of whole tables; `tables` are then all that may be written. What no longer fits the target fails, and
   * nothing is changed.
   */
  repair?: RowRepair | undefined;
  /**
   * True for a database that is dropped again: events and subscriptions are left out, which would run beside those of the
   * application, and nobody else may enter it.
   */
  isScratch?: boolean | undefined;
  /** The `source` of the dump's metadata: a database that is not there yet gets the permissions that stand there. */
  source: Record<string, string | number>;
  /** True if the dump was made on this machine, so that the users whom `source` means are this machine's. */
  madeHere: boolean;
  /** True for the files of a damaged database: they take the target's place byte by byte. */
  damaged: boolean;
  /**
   * Called right before the switch by an engine whose answer can be lost: from then on only `stampOf` says whether it
   * happened.
   */
  onSwitch(): void;
  /** Tables and rows that the dump's metadata notes; empty where it notes none. */
  expected: Pick<TableInfo, 'name' | 'rows'>[];
}

/** A table bound to restored ones by triggers. */
export interface RelatedByTrigger {
  table: string;
  /** DERIVED: triggers of restored tables write it. SOURCE: its triggers write restored tables. */
  relation: 'DERIVED' | 'SOURCE';
  /** Those restored tables. */
  of: string[];
}

/** What a restore of single tables came to on a copy of the target. */
export interface TablesRehearsal {
  /** What to load: the chosen tables and all that exists only together with them. */
  tables: string[];
  /** Tables that stay as they are although they are bound to those by triggers. */
  related: RelatedByTrigger[];
  warnings: string[];
  /** What a repair does to each table that it writes; empty where whole tables are restored. */
  repairs: TableRepair[];
  /** Why `load` would fail; empty if it would succeed. */
  refusals: AppError[];
}

/** What `Engine.rehearse` rehearses. */
export interface RehearseOptions {
  tables: string[];
  includeRelated: boolean;
  exact: boolean;
  repair?: RowRepair | undefined;
}

/** A dump in an archive: bytes of its files, its `source` of the metadata, number of tables. */
export interface DumpSize {
  bytes: number;
  source: Record<string, string | number>;
  tables: number;
}

/** What a load takes at most, in bytes: beside the dump, and beside the database until it is done. */
export interface LoadSpace {
  beside: number;
  target: number;
}

/** A program that has the database open. */
export interface Holder {
  pid: number;
  command: string;
}

/** What an engine can do. */
export interface EngineCapabilities {
  /** Single tables can be restored. */
  selectiveTables: boolean;
  /** A dump holds exactly the rows that were counted when it was made. */
  exactCounts: boolean;
  /** A snapshot lies in the work folder before it is archived; otherwise it is read while the archive is written. */
  snapshotOnDisk: boolean;
  /** Its databases are on a server: others are beside them, and tables can be left out of a snapshot. */
  onServer: boolean;
  /** Single rows can be brought back into tables that stay. Left out where they cannot. */
  repairsRows?: true;
  /** Loading a dump runs the statements in it with the rights of the database's user: a stranger's may do anything. */
  runsStatements: boolean;
}

/**
 * A value of a row as JSON has it. Integers beyond 2^53 and BLOBs (`x'0102'`) are texts; what is long is cut and ends in `…`.
 */
export type Cell = string | number | null;

/** The result of a query. */
export interface QueryRows {
  columns: string[];
  rows: Cell[][];
  /** True if of one of the values only the beginning is given. */
  cut: boolean;
  /** True if there are more rows than were asked for. */
  truncated: boolean;
  /** How long it took. */
  seconds: number;
}

/** A row that differs between two databases. */
export interface RowSample {
  /** The values of its primary key, by column; empty where the table has none. */
  key: Record<string, Cell>;
  /** Its values before and after, of a changed row those that differ; null where it is not there. */
  before: Record<string, Cell> | null;
  after: Record<string, Cell> | null;
}

/** How a table differs between two databases. */
export interface TableComparison {
  name: string;
  added: number;
  removed: number;
  /** 0 where the table has no primary key: a changed row counts as one that was removed and one that was added. */
  changed: number;
  unchanged: number;
  /** What differs of its definition, in words. */
  schemaChanges: string[];
  samples: RowSample[];
}

/** How two databases differ. */
export interface DatabaseComparison {
  /** Every table that either has, by name; those of search indexes are left out. */
  tables: TableComparison[];
  /** What differs of definitions that belong to no table. */
  schemaChanges: string[];
}

/** What is compared. */
export interface CompareOptions {
  /** Only these tables; null for all. */
  tables: string[] | null;
  /** Most rows of each table that are shown for each kind of difference. */
  samples: number;
  signal: AbortSignal;
}

/** A column that names media files. */
export interface FileColumn {
  table: string;
  column: string;
  /** Rows that name a file. */
  rows: number;
  /** Those of them whose file is not among the media. */
  missing: number;
  /** Some of those. */
  samples: { key: Record<string, Cell>; path: Cell }[];
}

/** How the rows of a database and the media files beside it agree. */
export interface FileReferences {
  columns: FileColumn[];
  /** Files that no row of these columns names. */
  unreferenced: number;
  /** Some of them, as paths in the archive. */
  unreferencedSamples: string[];
}

/** What is looked for. */
export interface ReferencesOptions {
  /** Columns, each as `table.column`; null for those whose values are mostly paths of these files. */
  columns: string[] | null;
  /** The media files, as paths in the archive. */
  files: string[];
  /** What the paths of each media folder begin with in the archive: rows may leave it out. */
  prefixes: string[];
  /** The most rows of each column, and files, that are shown. */
  samples: number;
  signal: AbortSignal;
}

/** A query that a database answers as is to be expected of it. `value`: what the answer is compared with. */
export interface SuggestedInvariant {
  name: string;
  sql: string;
  expect: 'AT_LEAST' | 'EMPTY' | 'NOT_LESS_THAN_BEFORE';
  value: string | null;
}

/** One row of a table. */
export interface FoundRow {
  /** As they are shown, by column. */
  values: Record<string, Cell>;
  /** A hash of the type and all bytes of each value, by column: two that are the same have the same. */
  hashes: Record<string, string>;
}

/**
 * Reads rows of databases. Each is given by its place: for a database that is a file, the folder with the database entries of an
 * archive under their own names; for one on a server, its URL. Whatever a dump or a statement holds, nothing else is read or
 * written.
 */
export interface RowReader {
  /**
   * The rows that one SELECT gives. When the signal aborts it ends at once, whatever it does.
   * @param options.limit the most rows
   * @throws AppError BAD_USER_INPUT naming `sql`; DATABASE_FAILED, DATABASE_CORRUPT
   */
  query(place: string, sql: string, options: { limit: number; signal: AbortSignal }): Promise<QueryRows>;
  /**
   * Compares the rows of two databases.
   * @param before the place of one: on a server a scratch database, which may be written for it
   * @param after that of the other, which is only read
   * @throws AppError BAD_USER_INPUT naming `tables`; DATABASE_FAILED, DATABASE_CORRUPT
   */
  compare(before: string, after: string, options: CompareOptions): Promise<DatabaseComparison>;
  /**
   * Looks for rows that name files which are not there, and for files that no row names.
   * @throws AppError BAD_USER_INPUT naming `columns`; DATABASE_FAILED, DATABASE_CORRUPT
   */
  references(place: string, options: ReferencesOptions): Promise<FileReferences>;
  /**
   * Looks for the one row that has these values.
   * @param key by column; a BLOB as `x'0102'`
   * @returns null if there is none, `unknown` if there is no such table or column
   * @throws AppError BAD_USER_INPUT naming `key` if several rows have them; DATABASE_FAILED, DATABASE_CORRUPT
   */
  row(
    place: string,
    table: string,
    key: Record<string, Cell>,
    signal: AbortSignal,
  ): Promise<FoundRow | null | 'unknown'>;
  /**
   * Queries that the database answers as is to be expected of it, from its schema.
   * @param growing tables of which no row is expected to go, in order of importance
   * @throws AppError DATABASE_FAILED, DATABASE_CORRUPT
   */
  suggest(place: string, growing: readonly string[], signal: AbortSignal): Promise<SuggestedInvariant[]>;
}

/** A database that a server has. */
export interface ServerDatabase {
  name: string;
  /** Normalised, with the password in the clear. */
  url: string;
  /** Null where the user may not know. */
  bytes: number | null;
}

/** Databases that drills restore into, and looks into backups. Each belongs to one run, whose id is in its name. */
export interface ScratchDatabases {
  /**
   * The URL of the run's database, which is not there yet.
   * @param runId such as `verify_20250724_150000_a1b2c3d4` or `look_…`: a day after that time, any restore or drill on the
   * server may drop the database as one that was left behind
   * @param folder of the run, for a database that is a file
   * @param url of a database of the server beside which it is made; null where a database is a file
   */
  urlFor(runId: string, folder: string, url: string | null): Promise<string>;
  /** Describes it by reading all of it, however long that takes. @throws AppError DATABASE_CORRUPT for damaged pages */
  readAll(url: string, step: StepContext): Promise<DatabaseInfo>;
  /**
   * Removes it, if it is there, with what a load into it left whose process died. Fails for the URL of any other database of
   * a server.
   */
  drop(url: string, runId: string): Promise<void>;
}

/** One kind of database. Every method throws AppError with a DATABASE_… code; none ever writes to the source but `load`. */
export interface Engine {
  readonly kind: DatabaseEngine;
  readonly capabilities: EngineCapabilities;
  /** Reads the rows of databases; null where it cannot yet. */
  readonly rows: RowReader | null;
  /** Makes databases for drills and looks. */
  readonly scratch: ScratchDatabases;
  /** Checks the URL's form and gives it normalised (absolute path), with the text to show (no password). */
  resolve(url: string): { url: string; display: string; name: string };
  /**
   * The URL as a row keeps it: with a password in it sealed. Every method takes it in both forms.
   * @param url normalised @param saved what a row has: it is returned if it means the same
   */
  seal(url: string, saved?: string): Promise<string>;
  /**
   * Names the database in locks: the same for every way of writing its URL, also through links, and while it is not there.
   * @param url normalised
   */
  keyOf(url: string): Promise<string>;
  /**
   * Every file that belongs to the database, whether it is there or not: the one that the URL names first, then what may
   * lie beside it, and the same where links lead. Empty where the database is a server.
   * @param url normalised
   */
  files(url: string): Promise<string[]>;
  /** Fails with the reason if the database cannot be read now; otherwise returns its size in bytes. Changes nothing. */
  check(url: string, options?: CheckOptions): Promise<{ bytes: number }>;
  /** True if there is anything at all in the place of the database, damaged or not. */
  exists(url: string): Promise<boolean>;
  /** The name of a table as the engine compares it: two names that give the same are of one table. */
  foldName(name: string): string;
  /** The URL of a database file at this absolute path; null where the database is a server. */
  urlOfFile(path: string): string | null;
  /** True if the file begins like a database of this engine. @throws if it cannot be read */
  recognises(path: string): Promise<boolean>;
  /**
   * What the database looks like from outside: where two are the same, nothing was written between them. Null where that
   * cannot be told, as shortly after a write. Reads no content.
   */
  fingerprint(url: string): Promise<string | null>;
  /** One committed state of the database, in files below `folder` (which exists and is empty). Never blocks the application longer than its own format demands. */
  snapshot(
    url: string,
    folder: string,
    step: StepContext,
    damage?: DamagePolicy,
    exclusions?: Exclusions,
  ): Promise<Snapshot>;
  /**
   * What exclusions leave out of the database now. Changes nothing.
   * @throws AppError BAD_USER_INPUT naming `excludeTables` or `excludeTableData` if something that stays needs what is left
   * out; ENGINE_UNSUPPORTED
   */
  exclusions(url: string, exclusions: Exclusions, signal: AbortSignal): Promise<ExclusionMatches>;
  /**
   * As `snapshot`, of what differs from a former state only: nothing else is copied. Findings that only a full snapshot looks
   * for are those of the former state. Null where that cannot be done, so that a full snapshot must be taken.
   */
  snapshotChanges(url: string, folder: string, step: StepContext, before: FormerState): Promise<ChangedSnapshot | null>;
  /**
   * The databases of the server that a URL leads to, by name, but for the server's own; null where a database is a file. The
   * URL need not name a database.
   */
  databases(url: string, signal: AbortSignal): Promise<ServerDatabase[] | null>;
  /** Describes a live database without changing it; null if there is none yet. */
  describe(url: string, signal?: AbortSignal): Promise<DatabaseInfo | null>;
  /**
   * Describes an extracted dump, and refuses one that could do harm when it is loaded. `folder` holds the archive's database
   * entries under their own names.
   */
  describeDump(folder: string, step: StepContext): Promise<DatabaseInfo>;
  /** As `describeDump`, and checks its integrity, without a server. @throws AppError DATABASE_CORRUPT for damaged pages */
  inspect(folder: string, step: StepContext): Promise<DatabaseInfo>;
  /**
   * As `inspect`, with all that an engine needs a server for: then the dump is laid into a database of its own beside another
   * one, and removed again. @throws AppError as `inspect`
   * @param url of the database that the backup was made of, for an engine that needs its server; null for none
   */
  inspectContent(folder: string, step: StepContext, url: string | null): Promise<DatabaseInfo>;
  /** Rebuilds in the dump what `inspect` found out of step. @returns what is left to say */
  rebuild(folder: string, findings: Finding[], step: StepContext): Promise<Finding[]>;
  /**
   * Replaces the content of the database by the dump in `folder`, in one atomic switch: all of the old or all of the new.
   * @returns what the admin should know; empty if nothing
   */
  load(folder: string, url: string, options: LoadOptions): Promise<string[]>;
  /**
   * Loads single tables from the dump in `folder` into a private copy of the database there, and removes the copy: what
   * succeeds here succeeds in `load`, as long as the database stays as it is.
   * @param options `includeRelated`: also the tables that belong to the chosen ones by triggers; `exact` and `repair` as in
   * `LoadOptions`
   */
  rehearse(folder: string, url: string, options: StepContext & RehearseOptions): Promise<TablesRehearsal>;
  /** What `load` would take. `live` is what `describe` says now, `tables` as in `LoadOptions`. */
  loadSpace(dump: DumpSize, url: string, live: DatabaseInfo | null, tables: string[] | null): Promise<LoadSpace>;
  /**
   * What a load does beside replacing the content, for the plan. `live` is what `describe` says now, `tables` and `repair` as in
   * `LoadOptions`.
   */
  loadNotes(
    url: string,
    live: DatabaseInfo | null,
    tables: string[] | null,
    repair?: RowRepair | null,
  ): Promise<string[]>;
  /** Removes what a load with this stamp left behind when its process died before the switch. */
  discard(url: string, stamp: string): Promise<void>;
  /** The stamp that `load` left, or null: also null where there is no database. */
  stampOf(url: string): Promise<string | null>;
  /** Removes the stamp, if there is one. */
  clearStamp(url: string, lockTimeoutMs: number): Promise<void>;
  /** Fails with the reason if the database could not be written now. Changes nothing. */
  checkWritable(url: string): Promise<void>;
  /** The programs that have the database open, as far as this machine shows. */
  holders(url: string): Promise<Holder[]>;
  /** True for the archive's entries that belong to the database, not to media. */
  ownsEntry(path: string): boolean;
  /** True for a path that the database would read or replay if it lay beside its entries, such as a journal. */
  isCompanion(path: string): boolean;
}

/** An object in a storage. */
export interface StoredObject {
  name: string;
  /** Where a person finds it: a path or an address. */
  location: string;
  size: number;
  modifiedAt: Date;
}

/** What making a storage ready came to. */
export interface Preparation {
  /** The folders that were not there and were made, outermost first; empty where nothing was missing. */
  made: string[];
  /** Takes them away again, as far as they are empty. */
  undo(): Promise<void>;
  /** Settings that were learned from the place and are to be kept, such as the key of its host. */
  learned?: Record<string, SettingValue>;
}

/** How `Storage.put` should store. */
export interface PutOptions {
  /** Names the run, for `discard`. */
  owner: string;
  /** Ends it: nothing of the object stays. */
  signal: AbortSignal;
  /** Most bytes that the object can have, if that is known: a storage that takes parts sizes them by it. */
  size?: number;
}

/**
 * One place where archives lie (one folder, one bucket prefix). Every method throws AppError with a STORAGE_… code, whose
 * `retry` in the catalogue says whether trying again may help. No method waits for ever: a transfer that stalls ends with
 * STORAGE_UNAVAILABLE. None holds a whole object in memory.
 */
export interface Storage {
  readonly type: StorageType;
  /** The place as a person writes it: a folder's path or an address. */
  readonly place: string;
  /** The folder on this machine that the objects lie in; null if they lie elsewhere. */
  folder(): string | null;
  /** Where a person finds an object of this name. */
  locate(name: string): string;
  /** Makes the place ready and checks that it can be written. Where that fails, nothing that it made is left. */
  prepare(): Promise<Preparation>;
  /**
   * Stores a whole object or nothing: it is visible only when it is whole, and durable when this returns. NAME_TAKEN if the
   * name exists; nothing is ever overwritten.
   */
  put(name: string, body: Readable, options: PutOptions): Promise<StoredObject>;
  /**
   * The object's bytes; `start` and `end` (inclusive) choose a range inside it. ARCHIVE_MISSING if there is none. The reader
   * destroys the stream when it has what it needs.
   */
  get(name: string, range?: { start: number; end?: number }): Promise<Readable>;
  /** Null if there is no such object; an error if the storage does not answer. */
  stat(name: string): Promise<StoredObject | null>;
  /** Removes the object and makes sure that it is gone. No error if it was not there. */
  remove(name: string): Promise<void>;
  /** Removes what an interrupted `put` of this owner and name left behind. */
  discard(owner: string, name: string): Promise<void>;
  /**
   * All objects whose name could be an archive's and begins with `prefix`, page by page; foreign ones with such a name
   * included, whatever else lies there and temporary ones not.
   */
  list(prefix?: string): AsyncIterable<StoredObject>;
  /** Free and total bytes; null where the storage has no limit that can be asked. */
  space(): Promise<{ free: number; total: number } | null>;
}

/** The engines of this installation. */
export interface Engines {
  /** @throws AppError ENGINE_UNSUPPORTED */
  of(kind: string): Engine;
  /** The engine that a database URL's scheme asks for. @throws AppError ENGINE_UNSUPPORTED */
  forUrl(url: string): Engine;
  /** As `Engine.files`; empty for a URL of no engine that is there. */
  filesOf(url: string): Promise<string[]>;
  /** The URL of the database in a file, for a path that is written in place of a URL. @param path absolute */
  urlOfFile(path: string): string;
  /** Which engine's database a file is, by its first bytes; null for any other file. @throws if it cannot be read */
  recognise(path: string): Promise<FileEngine | null>;
}

/** Which storage a config or a backup means: its type and its folder or address, as the row keeps it. */
export interface StorageAddress {
  storageType: StorageType;
  storagePath: string;
}

/** How a storage is reached: a folder's `path`, or what a distant one needs. Secrets are apart: they are never shown. */
export interface StorageSettings {
  storageType: StorageType;
  settings: Record<string, SettingValue>;
  secrets: Record<string, string>;
}

export type SettingValue = string | number | boolean;

/** What the settings of a kind of storage are about. */
export interface StorageKind {
  /** The names of those that are secret. */
  secrets: readonly string[];
  /** The names of those that say which machine gets the secrets. */
  reach: readonly string[];
}

/** Seals what must not be kept in the clear, and opens it again. */
export interface Sealer {
  seal(values: Record<string, string>): Promise<string>;
  open(sealed: string): Promise<Record<string, string>>;
}

/** Opens storages by address. */
export interface Storages {
  /**
   * The address with an absolute path, checked to be allowed. Creates nothing.
   * @throws AppError BAD_USER_INPUT naming `field`, PATH_NOT_ALLOWED
   */
  resolve(address: StorageAddress, field: string): StorageAddress;
  /** The storage at a resolved address. How a distant one is reached is looked up when it is first used. */
  open(address: StorageAddress): Storage;
  /** True if it is known how the storage at this address is reached, as it is for every folder. */
  isKnown(address: StorageAddress): Promise<boolean>;
  kindOf(type: StorageType): StorageKind;
  /** The address of the place that settings name. @throws AppError BAD_USER_INPUT naming the setting, PATH_NOT_ALLOWED */
  addressOf(settings: StorageSettings): StorageAddress;
  /** A storage with settings that need not be saved. @throws AppError as `addressOf` */
  connect(settings: StorageSettings): Storage;
}

/** Where a channel leads, and what it takes to get in there. */
export interface ChannelSettings {
  kind: ChannelKind;
  /** E-mail addresses, a URL or the id of a chat, as the kind needs it; may hold a secret. */
  target: string;
  /** A token, a key or what messages are signed with; empty if there is none. */
  secret: string;
  /** Of a webhook: the JSON that it sends, with places for what a message says; empty: the message as it is. */
  template: string;
}

/**
 * What is sent. A channel with `beats` gets signs of life, any other one notices. `installation` tells apart what several
 * installations send to one service.
 */
export type Message = { id: string; sentAt: Date; installation: string } & ({ notice: Notice } | { beat: Beat });

/** Sends messages to channels of every kind. */
export interface Notifier {
  /** True for a kind that takes signs of life of one config; with a state, for one that takes this one. */
  beats(kind: ChannelKind, state?: Beat['state']): boolean;
  /**
   * Checks settings before they are saved.
   * @returns the target without what is secret in it, and the machine that gets the secret
   * @throws AppError BAD_USER_INPUT naming the field
   */
  judge(settings: ChannelSettings): { shown: string; reach: string };
  /**
   * Sends once. Sent again with the same `id`, it is the same message.
   * @returns whom a channel that took it does not pass it on to; null if it reaches everyone
   * @throws AppError NOTIFICATION_FAILED if no one gets it; the signal's reason
   */
  send(settings: ChannelSettings, message: Message, signal: AbortSignal): Promise<AppError | null>;
}

/** A piece of work for the queue. */
export type Job =
  | { name: 'run-backup'; backupId: string }
  | { name: 'run-restore'; restoreId: string }
  | { name: 'run-verification'; verificationId: string }
  | { name: 'cleanup' }
  | { name: 'control-backup' };

/** Hands work to a worker, in this process or another. Delivers at least once: a worker claims a job's row before it runs it. */
export interface JobQueue {
  /** Adds a job to be run now, or after `delayMs`. Adding the same job twice before it runs leaves one. */
  add(job: Job, options?: { delayMs?: number }): Promise<void>;
}
