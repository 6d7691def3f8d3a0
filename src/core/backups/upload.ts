import { addCopy } from '../archives/copies.js';
import { firstFree, uploadNames, prefixFrom } from '../archives/names.js';
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { UniqueConstraintError } from 'sequelize';
import { DELTA_ENTRY } from '../../archive/delta.js';
import { type Archive, fileSource, openArchive } from '../../archive/read.js';
import { shown } from '../../archive/names.js';
import { isSealed, readHeader } from '../../archive/seal-header.js';
import { UnsealedSource } from '../../archive/seal.js';
import type { ArchiveSource } from '../../archive/source.js';
import { AppError, badInput, fromErrno } from '../../errors.js';
import type { BackupConfigRow, BackupRow, InvariantResult, TableCount, VerificationLevel } from '../../models/index.js';
import type { NewBackup } from './new-backup.js';
import { type BackupsEnvironment, databaseWarnings, endBadly, mediaWarnings } from './run-backup.js';
import { Hold, runLease } from '../runs/hold.js';
import { humanSize } from '../text/format.js';
import { newId } from '../text/ids.js';
import { backupDate, databaseName, ignoredEntries, ownerOf, statedOrigin, strangeEntries } from '../archives/origin.js';
import type { DatabaseEngine, Engine, ExcludedTable, Storage, StorageAddress } from '../ports.js';
import { contentOf } from '../archives/contents.js';
import { Run } from '../runs/run.js';
import { readingOf } from './reading.js';
import { assertSameCounts, extractDatabase, isDamage, sealHeaderOf, verifyBytes } from '../archives/verify.js';
import { descendantsOf, findBase } from '../archives/chains.js';
import { assertSize, findStored, openOnParents, openReadable } from '../archives/stored-archive.js';

/** How many tables of an archive are listed on its row. */
const MAX_TABLES = 10_000;

/** An archive on its way in. */
export interface Incoming {
  body: Readable;
  /** As the client says it. */
  fileName: string;
  /** Opens an encrypted one; undefined: the keys that are held here do. */
  identity: string | undefined;
  /** The config that the caller names; null: the one that the archive belongs to, or none. */
  config: BackupConfigRow | null;
  /** Where archives of this config, or of none, are taken in. */
  place(config: BackupConfigRow | null): Promise<StorageAddress>;
  /** Makes the PENDING row under the first free name. */
  insert(values: Omit<NewBackup, 'backupType' | 'actor'>): Promise<BackupRow>;
}

/**
 * A received file that was opened as a hostile one and read through. What was found is kept, but not the opened archive:
 * with very many entries it takes much memory, and the stored file is opened once more.
 */
interface Examined {
  engine: Engine;
  config: BackupConfigRow | null;
  /** How thoroughly it was verified: once the stored bytes are known to be these, they are too. */
  level: VerificationLevel;
  /** Columns of the row, from its beginning and from its end. */
  begun: Pick<NewBackup, 'databaseName' | 'applicationId' | 'origin' | 'note'>;
  found: {
    createdAt: Date;
    tables: TableCount[];
    excluded: ExcludedTable[] | null;
    invariants: InvariantResult[];
    mediaFileCount: number;
    damaged: boolean;
    warnings: string[];
  };
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
        const file = join(folder, 'upload');
        const { size, checksum } = await receive(incoming.body, file, env.maxUploadBytes, signal);
        const { source, seal } = await damageIsOfTheFile(contentOfFile(env, file, incoming, signal));
        const archive = await damageIsOfTheFile(openArchive(source, { signal, maxEntries: env.maxUploadEntries }));
        const place = await inChain(env, archive, incoming.identity, signal);
        const examined = await examine(env, { archive, whole: place.whole }, incoming.config, folder, signal);
        const row = await keep(env, incoming, { ...examined, place, seal, file, size, checksum }, stop);
        await completeWaiting(env, row, incoming.identity, stop);
        return row;
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

/** What is known of the seal of an archive that was opened. */
interface OpenedSeal {
  keyIds: number[];
  sealHeader: string;
}

/** The ZIP in a received file, which may be sealed. @throws AppError ENCRYPTION_KEY_…, ARCHIVE_… */
async function contentOfFile(
  { keys }: BackupsEnvironment,
  file: string,
  { fileName, identity }: Incoming,
  signal: AbortSignal,
): Promise<{ source: ArchiveSource; seal: OpenedSeal | null }> {
  const stored = await fileSource(file);
  if (!(await isSealed(stored, signal))) {
    if (identity === undefined) return { source: stored, seal: null };
    throw badInput('identity', 'was given, but the file is not encrypted.', 'Leave it out.');
  }
  const header = await readHeader(stored, signal);
  const { fileKey, keyIds } = await keys.open(header, shown(basename(fileName)), identity, null);
  const source = await UnsealedSource.open(stored, { header, fileKey }, signal);
  return { source, seal: { keyIds, sealHeader: sealHeaderOf(header) } };
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
    const full = fromErrno(error, `keep the upload in ${dirname(file)}`, 'STORAGE_NOT_WRITABLE', 'STORAGE_UNAVAILABLE');
    if (full !== undefined) throw full;
    const text = `file: the upload broke off after ${humanSize(size)}. Nothing of it was kept.`;
    throw new AppError('INTERRUPTED', text, { field: 'file', hint: 'Send the file again.', cause: error });
  }
  return { size, checksum: hash.digest('hex') };
}

