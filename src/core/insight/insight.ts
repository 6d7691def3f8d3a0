import { statfs } from 'node:fs/promises';
import { AppError, badInput } from '../../errors.js';
import type { BackupConfigRow, BackupRow, Invariant, InvariantResult } from '../../models/index.js';
import type { Backups } from '../backups/backups.js';
import { assertSpace } from '../backups/run-backup.js';
import { type ProtectEnvironment, protectedPaths } from '../configs/protection.js';
import type { CoreEnvironment } from '../environment.js';
import { answersOf, askInvariants } from '../invariants/invariants.js';
import { growingTables, LEARNED_FROM } from '../invariants/suggest.js';
import type {
  Cell,
  DatabaseComparison,
  DatabaseEngine,
  Engine,
  FileReferences,
  Finding,
  QueryRows,
  RowReader,
} from '../ports.js';
import { type AnswerChange, backupsInOrder, lastChangeOf, type RowVersion, versionsOf } from './history.js';
import { type Looked, Looks, type LooksEnvironment } from './looks.js';
import { archivedMedia, compareMedia, filesOf, type MediaComparison, presentMedia } from './media.js';

export type { AnswerChange, MediaComparison, RowVersion };

/** What looking into backups needs of the process around it. */
export type InsightEnvironment = LooksEnvironment &
  ProtectEnvironment &
  Pick<CoreEnvironment, 'audit'> & { backups: Backups };

/** How two states differ. */
export interface BackupComparison extends DatabaseComparison {
  media: MediaComparison;
}

/** A query of a backup. */
export interface Query {
  id: string;
  sql: string;
  /** The most rows. */
  limit: number;
  /** Opens an encrypted backup; left out, the keys that are held here do. */
  identity?: string | undefined;
}

/** What is compared. */
export interface Comparison {
  from: string;
  /** A later backup; null for the live database and media of the config. */
  to: string | null;
  /** Only these tables; null for all. */
  tables: string[] | null;
  /** The most rows and files that are shown of each kind of difference. */
  samples: number;
  /** As for `Query`. */
  identity?: string | undefined;
}

/** Which rows and files are to agree. */
export interface Agreement {
  id: string;
  /** Columns that name files, each as `table.column`; null for those that look so. */
  columns: string[] | null;
  /** The most rows of each column, and files, that are shown. */
  samples: number;
  /** As for `Query`. */
  identity?: string | undefined;
}

/** Which row is looked for. */
export interface RowQuestion {
  configId: number;
  table: string;
  /** The values of its primary key, by column. */
  key: Record<string, Cell>;
  /** Whether every backup is read: see `versionsOf`. */
  every: boolean;
  /** As for `Query`. */
  identity?: string | undefined;
}

/** Which answer is looked for. */
export interface ChangeQuestion {
  configId: number;
  /** One SELECT that gives one value. */
  sql: string;
  /** As for `Query`. */
  identity?: string | undefined;
}

/** Is told which backup is read next. */
type OnRead = (backup: BackupRow) => void;

/** Bounds of what is asked for. */
const MAX_LIMIT = 1_000;
const MAX_SAMPLES = 100;
const MAX_SQL = 100_000;
/** How long a query and a comparison may take, in milliseconds. */
const QUERY = {
  ms: 30_000,
  late: () => badInput('sql', 'took longer than 30 seconds.', 'Add a condition, or ask for less.'),
};
/** One of many: that it takes long in one backup is no answer of that backup. */
const EACH_QUERY = {
  ms: QUERY.ms,
  late: () =>
    new AppError('BAD_USER_INPUT', 'The query took longer than 30 seconds in one of the backups.', {
      hint: 'Add a condition, or ask for less.',
    }),
};
const COMPARISON = {
  ms: 900_000,
  late: () => badInput('tables', 'took longer than 15 minutes to compare.', 'Name fewer tables.'),
};
const REFERENCES = {
  ms: 900_000,
  late: () => badInput('columns', 'took longer than 15 minutes to look through.', 'Name fewer columns.'),
};
const HISTORY = {
  ms: 900_000,
  late: () =>
    badInput(
      'configId',
      'has backups that took longer than 15 minutes to read.',
      'Leave out every, or query single backups.',
    ),
};
/** Characters of a query that the audit trail keeps. */
const AUDITED_SQL = 500;

/** A backup whose rows can be read, and what reads them. */
interface Opened extends Looked {
  rows: RowReader;
}

/** Looks into backups without restoring them: queries one, or compares two states. Nothing that it reads is changed. */
export class Insight {
  private readonly looks: Looks;

