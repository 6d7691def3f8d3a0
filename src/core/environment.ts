import type { Transaction } from 'sequelize';
import type { AppError } from '../errors.js';
import type { Log } from '../log.js';
import type { BackupRow, Models } from '../models/index.js';
import type { Audit } from './audit.js';
import type { Engines, JobQueue, Storages } from './ports.js';

/** The rows that are runs. */
export type RunTable = 'Backup' | 'Restore' | 'Verification';

/** A run that has just ended. */
export interface EndedRun {
  table: RunTable;
  id: string;
  /** Why it failed; null if it is COMPLETED. */
  error: AppError | null;
}

/** What the process around the domain gives to it. Each part takes a `Pick` of it, and the parts below that it works with. */
export interface CoreEnvironment {
  models: Models;
  engines: Engines;
  storages: Storages;
  queue: JobQueue;
  audit: Audit;
  log: Log;
  now: () => Date;
  /** How long a holder of a lease may be silent before others may take over, in milliseconds. */
  leaseMs: number;
  /** Called for every run that ends, in the transaction that ends its row: what follows from the end is never lost. */
  onEnded: (run: EndedRun, transaction: Transaction) => Promise<void>;
  /** Called for every run that begins, once its row says so. What follows from it may be lost. */
  onStarted: (run: Omit<EndedRun, 'error'>) => Promise<void>;
  /** How long a deletion waits and can be taken back, in milliseconds; 0: not at all. */
  deletionDelayMs: number;
  /** Called with backups whose deletion waits from now on. */
  onDeletionPlanned: (rows: readonly BackupRow[]) => Promise<void>;
  /** Absolute; each run has a folder of its own below it. */
  workFolder: string;
  /** The control database's file, or null where it is a server. */
  controlFile: string | null;
  /** The control database's name in locks where it is a server of a kind that can be protected. */
  controlKey?: string | null;
  /** Absolute paths of db-manager's own files and folders: never backed up as media and never touched by a restore. */
  exclude: string[];
  /** Folders that every path which a user names must lie in; absolute. Empty: any. */
  allowedPaths: string[];
  /** The product's own folder: its code and settings. */
  productFolder: string;
  dataDir: string;
  /** The folder that LOCAL archives lie in. */
  localRoot: string;
  /** Prefix of archive names. */
  prefix: string;
  /** How many threads compress one archive; null: one for each core. */
  compressionThreads: number | null;
  /** This product's version, for the metadata. */
  version: string;
  /** Largest file that may be uploaded, in bytes, and the most entries in it. */
  maxUploadBytes: number;
  maxUploadEntries: number;
}