/** What a row says of its place in a chain. */
type ChainColumns = Pick<BackupRow, 'mode'> &
  Record<'archiveId' | 'parentArchiveId' | 'chainArchiveId' | 'consolidates', string | null> & {
    chainPosition: number;
  };

/** The place of an archive that comes from elsewhere. */
interface ChainPlace {
  /** The state that it stands for; null as long as something that it builds on is missing. */
  whole: Archive | null;
  /** Says what is missing; null if nothing is. */
  missing: AppError | null;
  columns: ChainColumns;
}

/** An archive together with what it builds on, as far as that is here. @throws AppError ARCHIVE_… */
async function inChain(
  env: BackupsEnvironment,
  archive: Archive,
  identity: string | undefined,
  signal: AbortSignal,
): Promise<ChainPlace> {
  const { backup_id: archiveId, parent, chain, consolidated } = archive.metadata;
  if (parent === undefined || chain === undefined) {
    const place = {
      parentArchiveId: null,
      chainArchiveId: consolidated?.chain.id ?? null,
      chainPosition: consolidated?.chain.position ?? 0,
      consolidates: consolidated?.backup_id ?? null,
    };
    return { whole: archive, missing: null, columns: { mode: 'FULL', archiveId, ...place } };
  }
  const columns: ChainColumns = {
    mode: 'INCREMENTAL',
    archiveId,
    parentArchiveId: parent.backup_id,
    chainArchiveId: chain.id,
    chainPosition: chain.position,
    consolidates: null,
  };
  try {
    return { ...(await onParents(env, { archive, columns, identity }, signal)), missing: null };
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'CHAIN_BROKEN')) throw error;
    return { whole: null, missing: error, columns };
  }
}

/** @throws AppError CHAIN_BROKEN naming what is missing; ARCHIVE_… if what is here is not what it builds on */
async function onParents(
  env: BackupsEnvironment,
  { archive, columns, identity }: { archive: Archive; columns: ChainColumns; identity: string | undefined },
  signal: AbortSignal,
): Promise<Pick<ChainPlace, 'columns'> & { whole: Archive }> {
  const { parent } = archive.metadata;
  const named = `${shown(parent?.file_name ?? '')} (${shown(columns.parentArchiveId ?? '')})`;
  const row = await findBase(env.models, columns.parentArchiveId ?? '');
  if (row === null) {
    const hint = `Upload ${named}, too: the order does not matter.`;
    throw new AppError('CHAIN_BROKEN', `It builds on ${named}, which is not here yet.`, { hint });
  }
  const { unseal, parents } = readingOf(env, row, identity);
  const chain = [...(await parents()), { row, unseal }];
  const whole = await openOnParents(env.storages, { id: columns.archiveId ?? '', archive }, chain, signal);
  const place = { chainArchiveId: row.chainArchiveId ?? row.archiveId ?? null, chainPosition: row.chainPosition + 1 };
  return { whole, columns: { ...columns, ...place } };
}

/**
 * Reads all of an archive that was opened as a hostile one, and says what is missing if it is not ours.
 * @param read `whole`: the state that it stands for; null as long as only its own bytes can be looked at
 * @param folder where the database is laid while it is looked at
 */