  constructor(private readonly env: InsightEnvironment) {
    this.looks = new Looks(env);
  }

  /**
   * Runs one SELECT on a private copy of the database in a backup.
   * @throws AppError NOT_FOUND, BACKUP_…, BAD_USER_INPUT naming `sql` or `limit`, ENGINE_UNSUPPORTED, ARCHIVE_…, STORAGE_…
   */
  async query({ id, sql, limit, identity }: Query, actor: string, stop: AbortSignal): Promise<QueryRows> {
    assertBetween('limit', limit, 1, MAX_LIMIT);
    assertQuery(sql);
    const opened = await this.open(id, identity, stop);
    await this.env.audit.record(actor, 'backup.query', id, { sql: sql.slice(0, AUDITED_SQL) });
    return this.looks.during(opened, identity === undefined, stop, (place) =>
      queryWithin(opened.rows, place, { sql, limit }, stop),
    );
  }

  /**
   * How one row was through the backups of a config.
   * @param onRead is told which backup is read next
   * @throws AppError NOT_FOUND, BAD_USER_INPUT naming `configId`, `table` or `key`, ENGINE_UNSUPPORTED; that of the first
   * backup if none can be read
   */
  async rowHistory(
    { configId, table, key, every, identity }: RowQuestion,
    actor: string,
    stop: AbortSignal,
    onRead: OnRead = () => undefined,
  ): Promise<RowVersion[]> {
    if (Object.keys(key).length === 0) throw badInput('key', 'is empty.', KEY_HINT);
    const backups = await this.backupsOf(configId);
    await this.env.audit.record(actor, 'config.row-history', String(configId), { table, key });
    return inTime(stop, HISTORY, (signal) => {
      const read = (backup: BackupRow) => {
        onRead(backup);
        return this.during(backup, identity, signal, ({ rows }, place) => rows.row(place, table, key, signal));
      };
      return versionsOf(backups, read, { table, every });
    });
  }

  /**
   * Between which backups of a config the answer to a query last changed.
   * @param onRead is told which backup is read next
   * @returns null if the oldest gives the same as the newest
   * @throws AppError NOT_FOUND, BAD_USER_INPUT naming `configId` or `sql`, ENGINE_UNSUPPORTED; that of the first backup if none
   * can be read
   */
  async findChange(
    { configId, sql, identity }: ChangeQuestion,
    actor: string,
    stop: AbortSignal,
    onRead: OnRead = () => undefined,
  ): Promise<AnswerChange | null> {
    assertQuery(sql);
    const backups = await this.backupsOf(configId);
    await this.env.audit.record(actor, 'config.find-change', String(configId), { sql: sql.slice(0, AUDITED_SQL) });
    return inTime(stop, HISTORY, (signal) => {
      const read = (backup: BackupRow) => {
        onRead(backup);
        return this.during(backup, identity, signal, ({ rows }, place) =>
          inTime(signal, EACH_QUERY, (ended) => rows.query(place, sql, { limit: 2, signal: ended })),
        );
      };
      return lastChangeOf(backups, read);
    });
  }

  /**
   * Compares a backup with another one, or with what its config protects now.
   * @throws AppError NOT_FOUND, BACKUP_…, BAD_USER_INPUT naming `to`, `tables` or `samples`, ENGINE_UNSUPPORTED, ARCHIVE_…,
   * DATABASE_…, MEDIA_…, STORAGE_…
   */
  async compare(comparison: Comparison, actor: string, stop: AbortSignal): Promise<BackupComparison> {
    assertBetween('samples', comparison.samples, 0, MAX_SAMPLES);
    const { from, to, tables, samples, identity } = comparison;
    const before = await this.open(from, identity, stop);
    const engine = this.env.engines.of(before.row.engine);
    const archive = await before.stored.archive(stop);
    const keep = identity === undefined;
    if (to === null) {
      const config = await this.configOf(before.row);
      await this.env.audit.record(actor, 'backup.compare', from, { to: 'live' });
      const url = config.databaseUrl;
      return this.looks.during(before, keep, stop, (place) =>
        this.duringLive(engine, url, stop, (live) =>
          inTime(stop, COMPARISON, async (signal) => {
            const database = await before.rows.compare(place, live, { tables, samples, signal });
            const { covers } = await protectedPaths(this.env, { engine, url });
            const media = await compareMedia(archive, presentMedia(config.mediaPaths, covers, signal), samples);
            return { ...database, media };
          }),
        ),
      );
    }
    const after = await this.open(to, identity, stop);
    if (after.row.engine !== before.row.engine) {
      throw badInput('to', `the backup ${to} is of another kind of database.`, 'Compare backups of one kind.');
    }
    await this.env.audit.record(actor, 'backup.compare', from, { to });
    const later = await after.stored.archive(stop);
    return this.looks.during(before, keep, stop, (old) =>
      this.looks.during(after, keep, stop, (now) =>
        inTime(stop, COMPARISON, async (signal) => ({
          ...(await before.rows.compare(old, now, { tables, samples, signal })),
          media: await compareMedia(archive, archivedMedia(later), samples),
        })),
      ),
    );
  }

