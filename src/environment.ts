import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import proxyaddr from 'proxy-addr';
// Its newer interface takes several times as long to load.
import { z } from 'zod/v3';
import { readPublicKey } from './auth/public-key.js';
import { assertSchedule } from './core/schedules/cron.js';
import { flushSync } from './disk.js';
import { type EnvFile, readEnvFile } from './env-file.js';
import { AppError, errnoOf } from './errors.js';

const flag = (fallback: boolean) =>
  z
    .enum(['true', 'false', '1', '0', 'yes', 'no', 'on', 'off'], {
      message: 'is not true or false: write true or false',
    })
    .optional()
    .transform((value) => (value === undefined ? fallback : ['true', '1', 'yes', 'on'].includes(value)));

const whole = (fallback: number, min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, 'is not a whole number')
    .optional()
    .transform((value) => (value === undefined ? fallback : Number(value)))
    .pipe(z.number().min(min, `is less than ${min}`).max(max, `is more than ${max}`));

/** As `whole`, null by default. */
const wholeOrNull = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, 'is not a whole number')
    .transform(Number)
    .pipe(z.number().min(min, `is less than ${min}`).max(max, `is more than ${max}`))
    .optional()
    .transform((value) => value ?? null);

const text = (fallback: string) => z.string().default(fallback);

const isZone = (zone: string) => {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
};

/** A list separated by commas. Problems name an entry by its place: what was written may be a secret that strayed. */
const listOf = (problemOf: (entry: string) => string | null) =>
  text('').transform((value, context) => {
    const entries = value
      .split(',')
      .map((entry) => entry.trim())
      .filter((entry) => entry !== '');
    entries.forEach((entry, index) => {
      const problem = problemOf(entry);
      const place = entries.length > 1 ? `entry ${index + 1} ` : '';
      if (problem !== null) context.addIssue({ code: 'custom', message: `${place}${problem}` });
    });
    return entries;
  });

/** Origins as browsers send them. */
function originProblem(origin: string): string | null {
  if (origin.includes('*')) return 'contains *, which would allow the pages of anyone: name each origin that you trust';
  const url = URL.canParse(origin) ? new URL(origin) : null;
  if (url !== null && url.origin === origin && /^https?:$/.test(url.protocol)) return null;
  const meant = url !== null && /^https?:$/.test(url.protocol) ? url.origin : 'https://admin.example.org';
  return `is not an origin: write scheme, host and port only, such as ${meant}`;
}

const pathProblem = (path: string) => (isAbsolute(path) ? null : 'is not an absolute path such as /srv');

/** A value that one of the functions that will use it can judge. @param problemOf null if the value can be used */
const judged = (problemOf: (value: string) => string | null) =>
  z.string().superRefine((value, context) => {
    const message = problemOf(value);
    if (message !== null) context.addIssue({ code: 'custom', message });
  });

const SCHEDULE_HELP = 'write five cron fields, such as `0 2 * * *`, or hourly, daily, weekly or monthly';

function scheduleProblem(schedule: string): string | null {
  try {
    assertSchedule(schedule, 'UTC');
    return null;
  } catch {
    return `is not a schedule: ${SCHEDULE_HELP}`;
  }
}

const HOST = String.raw`(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?`;
const MONGO_URL = new RegExp(String.raw`^mongodb(?:\+srv)?://(?:[^\s/@]+@)?${HOST}(?:,${HOST})*(?:[/?]\S*)?$`, 'i');

/** What is wrong with an entry of TRUST_PROXY. */
function proxyProblem(entry: string): string | null {
  try {
    proxyaddr.compile([entry]);
    return null;
  } catch {
    return 'is no address of a proxy: write an IP address, a network such as 10.0.0.0/8, or loopback';
  }
}

/** What is wrong with a URL of a server; never quotes it, because it may hold a password. */
function serverUrlProblem(url: string): string | null {
  const mongo = /^mongodb/i.test(url);
  if (mongo ? MONGO_URL.test(url) : URL.canParse(url) && new URL(url).hostname !== '') return null;
  const example = mongo ? 'mongodb://user:password@host:27017/database' : 'postgres://user:password@host:5432/database';
  return `is malformed: write it like ${example}, with special characters of the password percent-encoded`;
}

