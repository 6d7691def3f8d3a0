import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ARCHIVE_SUFFIX, CONTROL_PREFIX, SEALED_SUFFIX } from '../../archive/format.js';
import { packing } from '../../archive/pack.js';
import { AppError, toAppError } from '../../errors.js';
import type { ControlBackupRow, DestinationRow } from '../../models/index.js';
import { stepNames } from '../../models/migrations.js';
import { portableRecords } from '../../models/portable.js';
import { assertSize, findStored } from '../archives/stored-archive.js';
import { makeReady } from '../backups/copies.js';
import type { CoreEnvironment } from '../environment.js';
import type { Keys } from '../keys/keys.js';
import { CONTROL_LEASE, Hold, type HoldEnvironment } from '../runs/hold.js';
import type { Secrets } from '../secrets.js';
import { stamp } from '../text/ids.js';
import { sealingFor } from './kit.js';

/** What backing up the control database needs of the process around it. */
export type ControlBackupsEnvironment = HoldEnvironment &
  Pick<CoreEnvironment, 'storages' | 'now' | 'workFolder' | 'version'> & { keys: Keys; secrets: Secrets };

/** What one says of itself. */
export interface ControlFacts {
  format: 1;
  /** ISO 8601. */
  at: string;
  version: string;
  host: string;
  /** The migrations that had run. */
  steps: string[];
  /** Opens the secrets among the records; only in one that is sealed. */
  secretsKeys: string[];
}

export const FACTS_ENTRY = 'control.json';
export const RECORDS_ENTRY = 'records.jsonl';

const DAY = 24 * 3_600_000;
/** A destination is due once its newest one is this old, in milliseconds: what looks for due ones comes once an hour. */
const DUE_AFTER = DAY - 1_800_000;
/** How many are kept in each destination. */
const KEPT = 7;

/**
 * Backs up the control database itself, once a day and into every destination: a ZIP of its records, sealed for the keys on
 * record where there are some. What fails is noted, shown by `status`, and tried again an hour later.
 */
export class ControlBackups {
  constructor(private readonly env: ControlBackupsEnvironment) {}

  /** Backs up to each destination that is due. All failures end on the rows. Does nothing if another process is at it. */
  async runDue(stop: AbortSignal): Promise<void> {
    const work = async (hold: Hold) => {
      const due = await this.due();
      if (due.length > 0) await this.run(due, AbortSignal.any([stop, hold.lost]));
    };
    await Hold.during(this.env, [CONTROL_LEASE], work, () => undefined);
  }

  private async due(): Promise<DestinationRow[]> {
    const { Destination, ControlBackup } = this.env.models;
    const destinations = await Destination.findAll({ where: { deletedAt: null }, order: [['id', 'ASC']] });
    const rows = await ControlBackup.findAll();
    const since = this.env.now().getTime() - DUE_AFTER;
    // One of the future is of a time when the clock was ahead.
    const isFresh = ({ createdAt }: ControlBackupRow) =>
      createdAt.getTime() > since && createdAt.getTime() < since + 2 * DAY;
    return destinations.filter(
      ({ id }) => !rows.some((row) => row.destinationId === id && (row.size ?? null) !== null && isFresh(row)),
    );
  }

