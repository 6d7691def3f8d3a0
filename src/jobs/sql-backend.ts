import { randomUUID } from 'node:crypto';
import {
  type AgendaBackend,
  computeJobState,
  type DebounceOptions,
  type JobId,
  type JobParameters,
  type JobRepository,
  type JobRepositoryOptions,
  type JobsOverview,
  type JobsQueryOptions,
  type JobsResult,
  type JobsSort,
  type RemoveJobsOptions,
} from 'agenda';
import { QueryTypes, type Sequelize, Transaction } from 'sequelize';
import { type Cell, COLUMNS, DEFINITION, encode, isAttribute, leaves, type Row, STATE, toJob } from './sql-rows.js';

/** Agenda's backend on the table `jobs` of the given database (SQLite or PostgreSQL). The connection stays the caller's. */
export function createSqlBackend(sequelize: Sequelize): AgendaBackend {
  return {
    name: 'SQL',
    repository: new SqlJobRepository(sequelize),
    ownsConnection: false,
    connect: async () => {},
    disconnect: async () => {},
  };
}

/** One statement's parameters: `add` takes a value and gives its place-holder. */
class Parameters {
  readonly values: (Cell | string[])[] = [];

  add(value: Cell | string[]): string {
    this.values.push(value);
    return `$${this.values.length}`;
  }

  list(values: Cell[]): string {
    return values.map((value) => this.add(value)).join(', ');
  }
}

/**
 * Agenda's job repository in SQL. Whatever must not be done twice is one statement (taking a job, the upsert of a
 * `single` job) or one transaction that begins with the write lock (`unique`); writers of other processes are waited for.
 */
class SqlJobRepository implements JobRepository {
  private readonly postgres: boolean;
  private lastTurn: Promise<unknown> = Promise.resolve();

  constructor(private readonly sequelize: Sequelize) {
    this.postgres = sequelize.getDialect() === 'postgres';
  }

  async connect(): Promise<void> {}

  async queryJobs(options: JobsQueryOptions = {}): Promise<JobsResult> {
    const { state, skip = 0, limit = 0 } = options;
    const parameters = new Parameters();
    const conditions = this.matching(options, parameters);
    if (options.search) {
      const pattern = `%${options.search.toLowerCase().replace(/[\\%_]/g, '\\$&')}%`;
      conditions.push(`LOWER(name) LIKE ${parameters.add(pattern)} ESCAPE '\\'`);
    }
    if (options.includeDisabled === false) conditions.push('disabled = 0');
    const where = conditions.length > 0 ? `WHERE ${conditions.join(' AND ')}` : '';
    const rows = await this.rows(`SELECT * FROM jobs ${where} ORDER BY ${order(options.sort)}`, parameters);
    const now = new Date();
    const jobs = rows
      .map(toJob)
      .map((job) => ({ ...job, state: computeJobState(job, now) }))
      .filter((job) => !state || (state === 'paused' ? job.disabled === true : job.state === state));
    return { jobs: jobs.slice(skip, limit > 0 ? skip + limit : undefined), total: jobs.length };
  }

  async getJobsOverview(): Promise<JobsOverview[]> {
    const overviews = new Map<string, JobsOverview>();
    const { jobs } = await this.queryJobs({ sort: { name: 'asc' } });
    for (const { name, state, disabled } of jobs) {
      const empty = { total: 0, running: 0, scheduled: 0, queued: 0, completed: 0, failed: 0, repeating: 0, paused: 0 };
      const overview = overviews.get(name) ?? { name, ...empty };
      overviews.set(name, overview);
      overview.total += 1;
      overview[state] += 1;
      if (disabled) overview.paused += 1;
    }
    return [...overviews.values()];
  }

  async getDistinctJobNames(): Promise<string[]> {
    const rows = await this.rows('SELECT DISTINCT name FROM jobs ORDER BY name');
    return rows.map((row) => String(row.name));
  }

  async getJobById(id: string): Promise<JobParameters | null> {
    const parameters = new Parameters();
    const [row] = await this.rows(`SELECT * FROM jobs WHERE id = ${parameters.add(id)}`, parameters);
    return row ? toJob(row) : null;
  }