function sqliteUrlProblem(url: string): string | null {
  const path = /^sqlite:(?:\/\/\/*(?=\/))?(.+)$/.exec(url)?.[1] ?? '';
  if (path !== '' && !path.startsWith('//') && !/[\0?]/.test(path)) return null;
  return 'is malformed: write it like sqlite:./db.sqlite3 or sqlite:///srv/app/db.sqlite3';
}

function databaseUrlProblem(url: string): string | null {
  if (url === '') return null;
  if (/^sqlite:/.test(url)) return sqliteUrlProblem(url);
  if (/^(postgres(ql)?|mysql|mariadb):/i.test(url)) return protectedServerProblem(url);
  if (/^mongodb(\+srv)?:/i.test(url)) return serverUrlProblem(url);
  return 'is not a database URL: write it like sqlite:./db.sqlite3, postgres://…, mysql://…, mariadb://… or mongodb://…';
}

/** Of databases that are files, drills and looks have their own in the work folder. */
function drillUrlProblem(url: string): string | null {
  if (url === '' || !/^sqlite:/.test(url)) return databaseUrlProblem(url);
  return 'is no URL of a server: write it like postgres://…, mysql://… or mongodb://…';
}

/** A socket stands in a parameter. */
function protectedServerProblem(url: string): string | null {
  const isSocket = URL.canParse(url) && ['host', 'socket'].some((name) => new URL(url).searchParams.has(name));
  return isSocket ? null : serverUrlProblem(url);
}

function controlUrlProblem(url: string): string | null {
  if (/^sqlite:/.test(url)) return sqliteUrlProblem(url);
  if (/^postgres(ql)?:/.test(url)) return serverUrlProblem(url);
  return 'starts with neither postgres:// nor sqlite:';
}

function jobsUrlProblem(url: string): string | null {
  if (/^mongodb-memory:/.test(url)) return null;
  if (/^(mongodb(\+srv)?|postgres(ql)?):/.test(url)) return serverUrlProblem(url);
  return 'starts with none of mongodb://, postgres://, mongodb-memory: (leave it empty to keep jobs in the control database)';
}

/** Never quotes it, because it may hold a password. */
function smtpUrlProblem(url: string): string | null {
  const isSmtp = URL.canParse(url) && /^smtps?:$/.test(new URL(url).protocol) && new URL(url).hostname !== '';
  return isSmtp ? null : 'is malformed: write it like smtp://user:password@mail.example.org:587, or smtps://…:465';
}

function serverProblem(url: string): string | null {
  const isWeb = URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);
  return isWeb ? null : 'is no address of a server: write it like https://backups.example.org';
}

/** What addresses of the server itself begin with. */
const OWN_PATHS = ['/api', '/api/db-manager', '/assets', '/graphql', '/healthz', '/metrics', '/readyz'];

function publicUrlProblem(url: string): string | null {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || !/^https?:$/.test(parsed.protocol) || parsed.search !== '' || parsed.hash !== '') {
    return 'is no address of a page: write it like https://backups.example.org';
  }
  const path = basePathOf(url);
  if (!/^(\/[\w.~-]+)*$/.test(path)) {
    return 'has a path with other characters than letters, digits, . _ ~ and -: write it like https://example.org/backups';
  }
  return OWN_PATHS.includes(path) ? `has the path ${path}, which the server has itself: choose another` : null;
}

/** The path of an address, without a slash at its end. */
const basePathOf = (url: string | undefined) => (url === undefined ? '' : new URL(url).pathname.replace(/\/+$/, ''));

/** As the login and every other place that takes an e-mail address judge one. */
const EMAIL = /^[^\s@]+@[^\s@]+$/;

const STORAGE_TYPES = ['LOCAL', 'SYSTEM', 'S3', 'GDRIVE'] as const;

/** Variables that count where ours are not set: other tools have them. */
const FALLBACKS: Record<string, string> = {
  S3_REGION: 'AWS_REGION',
  S3_ENDPOINT: 'AWS_ENDPOINT_URL_S3',
  S3_ACCESS_KEY_ID: 'AWS_ACCESS_KEY_ID',
  S3_SECRET_ACCESS_KEY: 'AWS_SECRET_ACCESS_KEY',
  S3_SESSION_TOKEN: 'AWS_SESSION_TOKEN',
};

/** Variables whose value is, or holds, a secret: `<NAME>_FILE` names a file with it instead. */
const SECRETS = [
  'DATABASE_URL',
  'CONTROL_DATABASE_URL',
  'DRILL_DATABASE_URL',
  'JOBS_URL',
  'JWT_SECRET',
  'ADMIN_PASSWORD',
  'METRICS_TOKEN',
  'DB_MANAGER_TOKEN',
  'SMTP_URL',
  'SMTP_PASSWORD',
  'SECRETS_KEY',
  'S3_ACCESS_KEY_ID',
  'S3_SECRET_ACCESS_KEY',
  'S3_SESSION_TOKEN',
  'GDRIVE_SERVICE_ACCOUNT_KEY',
  'GDRIVE_CLIENT_SECRET',
  'GDRIVE_REFRESH_TOKEN',
];

