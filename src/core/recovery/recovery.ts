import { basename } from 'node:path';
import { Op } from 'sequelize';
import { isControlName } from '../../archive/format.js';
import { AppError, badInput, toAppError } from '../../errors.js';
import type { BackupConfigRow, BackupRow, DestinationRow, Models } from '../../models/index.js';
import { loadRecords, NO_PASSWORD } from '../../models/portable.js';
import { NOT_PLANNED } from '../archives/chains.js';
import type { CoreEnvironment } from '../environment.js';
import type { Copies } from '../backups/copies.js';
import { configFromBackup, type RecoverEnvironment } from '../backups/recover.js';
import { takeInAll } from '../backups/take-in.js';
import type { DestinationInput, Destinations } from '../destinations/destinations.js';
import { readGiven } from '../keys/given.js';
import type { SettingValue, Storage, StorageAddress, StorageSettings, StorageType } from '../ports.js';
import type { Cleanup } from '../retention/cleanup.js';
import { endPending, failure, pendingRuns, type RunEnvironment } from '../runs/run.js';
import type { Scheduler } from '../schedules/scheduler.js';
import { resealUrl } from '../sealed-url.js';
import { Secrets } from '../secrets.js';
import { type FoundControl, listControls, openControl } from './control-reader.js';

/** What recovering an installation needs of the product. */
export type RecoveryEnvironment = RunEnvironment &
  RecoverEnvironment &
  Pick<CoreEnvironment, 'storages'> & {
    secrets: Secrets;
    destinations: Destinations;
    copies: Copies;
    cleanup: Cleanup;
    scheduler: Scheduler;
  };

/** Where an installation is recovered from: settings and secrets of one storage, as for a destination. */
export interface RecoverySource {
  storageType: StorageType;
  values: Record<string, SettingValue>;
}

export interface RecoveryOptions {
  /** Opens what is encrypted: age identities or a passphrase. */
  identity?: string | undefined;
  /** The backup of the control database that is taken: its name, or `none`. By default the newest that opens. */
  controlBackup?: string | undefined;
  actor: string;
}

/** What lies in a storage. */
export interface FoundInstallation {
  /** The storage as a person writes it. */
  place: string;
  controlBackups: FoundControl[];
  archives: { name: string; size: number }[];
}

/** A file that was passed over, and why. */
export interface PassedOver {
  file: string;
  error: AppError;
}

/** What a recovery came to. */
export interface Recovered {
  found: FoundInstallation;
  /** The backup of the control database that was taken; null if everything was rebuilt from archives. */
  controlBackup: (FoundControl & { host: string; version: string }) | null;
  passedOver: PassedOver[];
  /** Archives that had no record. */
  takenIn: BackupRow[];
  /** Configs that were made for them. */
  configsMade: BackupConfigRow[];
  /** Destinations whose secrets are to be given again, by their names. */
  withoutSecrets: string[];
  /** Users whose passwords are to be set again, by their e-mail. */
  withoutPasswords: string[];
}

/**
 * Recovers a whole installation on a machine that has nothing of it: from the newest backup of its control database in a
 * storage, and from the archives that are newer than that, or from the archives alone.
 */
export class Recovery {
  constructor(private readonly env: RecoveryEnvironment) {}

  /** Looks what lies in a storage; changes nothing. @throws AppError STORAGE_…, BAD_USER_INPUT */
  async look(source: RecoverySource): Promise<FoundInstallation> {
    return this.lookInto(this.storageOf(source));
  }