  async getQueueSize(): Promise<number> {
    const parameters = new Parameters();
    const sql = `SELECT COUNT(*) AS size FROM jobs WHERE next_run_at < ${parameters.add(Date.now())}`;
    const [row] = await this.rows(sql, parameters);
    return Number(row?.size);
  }

  async removeJobs(options: RemoveJobsOptions): Promise<number> {
    return this.change('DELETE FROM jobs', options);
  }

  async disableJobs(options: RemoveJobsOptions): Promise<number> {
    return this.change('UPDATE jobs SET disabled = 1', options);
  }

  async enableJobs(options: RemoveJobsOptions): Promise<number> {
    return this.change('UPDATE jobs SET disabled = 0', options);
  }

  async purgeAllJobs(): Promise<number> {
    return (await this.rows('DELETE FROM jobs RETURNING id')).length;
  }

  async saveJob<DATA = unknown>(
    job: JobParameters<DATA>,
    options: JobRepositoryOptions | undefined,
  ): Promise<JobParameters<DATA>> {
    const given: JobParameters = { ...job, lastModifiedBy: options?.lastModifiedBy };
    const saved = await this.store(given);
    return (saved ? toJob(saved) : job) as JobParameters<DATA>;
  }

  async saveJobState(job: JobParameters, options: JobRepositoryOptions | undefined): Promise<void> {
    if (!job._id) throw new Error('A job without id has no state to save.');
    const parameters = new Parameters();
    const state: JobParameters = { ...job, lastModifiedBy: options?.lastModifiedBy };
    const set = STATE.map((key) => `${COLUMNS[key].column} = ${parameters.add(encode(key, state[key]))}`);
    const sql = `UPDATE jobs SET ${set.join(', ')}
      WHERE id = ${parameters.add(job._id)} AND name = ${parameters.add(job.name)} RETURNING id`;
    const rows = await this.rows(sql, parameters);
    if (rows.length === 0) throw new Error(`The job ${job._id} (${job.name}) is not in the store any more.`);
  }

  async lockJob(job: JobParameters, options: JobRepositoryOptions | undefined): Promise<JobParameters | undefined> {
    if (!job._id) return undefined;
    const parameters = new Parameters();
    const where = `id = ${parameters.add(job._id)} AND name = ${parameters.add(job.name)} AND locked_at IS NULL
      AND next_run_at = ${parameters.add(encode('nextRunAt', job.nextRunAt))} AND disabled = 0`;
    return this.take(where, parameters, new Date(), options);
  }

  async getNextJobToRun(
    jobName: string,
    nextScanAt: Date,
    lockDeadline: Date,
    now: Date | undefined,
    options: JobRepositoryOptions | undefined,
  ): Promise<JobParameters | undefined> {
    const parameters = new Parameters();
    const where = `name = ${parameters.add(jobName)} AND disabled = 0 AND (
      (locked_at IS NULL AND next_run_at <= ${parameters.add(nextScanAt.getTime())})
      OR locked_at <= ${parameters.add(lockDeadline.getTime())})`;
    return this.take(where, parameters, now ?? new Date(), options);
  }

  async unlockJob(job: JobParameters): Promise<void> {
    if (!job._id) return;
    const parameters = new Parameters();
    const sql = `UPDATE jobs SET locked_at = NULL WHERE id = ${parameters.add(job._id)} AND next_run_at IS NOT NULL`;
    await this.rows(`${sql} RETURNING id`, parameters);
  }

  async unlockJobs(jobIds: (JobId | string)[]): Promise<void> {
    if (jobIds.length === 0) return;
    const parameters = new Parameters();
    const sql = `UPDATE jobs SET locked_at = NULL WHERE id IN (${parameters.list(jobIds)}) RETURNING id`;
    await this.rows(sql, parameters);
  }

  /** Locks the first job that matches, in one statement, so that no two takers get the same one. */
  private async take(
    where: string,
    parameters: Parameters,
    lockedAt: Date,
    options: JobRepositoryOptions | undefined,
  ): Promise<JobParameters | undefined> {
    const sql = `UPDATE jobs SET locked_at = ${parameters.add(lockedAt.getTime())},
        last_modified_by = ${parameters.add(options?.lastModifiedBy ?? null)}
      WHERE id = (
        SELECT id FROM jobs WHERE ${where}
        ORDER BY next_run_at ASC NULLS LAST, priority DESC LIMIT 1 ${this.postgres ? 'FOR UPDATE SKIP LOCKED' : ''}
      ) RETURNING *`;
    const [row] = await this.rows(sql, parameters);
    return row ? toJob(row) : undefined;
  }

