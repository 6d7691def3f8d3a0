import { existsSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { AppError } from '../../errors.js';
import { answerOf, folderOnPath, type RunningProcess, startProcess } from '../process.js';
import { serverOf } from './connection.js';
import type { Place } from './url.js';

/** The programs of PostgreSQL that are used. */
export type Program = 'pg_dump' | 'pg_restore';

/** The programs of one version. */
export interface Tools {
  folder: string;
  /** Such as 15. */
  major: number;
}

/** Where packages put the programs of each version: `*` stands for any name. */
const PLACES = ['/usr/lib/postgresql/*/bin', '/usr/pgsql-*/bin', '/opt/homebrew/opt/postgresql@*/bin'];

/** The programs of this machine, each version once. @param binDir PG_BIN_DIR: then only those there */
export async function findTools(binDir: string | null): Promise<Tools[]> {
  const folders = binDir === null ? [...(await installed()), ...(await folderOnPath('pg_dump'))] : [binDir];
  const found = await Promise.all(folders.map(toolsIn));
  return found.filter((tools) => tools !== null);
}

async function installed(): Promise<string[]> {
  const folders = PLACES.map(async (place) => {
    const [before = '', after = ''] = place.split('*');
    const parent = before.endsWith('/') ? before : dirname(before);
    const names = await readdir(parent).catch(() => []);
    const paths = names.map((name) => join(parent, name));
    return paths.filter((path) => path.startsWith(before)).map((path) => join(path, after));
  });
  return (await Promise.all(folders)).flat();
}

async function toolsIn(folder: string): Promise<Tools | null> {
  if (!existsSync(join(folder, 'pg_dump')) || !existsSync(join(folder, 'pg_restore'))) return null;
  const version = /\(PostgreSQL\) (\d+)/.exec(await answerOf(join(folder, 'pg_dump'), ['--version']))?.[1];
  return version === undefined ? null : { folder, major: Number(version) };
}

/**
 * The programs that fit a server best: of its own version, else of the nearest newer one. An older pg_dump refuses a server.
 * @throws AppError DATABASE_TOOLS_MISSING
 */
export function toolsFor(found: readonly Tools[], major: number, binDir: string | null): Tools {
  const fitting = found.filter((tools) => tools.major >= major).sort((one, other) => one.major - other.major)[0];
  if (fitting !== undefined) return fitting;
  const where = binDir === null ? 'on this machine' : `in PG_BIN_DIR (${binDir})`;
  const have = found.map((tools) => tools.major).join(', ');
  const text =
    found.length === 0
      ? `pg_dump and pg_restore are not installed ${where}.`
      : `The server is of version ${major}, and the pg_dump ${where} is of version ${have}.`;
  throw new AppError('DATABASE_TOOLS_MISSING', text, {
    hint: `Install the client programs, on Debian and Ubuntu \`apt install postgresql-client-${major}\`, or name their folder in PG_BIN_DIR.`,
  });
}

/** The newest programs: they read the dumps of all older ones. @throws AppError DATABASE_TOOLS_MISSING */
export function newestTools(found: readonly Tools[], binDir: string | null): Tools {
  const [newest] = [...found].sort((one, other) => other.major - one.major);
  return newest ?? toolsFor(found, 0, binDir);
}

/** What a program is started for. */
export interface ToolRun {
  tools: Tools;
  program: Program;
  args: string[];
  /** The server; null where the program reads a file only. */
  place: Place | null;
  /** Settings of its sessions. */
  settings?: Record<string, string> | undefined;
  /** As `ProcessRun.scratch`: the file with the password lies in it. */
  scratch: string;
  signal: AbortSignal;
}

/**
 * Starts a program in a process group of its own, which ends with the signal. The password lies in a file that only this user
 * can read (PGPASSFILE), and neither in the arguments nor in the environment.
 */
export async function startTool(run: ToolRun): Promise<RunningProcess> {
  const { tools, program, args, place, settings = {}, scratch, signal } = run;
  const running = await startProcess({
    program: join(tools.folder, program),
    scratch,
    signal,
    prepare: async (folder) => {
      const connection = place === null ? [] : ['--no-password', '--dbname', conninfo(place)];
      const env = await environmentOf(tools, place, folder);
      return { args: [...args, ...connection], env: { ...env, ...optionsOf(settings) } };
    },
    at: place === null ? '' : ` at ${serverOf(place).replace('The PostgreSQL server ', '')}`,
    errorLine: ERROR_LINE,
  });
  running.stdin.end();
  return running;
}

const ERROR_LINE = /^(pg_dump|pg_restore): (error|fatal|warning: errors)|^(ERROR|FATAL):/;

/** Runs a program to its end. @returns its messages @throws AppError as `RunningProcess.ended` */
export async function runTool(run: ToolRun): Promise<readonly string[]> {
  const running = await startTool(run);
  running.stdout.resume();
  await running.ended;
  return running.messages;
}

/** Runs a program to its end. @returns what it wrote, in memory @throws AppError as `RunningProcess.ended` */
export async function readTool(run: ToolRun): Promise<string> {
  const { stdout, ended } = await startTool(run);
  const chunks: Buffer[] = [];
  for await (const chunk of stdout as AsyncIterable<Buffer>) chunks.push(chunk);
  await ended;
  return Buffer.concat(chunks).toString();
}

/** As libpq takes them: backslashes stand before blanks. */
function optionsOf(settings: Record<string, string>): NodeJS.ProcessEnv {
  const all = Object.entries(settings).map(([name, value]) => `-c ${name}=${value.replace(/[\\\s]/g, '\\$&')}`);
  return all.length === 0 ? {} : { PGOPTIONS: all.join(' ') };
}

/** Nothing of our own environment, which holds secrets. */
async function environmentOf(tools: Tools, place: Place | null, folder: string): Promise<NodeJS.ProcessEnv> {
  const path = [tools.folder, '/usr/local/bin', '/usr/bin', '/bin'].join(delimiter);
  const env: NodeJS.ProcessEnv = { PATH: path, LC_ALL: 'C.UTF-8', PGAPPNAME: 'db-manager' };
  if (place === null) return env;
  if (place.password === null) return { ...env, HOME: homedir() };
  const file = join(folder, 'pgpass');
  const escaped = place.password.replace(/[\\:]/g, '\\$&');
  await writeFile(file, `*:*:*:*:${escaped}\n`, { mode: 0o600, flag: 'wx' });
  return { ...env, PGPASSFILE: file };
}

/** The server and its database for libpq. A name alone would be read as such a text if it held a sign of equality. */
function conninfo({ host, port, user, database, sslMode, sslRootCert }: Place): string {
  const values = {
    ...{ host, port, user, dbname: database, sslmode: sslMode },
    ...(sslRootCert !== null && { sslrootcert: sslRootCert }),
    ...{ connect_timeout: 10, keepalives_idle: 60, keepalives_interval: 15, keepalives_count: 4 },
  };
  const escaped = (value: string | number) => String(value).replace(/['\\]/g, '\\$&');
  return Object.entries(values)
    .map(([name, value]) => `${name}='${escaped(value)}'`)
    .join(' ');
}