  /**
   * Recovers from a storage.
   * @throws AppError BAD_USER_INPUT if the control database is not empty, or nothing is found; ENCRYPTION_KEY_…; STORAGE_…
   */
  async run(source: RecoverySource, options: RecoveryOptions, signal: AbortSignal): Promise<Recovered> {
    await assertEmpty(this.env.models);
    const storage = this.storageOf(source);
    const found = await this.lookInto(storage);
    if (found.controlBackups.length + found.archives.length === 0) {
      throw badInput('from', `${found.place} holds no backup.`, 'Check its settings: a prefix or a folder in it.');
    }
    const recovered: Recovered = {
      found,
      controlBackup: null,
      passedOver: [],
      takenIn: [],
      configsMade: [],
      withoutSecrets: [],
      withoutPasswords: [],
    };
    await this.restoreControl(storage, recovered, options, signal);
    const destination = await this.destinationOf(source, storage, found, options.actor, signal);
    if (recovered.controlBackup === null) await this.keepKeys(found, options);
    await this.takeIn(recovered, options, signal);
    await this.makeConfigs(recovered, destination, options.actor);
    const { models, audit } = this.env;
    const lost = await models.Destination.findAll({ where: { id: [...this.lost], secrets: null, deletedAt: null } });
    recovered.withoutSecrets.push(...lost.map(({ name, storagePath }) => name ?? storagePath));
    const barred = await models.User.findAll({ where: { passwordHash: NO_PASSWORD }, order: [['id', 'ASC']] });
    recovered.withoutPasswords.push(...barred.map(({ email }) => email));
    const details = { controlBackup: recovered.controlBackup?.name ?? null, takenIn: recovered.takenIn.length };
    await audit.record(options.actor, 'recovery.run', found.place, details);
    return recovered;
  }

  /** Destinations whose secrets did not open. */
  private readonly lost = new Set<number>();

  private storageOf(source: RecoverySource): Storage {
    return this.env.storages.connect(this.settingsOf(source));
  }

  private settingsOf({ storageType, values }: RecoverySource): StorageSettings {
    const { secrets: names } = this.env.storages.kindOf(storageType);
    const entries = Object.entries(values);
    return {
      storageType,
      settings: Object.fromEntries(entries.filter(([name]) => !names.includes(name))),
      secrets: Object.fromEntries(entries.filter(([name]) => names.includes(name))) as Record<string, string>,
    };
  }

  private async lookInto(storage: Storage): Promise<FoundInstallation> {
    const archives: { name: string; size: number }[] = [];
    for await (const { name, size } of storage.list()) if (!isControlName(name)) archives.push({ name, size });
    return { place: storage.place, controlBackups: await listControls(storage), archives };
  }

  /** Loads the newest backup of the control database that opens. */
  private async restoreControl(
    storage: Storage,
    recovered: Recovered,
    { identity, controlBackup: wanted }: RecoveryOptions,
    signal: AbortSignal,
  ): Promise<void> {
    const all = recovered.found.controlBackups;
    const chosen = wanted === undefined ? all : all.filter(({ name }) => name === wanted);
    if (wanted !== undefined && wanted !== 'none' && chosen.length === 0) {
      throw badInput(
        'control-backup',
        `${storage.place} holds no "${wanted}".`,
        'Use --dry-run to list what is there.',
      );
    }
    for (const control of chosen) {
      try {
        const { facts, lines } = await openControl(this.env.keys, storage, control.name, identity, signal);
        await this.load(facts.steps, lines, facts.secretsKeys);
        recovered.controlBackup = { ...control, host: facts.host, version: facts.version };
        break;
      } catch (thrown) {
        signal.throwIfAborted();
        const error = toAppError(thrown);
        // With the key all would be there: to go on without it must be asked for.
        if (wanted !== undefined || error.code === 'ENCRYPTION_KEY_MISSING') throw error;
        recovered.passedOver.push({ file: control.location, error });
      }
    }
    if (recovered.controlBackup !== null) await this.settleRuns();
  }

  private async load(steps: string[], lines: AsyncIterable<string>, secretsKeys: string[]): Promise<void> {
    const former =
      secretsKeys.length === 0 ? this.env.secrets : new Secrets({ given: secretsKeys.join('\n'), file: '' });
    this.lost.clear();
    const reseal = async (sealed: string) => this.env.secrets.seal(await former.open(sealed));
    await loadRecords(this.env.models.sequelize, steps, lines, async (table, given) => {
      const row = await withUrls(table, given, (url) => resealUrl(former, this.env.secrets, url));
      if (table === 'restores' || table === 'verifications') return ended(row, this.env.now());
      const column = SEALED[table];
      const sealed = column === undefined ? null : row[column];
      if (column === undefined || typeof sealed !== 'string') return row;
      try {
        return { ...row, [column]: await reseal(sealed) };
      } catch (error) {
        if (!(error instanceof AppError) || secretsKeys.length > 0) throw error;
        if (table === 'destinations') this.lost.add(Number(row.id));
        return { ...row, [column]: null };
      }
    });
  }