  /** The stored row; undefined if the job has an id that is gone. */
  private async store(job: JobParameters): Promise<Row | undefined> {
    if (job._id) return this.update(job._id, job);
    if (job.type === 'single') return this.insert(job, this.onSingle(job));
    if (!job.unique) return this.insert(job);
    const store = () =>
      this.sequelize.transaction({ type: Transaction.TYPES.IMMEDIATE }, async (transaction) => {
        if (this.postgres) {
          await this.sequelize.query('SELECT pg_advisory_xact_lock(hashtext($1))', { bind: [job.name], transaction });
        }
        return this.storeUnique(job, transaction);
      });
    return this.postgres ? store() : this.inTurn(store);
  }

  /**
   * One transaction after the other in this process. On SQLite each waits for the write lock inside a thread of Node's
   * pool: a handful of waiting ones would take all threads, and the one that holds the lock could not go on.
   */
  private inTurn<T>(transaction: () => Promise<T>): Promise<T> {
    const turn = this.lastTurn.then(transaction);
    this.lastTurn = turn.catch(() => {});
    return turn;
  }

  private async storeUnique(job: JobParameters, transaction: Transaction): Promise<Row | undefined> {
    const parameters = new Parameters();
    const conditions = [`name = ${parameters.add(job.name)}`];
    for (const [key, value] of Object.entries(job.unique ?? {})) {
      conditions.push(this.equals(key, value, parameters));
    }
    const sql = `SELECT * FROM jobs WHERE ${conditions.join(' AND ')} LIMIT 1 ${this.postgres ? 'FOR UPDATE' : ''}`;
    const [existing] = await this.rows(sql, parameters, transaction);
    const debounce = job.uniqueOpts?.debounce;
    if (existing && job.uniqueOpts?.insertOnly && !debounce) return existing;
    const known = existing && toJob(existing);
    const timed = debounce ? { ...job, ...debounced(job, known, debounce, new Date()) } : job;
    return known ? this.update(known._id, timed, transaction) : this.insert(timed, '', transaction);
  }

  /** A repeating job is kept once. A save "due now" (the start of every process) never moves a run that is planned already. */
  private onSingle(job: JobParameters): string {
    const set = DEFINITION.map((key) => {
      const { column } = COLUMNS[key];
      const keep = key === 'nextRunAt' && job.nextRunAt !== null && job.nextRunAt <= new Date();
      return `${column} = ${keep ? `COALESCE(jobs.${column}, excluded.${column})` : `excluded.${column}`}`;
    });
    return `ON CONFLICT (name) WHERE type = 'single' DO UPDATE SET ${set.join(', ')}`;
  }

  private async insert(job: JobParameters, onConflict = '', transaction?: Transaction): Promise<Row | undefined> {
    const parameters = new Parameters();
    const keys = ['name', ...DEFINITION] as const;
    const columns = keys.map((key) => COLUMNS[key].column).join(', ');
    const values = parameters.list([randomUUID(), ...keys.map((key) => encode(key, job[key]))]);
    // Sequelize takes the answer of a statement that begins with INSERT INTO for a row number on SQLite.
    const insert = this.postgres ? 'INSERT INTO' : 'INSERT OR ABORT INTO';
    const sql = `${insert} jobs (id, ${columns}) VALUES (${values}) ${onConflict} RETURNING *`;
    const [row] = await this.rows(sql, parameters, transaction);
    return row;
  }

  private async update(id: JobId, job: JobParameters, transaction?: Transaction): Promise<Row | undefined> {
    const parameters = new Parameters();
    const set = DEFINITION.map((key) => `${COLUMNS[key].column} = ${parameters.add(encode(key, job[key]))}`);
    const where = `id = ${parameters.add(id)} AND name = ${parameters.add(job.name)}`;
    const [row] = await this.rows(
      `UPDATE jobs SET ${set.join(', ')} WHERE ${where} RETURNING *`,
      parameters,
      transaction,
    );
    return row;
  }