async function examine(
  env: BackupsEnvironment,
  read: { archive: Archive; whole: Archive | null },
  named: BackupConfigRow | null,
  folder: string,
  signal: AbortSignal,
): Promise<Examined> {
  const archive = read.whole ?? read.archive;
  const { metadata } = archive;
  const engine = env.engines.of(metadata.database_engine as DatabaseEngine);
  const listed = read.whole === null ? archive.entries.filter(({ path }) => path !== DELTA_ENTRY) : archive.entries;
  const strange = [...strangeEntries(listed, engine), ...ignoredEntries(archive.ignored)];
  const config = named ?? (await ownerOf(env, metadata));
  if (config !== null && config.engine !== engine.kind) {
    throw badInput(
      'configId',
      `the archive is of a ${engine.kind} database, but config "${config.name}" is ${config.engine}.`,
      'Name a config of the same kind.',
    );
  }
  const holds = contentOf(archive, engine);
  if (read.whole !== null && !holds.database && !holds.media) {
    throw new AppError('ARCHIVE_FOREIGN', 'file: the archive holds neither a database nor media.', { field: 'file' });
  }
  await damageIsOfTheFile(archive.verify({ signal }));
  const level = metadata.backup_version.startsWith('1.') && holds.database ? 'CONTENT' : 'ARCHIVE';
  const inside =
    holds.database && read.whole !== null
      ? await lookInside(archive, engine, { folder, level }, signal)
      : { tables: [], damaged: false, warnings: [] };
  const { applicationId, ...origin } = statedOrigin(metadata);
  const { at: createdAt, warning } = backupDate(metadata, env.now());
  const dated = warning === null ? [] : [warning];
  return {
    engine,
    config,
    level,
    begun: {
      databaseName: databaseName(metadata),
      applicationId,
      origin,
      note: `Made ${metadata.backup_date}, format ${metadata.backup_version}.`,
    },
    found: {
      // Its data is as old as it says, whenever it came here: lists, retention and warnings go by that.
      createdAt,
      tables: inside.tables,
      excluded: metadata.excluded ?? null,
      invariants: metadata.invariants ?? [],
      damaged: inside.damaged,
      mediaFileCount: archive.entries.filter(({ path, directory }) => path.startsWith('media/') && !directory).length,
      warnings: [...dated, ...strange, ...inside.warnings, ...mediaWarnings(metadata)],
    },
  };
}

/**
 * Extracts the database and looks what is in it: what the metadata says is not believed. A database that is damaged is
 * kept all the same, with a warning, since it may be all that is left; one that could do harm is refused.
 */
async function lookInside(
  archive: Archive,
  engine: Engine,
  { folder, level }: { folder: string; level: 'ARCHIVE' | 'CONTENT' },
  signal: AbortSignal,
): Promise<Pick<Examined['found'], 'tables' | 'damaged' | 'warnings'>> {
  const { metadata } = archive;
  const step = { signal, onProgress: () => undefined };
  const dump = join(folder, 'database');
  try {
    await mkdir(dump, { mode: 0o700 });
    await extractDatabase(archive, engine, dump, step);
    // An archive without hashes is only as good as its database.
    const info = await (level === 'CONTENT' ? engine.inspect(dump, step) : engine.describeDump(dump, step));
    if (!metadata.damaged) await damageIsOfTheFile(Promise.resolve().then(() => assertSameCounts(archive, info)));
    const tables = info.tables.slice(0, MAX_TABLES).map(({ name, rows }) => ({ name, rows }));
    const more = info.tables.length - tables.length;
    const findings = metadata.findings.length > 0 ? metadata.findings : info.findings;
    const damaged = metadata.damaged || info.findings.some(({ kind }) => kind === 'pages');
    const unlisted = more > 0 ? [`${more} more tables are in the archive than are listed.`] : [];
    return { tables, damaged, warnings: [...databaseWarnings({ damaged, findings }), ...unlisted] };
  } catch (error) {
    if (level === 'CONTENT' || !isDamage(error)) throw error;
    if (metadata.damaged) return { tables: [], damaged: true, warnings: databaseWarnings(metadata) };
    if (error.code !== 'DATABASE_CORRUPT') throw error;
    return {
      tables: [],
      damaged: true,
      warnings: [`The database in the archive is damaged, so a restore needs allowDamaged: ${error.message}`],
    };
  } finally {
    await rm(dump, { recursive: true, force: true });
  }
}

/** What cannot be read was damaged on its way here: the remedy is another copy, not another disk. */
async function damageIsOfTheFile<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const damaged = error.code === 'ARCHIVE_CORRUPT';
    const hint = damaged ? 'Download or copy the file again, and upload that copy.' : error.hint;
    throw new AppError(error.code, error.message, { hint, field: 'file', cause: error });
  }
}