  /**
   * Looks for rows of a backup that name media files which are not in it, and for files that no row names.
   * @throws AppError NOT_FOUND, BACKUP_…, BAD_USER_INPUT naming `id`, `columns` or `samples`, ENGINE_UNSUPPORTED, ARCHIVE_…
   */
  async references(agreement: Agreement, actor: string, stop: AbortSignal): Promise<FileReferences> {
    assertBetween('samples', agreement.samples, 0, MAX_SAMPLES);
    const { id, columns, samples, identity } = agreement;
    const opened = await this.open(id, identity, stop);
    const archive = await opened.stored.archive(stop);
    const files = filesOf(archive).map(({ path }) => path);
    if (files.length === 0) throw badInput('id', `the backup ${id} holds no media files.`, 'Choose one that does.');
    await this.env.audit.record(actor, 'backup.references', id, { columns });
    const prefixes = archive.metadata.media.map(({ prefix }) => prefix);
    return this.looks.during(opened, identity === undefined, stop, (place) =>
      inTime(stop, REFERENCES, (signal) =>
        opened.rows.references(place, { columns, files, prefixes, samples, signal }),
      ),
    );
  }

  /**
   * Asks the live database of a config what its invariants come to now.
   * @param since the backup whose answers NOT_LESS_THAN_BEFORE compares with
   * @returns what each came to, and what is wrong with the database; no answers where none are set or can be asked
   * @throws AppError DATABASE_…, STORAGE_FULL
   */
  async askLive(
    config: BackupConfigRow,
    since: BackupRow,
    signal: AbortSignal,
  ): Promise<{ invariants: InvariantResult[]; findings: Finding[] }> {
    const engine = this.env.engines.of(config.engine);
    const { rows } = engine;
    if (rows === null) {
      await engine.check(config.databaseUrl);
      return { invariants: [], findings: [] };
    }
    return this.duringLive(engine, config.databaseUrl, signal, async (live, findings) => {
      const before = answersOf(since.invariants, config.invariants);
      return { invariants: await askInvariants(rows, live, config.invariants, { before, signal }), findings };
    });
  }

  /**
   * Invariants that the newest backup of a config keeps: what its schema asks for, and tables that have not lost a row in the
   * backups so far.
   * @returns those that the config does not have yet
   * @throws AppError NOT_FOUND, BAD_USER_INPUT naming `configId`, ENGINE_UNSUPPORTED, ARCHIVE_…, STORAGE_…
   */
  async suggestInvariants(configId: number, stop: AbortSignal, identity?: string): Promise<Invariant[]> {
    const backups = await this.backupsOf(configId);
    const newest = backups.at(-1) as BackupRow;
    const opened = await this.open(newest.id, identity, stop);
    const growing = growingTables(backups.slice(-LEARNED_FROM).map(({ tables }) => tables));
    const suggested = await this.looks.during(opened, identity === undefined, stop, (place) =>
      opened.rows.suggest(place, growing, stop),
    );
    const config = await this.env.models.BackupConfig.findByPk(configId);
    const asked = new Set(config?.invariants.map(({ sql }) => sql));
    return suggested.filter(({ sql }) => !asked.has(sql));
  }

  /** True for a backup whose rows can be read. */
  isQueryable({ engine: kind, status, damaged, backupType, configId }: BackupRow): boolean {
    const engine = this.env.engines.of(kind);
    const hasNoServer = configId === null && this.env.drillDatabaseUrl === null;
    // To look into one of a server runs its statements there.
    const isForeign = engine.capabilities.onServer && (backupType === 'UPLOADED' || hasNoServer);
    return status === 'COMPLETED' && !damaged && engine.rows !== null && !isForeign;
  }

  /** Removes the private copies. */
  close(): Promise<void> {
    return this.looks.close();
  }