  /** Runs a DELETE or UPDATE on what the options match; without any criterion on nothing. */
  private async change(statement: string, options: RemoveJobsOptions): Promise<number> {
    const parameters = new Parameters();
    const conditions = this.matching(options, parameters);
    if (conditions.length === 0) return 0;
    const sql = `${statement} WHERE ${conditions.join(' AND ')} RETURNING id`;
    return (await this.rows(sql, parameters)).length;
  }

  private matching(options: RemoveJobsOptions, parameters: Parameters): string[] {
    const { id, ids = [], name, names = [], notNames = [], data } = options;
    const conditions: string[] = [];
    if (id) conditions.push(`id = ${parameters.add(String(id))}`);
    else if (ids.length > 0) conditions.push(`id IN (${parameters.list(ids.map(String))})`);
    if (name) conditions.push(`name = ${parameters.add(name)}`);
    else if (names.length > 0) conditions.push(`name IN (${parameters.list(names)})`);
    else if (notNames.length > 0) conditions.push(`name NOT IN (${parameters.list(notNames)})`);
    if (data !== undefined) {
      const object = typeof data === 'object' && data !== null && !Array.isArray(data);
      const parts: [string[], unknown][] = object ? leaves(data as Record<string, unknown>) : [[[], data]];
      for (const [path, value] of parts) conditions.push(this.dataEquals(path, value, parameters));
    }
    return conditions;
  }

  /** The condition of one entry of `unique`: `data.x.y` or the name of a job parameter. */
  private equals(key: string, value: unknown, parameters: Parameters): string {
    if (key.startsWith('data.')) return this.dataEquals(key.slice('data.'.length).split('.'), value, parameters);
    if (!isAttribute(key)) throw new Error(`There is no job parameter ${key} to be unique by.`);
    const cell = encode(key, value);
    return cell === null ? `${COLUMNS[key].column} IS NULL` : `${COLUMNS[key].column} = ${parameters.add(cell)}`;
  }

  private dataEquals(path: string[], value: unknown, parameters: Parameters): string {
    const json = JSON.stringify(value ?? null);
    if (this.postgres) {
      return `data::jsonb #> CAST(${parameters.add(path)} AS text[]) = CAST(${parameters.add(json)} AS jsonb)`;
    }
    const pointer = `$${path.map((part) => `.${JSON.stringify(part)}`).join('')}`;
    return `data -> ${parameters.add(pointer)} = ${parameters.add(json)}`;
  }

  private rows(sql: string, parameters = new Parameters(), transaction?: Transaction): Promise<Row[]> {
    const bind = parameters.values;
    return this.sequelize.query<Row>(sql, { bind, type: QueryTypes.SELECT, transaction: transaction ?? null });
  }
}

/** When a debounced job runs: `leading` keeps the first time, `trailing` moves it on until `maxWait` is over. */
function debounced(
  job: JobParameters,
  existing: JobParameters | undefined,
  { delay, maxWait, strategy }: DebounceOptions,
  now: Date,
): Pick<JobParameters, 'nextRunAt' | 'debounceStartedAt'> {
  const debounceStartedAt = existing?.debounceStartedAt ?? now;
  if (strategy === 'leading') return { nextRunAt: existing ? existing.nextRunAt : job.nextRunAt, debounceStartedAt };
  const over = existing && maxWait !== undefined && now.getTime() - debounceStartedAt.getTime() >= maxWait;
  if (over) return { nextRunAt: now, debounceStartedAt: undefined };
  return { nextRunAt: new Date(now.getTime() + delay), debounceStartedAt };
}

function order(sort: JobsSort | undefined): string {
  const parts = Object.entries(sort ?? {}).map(([key, direction]) => {
    const column = isAttribute(key) ? COLUMNS[key].column : 'name';
    return `${column} ${direction === 'asc' ? 'ASC' : 'DESC'} NULLS LAST`;
  });
  return parts.length > 0 ? parts.join(', ') : 'next_run_at DESC NULLS LAST, last_run_at DESC NULLS LAST';
}