  private async run(destinations: DestinationRow[], signal: AbortSignal): Promise<void> {
    const folder = join(this.env.workFolder, `control-${randomBytes(6).toString('hex')}`);
    const createdAt = this.env.now();
    // Without a name nothing was stored yet.
    const rows = await this.env.models.ControlBackup.bulkCreate(
      destinations.map(({ id }) => ({ destinationId: id, name: '', createdAt })),
    );
    const made = await this.make(folder, createdAt, signal).catch((error: unknown) => toAppError(error));
    try {
      for (const [index, destination] of destinations.entries()) {
        const row = await this.env.models.ControlBackup.findByPk(rows[index]?.id);
        if (row === null) continue;
        const failed = made instanceof AppError ? made : await this.store(row, destination, made, signal);
        // What was cut off by the end of the process has not failed.
        if (signal.aborted) return;
        await this.settle(row, destination, failed);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Writes the ZIP into a file of the work folder. */
  private async make(folder: string, at: Date, signal: AbortSignal): Promise<MadeFile> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const { models, keys, secrets, version } = this.env;
    const sealing = await sealingFor(keys, await keys.list());
    const facts: ControlFacts = {
      format: 1,
      at: at.toISOString(),
      version,
      host: hostname(),
      steps: stepNames(),
      secretsKeys: sealing === null ? [] : await secrets.present(),
    };
    const zip = packing(
      {
        'README.txt': README,
        [FACTS_ENTRY]: `${JSON.stringify(facts, null, 2)}\n`,
        [RECORDS_ENTRY]: Readable.from(portableRecords(models, { passwords: sealing !== null }), { objectMode: false }),
      },
      at,
    );
    const hash = createHash('sha256');
    let size = 0;
    const measured = new Transform({
      transform(chunk: Buffer, _encoding, callback) {
        hash.update(chunk);
        size += chunk.length;
        callback(null, chunk);
      },
    });
    const file = join(folder, 'control');
    const target = createWriteStream(file, { flags: 'wx', mode: 0o600 });
    if (sealing === null) await pipeline(zip, measured, target, { signal });
    else await pipeline(zip, sealing, measured, target, { signal });
    const suffix = sealing === null ? ARCHIVE_SUFFIX : SEALED_SUFFIX;
    const name = `${CONTROL_PREFIX}${stamp(at)}_${randomBytes(3).toString('hex')}${suffix}`;
    return { file, name, size, checksum: hash.digest('hex') };
  }

  /** Stores it in one destination and reads it back. @returns what failed; null if nothing did */
  private async store(
    row: ControlBackupRow,
    destination: DestinationRow,
    { file, name, size, checksum }: MadeFile,
    signal: AbortSignal,
  ): Promise<AppError | null> {
    try {
      const storage = this.env.storages.open(destination);
      await makeReady(this.env.models, storage, destination);
      await row.update({ name });
      await storage.put(name, createReadStream(file), { owner: ownerOf(name), signal, size });
      const stored = await findStored(storage, name);
      assertSize(stored, size);
      if ((await stored.hash(signal)) !== checksum) {
        throw new AppError('ARCHIVE_CORRUPT', `${stored.location} is not what was stored there.`);
      }
      await row.update({ size });
      return null;
    } catch (error) {
      return toAppError(error);
    }
  }

  private async settle(row: ControlBackupRow, destination: DestinationRow, failed: AppError | null): Promise<void> {
    const { models, log } = this.env;
    if (failed !== null && destination.offline && failed.code === 'STORAGE_UNAVAILABLE') {
      if (row.name === '') return row.destroy();
    } else if (failed !== null) {
      log.warn({ err: failed, destination: destination.id }, 'the control database could not be backed up');
      await row.update({ errorCode: failed.code, errorMessage: failed.message, errorHint: failed.hint });
    }
    const newestFirst: [string, string][] = [
      ['createdAt', 'DESC'],
      ['id', 'DESC'],
    ];
    const all = await models.ControlBackup.findAll({ where: { destinationId: destination.id }, order: newestFirst });
    const isWhole = ({ size }: ControlBackupRow) => (size ?? null) !== null;
    const unfinished = all.filter((other) => !isWhole(other) && other.id !== row.id);
    for (const old of [...unfinished, ...all.filter(isWhole).slice(KEPT)]) {
      // A place that cannot be reached is not asked again and again.
      if (old.name === '' || failed === null) await this.remove(old, destination);
    }
  }

  /** Removes an old one, or what is left of an attempt. What cannot go yet, as where it is locked, is tried again. */
  private async remove(row: ControlBackupRow, destination: DestinationRow): Promise<void> {
    try {
      if (row.name !== '') {
        const storage = this.env.storages.open(destination);
        await storage.discard(ownerOf(row.name), row.name);
        await storage.remove(row.name);
      }
      await row.destroy();
    } catch (error) {
      this.env.log.warn({ err: error, name: row.name }, 'an old backup of the control database could not be deleted');
    }
  }
}

/** The ZIP, ready to be stored. */
interface MadeFile {
  file: string;
  /** The object's, in every destination. */
  name: string;
  size: number;
  /** SHA-256, hex. */
  checksum: string;
}

const ownerOf = (name: string) => name.replace(/\..*$/, '');

const README = `The records of db-manager itself: configs, destinations, users and history. No application's data is in it.
On a new machine: npx db-manager recover --from <where this lies>
records.jsonl has a line of JSON for each row; control.json says what it was made of.
`;