async function keep(
  env: BackupsEnvironment,
  incoming: Incoming,
  upload: Examined & { place: ChainPlace; seal: OpenedSeal | null; file: string; size: number; checksum: string },
  stop: AbortSignal,
): Promise<BackupRow> {
  const { engine, config, level, seal, size: fileSize, checksum } = upload;
  const address = await incoming.place(config);
  const storage = env.storages.open(address);
  await storage.prepare();
  const row = await incoming.insert({
    ...upload.begun,
    note: `Uploaded. ${upload.begun.note}`,
    configId: config?.id ?? null,
    address,
    engine: engine.kind,
    names: await freeNames(env, storage, incoming.fileName, { prefix: prefixOf(env, upload), sealed: seal !== null }),
    keyIds: seal?.keyIds ?? [],
  });
  const run = await Run.claim(env, 'Backup', row.id, [], stop);
  if (!(run instanceof Run)) throw new AppError('BUSY', `Backup ${row.id} was taken by another process.`);
  let stored: string | null = null;
  try {
    const step = await run.phase('verify');
    // Noted before the file has its name, so that after a crash the file is known as this row's.
    await run.update({ checksum, fileSize, sealHeader: seal?.sealHeader ?? null });
    const options = { owner: row.id, signal: run.signal, size: fileSize };
    await storage.put(row.fileName, createReadStream(upload.file), options);
    stored = row.fileName;
    const kept = await findStored(storage, row.fileName);
    assertSize(kept, fileSize);
    await verifyBytes(kept, checksum, step);
    const { columns, missing } = upload.place;
    const isGood = missing === null && !upload.found.damaged;
    const verified = isGood ? { verifiedAt: env.now(), verificationLevel: level } : {};
    const { warnings, ...found } = upload.found;
    run.warn(...warnings, ...(await notEncrypted(env, config, seal)));
    const completed = await run.complete({ ...found, ...verified, ...columns, ...markOf(missing) });
    if (!completed) throw new AppError('INTERRUPTED', 'This process lost its hold of the run.');
    if (incoming.config === null) await continueApplication(upload);
  } catch (thrown) {
    const error = await endBadly(env, run, { storage, stored, thrown });
    if (error !== null) throw error;
  } finally {
    await run.close();
  }
  return row.reload();
}

/** What a row says that lacks what it builds on. */
const markOf = (missing: AppError | null) => ({
  errorCode: missing?.code ?? null,
  errorMessage: missing?.message ?? null,
  errorHint: missing?.hint ?? null,
});

/** What came without encryption is stored without it, which is not what the config says of its own backups. */
async function notEncrypted(
  { keys }: BackupsEnvironment,
  config: BackupConfigRow | null,
  seal: OpenedSeal | null,
): Promise<string[]> {
  if (seal !== null || config === null || (await keys.ofConfig(config.id)).length === 0) return [];
  return [`The archive came without encryption and is stored so, though backups of "${config.name}" are encrypted.`];
}

/** A config whose lost database this archive is: see `ownerOf`. Never before the archive is known to be good. */
async function continueApplication({ config, begun: { applicationId } }: Examined): Promise<void> {
  if (config !== null && applicationId !== null) await config.update({ applicationId });
}

/**
 * Makes a record for an archive that lies in a storage without one: it stays where it is.
 * @param config the one that it is filed under; null for the one that the archive belongs to, or none
 * @param sameApplication the caller's word that it is of the application of `config`
 * @param identity opens an encrypted one; undefined: the keys that are held here do
 * @throws AppError as `takeIn`; NAME_TAKEN if it has a record
 */