/** Every variable of the environment that the product reads: nothing else does. `.env.example` explains each one. */
const variables = z.object({
  NODE_ENV: text('development'),
  PORT: whole(4000, 0, 65535),
  HOST: text('127.0.0.1'),
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], {
      message: 'is none of fatal, error, warn, info, debug',
    })
    .default('info'),
  DATA_DIR: text('./data'),
  DATABASE_URL: judged(databaseUrlProblem).default(''),
  MEDIA_PATHS: text(''),
  ALLOWED_PATHS: listOf(pathProblem).transform((paths) => paths.map((path) => resolve(path))),
  PG_BIN_DIR: judged(pathProblem).optional(),
  MYSQL_BIN_DIR: judged(pathProblem).optional(),
  CONTROL_DATABASE_URL: judged(controlUrlProblem).optional(),
  JOBS_URL: judged(jobsUrlProblem).optional(),
  JWT_SECRET: z.string().min(32, 'is shorter than 32 characters: make one with `openssl rand -hex 32`').optional(),
  CONFIRM_WITH_PASSWORD: flag(false),
  METRICS_TOKEN: z
    .string()
    .regex(/^\S{20,}$/, 'must be 20 characters or more without spaces: make one with `openssl rand -hex 32`')
    .optional(),
  DB_MANAGER_URL: judged(serverProblem).optional(),
  DB_MANAGER_TOKEN: z.string().optional(),
  JWT_PUBLIC_KEY: z.string().optional(),
  JWT_ISSUER: z.string().optional(),
  JWT_AUDIENCE: z.string().optional(),
  JWT_ADMIN_CLAIM: z
    .string()
    .regex(/^[^=\s]+=.+$/, 'is not of the form claim=value, such as role=ADMIN')
    .optional(),
  TOKEN_TTL_MINUTES: whole(720, 1, 43200),
  ADMIN_EMAIL: z
    .string()
    .trim()
    .max(320, 'has more than 320 characters')
    .regex(EMAIL, 'is not an e-mail address')
    .optional(),
  ADMIN_PASSWORD: z
    .string()
    .min(12, 'is shorter than 12 characters')
    .max(1_000, 'has more than 1000 characters')
    .optional(),
  DB_BACKUP_STORAGE_TYPE: z.enum(STORAGE_TYPES, { message: `is none of ${STORAGE_TYPES.join(', ')}` }).default('LOCAL'),
  DB_BACKUP_PATH: text(''),
  DB_BACKUP_RETENTION_DAYS: whole(30, 1, 36500),
  DB_BACKUP_MAX_FILES: whole(30, 1, 100000),
  DB_BACKUP_AUTO_ENABLED: flag(true),
  DB_BACKUP_PREFIX: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,39}$/, 'may hold only letters, digits and hyphens, at most 40')
    .optional(),
  DB_BACKUP_SCHEDULE: judged(scheduleProblem).default('0 2 * * *'),
  DB_BACKUP_TIMEZONE: text('UTC').refine(isZone, 'is not a time zone such as UTC or Asia/Kolkata'),
  S3_BUCKET: text(''),
  S3_REGION: text(''),
  S3_ENDPOINT: text(''),
  S3_PREFIX: text(''),
  S3_ACCESS_KEY_ID: text(''),
  S3_SECRET_ACCESS_KEY: text(''),
  S3_SESSION_TOKEN: text(''),
  S3_FORCE_PATH_STYLE: flag(false),
  S3_STORAGE_CLASS: text(''),
  S3_SERVER_SIDE_ENCRYPTION: text(''),
  S3_KMS_KEY_ID: text(''),
  S3_OBJECT_LOCK_DAYS: whole(0, 0, 36500),
  GDRIVE_FOLDER: text(''),
  GDRIVE_SERVICE_ACCOUNT_KEY: text(''),
  GDRIVE_CLIENT_ID: text(''),
  GDRIVE_CLIENT_SECRET: text(''),
  GDRIVE_REFRESH_TOKEN: text(''),
  GDRIVE_DRIVE_ID: text(''),
  GDRIVE_ROOT_URL: text(''),
  SMTP_URL: judged(smtpUrlProblem).optional(),
  SMTP_HOST: z
    .string()
    .regex(/^([\w.-]+|\[[\da-f:.]+\])$/i, 'is not a host name')
    .optional(),
  SMTP_PORT: whole(587, 1, 65535),
  SMTP_USER: text(''),
  SMTP_PASSWORD: text(''),
  MAIL_FROM: z
    .string()
    .regex(
      /^[^\r\n]*[^\s@<]+@[^\s@>]+>?$/,
      'is not a sender such as backups@example.org or db-manager <backups@example.org>',
    )
    .optional(),
  NOTIFY_EMAIL: z
    .string()
    .trim()
    .max(320, 'has more than 320 characters')
    .regex(EMAIL, 'is not an e-mail address')
    .optional(),
  PUBLIC_URL: judged(publicUrlProblem).optional(),
  SECRETS_KEY: z.string().min(32, 'is shorter than 32 characters: make one with `openssl rand -hex 32`').optional(),
  CORS_ORIGINS: listOf(originProblem),
  TRUST_PROXY: listOf(proxyProblem),
  GRAPHQL_EXPLORER: z.enum(['local', 'apollo', 'off'], { message: 'is none of local, apollo, off' }).optional(),
  /** Of earlier versions: true is GRAPHQL_EXPLORER=apollo, false is off. */
  GRAPHQL_SANDBOX: flag(true).optional(),
  GRAPHQL_INTROSPECTION: flag(true).optional(),
  MAX_UPLOAD_MB: whole(20480, 1, 104857600),
  MAX_UPLOAD_ENTRIES: whole(100_000, 1, 10_000_000),
  REVERIFY_MB_PER_DAY: whole(20480, 0, 104857600),
  DRILL_DATABASE_URL: judged(drillUrlProblem).default(''),
  DRILL_COMMANDS_DIR: judged(pathProblem).optional(),
  DRILL_COMMAND_SECONDS: whole(600, 1, 86_400),
  DELETION_DELAY_HOURS: whole(0, 0, 8_760),
  HOOKS_DIR: judged(pathProblem).optional(),
  HOOK_SECONDS: whole(600, 1, 86_400),
  COMPRESSION_THREADS: wholeOrNull(1, 256),
  MAX_BODY_KB: whole(256, 1, 10240),
  JOB_CONCURRENCY: whole(2, 1, 64),
  LEASE_SECONDS: whole(60, 5, 3600),
  SHUTDOWN_SECONDS: whole(25, 1, 3600),
});

