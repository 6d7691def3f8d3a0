import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Archive, fileSource, openArchive } from '../archive/read.js';
import { AppError, badInput } from '../errors.js';
import type { BackupConfigRow, BackupRow } from '../models/index.js';
import { type BackupsEnvironment, endBadly, mediaWarnings } from './backup-run.js';
import { Hold, runLease } from './hold.js';
import { archiveName, humanSize, newId } from './names.js';
import { contentOf } from './restore-scope.js';
import type { Storage } from './ports.js';
import { Run } from './run.js';
import { prove } from './verification.js';

/** An archive on its way in. */
export interface Incoming {
  body: Readable;
  /** As the client says it. */
  fileName: string;
  config: BackupConfigRow;
  storage: Storage;
  /** Makes the PENDING row under the first free name. */
  insert(nameFor: (attempt: number) => string, note: string): Promise<BackupRow>;
}

/** Receives, checks and stores an uploaded archive: see `Backups.upload`. */
export async function takeIn(env: BackupsEnvironment, incoming: Incoming, stop: AbortSignal): Promise<BackupRow> {
  const id = newId('upload', env.now());
  const folder = join(env.workFolder, id);
  return Hold.during(
    env,
    [runLease(id)],
    async (hold) => {
      const signal = AbortSignal.any([stop, hold.lost]);
      try {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        const file = join(folder, 'upload.zip');
        const { size, checksum } = await receive(incoming.body, file, env.maxUploadBytes, signal);
        const archive = await examine(file, incoming.config, signal);
        return await keep(env, incoming, { file, size, checksum, archive }, stop);
      } finally {
        incoming.body.destroy();
        await rm(folder, { recursive: true, force: true });
      }
    },
    () => {
      throw new AppError('BUSY', 'Another upload has the same number.');
    },
  );
}

async function receive(body: Readable, file: string, limit: number, signal: AbortSignal) {
  const hash = createHash('sha256');
  let size = 0;
  const counting = new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      size += chunk.length;
      if (size > limit) {
        callback(new AppError('PAYLOAD_TOO_LARGE', `file: it is larger than ${humanSize(limit)}.`, { field: 'file' }));
        return;
      }
      hash.update(chunk);
      callback(null, chunk);
    },
  });
  try {
    await pipeline(body, counting, createWriteStream(file, { flags: 'wx', mode: 0o600 }), { signal });
  } catch (error) {
    if (signal.aborted && signal.reason instanceof AppError) throw signal.reason;
    if (error instanceof AppError) throw error;
    const text = `file: the upload broke off after ${humanSize(size)}. Nothing of it was kept.`;
    throw new AppError('INTERRUPTED', text, { field: 'file', hint: 'Send the file again.', cause: error });
  }
  return { size, checksum: hash.digest('hex') };
}

/** Opens the file as a hostile one, reads all of it, and says what is missing if it is not ours. */
async function examine(file: string, config: BackupConfigRow, signal: AbortSignal): Promise<Archive> {
  const archive = await damageIsOfTheFile(openArchive(await fileSource(file), { signal }));
  if (archive.metadata.database_engine !== config.engine) {
    throw badInput(
      'configId',
      `the archive is of a ${archive.metadata.database_engine} database, but config "${config.name}" is ${config.engine}.`,
      'Name a config of the same kind.',
    );
  }
  await damageIsOfTheFile(archive.verify({ signal }));
  return archive;
}

/** What cannot be read was damaged on its way here: the remedy is another copy, not another disk. */
async function damageIsOfTheFile<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'ARCHIVE_CORRUPT') throw error;
    const hint = 'Download or copy the file again, and upload that copy.';
    throw new AppError(error.code, error.message, { hint, field: 'file', cause: error });
  }
}

async function keep(
  env: BackupsEnvironment,
  incoming: Incoming,
  upload: { file: string; size: number; checksum: string; archive: Archive },
  stop: AbortSignal,
): Promise<BackupRow> {
  const { storage, config } = incoming;
  const { metadata } = upload.archive;
  const engine = env.engines.of(config.engine);
  const holds = contentOf(upload.archive, engine);
  if (!holds.database && !holds.media) {
    throw new AppError('ARCHIVE_FOREIGN', 'file: the archive holds neither a database nor media.', { field: 'file' });
  }
  await storage.prepare();
  const nameFor = await freeName(env, incoming);
  const row = await incoming.insert(
    nameFor,
    `Uploaded. Made ${metadata.backup_date}, format ${metadata.backup_version}.`,
  );
  const run = await Run.claim(env, 'Backup', row.id, [], stop);
  if (!(run instanceof Run)) throw new AppError('BUSY', `Backup ${row.id} was taken by another process.`);
  let stored: string | null = null;
  try {
    const step = await run.phase('verify', 0, 0.9);
    // Noted before the file has its name, so that after a crash the file is known as this row's.
    await run.update({ checksum: upload.checksum, fileSize: upload.size });
    await storage.put(row.fileName, createReadStream(upload.file), { owner: row.id, signal: run.signal });
    stored = row.fileName;
    const level = metadata.backup_version.startsWith('1.') && holds.database ? 'DRILL' : 'ARCHIVE';
    const { size: fileSize, checksum } = upload;
    const scratch = join(env.workFolder, row.id);
    await prove({ storage, fileName: row.fileName, fileSize, checksum, level, engine, scratch }, step);
    const completed = await run.complete({
      tables: metadata.tables.map(({ name, row_count: rows }) => ({ name, rows })),
      mediaFileCount: upload.archive.entries.filter((entry) => entry.path.startsWith('media/') && !entry.directory)
        .length,
      warnings: mediaWarnings(metadata),
      verifiedAt: env.now(),
      verificationLevel: level,
    });
    if (!completed) throw new AppError('INTERRUPTED', 'This process lost its hold of the run.');
  } catch (thrown) {
    const error = await endBadly(env, run, { storage, stored, thrown });
    if (error !== null) throw error;
  } finally {
    await run.close();
  }
  return row.reload();
}

/** The client's name if it has an archive's form, otherwise one of ours; with _2, _3, … until it is free. */
async function freeName(
  env: BackupsEnvironment,
  { fileName, storage }: Incoming,
): Promise<(attempt: number) => string> {
  const given = /^([A-Za-z0-9][A-Za-z0-9-]*_backup_\d{8}_\d{6})(?:_\d+)?\.zip$/.exec(basename(fileName))?.[1];
  const at = env.now();
  const nameAt = (number: number) =>
    given === undefined ? archiveName(env.prefix, at, number) : `${given}${number > 1 ? `_${number}` : ''}.zip`;
  let first = 1;
  while ((await storage.stat(nameAt(first))) !== null) first += 1;
  return (attempt) => nameAt(first + attempt - 1);
}