  /**
   * Ends what was under way when the records were backed up, and makes up for no due time that has passed since. A deletion that
   * waited may have been taken back since then: none waits any more.
   */
  private async settleRuns(): Promise<void> {
    const { models, backups, scheduler } = this.env;
    const error = new AppError('INTERRUPTED', 'The machine was lost before the run ended.');
    for (const table of ['Backup', 'Restore', 'Verification'] as const) {
      for (const id of await pendingRuns(models, table)) await endPending(this.env, table, id, error);
    }
    await models.Backup.unscoped().update(NOT_PLANNED, { where: { deleteAfter: { [Op.ne]: null } } });
    await backups.recover();
    for (const config of await models.BackupConfig.findAll()) await scheduler.meet(config);
  }

  /** The destination that the installation is recovered from: the one on record, at its new place if it has one, or a new one. */
  private async destinationOf(
    source: RecoverySource,
    storage: Storage,
    found: FoundInstallation,
    actor: string,
    signal: AbortSignal,
  ): Promise<DestinationRow> {
    const { models, destinations, storages } = this.env;
    const known = await models.Destination.findOne({ where: { storagePath: storage.place, deletedAt: null } });
    if (known !== null && storage.folder() !== null) return known;
    // These settings have just worked, and its own may have been only in the environment.
    if (known !== null) return destinations.update(known.id, { values: source.values }, actor, signal);
    const moved = storage.folder() === null ? null : await this.movedTo(found);
    const input: DestinationInput = { storageType: source.storageType, values: source.values };
    if (moved !== null) {
      const update = destinations.update(moved.id, input, actor, signal);
      const done = await update.catch((error: unknown) => {
        if (!(error instanceof AppError)) throw error;
        return null;
      });
      if (done !== null) return done;
    }
    const address = storages.addressOf(this.settingsOf(source));
    const former = await models.Destination.findOne({ where: { ...address, deletedAt: null } });
    return former ?? destinations.create(input, actor, signal);
  }

  /** The folder on record that has most of these archives and is not there itself, as of a disk that is mounted elsewhere now. */
  private async movedTo({ archives }: FoundInstallation): Promise<DestinationRow | null> {
    const { models, storages } = this.env;
    const names = new Set(archives.map(({ name }) => name));
    let best: { row: DestinationRow; count: number } | null = null;
    const rows = await models.Destination.findAll({ where: { deletedAt: null }, order: [['id', 'ASC']] });
    // Of several with the same archives, that which was added as a place of its own.
    const ownFirst = rows.sort((one, other) => Number(one.name === null) - Number(other.name === null));
    for (const row of ownFirst) {
      const storage = storages.open(row);
      if (storage.folder() === null || (await isThere(storage))) continue;
      const copies = await models.StoredObject.findAll({ where: { destinationId: row.id, status: 'COMPLETED' } });
      const count = copies.filter(({ name }) => names.has(name)).length;
      if (count > (best?.count ?? 0)) best = { row, count };
    }
    return best?.row ?? null;
  }

  /** Puts the given key on record, so that configs that are made of encrypted archives encrypt for it again. */
  private async keepKeys({ archives }: FoundInstallation, { identity, actor }: RecoveryOptions): Promise<void> {
    if (identity === undefined || !archives.some(({ name }) => name.endsWith('.age'))) return;
    const { recipients, passphrases } = await readGiven(identity);
    for (const [index, recipient] of recipients.entries()) {
      const name = index === 0 ? 'Recovered key' : `Recovered key ${index + 1}`;
      await this.env.keys.create({ name, recipient }, actor);
    }
    for (const passphrase of passphrases)
      await this.env.keys.create({ name: 'Recovered passphrase', passphrase }, actor);
  }

  /** Makes records for archives that have none, in all destinations; one that is refused does not keep the others from it. */
  private async takeIn(recovered: Recovered, { identity, actor }: RecoveryOptions, signal: AbortSignal): Promise<void> {
    const found = await this.env.cleanup.reconcile();
    for (const { storage, error } of found) {
      if (error !== null) recovered.passedOver.push({ file: storage.storagePath, error });
    }
    const items = found.flatMap(({ storage, files }) => files.map((file) => ({ storage, file })));
    const take = async ({ storage, file }: (typeof items)[number]) => {
      const row = await this.takeInOne(recovered, storage, file, { identity, actor, signal });
      if (row !== null) recovered.takenIn.push(row);
    };
    const refused = await takeInAll(items, take, signal);
    recovered.passedOver.push(...refused.map(({ item: { file }, error }) => ({ file, error })));
  }