/** The names of all variables that are read, for the test that keeps `.env.example` in step. */
export const ENVIRONMENT_NAMES = Object.keys(variables.shape);

/** All names with a meaning in `.env`. */
const KNOWN_NAMES = [...ENVIRONMENT_NAMES, ...Object.values(FALLBACKS), ...SECRETS.map((name) => `${name}_FILE`)];

/** The settings of one process, checked and with every path absolute. */
export interface Environment {
  /** What `.env` holds that is no setting of db-manager; empty if nothing. */
  warnings: string[];
  production: boolean;
  port: number;
  host: string;
  logLevel: string;
  /** Absolute. Holds the control database, the work folder and the generated secrets. */
  dataDir: string;
  /** Sequelize's URL: postgres://… or sqlite:/absolute/path. */
  controlDatabaseUrl: string;
  /** The folder of PostgreSQL's client programs; null: they are looked for. */
  pgBinDir: string | null;
  /** The folder of the client programs of MySQL or MariaDB; null: they are looked for. */
  mysqlBinDir: string | null;
  /** Empty: jobs lie in the control database. */
  jobsUrl: string;
  jobConcurrency: number;
  /** How long a run may be silent before another process declares it dead, in milliseconds. */
  leaseMs: number;
  /** Largest archive that may be uploaded, in bytes. */
  maxUploadBytes: number;
  /** Most files and folders that an uploaded archive may hold. */
  maxUploadEntries: number;
  /** How much of the stored copies may be read within a day to verify them again, in bytes; 0: nothing. */
  reverifyDailyBytes: number;
  /** On the server of this database drills make theirs; null: each on that of its own database. */
  drillDatabaseUrl: string | null;
  /** The folder of the commands that drills may run, absolute, and how long one may run. */
  drillCommands: { folder: string | null; seconds: number };
  /** How long deletions wait and can be taken back, in milliseconds; 0: not at all. */
  deletionDelayMs: number;
  /** Where hooks lie, absolute, or null for none, and how long one may take. */
  hooks: { folder: string | null; seconds: number };
  /** Null: one for each core. */
  compressionThreads: number | null;
  /** How long running work may take to end after SIGTERM, in milliseconds. */
  shutdownMs: number;
  auth: {
    secret: string;
    publicKey: string | undefined;
    issuer: string | undefined;
    audience: string | undefined;
    adminClaim: { name: string; value: string } | undefined;
    /** Lifetime of a login, in minutes. */
    ttlMinutes: number;
    /** Whether people must type their password again before they delete or restore. */
    confirmWithPassword: boolean;
    /** The admin that every start provides; undefined: the existing users, or admin@localhost at the first start. */
    adminEmail: string | undefined;
    /** The password of `adminEmail`. Undefined: one is generated with the user and printed once. */
    adminPassword: string | undefined;
  };
  /** Web pages of other servers that may use the API, as browsers name them; usually none. */
  corsOrigins: string[];
  /** Addresses and networks of proxies whose `X-Forwarded-For` is believed. */
  trustProxy: string[];
  graphql: { explorer: 'local' | 'apollo' | 'off'; introspection: boolean; maxBodyBytes: number };
  /** The folder that LOCAL archives lie in; absolute. */
  localRoot: string;
  /** Folders that every path named over the API must lie in; absolute. Empty: any path of the machine. */
  allowedPaths: string[];
  /** Prefix of archive names. */
  prefix: string;
  /** What a monitoring system may send for `/metrics` instead of an admin's token; null: nothing. */
  metricsToken: string | null;
  /** The server that `db-manager mcp` speaks to, without a slash at its end, and the token for it; null: not set. */
  client: { url: string | null; token: string | null };
  /** How mail leaves, with the sender; null: it does not. */
  mail: { url: string; from: string } | null;
  /** Who gets mail of problems from the first start on; null: no one until a channel is added. */
  notifyEmail: string | null;
  /** Where people open the admin page, without a slash at its end; null: messages have no links. */
  publicUrl: string | null;
  /** The path of `publicUrl`, such as `/backups`: the sub-path below which the server is reached. Empty at the root. */
  basePath: string;
  /** What seals the secrets of destinations; undefined: the key in `secretsKeyFile`. */
  secretsKey: string | undefined;
  /** Absolute. */
  secretsKeyFile: string;
  /** What the environment says of each kind of distant storage, secrets included; by kind. */
  storageValues: Record<string, Record<string, string | number | boolean>>;
  /** What config 1 is made of and follows. `databaseUrl` is empty when a sample application is wanted. */
  seed: {
    /** True if archives of config 1 are named by `prefix`, because it was set, and not by the application. */
    usesPrefix: boolean;
    databaseUrl: string;
    mediaPaths: string[];
    storageType: (typeof STORAGE_TYPES)[number];
    /** Empty for a distant storage, whose settings say it. */
    storagePath: string;
    retentionDays: number;
    maxFiles: number;
    autoEnabled: boolean;
    schedule: string;
    timezone: string;
  };
}

