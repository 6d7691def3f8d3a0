import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { AppError } from '../../errors.js';
import { answerOf, folderOnPath, type RunningProcess, startProcess } from '../process.js';
import { addressOf, type ServerVersion } from './connection.js';
import type { Place } from './url.js';

/** The client programs of one kind and version. */
export interface Tools {
  kind: ServerVersion['kind'];
  version: readonly [number, number];
  /** Absolute paths. */
  dump: string;
  client: string;
  /** True if the client has a mode in which no command of its own runs. */
  hasSandbox: boolean;
}

/** The names of the programs: the newer one of MariaDB, and that of MySQL, which MariaDB's packages also give to theirs. */
const NAMES = [
  { dump: 'mariadb-dump', client: 'mariadb' },
  { dump: 'mysqldump', client: 'mysql' },
];

/** The programs of this machine. @param binDir MYSQL_BIN_DIR: then only those there */
export async function findTools(binDir: string | null): Promise<Tools[]> {
  const folders =
    binDir === null
      ? [...new Set([...(await folderOnPath('mariadb-dump')), ...(await folderOnPath('mysqldump')), '/usr/bin'])]
      : [binDir];
  const pairs = folders.flatMap((folder) => NAMES.map((names) => toolsIn(folder, names)));
  return (await Promise.all(pairs)).filter((tools) => tools !== null);
}

async function toolsIn(folder: string, names: { dump: string; client: string }): Promise<Tools | null> {
  const [dump, client] = [join(folder, names.dump), join(folder, names.client)];
  if (!existsSync(dump) || !existsSync(client)) return null;
  const known = readToolVersion(await answerOf(dump, ['--version']));
  if (known === null) return null;
  const hasSandbox = /^\s*--sandbox\b/m.test(await answerOf(client, ['--no-defaults', '--help']));
  return { ...known, dump, client, hasSandbox };
}

/** Reads what a program says of its version: that of MariaDB names its server's behind `Distrib` or `from`. */
export function readToolVersion(text: string): Pick<Tools, 'kind' | 'version'> | null {
  const isMaria = /mariadb/i.test(text);
  const form = isMaria ? /(?:Distrib|from) (\d+)\.(\d+)/ : /Ver (\d+)\.(\d+)/;
  const [, major, minor] = form.exec(text) ?? [];
  if (major === undefined || minor === undefined) return null;
  return { kind: isMaria ? 'MariaDB' : 'MySQL', version: [Number(major), Number(minor)] };
}

const number = ([major, minor]: readonly [number, number]) => major * 1_000 + minor;

/**
 * The programs that fit a server best: of its own kind, of its own version, else of the nearest newer one.
 * @throws AppError DATABASE_TOOLS_MISSING
 */
export function toolsFor(found: readonly Tools[], server: ServerVersion, binDir: string | null): Tools {
  const ofKind = found.filter(({ kind }) => kind === server.kind);
  const fitting = ofKind
    .filter(({ version }) => number(version) >= number(server.version))
    .sort((one, other) => number(one.version) - number(other.version))[0];
  if (fitting !== undefined) return fitting;
  const where = binDir === null ? 'on this machine' : `in MYSQL_BIN_DIR (${binDir})`;
  const [dump, client] = server.kind === 'MariaDB' ? ['mariadb-dump', 'mariadb'] : ['mysqldump', 'mysql'];
  const have = ofKind.map(({ version }) => version.join('.')).join(', ');
  const text =
    have === ''
      ? `${dump} and ${client} of ${server.kind} are not installed ${where}.`
      : `The server is of version ${server.version.join('.')}, and the ${dump} ${where} is of version ${have}.`;
  const packaged = server.kind === 'MariaDB' ? 'mariadb-client' : 'mysql-client';
  throw new AppError('DATABASE_TOOLS_MISSING', text, {
    hint: `Install the client programs, on Debian and Ubuntu \`apt install ${packaged}\`, or name their folder in MYSQL_BIN_DIR.`,
  });
}

/** What a program is started for. */
export interface ToolRun {
  tools: Tools;
  program: 'dump' | 'client';
  args: string[];
  place: Place;
  /** True if our own connection to this server is protected by TLS: the program's then is too. */
  isTls: boolean;
  /** As `ProcessRun.scratch`: the file with the password lies in it. */
  scratch: string;
  signal: AbortSignal;
}

/**
 * Starts a program in a process group of its own, which ends with the signal. The password lies in a file that only this user
 * can read, and neither in the arguments nor in the environment. No other file of settings is read.
 */
export function startTool({ tools, program, args, place, isTls, scratch, signal }: ToolRun): Promise<RunningProcess> {
  return startProcess({
    program: tools[program],
    scratch,
    signal,
    prepare: async (folder) => {
      const file = join(folder, 'client.cnf');
      await writeFile(file, defaultsFile(tools.kind, place, isTls), { mode: 0o600, flag: 'wx' });
      const path = ['/usr/local/bin', '/usr/bin', '/bin'].join(delimiter);
      // Where the home folder is, a file of the user's own settings would be.
      return { args: [`--defaults-file=${file}`, ...args], env: { PATH: path, LC_ALL: 'C.UTF-8', HOME: folder } };
    },
    at: ` at ${addressOf(place)}`,
    errorLine: /error|denied|couldn't|can't/i,
  });
}

/** The settings of a connection, as the client programs read them from a file. */
export function defaultsFile(kind: Tools['kind'], place: Place, isTls: boolean): string {
  const { host, port, socket, user, password, sslMode, sslCa } = place;
  const isVerified = sslMode.startsWith('verify_');
  const address = socket === null ? { host, port, protocol: 'tcp' } : { socket, protocol: 'socket' };
  // MariaDB's programs compare the name too as soon as they compare the certificate.
  const maria = isTls ? ['ssl', `${isVerified ? '' : 'skip-'}ssl-verify-server-cert`] : ['skip-ssl'];
  const mysql = [`ssl-mode=${isTls ? (isVerified ? sslMode.toUpperCase() : 'REQUIRED') : 'DISABLED'}`];
  const values = { user, ...(password !== null && { password }), ...address };
  return [
    '[client]',
    ...Object.entries(values).map(([name, value]) => `${name}=${settingValue(value)}`),
    ...(kind === 'MariaDB' ? maria : mysql),
    ...(isVerified && sslCa !== null ? [`ssl-ca=${settingValue(sslCa)}`] : []),
    '',
  ].join('\n');
}

/** In quotes, only a quote of the same kind and a backslash are special. */
const settingValue = (value: string | number): string => `"${String(value).replace(/["\\]/g, '\\$&')}"`;
