import { Sequelize } from 'sequelize';
import sqlite3 from 'sqlite3';
import { createBackend, type JobStore } from '../../src/jobs/backends.js';
import { createLog } from '../../src/log.js';
import { jobs as migration } from '../../src/models/migrations/0002-jobs.js';

/** Where a job store lies: what a worker process needs in order to open it. */
export interface StoreAddress {
  /** As JOBS_URL; empty for the table in the control database. */
  jobsUrl: string;
  /** sqlite:/absolute/path or postgres://… */
  controlUrl: string;
}

class PatientDatabase extends sqlite3.Database {
  constructor(filename: string, mode: number, callback: (error: Error | null) => void) {
    super(filename, mode, callback);
    this.configure('busyTimeout', 15_000);
  }
}

function openControl(url: string): Sequelize {
  if (!url.startsWith('sqlite:')) return new Sequelize(url, { logging: false });
  const dialectModule = { ...sqlite3, Database: PatientDatabase };
  return new Sequelize({ dialect: 'sqlite', storage: url.slice('sqlite:'.length), dialectModule, logging: false });
}

/** Makes the table of the embedded store. Once per control database. */
export async function prepareControl(url: string): Promise<void> {
  const sequelize = openControl(url);
  if (url.startsWith('sqlite:')) await sequelize.query('PRAGMA journal_mode = WAL');
  const queryInterface = sequelize.getQueryInterface();
  await sequelize.transaction((transaction) => migration.up({ sequelize, queryInterface, transaction }));
  await sequelize.close();
}

/** Opens a job store as the product does; `close` ends everything that was opened. */
export async function openStore(address: StoreAddress): Promise<JobStore> {
  const sequelize = openControl(address.controlUrl);
  const log = createLog('error');
  const store = await createBackend(address.jobsUrl, sequelize, { log, downloadFolder: '/nonexistent' });
  return { backend: store.backend, close: () => store.close().finally(() => sequelize.close()) };
}