/**
 * Reads the environment (and `.env` in the working folder, which never overrides a variable that is set).
 * Reports all problems at once, each with its variable and the remedy.
 * @param defaults what counts where neither of the two has a variable: for a process that wants another default
 * @throws AppError CONFIG_INVALID
 */
export function loadEnvironment(
  env: NodeJS.ProcessEnv = process.env,
  cwd: string = process.cwd(),
  defaults: Record<string, string> = {},
): Environment {
  const { data, warnings } = checked(env, cwd, defaults);
  return { ...build(data, cwd, data.JWT_SECRET ?? generatedSecret(resolve(cwd, data.DATA_DIR))), warnings };
}

/**
 * As `loadEnvironment`, but makes nothing, not even DATA_DIR: for commands of root, whose files the service could not read.
 * @throws AppError CONFIG_INVALID
 */
export function readSettings(
  env: NodeJS.ProcessEnv = process.env,
  cwd: string = process.cwd(),
): Omit<Environment, 'auth'> {
  const { data, warnings } = checked(env, cwd, {});
  const { auth: _withoutSecret, ...settings } = build(data, cwd, '');
  return { ...settings, warnings };
}

/** The variables, all checked together, and what `.env` holds that is none. */
function checked(
  env: NodeJS.ProcessEnv,
  cwd: string,
  defaults: Record<string, string>,
): { data: Variables; warnings: string[] } {
  const file = readEnvFile(join(cwd, '.env'), KNOWN_NAMES);
  const given = { ...defaults, ...file.values, ...env };
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined && value !== ''));
  const { filled, unread } = completed(set, cwd);
  const result = variables.safeParse(filled);
  const invalid = result.success ? [] : result.error.issues.map(({ path, message }) => `${String(path[0])} ${message}`);
  const problems = [...unread, ...invalid, ...crossChecks(filled, cwd), ...unreadSettings(file, filled)];
  if (!result.success || problems.length > 0) {
    if (filled.JWT_SECRET === undefined) problems.push(...secretProblems(resolve(cwd, filled.DATA_DIR ?? './data')));
    const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
    throw new AppError('CONFIG_INVALID', `The environment has ${count}:\n- ${problems.join('\n- ')}`);
  }
  return { data: result.data, warnings: file.problems };
}