export async function adoptStored(
  env: BackupsEnvironment,
  { address, fileName }: { address: StorageAddress; fileName: string },
  {
    config: named,
    sameApplication,
    identity,
    actor,
  }: { config: BackupConfigRow | null; sameApplication: boolean; identity?: string | undefined; actor: string },
  signal: AbortSignal,
): Promise<BackupRow> {
  const id = newId('backup', env.now());
  const folder = join(env.workFolder, id);
  const storage = env.storages.open(address);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    let seal: OpenedSeal | null = null;
    const stored = await findStored(storage, fileName, async (header) => {
      const { fileKey, keyIds } = await env.keys.open(header, fileName, identity, null);
      seal = { keyIds, sealHeader: sealHeaderOf(header) };
      return fileKey;
    });
    const archive = await stored.archive(signal);
    const { whole, missing, columns } = await inChain(env, archive, identity, signal);
    // It stays where it lies, and is taken in once what it builds on is here.
    if (missing !== null) throw missing;
    const examined = await examine(env, { archive, whole }, named, folder, signal);
    const { config, engine, level, begun, found } = examined;
    const own = sameApplication && named !== null ? { applicationId: named.applicationId } : {};
    const values = {
      ...begun,
      ...own,
      ...found,
      id,
      configId: config?.id ?? null,
      backupType: 'UPLOADED' as const,
      ...columns,
      status: 'COMPLETED' as const,
      progress: 1,
      engine: engine.kind,
      fileName,
      fileSize: stored.size,
      checksum: await stored.hash(signal),
      sealHeader: (seal as OpenedSeal | null)?.sealHeader ?? null,
      verifiedAt: env.now(),
      verificationLevel: level,
      createdBy: actor,
      startedAt: env.now(),
      completedAt: env.now(),
      note: `Taken in where it lay. ${begun.note}`,
    };
    const opened = seal as OpenedSeal | null;
    const { verifiedAt, fileSize: size } = values;
    const row = await env.models.sequelize.transaction(async (transaction) => {
      const backup = await env.models.Backup.create(values, { transaction });
      const copy = { status: 'COMPLETED' as const, size, verifiedAt };
      await addCopy(env.models, backup, { storage, address }, copy, transaction);
      await env.keys.setForBackup(id, opened?.keyIds ?? [], transaction);
      return backup;
    });
    if (named === null) await continueApplication(examined);
    await completeWaiting(env, row, identity, signal);
    return row;
  } catch (error) {
    if (!(error instanceof UniqueConstraintError)) throw error;
    throw new AppError('NAME_TAKEN', `${storage.locate(fileName)} has a record already.`, { cause: error });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Completes uploads that came before what they build on: with it here, they are read through like any other. One that turns
 * out to be bad is marked with what is wrong, and none of them makes the upload fail that brought what was missing.
 */
async function completeWaiting(
  env: BackupsEnvironment,
  row: BackupRow,
  identity: string | undefined,
  stop: AbortSignal,
): Promise<void> {
  for (const { id } of (row.errorCode ?? null) === null ? await descendantsOf(env.models, row) : []) {
    const scratch = newId('verify', env.now());
    const work = async (hold: Hold) => {
      const waiting = await env.models.Backup.findByPk(id);
      if (waiting?.backupType !== 'UPLOADED' || waiting.errorCode !== 'CHAIN_BROKEN') return;
      const folder = join(env.workFolder, scratch);
      await completeOne(env, waiting, { identity, folder }, AbortSignal.any([stop, hold.lost]));
    };
    try {
      await Hold.during(env, [runLease(id), runLease(scratch)], work, () => undefined);
    } catch (error) {
      if (stop.aborted) return;
      env.log.warn({ err: error, backup: id }, 'an uploaded backup still waits for what it builds on');
    }
  }
}

async function completeOne(
  env: BackupsEnvironment,
  row: BackupRow,
  { identity, folder }: { identity: string | undefined; folder: string },
  signal: AbortSignal,
): Promise<void> {
  const config = row.configId === null ? null : await env.models.BackupConfig.findByPk(row.configId);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const stored = await openReadable(env.storages, row, signal, readingOf(env, row, identity));
    const archive = await stored.archive(signal);
    const { found, level } = await examine(env, { archive, whole: archive }, config, folder, signal);
    const verified = found.damaged ? {} : { verifiedAt: env.now(), verificationLevel: level };
    await row.update({ ...found, warnings: [...row.warnings, ...found.warnings], ...verified, ...markOf(null) });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof AppError && isOfContent(error)) await row.update(markOf(error));
    throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** False for what may pass: a storage that does not answer, a key that is not here. */
const isOfContent = ({ code }: AppError) => /^(ARCHIVE_|DATABASE_|CHAIN_)/.test(code);

/** How the name begins where the client's is none of an archive: as its config's archives do, or by whose it says it is. */
function prefixOf(env: BackupsEnvironment, { config, begun }: Examined): string {
  if (config !== null) return config.archivePrefix ?? env.prefix;
  return prefixFrom(begun.origin?.config ?? '') ?? env.prefix;
}

/** The names for an upload, from the first one on that neither a row nor a foreign file has. */
async function freeNames(
  env: BackupsEnvironment,
  storage: Storage,
  fileName: string,
  { prefix, sealed }: { prefix: string; sealed: boolean },
) {
  const names = uploadNames(fileName, prefix, env.now(), sealed);
  const first = await firstFree(env.models, storage, names, { stored: true });
  return (number: number) => names(first + number - 1);
}
