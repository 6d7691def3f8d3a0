import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, errnoOf } from '../../errors.js';
import type { RunningProcess } from '../process.js';
import type { LoadOptions } from '../../core/ports.js';
import { DumpScanner, type DumpTable, ENTRY, type PieceKind } from './scan.js';
import { startTool } from './tools.js';
import type { DumpRun } from './snapshot.js';

/** @returns its path @throws AppError DATABASE_WRONG_KIND if the file does not begin as a dump of mysqldump does */
export async function assertDump(folder: string): Promise<string> {
  const path = join(folder, ENTRY);
  const file = await open(path).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new AppError('DATABASE_NOT_FOUND', `There is no ${ENTRY} in the archive.`, { cause: error });
  });
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(256), 0, 256, 0);
    const head = buffer.subarray(0, bytesRead).toString('latin1');
    if (/^(\/\*M![^\n]*\n)?-- (MySQL|MariaDB) dump /.test(head)) return path;
  } finally {
    await file.close();
  }
  throw new AppError('DATABASE_WRONG_KIND', `${ENTRY} in the archive is not a dump of mysqldump or mariadb-dump.`, {
    hint: 'Make it with `mysqldump` or `mariadb-dump`, with comments, of one database.',
  });
}

/** Reads a dump in a file to its end. @param onBytes called with the bytes read so far @throws AppError as `DumpScanner` */
export async function readDump(
  path: string,
  signal: AbortSignal,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<DumpTable[]> {
  const scanner = new DumpScanner();
  let bytes = 0;
  for await (const chunk of createReadStream(path, { signal, highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    scanner.push(chunk);
    onBytes((bytes += chunk.length));
  }
  return scanner.end();
}

/** What a database got from a dump. */
export interface Filled {
  tables: DumpTable[];
  /** The statements that make all that is no table: views, triggers, routines and, unless they were left out, events. */
  objects: Buffer;
}

/**
 * Fills an empty database from a dump in a file. Events are left out, which would begin to run there.
 * @param isScratch leaves them out of `objects`, too
 */
export async function fillDatabase(
  run: DumpRun,
  path: string,
  { isScratch = false }: Pick<LoadOptions, 'isScratch'> = {},
): Promise<Filled> {
  const client = await startClient(run);
  const objects: Buffer[] = [];
  const waiting: Buffer[] = [];
  const isObject = (kind: PieceKind) => kind === 'object' || kind === 'setting' || (kind === 'event' && !isScratch);
  const scanner = new DumpScanner((kind, bytes) => {
    if (isObject(kind)) objects.push(Buffer.from(bytes));
    if (kind !== 'event') waiting.push(bytes);
  });
  try {
    const stream = createReadStream(path, { signal: run.signal, highWaterMark: 1 << 20 });
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      scanner.push(chunk);
      await send(client, Buffer.concat(waiting.splice(0)));
    }
    const tables = scanner.end();
    await finish(client, Buffer.concat(waiting));
    return { tables, objects: Buffer.concat(objects) };
  } catch (error) {
    client.stdin.destroy();
    await client.ended.catch(() => undefined);
    throw error;
  }
}

/** Runs statements of a dump in a database. */
export async function runStatements(run: DumpRun, statements: Buffer): Promise<void> {
  await finish(await startClient(run), statements);
}

/** In binary mode the client runs no command of its own but DELIMITER; where it has a sandbox, it runs no program either. */
async function startClient({ tools, place, ...run }: DumpRun): Promise<RunningProcess> {
  const args = [
    ...(tools.hasSandbox ? ['--sandbox'] : []),
    ...['--binary-mode', '--batch', '--silent', '--local-infile=0', '--max-allowed-packet=1G', '--skip-reconnect'],
    '--init-command=SET SESSION lock_wait_timeout = 60',
    ...['--default-character-set=utf8mb4', `--database=${place.database}`],
  ];
  const client = await startTool({ ...run, tools, place, program: 'client', args });
  client.stdout.resume();
  return client;
}

async function send(client: RunningProcess, bytes: Buffer): Promise<void> {
  if (bytes.length === 0 || client.stdin.write(bytes)) return;
  const stop = new AbortController();
  const drained = once(client.stdin, 'drain', { signal: stop.signal }).catch(() => undefined);
  try {
    await Promise.race([drained, client.ended]);
  } finally {
    stop.abort();
  }
}

async function finish(client: RunningProcess, bytes: Buffer): Promise<void> {
  client.stdin.end(bytes);
  await client.ended.catch((error: unknown) => {
    if (!(error instanceof AppError) || error.code !== 'DATABASE_FAILED') throw error;
    throw new AppError('DATABASE_FAILED', error.message, { hint: REFUSED, cause: error });
  });
}

const REFUSED = 'Make what is missing on the server (a right, a user, a setting), then try again.';