/** The variables with those that a file holds, and with what counts where one is not set. */
function completed(set: Record<string, string | undefined>, cwd: string) {
  const filled = { ...set };
  const unread: string[] = [];
  for (const name of SECRETS) {
    const path = set[`${name}_FILE`];
    if (path === undefined) continue;
    if (set[name] !== undefined) {
      unread.push(`${name} and ${name}_FILE are both set: keep one of them`);
      continue;
    }
    try {
      filled[name] = readFileSync(resolve(cwd, path), 'utf8').replace(/\r?\n$/, '');
    } catch (error) {
      unread.push(`${name}_FILE names a file that cannot be read (${errnoOf(error) ?? 'unreadable'})`);
    }
  }
  for (const [name, fallback] of Object.entries(FALLBACKS)) filled[name] ??= filled[fallback];
  return { filled: Object.fromEntries(Object.entries(filled).filter(([, value]) => value !== undefined)), unread };
}

/**
 * Lines of `.env` without a meaning are warnings. Where one was probably meant for the database to protect, and none is
 * set, the start must not go on and protect the sample instead.
 */
function unreadSettings({ problems, meant }: EnvFile, filled: Record<string, string | undefined>): string[] {
  return filled.DATABASE_URL === undefined && meant.has('DATABASE_URL') ? problems : [];
}

type Variables = z.infer<typeof variables>;

/** What no variable shows alone. Looks at them as they were written, so that one wrong value does not hide another. */
function crossChecks(env: Record<string, string | undefined>, cwd: string): string[] {
  const problems: string[] = [];
  if (env.DB_BACKUP_STORAGE_TYPE === 'SYSTEM' && !isAbsolute(env.DB_BACKUP_PATH ?? '')) {
    problems.push(
      'DB_BACKUP_PATH must be an absolute path when DB_BACKUP_STORAGE_TYPE is SYSTEM, such as /srv/backups',
    );
  }
  if (env.DB_BACKUP_STORAGE_TYPE === 'S3' && env.S3_BUCKET === undefined) {
    problems.push('S3_BUCKET is needed when DB_BACKUP_STORAGE_TYPE is S3');
  }
  if (env.DB_BACKUP_STORAGE_TYPE === 'GDRIVE' && env.GDRIVE_FOLDER === undefined) {
    problems.push('GDRIVE_FOLDER is needed when DB_BACKUP_STORAGE_TYPE is GDRIVE');
  }
  if (env.JWT_PUBLIC_KEY !== undefined && env.JWT_ADMIN_CLAIM === undefined) {
    problems.push('JWT_ADMIN_CLAIM is needed with JWT_PUBLIC_KEY, such as role=ADMIN: else no such token is an admin');
  }
  if (env.NOTIFY_EMAIL !== undefined && env.SMTP_URL === undefined && env.SMTP_HOST === undefined) {
    problems.push('SMTP_URL or SMTP_HOST is needed with NOTIFY_EMAIL');
  }
  if (env.ADMIN_PASSWORD !== undefined && env.ADMIN_EMAIL === undefined) {
    problems.push('ADMIN_EMAIL is needed with ADMIN_PASSWORD');
  }
  const key = env.JWT_PUBLIC_KEY === undefined ? null : publicKeyProblem(env.JWT_PUBLIC_KEY, cwd);
  if (key !== null) problems.push(key);
  return problems;
}

function publicKeyProblem(value: string, cwd: string): string | null {
  try {
    readPublicKey(readKey(value, cwd));
    return null;
  } catch (error) {
    if (error instanceof AppError) return error.message.replace(/\.$/, '');
    return `JWT_PUBLIC_KEY is neither a PEM text nor a file that can be read (${errnoOf(error) ?? 'unreadable'})`;
  }
}

