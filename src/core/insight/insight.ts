import { statfs } from 'node:fs/promises';
import { AppError, badInput } from '../../errors.js';
import type { BackupConfigRow, BackupRow } from '../../models/index.js';
import type { StoredArchive } from '../archives/stored-archive.js';
import type { Backups } from '../backups/backups.js';
import { assertSpace } from '../backups/run-backup.js';
import { type ProtectEnvironment, protectedPaths } from '../configs/protection.js';
import type { CoreEnvironment } from '../environment.js';
import type { DatabaseComparison, FileReferences, QueryRows, RowReader } from '../ports.js';
import { Looks, type LooksEnvironment } from './looks.js';
import { archivedMedia, compareMedia, filesOf, type MediaComparison, presentMedia } from './media.js';

export type { MediaComparison };

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

/** Bounds of what is asked for. */
const MAX_LIMIT = 1_000;
const MAX_SAMPLES = 100;
const MAX_SQL = 100_000;
/** How long a query and a comparison may take, in milliseconds. */
const QUERY_TIME = 30_000;
const COMPARE_TIME = 900_000;
/** Characters of a query that the audit trail keeps. */
const AUDITED_SQL = 500;

/** A backup whose rows can be read, and what reads them. */
interface Opened {
  row: BackupRow;
  stored: StoredArchive;
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
    if (sql.trim() === '') throw badInput('sql', 'is empty.', 'Give one SELECT.');
    if (sql.length > MAX_SQL) throw badInput('sql', `has more than ${MAX_SQL.toLocaleString('en')} characters.`);
    const opened = await this.open(id, identity, stop);
    await this.env.audit.record(actor, 'backup.query', id, { sql: sql.slice(0, AUDITED_SQL) });
    const { rows } = opened;
    return this.looks.during(opened, identity === undefined, async (folder) => {
      const late = AbortSignal.timeout(QUERY_TIME);
      try {
        return await rows.query(folder, sql, { limit, signal: AbortSignal.any([stop, late]) });
      } catch (error) {
        if (!late.aborted || stop.aborted) throw error;
        throw badInput('sql', `took longer than ${QUERY_TIME / 1_000} seconds.`, 'Add a condition, or ask for less.');
      }
    });
  }

  /**
   * Compares a backup with another one, or with what its config protects now.
   * @throws AppError NOT_FOUND, BACKUP_…, BAD_USER_INPUT naming `to`, `tables` or `samples`, ENGINE_UNSUPPORTED, ARCHIVE_…,
   * DATABASE_…, MEDIA_…, STORAGE_…
   */
  async compare(
    { from, to, tables, samples, identity }: Comparison,
    actor: string,
    stop: AbortSignal,
  ): Promise<BackupComparison> {
    assertBetween('samples', samples, 0, MAX_SAMPLES);
    const signal = AbortSignal.any([stop, AbortSignal.timeout(COMPARE_TIME)]);
    const before = await this.open(from, identity, signal);
    const engine = this.env.engines.of(before.row.engine);
    const archive = await before.stored.archive(signal);
    const keep = identity === undefined;
    const options = { tables, samples, signal };
    if (to === null) {
      const config = await this.configOf(before.row);
      await this.env.audit.record(actor, 'backup.compare', from, { to: 'live' });
      const url = config.databaseUrl;
      return this.looks.during(before, keep, (folder) =>
        this.looks.fresh(async (live, lost) => {
          const step = { signal: AbortSignal.any([signal, lost]), onProgress: () => undefined };
          const { bavail, bsize } = await statfs(live);
          const { bytes } = await engine.check(url);
          assertSpace(bavail * bsize, bytes, `for a copy of the live database in ${live}`);
          await (
            await engine.snapshot(url, live, step)
          ).contents;
          const database = await before.rows.compare(folder, live, options);
          const { covers } = await protectedPaths(this.env, { engine, url });
          const media = await compareMedia(archive, presentMedia(config.mediaPaths, covers, signal), samples);
          return { ...database, media };
        }),
      );
    }
    const after = await this.open(to, identity, signal);
    if (after.row.engine !== before.row.engine) {
      throw badInput('to', `the backup ${to} is of another kind of database.`, 'Compare backups of one kind.');
    }
    await this.env.audit.record(actor, 'backup.compare', from, { to });
    const later = await after.stored.archive(signal);
    return this.looks.during(before, keep, (old) =>
      this.looks.during(after, keep, async (now) => ({
        ...(await before.rows.compare(old, now, options)),
        media: await compareMedia(archive, archivedMedia(later), samples),
      })),
    );
  }

  /**
   * Looks for rows of a backup that name media files which are not in it, and for files that no row names.
   * @throws AppError NOT_FOUND, BACKUP_…, BAD_USER_INPUT naming `id`, `columns` or `samples`, ENGINE_UNSUPPORTED, ARCHIVE_…
   */
  async references(
    { id, columns, samples, identity }: Agreement,
    actor: string,
    stop: AbortSignal,
  ): Promise<FileReferences> {
    assertBetween('samples', samples, 0, MAX_SAMPLES);
    const signal = AbortSignal.any([stop, AbortSignal.timeout(COMPARE_TIME)]);
    const opened = await this.open(id, identity, signal);
    const archive = await opened.stored.archive(signal);
    const files = filesOf(archive).map(({ path }) => path);
    if (files.length === 0) throw badInput('id', `the backup ${id} holds no media files.`, 'Choose one that does.');
    await this.env.audit.record(actor, 'backup.references', id, { columns });
    const prefixes = archive.metadata.media.map(({ prefix }) => prefix);
    return this.looks.during(opened, identity === undefined, (folder) =>
      opened.rows.references(folder, { columns, files, prefixes, samples, signal }),
    );
  }

  /** True for a backup whose rows can be read. */
  isQueryable({ engine, status, damaged }: BackupRow): boolean {
    return status === 'COMPLETED' && !damaged && this.env.engines.of(engine).rows !== null;
  }

  /** Removes the private copies. */
  close(): Promise<void> {
    return this.looks.close();
  }

  /** @throws AppError also ENGINE_UNSUPPORTED, or DATABASE_CORRUPT where there are no rows that could be read */
  private async open(id: string, identity: string | undefined, signal: AbortSignal): Promise<Opened> {
    const { row, stored } = await this.env.backups.openReadable(id, signal, identity);
    const { rows } = this.env.engines.of(row.engine);
    if (rows === null) {
      throw new AppError('ENGINE_UNSUPPORTED', `The rows of a ${row.engine} backup cannot be read without a server.`, {
        hint: 'Restore it into a new database with targetDatabaseUrl, and look there.',
      });
    }
    if (!row.damaged) return { row, stored, rows };
    throw new AppError('DATABASE_CORRUPT', `The backup ${id} is of a damaged database: its rows cannot be relied on.`, {
      hint: 'Extract it, and look with a tool for damaged databases, such as `.recover` of sqlite3.',
    });
  }

  private async configOf({ id, configId, engine }: BackupRow): Promise<BackupConfigRow> {
    const config = configId === null ? null : await this.env.models.BackupConfig.findByPk(configId);
    if (config !== null && config.engine === engine && config.databaseUrl !== '') return config;
    throw badInput('to', `is missing, and the backup ${id} belongs to no config.`, 'Name the backup to compare with.');
  }
}

function assertBetween(field: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw badInput(field, `must be a whole number from ${least} to ${most.toLocaleString('en')}.`);
}