  /** @returns null for a further copy of an archive that was taken in just now */
  private async takeInOne(
    { takenIn }: Recovered,
    address: StorageAddress,
    file: string,
    { identity, actor, signal }: { identity: string | undefined; actor: string; signal: AbortSignal },
  ): Promise<BackupRow | null> {
    const { backups, copies, models, storages } = this.env;
    const fileName = basename(file);
    const stored = await storages.open(address).stat(fileName);
    const same = takenIn.find((row) => row.fileName === fileName && row.fileSize === stored?.size);
    const destination = same === undefined ? null : await models.Destination.findOne({ where: { ...address } });
    if (same === undefined || destination === null) {
      const options = { sameApplication: false, identity: isEncrypted(fileName) ? identity : undefined };
      return backups.adopt({ address, fileName }, options, actor, signal);
    }
    const copy = await copies.request(same.id, destination.id, actor);
    await copies.run(copy.id, signal);
    return null;
  }

  /** Makes a config for each application that has none, of its newest archive. */
  private async makeConfigs({ takenIn, ...recovered }: Recovered, destination: DestinationRow, actor: string) {
    const newestFirst = [...takenIn].sort((one, other) => other.createdAt.getTime() - one.createdAt.getTime());
    for (const { id } of newestFirst) {
      const row = await this.env.backups.get(id);
      if (row.configId !== null) continue;
      try {
        const input = { destinationIds: [destination.id] };
        recovered.configsMade.push(await configFromBackup(this.env, id, input, actor));
      } catch (thrown) {
        recovered.passedOver.push({ file: row.filePath, error: toAppError(thrown) });
      }
    }
  }
}

const isEncrypted = (name: string) => name.endsWith('.age');

/** Which column of a table is sealed with the secrets key. */
const SEALED: Record<string, string> = {
  destinations: 'secrets',
  encryption_keys: 'secret',
  channels: 'sealed',
  signing_keys: 'secret',
};

/** Which column of a table is a URL with a sealed password. */
const URLS: Record<string, string> = { backup_configs: 'databaseUrl', restores: 'targetUrl' };

/** Seals the password in a row's URL anew. One that does not open stays as it is: its use then fails with the reason. */
async function withUrls(
  table: string,
  row: Record<string, unknown>,
  reseal: (url: string) => Promise<string>,
): Promise<Record<string, unknown>> {
  const column = URLS[table];
  const url = column === undefined ? null : row[column];
  if (column === undefined || typeof url !== 'string') return row;
  return { ...row, [column]: await reseal(url).catch(() => url) };
}

/** A restore or a verification that was under way has nothing to go on with: what it held and laid is not here. */
function ended(row: Record<string, unknown>, now: Date): Record<string, unknown> {
  const values = 'sealedFileKey' in row ? { ...row, sealedFileKey: null } : row;
  if (row.status !== 'RUNNING') return values;
  const error = new AppError('INTERRUPTED', 'The machine was lost before the run ended.');
  return { ...values, ...failure(error), completedAt: now.toISOString() };
}

async function isThere(storage: Storage): Promise<boolean> {
  try {
    for await (const _ of storage.list()) break;
    return true;
  } catch (error) {
    if (error instanceof AppError) return false;
    throw error;
  }
}

/** @throws AppError BAD_USER_INPUT */
async function assertEmpty({ BackupConfig, Backup, Destination, EncryptionKey, User }: Models): Promise<void> {
  const counts = {
    'config(s)': await BackupConfig.count(),
    'backup(s)': await Backup.unscoped().count(),
    'destination(s)': await Destination.count(),
    'encryption key(s)': await EncryptionKey.count(),
    'user(s)': await User.count(),
  };
  const held = Object.entries(counts).filter(([, count]) => count > 0);
  if (held.length === 0) return;
  throw badInput(
    'from',
    `the control database is not empty: it has ${held.map(([what, count]) => `${count} ${what}`).join(', ')}.`,
    'Set DATA_DIR to an empty folder; or keep what is here, and take archives in with `db-manager reconcile --take-in`.',
  );
}