function build(env: Variables, cwd: string, secret: string): Omit<Environment, 'warnings'> {
  const dataDir = resolve(cwd, env.DATA_DIR);
  const production = env.NODE_ENV === 'production';
  const local = env.DB_BACKUP_STORAGE_TYPE === 'LOCAL';
  const claim = env.JWT_ADMIN_CLAIM?.indexOf('=') ?? -1;
  return {
    production,
    port: env.PORT,
    host: env.HOST,
    logLevel: env.LOG_LEVEL,
    dataDir,
    controlDatabaseUrl: absoluteFileUrl(
      env.CONTROL_DATABASE_URL ?? `sqlite:${join(dataDir, 'db-manager.sqlite3')}`,
      cwd,
    ),
    pgBinDir: env.PG_BIN_DIR ?? null,
    mysqlBinDir: env.MYSQL_BIN_DIR ?? null,
    jobsUrl: env.JOBS_URL ?? '',
    jobConcurrency: env.JOB_CONCURRENCY,
    maxUploadBytes: env.MAX_UPLOAD_MB * 1024 * 1024,
    maxUploadEntries: env.MAX_UPLOAD_ENTRIES,
    reverifyDailyBytes: env.REVERIFY_MB_PER_DAY * 1024 * 1024,
    drillDatabaseUrl: env.DRILL_DATABASE_URL === '' ? null : env.DRILL_DATABASE_URL,
    drillCommands: { folder: env.DRILL_COMMANDS_DIR ?? null, seconds: env.DRILL_COMMAND_SECONDS },
    deletionDelayMs: env.DELETION_DELAY_HOURS * 3_600_000,
    hooks: { folder: env.HOOKS_DIR ?? null, seconds: env.HOOK_SECONDS },
    compressionThreads: env.COMPRESSION_THREADS,
    leaseMs: env.LEASE_SECONDS * 1000,
    shutdownMs: env.SHUTDOWN_SECONDS * 1000,
    metricsToken: env.METRICS_TOKEN ?? null,
    client: { url: env.DB_MANAGER_URL?.replace(/\/+$/, '') ?? null, token: env.DB_MANAGER_TOKEN ?? null },
    auth: {
      secret,
      publicKey: env.JWT_PUBLIC_KEY === undefined ? undefined : readKey(env.JWT_PUBLIC_KEY, cwd),
      issuer: env.JWT_ISSUER,
      audience: env.JWT_AUDIENCE,
      adminClaim:
        env.JWT_ADMIN_CLAIM === undefined
          ? undefined
          : { name: env.JWT_ADMIN_CLAIM.slice(0, claim), value: env.JWT_ADMIN_CLAIM.slice(claim + 1) },
      ttlMinutes: env.TOKEN_TTL_MINUTES,
      confirmWithPassword: env.CONFIRM_WITH_PASSWORD,
      adminEmail: env.ADMIN_EMAIL,
      adminPassword: env.ADMIN_PASSWORD,
    },
    corsOrigins: env.CORS_ORIGINS,
    trustProxy: env.TRUST_PROXY,
    graphql: {
      explorer: env.GRAPHQL_EXPLORER ?? formerExplorer(env.GRAPHQL_SANDBOX) ?? (production ? 'off' : 'local'),
      introspection: env.GRAPHQL_INTROSPECTION ?? !production,
      maxBodyBytes: env.MAX_BODY_KB * 1024,
    },
    localRoot: resolve(cwd, (local && env.DB_BACKUP_PATH) || 'backups'),
    allowedPaths: env.ALLOWED_PATHS,
    prefix: env.DB_BACKUP_PREFIX ?? 'okpuja',
    mail: mailSettings(env),
    notifyEmail: env.NOTIFY_EMAIL ?? env.ADMIN_EMAIL ?? null,
    publicUrl: env.PUBLIC_URL?.replace(/\/+$/, '') ?? null,
    basePath: basePathOf(env.PUBLIC_URL),
    secretsKey: env.SECRETS_KEY,
    secretsKeyFile: join(dataDir, 'secrets-key'),
    storageValues: storageValues(env),
    seed: {
      usesPrefix: env.DB_BACKUP_PREFIX !== undefined,
      databaseUrl: env.DATABASE_URL === '' ? '' : absoluteFileUrl(env.DATABASE_URL, cwd),
      mediaPaths: env.MEDIA_PATHS.split(',')
        .map((path) => path.trim())
        .filter((path) => path !== '')
        .map((path) => resolve(cwd, path)),
      storageType: env.DB_BACKUP_STORAGE_TYPE,
      storagePath: storagePath(env),
      retentionDays: env.DB_BACKUP_RETENTION_DAYS,
      maxFiles: env.DB_BACKUP_MAX_FILES,
      autoEnabled: env.DB_BACKUP_AUTO_ENABLED,
      schedule: env.DB_BACKUP_SCHEDULE,
      timezone: env.DB_BACKUP_TIMEZONE,
    },
  };
}

