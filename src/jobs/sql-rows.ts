import { type JobId, type JobParameters, toJobId } from 'agenda';

/** A column's value as both dialects take and give it. */
export type Cell = string | number | null;
/** A row of the table `jobs`; BIGINT comes as text from PostgreSQL. */
export type Row = Record<string, Cell>;

type Attribute = Exclude<keyof JobParameters, '_id' | 'unique' | 'uniqueOpts'>;
type Kind = 'text' | 'number' | 'date' | 'flag' | 'json';

/** The column of each of Agenda's job parameters, and how its values are kept. */
export const COLUMNS: Record<Attribute, { column: string; kind: Kind }> = {
  name: { column: 'name', kind: 'text' },
  priority: { column: 'priority', kind: 'number' },
  nextRunAt: { column: 'next_run_at', kind: 'date' },
  type: { column: 'type', kind: 'text' },
  lockedAt: { column: 'locked_at', kind: 'date' },
  lastFinishedAt: { column: 'last_finished_at', kind: 'date' },
  failedAt: { column: 'failed_at', kind: 'date' },
  failCount: { column: 'fail_count', kind: 'number' },
  failReason: { column: 'fail_reason', kind: 'text' },
  repeatTimezone: { column: 'repeat_timezone', kind: 'text' },
  lastRunAt: { column: 'last_run_at', kind: 'date' },
  repeatInterval: { column: 'repeat_interval', kind: 'json' },
  data: { column: 'data', kind: 'json' },
  repeatAt: { column: 'repeat_at', kind: 'text' },
  disabled: { column: 'disabled', kind: 'flag' },
  progress: { column: 'progress', kind: 'number' },
  fork: { column: 'fork', kind: 'flag' },
  lastModifiedBy: { column: 'last_modified_by', kind: 'text' },
  debounceStartedAt: { column: 'debounce_started_at', kind: 'date' },
  startDate: { column: 'start_date', kind: 'date' },
  endDate: { column: 'end_date', kind: 'date' },
  skipDays: { column: 'skip_days', kind: 'json' },
};

/** What defines a job: saved with the job. The other attributes belong to the worker that runs it. */
export const DEFINITION = [
  'priority',
  'nextRunAt',
  'type',
  'repeatTimezone',
  'repeatInterval',
  'data',
  'repeatAt',
  'disabled',
  'fork',
  'lastModifiedBy',
  'debounceStartedAt',
  'startDate',
  'endDate',
  'skipDays',
] as const satisfies Attribute[];

/** What a run changes. */
export const STATE = [
  'lockedAt',
  'nextRunAt',
  'lastRunAt',
  'progress',
  'failReason',
  'failCount',
  'failedAt',
  'lastFinishedAt',
  'lastModifiedBy',
] as const satisfies Attribute[];

/** True for the name of a job parameter that has a column. */
export function isAttribute(name: string): name is Attribute {
  return Object.hasOwn(COLUMNS, name);
}

/** A job parameter's value as its column keeps it. */
export function encode(attribute: Attribute, value: unknown): Cell {
  const { kind } = COLUMNS[attribute];
  if (kind === 'flag') return value ? 1 : 0;
  if (attribute === 'data') return JSON.stringify(value ?? null);
  if (value === undefined || value === null) return null;
  if (kind === 'date') return new Date(value as Date).getTime();
  if (kind === 'json') return JSON.stringify(value);
  return value as string | number;
}

/** A row as Agenda's job parameters; `null` becomes undefined, except for `nextRunAt`. */
export function toJob(row: Row): JobParameters & { _id: JobId } {
  const attributes = Object.entries(COLUMNS).map(([attribute, { column, kind }]) => {
    const value = row[column] ?? null;
    if (value === null) return [attribute, undefined];
    if (kind === 'date') return [attribute, new Date(Number(value))];
    if (kind === 'number') return [attribute, Number(value)];
    if (kind === 'flag') return [attribute, Number(value) === 1];
    return [attribute, kind === 'json' ? JSON.parse(String(value)) : value];
  });
  const job = Object.fromEntries(attributes) as JobParameters;
  return { ...job, _id: toJobId(String(row.id)), nextRunAt: job.nextRunAt ?? null };
}

/** The leaves of a nested object: `{ a: { b: 1 } }` gives `[['a', 'b'], 1]`. */
export function leaves(value: Record<string, unknown>, path: string[] = []): [path: string[], leaf: unknown][] {
  return Object.entries(value).flatMap(([key, inner]): [string[], unknown][] =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? leaves(inner as Record<string, unknown>, [...path, key])
      : [[[...path, key], inner]],
  );
}