  /** @throws AppError also ENGINE_UNSUPPORTED, or DATABASE_CORRUPT where there are no rows that could be read */
  private async open(id: string, identity: string | undefined, signal: AbortSignal): Promise<Opened> {
    const { row, stored } = await this.env.backups.openReadable(id, signal, identity);
    const rows = this.readerOf(row.engine);
    if (!row.damaged) return { row, stored, rows };
    throw new AppError('DATABASE_CORRUPT', `The backup ${id} is of a damaged database: its rows cannot be relied on.`, {
      hint: 'Extract it, and look with a tool for damaged databases, such as `.recover` of sqlite3.',
    });
  }

  /** Gives the place of a live database: of a private copy, or of itself where it is on a server. */
  private async duringLive<T>(
    engine: Engine,
    url: string,
    signal: AbortSignal,
    work: (place: string, findings: Finding[]) => Promise<T>,
  ): Promise<T> {
    if (engine.capabilities.onServer) {
      await engine.check(url, { signal });
      return work(url, []);
    }
    return this.looks.fresh(async (folder, lost) => {
      const step = { signal: AbortSignal.any([signal, lost]), onProgress: () => undefined };
      const { bavail, bsize } = await statfs(folder);
      const { bytes } = await engine.check(url);
      assertSpace(bavail * bsize, bytes, `for a copy of the live database in ${folder}`);
      const { contents } = await engine.snapshot(url, folder, step);
      return work(folder, (await contents).findings);
    });
  }

  /** @throws AppError NOT_FOUND, BAD_USER_INPUT naming `configId`, ENGINE_UNSUPPORTED */
  private async backupsOf(configId: number): Promise<BackupRow[]> {
    const config = await this.env.models.BackupConfig.findByPk(configId);
    if (config === null) {
      throw new AppError('NOT_FOUND', `configId: there is no config ${configId}.`, { field: 'configId' });
    }
    this.readerOf(config.engine);
    return backupsInOrder(this.env.models, config);
  }

  /** Gives the database of one backup of many: no copy stays, as the next question is of another one. */
  private async during<T>(
    { id }: BackupRow,
    identity: string | undefined,
    signal: AbortSignal,
    work: (opened: Opened, place: string) => Promise<T>,
  ): Promise<T> {
    const opened = await this.open(id, identity, signal);
    return this.looks.during(opened, false, signal, (place) => work(opened, place));
  }

  /** @throws AppError ENGINE_UNSUPPORTED */
  private readerOf(engine: DatabaseEngine): RowReader {
    const { rows } = this.env.engines.of(engine);
    if (rows !== null) return rows;
    throw new AppError('ENGINE_UNSUPPORTED', `The rows of a ${engine} backup cannot be read yet.`, {
      hint: 'Restore it into a new database with targetDatabaseUrl, and look there.',
    });
  }

  private async configOf({ id, configId, engine }: BackupRow): Promise<BackupConfigRow> {
    const config = configId === null ? null : await this.env.models.BackupConfig.findByPk(configId);
    if (config !== null && config.engine === engine && config.databaseUrl !== '') return config;
    throw badInput('to', `is missing, and the backup ${id} belongs to no config.`, 'Name the backup to compare with.');
  }
}

/** How a key is written. */
const KEY_HINT = 'Give the values of its primary key by column, such as {"id": 17}.';

/** @throws AppError BAD_USER_INPUT naming `sql` */
function assertQuery(sql: string): void {
  if (sql.trim() === '') throw badInput('sql', 'is empty.', 'Give one SELECT.');
  if (sql.length > MAX_SQL) throw badInput('sql', `has more than ${MAX_SQL.toLocaleString('en')} characters.`);
}

/** @throws AppError as `RowReader.query`; BAD_USER_INPUT naming `sql` when its time is over */
const queryWithin = (
  rows: RowReader,
  place: string,
  { sql, limit }: { sql: string; limit: number },
  stop: AbortSignal,
): Promise<QueryRows> => inTime(stop, QUERY, (signal) => rows.query(place, sql, { limit, signal }));

/** Gives work a signal that aborts when its time is over. @throws what `late` gives then */
async function inTime<T>(
  stop: AbortSignal,
  { ms, late }: { ms: number; late: () => AppError },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const over = AbortSignal.timeout(ms);
  try {
    return await work(AbortSignal.any([stop, over]));
  } catch (error) {
    if (!over.aborted || stop.aborted) throw error;
    throw late();
  }
}

function assertBetween(field: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw badInput(field, `must be a whole number from ${least} to ${most.toLocaleString('en')}.`);
}