function storagePath(env: Variables): string {
  if (env.DB_BACKUP_STORAGE_TYPE === 'LOCAL') return '.';
  return env.DB_BACKUP_STORAGE_TYPE === 'SYSTEM' ? env.DB_BACKUP_PATH : '';
}

function mailSettings(env: Variables): Environment['mail'] {
  const { SMTP_URL: given, SMTP_HOST: host, SMTP_PORT: port, SMTP_USER: user, SMTP_PASSWORD: password } = env;
  const login = user === '' ? '' : `${encodeURIComponent(user)}:${encodeURIComponent(password)}@`;
  const made = host === undefined ? undefined : `${port === 465 ? 'smtps' : 'smtp'}://${login}${host}:${port}`;
  const url = given ?? made;
  if (url === undefined) return null;
  const from = env.MAIL_FROM ?? (user.includes('@') ? user : `db-manager@${new URL(url).hostname}`);
  return { url, from };
}

/** Variables of a storage as its settings: `S3_ACCESS_KEY_ID` as `accessKeyId`. What is empty, 0 or false is left out. */
function storageValues(env: Variables): Environment['storageValues'] {
  const ofKind = (kind: string) => {
    const own = Object.entries(env).filter(([name, value]) => name.startsWith(`${kind}_`) && Boolean(value));
    return Object.fromEntries(own.map(([name, value]) => [settingName(name.slice(kind.length + 1)), value as string]));
  };
  return { S3: ofKind('S3'), GDRIVE: ofKind('GDRIVE') };
}

const settingName = (variable: string) =>
  variable.toLowerCase().replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());

function formerExplorer(sandbox: boolean | undefined): 'apollo' | 'off' | undefined {
  if (sandbox === undefined) return undefined;
  return sandbox ? 'apollo' : 'off';
}

/** The URL of a file with its absolute path, such as `sqlite:/srv/x` for `sqlite:./x`; any other URL as it is. */
export function absoluteFileUrl(url: string, cwd: string): string {
  const [, scheme, path] = /^([a-z][a-z0-9+.-]*):(?:\/\/\/*(?=\/))?(.+)$/.exec(url) ?? [];
  return path === undefined || path.startsWith('//') ? url : `${scheme}:${resolve(cwd, path)}`;
}

function readKey(value: string, cwd: string): string {
  return value.includes('-----BEGIN') ? value.replaceAll('\\n', '\n') : readFileSync(resolve(cwd, value), 'utf8');
}

/** Half of what is made has fewer: such a file was not written to its end. */
const SECRET_LENGTH = 32;

/** The secret in DATA_DIR, made at first start; two processes that start at once end with the same one. */
function generatedSecret(dataDir: string): string {
  const path = join(dataDir, 'jwt-secret');
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    if (!existsSync(path)) makeSecret(path);
    return wholeSecret(path);
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError('CONFIG_INVALID', `DATA_DIR cannot be used: ${(error as Error).message}`, {
      hint: 'Point DATA_DIR at a folder that this user may write, or set JWT_SECRET.',
      cause: error,
    });
  }
}

/** Writes the file beside its place and on the disk first, so that under its name it is whole or not there. */
function makeSecret(path: string): void {
  const partial = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  try {
    writeFileSync(partial, randomBytes(48).toString('base64url'), { mode: 0o600, flag: 'wx' });
    flushSync(partial);
    linkSync(partial, path);
  } catch (error) {
    const code = errnoOf(error) ?? '';
    // Another process was faster: its secret counts.
    if (code === 'EEXIST') return;
    if (!existsSync(partial)) throw error;
    // A file system without hard links.
    renameSync(partial, path);
  } finally {
    rmSync(partial, { force: true });
  }
}

function wholeSecret(path: string): string {
  const secret = readFileSync(path, 'utf8');
  const { length } = secret.trim();
  if (length >= SECRET_LENGTH) return secret;
  throw new AppError('CONFIG_INVALID', `${path} holds ${length} characters, too few for a secret.`, {
    hint: `Delete it: the next start makes a new one, and everyone logs in again. Or write ${SECRET_LENGTH} characters or more into it, or set JWT_SECRET.`,
  });
}

/** What is wrong with a secret that is there already, for a start that fails anyway: it makes none. */
function secretProblems(dataDir: string): string[] {
  const path = join(dataDir, 'jwt-secret');
  try {
    if (existsSync(path)) wholeSecret(path);
    return [];
  } catch (error) {
    return [error instanceof AppError ? error.message : `${path} cannot be read (${errnoOf(error) ?? 'unknown'})`];
  }
}
