import { Op, type Transaction, UniqueConstraintError } from 'sequelize';
import { AppError, badInput } from '../../errors.js';
import type { DestinationRow } from '../../models/index.js';
import type { Places } from '../configs/places.js';
import { judgeStorage } from '../configs/settings.js';
import { type StorageTest, tryStorage } from '../configs/try-storage.js';
import type { CoreEnvironment } from '../environment.js';
import type { SettingValue, Storage, StorageAddress, StorageSettings, StorageType } from '../ports.js';
import type { Keys } from '../keys/keys.js';
import { resealUrl } from '../sealed-url.js';
import type { Secrets } from '../secrets.js';

/** What destinations need of the process around them. */
export type DestinationsEnvironment = Pick<CoreEnvironment, 'models' | 'storages' | 'audit' | 'now' | 'log'> & {
  places: Places;
  secrets: Secrets;
  keys: Keys;
};

/** What can be set; what is left out stays as it is. */
export interface DestinationInput {
  name?: string | undefined;
  offline?: boolean | undefined;
  storageType?: StorageType | undefined;
  /** Settings and secrets of this kind of storage; null takes one away. */
  values?: Record<string, SettingValue | null> | undefined;
}

const LIVING = ['PENDING', 'RUNNING', 'COMPLETED'];

/** Destinations: the named places that archives lie in. Configs share them; their secrets are sealed and never returned. */
export class Destinations {
  constructor(private readonly env: DestinationsEnvironment) {}

  /** The oldest first. */
  list(): Promise<DestinationRow[]> {
    return this.env.models.Destination.findAll({ where: { deletedAt: null }, order: [['id', 'ASC']] });
  }

  find(id: number): Promise<DestinationRow | null> {
    return this.env.models.Destination.findOne({ where: { id, deletedAt: null } });
  }

  /** @throws AppError NOT_FOUND */
  async get(id: number): Promise<DestinationRow> {
    const row = await this.find(id);
    if (row !== null) return row;
    throw new AppError('NOT_FOUND', `destinationId: there is no destination ${id}.`, { field: 'destinationId' });
  }

  /** Saves a destination and checks it. What does not work is noted on it. @throws AppError BAD_USER_INPUT and others */
  async create(input: DestinationInput, actor: string, signal: AbortSignal): Promise<DestinationRow> {
    const settings = await this.merged(input, null);
    const address = await this.judged(settings);
    const { Destination } = this.env.models;
    const former = await Destination.findOne({ where: { ...address } });
    if (former !== null && former.deletedAt === null) throw known(address, former);
    const name = nameOf(input) ?? null;
    const values = { name, offline: input.offline ?? false, ...(await this.sealed(settings)), deletedAt: null };
    const row = await this.unlessNameTaken(() =>
      former === null ? Destination.create({ ...address, ...values }) : former.update(values),
    );
    await this.env.audit.record(actor, 'destination.create', row.id, { name: row.name, location: row.storagePath });
    await this.check(row, signal);
    return row;
  }

  /**
   * Changes a destination and checks it. Its place can change only where all archives that lie in it lie at the new place.
   * @throws AppError NOT_FOUND, BAD_USER_INPUT, DESTINATION_IN_USE
   */
  async update(id: number, input: DestinationInput, actor: string, signal: AbortSignal): Promise<DestinationRow> {
    const row = await this.get(id);
    const name = nameOf(input);
    const changes = {
      ...(name !== undefined && { name }),
      ...(input.offline !== undefined && { offline: input.offline }),
    };
    if (input.values === undefined) {
      await this.unlessNameTaken(() => row.update(changes));
    } else {
      const settings = await this.merged(input, row);
      const address = await this.judged(settings, row);
      const values = { ...changes, ...address, ...(await this.sealed(settings)) };
      const moves = address.storagePath !== row.storagePath || address.storageType !== row.storageType;
      if (moves) await this.assertMoved(row, address, settings);
      await this.unlessNameTaken(() => this.save(row, address, values));
    }
    const fields = [...Object.keys(changes), ...Object.keys(input.values ?? {})];
    await this.env.audit.record(actor, 'destination.update', id, { fields, location: row.storagePath });
    await this.check(row, signal);
    return row;
  }

  /** @throws AppError NOT_FOUND, DESTINATION_IN_USE */
  async remove(id: number, actor: string): Promise<DestinationRow> {
    const { sequelize, StoredObject, BackupConfig, ControlBackup } = this.env.models;
    const row = await this.get(id);
    await sequelize.transaction(async (transaction) => {
      const { storageType, storagePath } = row;
      // A damaged copy still lies there.
      const damaged = { status: 'FAILED', size: { [Op.ne]: null } };
      const where = { destinationId: id, [Op.or]: [{ status: LIVING }, damaged] };
      const lying = await StoredObject.count({ where, transaction });
      if (lying > 0) throw inUse(row, `${lying} backup(s) lie there`);
      const all = await BackupConfig.findAll({ transaction });
      const configs = all.filter(
        (config) =>
          config.copyTo.includes(id) || (config.storageType === storageType && config.storagePath === storagePath),
      );
      if (configs.length > 0) throw inUse(row, `it is named by ${configs.map(({ name }) => `"${name}"`).join(', ')}`);
      await ControlBackup.destroy({ where: { destinationId: id }, transaction });
      const past = await StoredObject.count({ where: { destinationId: id }, transaction });
      if (past === 0) await row.destroy({ transaction });
      else await row.update({ deletedAt: this.env.now(), name: null, settings: null, secrets: null }, { transaction });
    });
    await this.env.audit.record(actor, 'destination.delete', id, { location: row.storagePath });
    return row;
  }

  /**
   * Tries out a saved destination, a change of one, or settings that are not saved yet; see `tryStorage`. Only what comes of a
   * saved one as it is is noted on it.
   * @throws AppError NOT_FOUND, BAD_USER_INPUT; the signal's reason
   */
  async test(id: number | undefined, input: DestinationInput | undefined, signal: AbortSignal): Promise<StorageTest> {
    const row = id === undefined ? null : await this.get(id);
    if (row !== null && input?.values === undefined) return this.check(row, signal);
    const settings = await this.merged(input ?? {}, row);
    await this.judged(settings, row ?? undefined);
    return tryStorage(this.env.storages.connect(settings), this.env.log, signal);
  }

  /**
   * Seals all secrets anew, with a new key where it lies in DATA_DIR.
   * @returns how many destinations have secrets, and how many encryption keys
   */
  async rotateKey(actor: string): Promise<{ destinations: number; keys: number }> {
    const { Destination, sequelize } = this.env.models;
    const count = { destinations: 0, keys: 0 };
    await this.env.secrets.rotate(() =>
      sequelize.transaction(async (transaction) => {
        for (const row of await Destination.findAll({ where: { secrets: { [Op.ne]: null } }, transaction })) {
          await row.update({ secrets: await this.env.secrets.reseal(row.secrets ?? '') }, { transaction });
          count.destinations += 1;
        }
        count.keys = await this.env.keys.reseal(transaction);
        await this.resealOthers(transaction);
        await this.resealUrls(transaction);
      }),
    );
    await this.env.audit.record(actor, 'secrets.rotate', null, count);
    return count;
  }

  /** Where channels lead, and what reports of drills are signed with. */
  private async resealOthers(transaction: Transaction): Promise<void> {
    const { models, secrets } = this.env;
    for (const row of await models.Channel.findAll({ where: { sealed: { [Op.ne]: null } }, transaction })) {
      await row.update({ sealed: await secrets.reseal(row.sealed ?? '') }, { transaction });
    }
    for (const row of await models.SigningKey.findAll({ where: { secret: { [Op.ne]: null } }, transaction })) {
      await row.update({ secret: await secrets.reseal(row.secret ?? '') }, { transaction });
    }
  }

  /** The passwords of databases lie in their URLs. */
  private async resealUrls(transaction: Transaction): Promise<void> {
    const { BackupConfig, Restore } = this.env.models;
    const reseal = (url: string) => resealUrl(this.env.secrets, this.env.secrets, url);
    for (const row of await BackupConfig.findAll({ transaction })) {
      const { databaseUrl: former, environment } = row;
      const databaseUrl = await reseal(former);
      if (databaseUrl === former) continue;
      const same = environment !== null && environment.databaseUrl === former;
      await row.update({ databaseUrl, ...(same && { environment: { ...environment, databaseUrl } }) }, { transaction });
    }
    for (const row of await Restore.findAll({ where: { targetUrl: { [Op.like]: '%:sealed-%' } }, transaction })) {
      await row.update({ targetUrl: await reseal(row.targetUrl) }, { transaction });
    }
  }

  /** Tries a saved destination out and notes what came of it. A disk that may be away is no error while it is. */
  private async check(row: DestinationRow, signal: AbortSignal): Promise<StorageTest> {
    const storage = await this.storageOf(row);
    const test = await tryStorage(storage, this.env.log, signal);
    const settings = row.settings !== null && test.ok ? { settings: { ...test.learned, ...row.settings } } : {};
    const away = row.offline && test.error?.code === 'STORAGE_UNAVAILABLE';
    const { code, message, hint } = test.error ?? {};
    const checkError = code === undefined || away ? null : { code, message: message ?? '', hint: hint ?? '' };
    await row.update({
      lastCheckedAt: this.env.now(),
      checkError,
      ...settings,
      ...(test.ok ? { free: test.free } : {}),
    });
    return test;
  }

  /** By its settings and not by its address, where they can be read: what the first test learns is not known yet. */
  private async storageOf(row: DestinationRow): Promise<Storage> {
    const { storages } = this.env;
    if (row.settings === null) return storages.open(row);
    try {
      return storages.connect({ ...(await this.savedOf(row)), storageType: row.storageType } as StorageSettings);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      return storages.open(row);
    }
  }

  /** All settings as they would be saved, of what was given and what is there. */
  private async merged({ storageType, values = {} }: DestinationInput, row: DestinationRow | null) {
    const type = storageType ?? row?.storageType;
    if (type === undefined) throw badInput('input', 'names no place.', 'Give one of directory, s3, …');
    const { secrets: secretNames, reach } = this.env.storages.kindOf(type);
    const isOther = row !== null && type !== row.storageType;
    if (isOther && !(this.isFolder(type) && this.isFolder(row.storageType))) {
      throw badInput('input', `is of another kind than the destination, which is ${row.storageType}.`);
    }
    const saved = await this.savedOf(row);
    const isSecret = (name: string) => secretNames.includes(name);
    const given = Object.entries(values);
    const settings = { ...saved.settings, ...Object.fromEntries(given.filter(([name]) => !isSecret(name))) };
    const secrets = { ...saved.secrets, ...Object.fromEntries(given.filter(([name]) => isSecret(name))) };
    const redirected = reach.find((name) => settings[name] !== saved.settings[name] && row !== null);
    if (redirected !== undefined && Object.keys(saved.secrets).some((name) => values[name] === undefined)) {
      throw badInput(redirected, 'leads to another machine.', 'Give the secrets again, so that they are meant for it.');
    }
    return {
      storageType: type,
      settings: without(settings, null) as Record<string, SettingValue>,
      secrets: without(secrets, null) as Record<string, string>,
    };
  }

  private async savedOf(row: DestinationRow | null) {
    if (row === null)
      return { settings: {} as Record<string, SettingValue | null>, secrets: {} as Record<string, string> };
    const folder = this.isFolder(row.storageType) ? { path: row.storagePath } : {};
    const settings = (row.settings ?? folder) as Record<string, SettingValue | null>;
    return { settings, secrets: row.secrets === null ? {} : await this.env.secrets.open(row.secrets) };
  }

  /** The address that settings lead to. @throws AppError BAD_USER_INPUT, PATH_NOT_ALLOWED */
  private async judged(settings: StorageSettings, row?: DestinationRow): Promise<StorageAddress> {
    const { bandwidthLimit } = settings.settings;
    if (bandwidthLimit !== undefined && !(Number(bandwidthLimit) >= 1_024)) {
      throw badInput('bandwidthLimit', 'is less than 1024 bytes per second.');
    }
    if (bandwidthLimit !== undefined && this.isFolder(settings.storageType)) {
      throw badInput('bandwidthLimit', 'is not for folders.');
    }
    const { configFile } = settings.settings;
    if (typeof configFile === 'string' && configFile !== '')
      await this.env.places.judge('configFile', configFile, 'source');
    const address = this.env.storages.addressOf(settings);
    if (address.storagePath !== row?.storagePath && address.storageType === 'SYSTEM') {
      await judgeStorage(this.env, address, 'path', undefined);
    }
    return address;
  }

  private async sealed({ storageType, settings, secrets }: StorageSettings) {
    // The path of a folder is its address, and it has nothing else to remember.
    if (this.isFolder(storageType)) return { settings: null, secrets: null };
    const has = Object.keys(secrets).length > 0;
    return { settings, secrets: has ? await this.env.secrets.seal(secrets) : null };
  }

  /** @throws AppError DESTINATION_IN_USE unless every archive of the destination lies at the new place */
  private async assertMoved(row: DestinationRow, address: StorageAddress, settings: StorageSettings): Promise<void> {
    const { StoredObject, Destination } = this.env.models;
    const other = await Destination.findOne({ where: { ...address } });
    if (other !== null) throw known(address, other);
    const where = { destinationId: row.id };
    const open = await StoredObject.count({ where: { ...where, status: ['PENDING', 'RUNNING'] } });
    if (open > 0) throw inUse(row, `${open} backup(s) are being written there`);
    const lying = await StoredObject.findAll({ attributes: ['name'], where: { ...where, status: 'COMPLETED' } });
    if (lying.length === 0) return;
    const there = new Set<string>();
    for await (const { name } of this.env.storages.connect(settings).list()) there.add(name);
    const missing = lying.filter(({ name }) => !there.has(name)).length;
    if (missing === 0) return;
    throw new AppError(
      'DESTINATION_IN_USE',
      `${missing} of the ${lying.length} archives of this destination do not lie at ${address.storagePath}.`,
      { hint: 'Copy the archives there first, or make another destination.' },
    );
  }

  /** Saves a destination, and its place wherever it is named. */
  private async save(row: DestinationRow, address: StorageAddress, values: Partial<DestinationRow>): Promise<void> {
    const { sequelize, BackupConfig } = this.env.models;
    const { storageType, storagePath } = row;
    await sequelize.transaction(async (transaction) => {
      await row.update(values, { transaction });
      await BackupConfig.update(address, { where: { storageType, storagePath }, transaction });
      await sequelize.query(
        `UPDATE stored_objects SET location = :to || substr(location, :from) WHERE "destinationId" = :id`,
        { replacements: { to: row.storagePath, from: storagePath.length + 1, id: row.id }, transaction },
      );
    });
  }

  private isFolder(type: StorageType): boolean {
    return FOLDERS.includes(type);
  }

  private async unlessNameTaken<T>(save: () => Promise<T>): Promise<T> {
    try {
      return await save();
    } catch (error) {
      if (!(error instanceof UniqueConstraintError)) throw error;
      throw badInput('name', 'is the name of another destination.', 'Choose another name.');
    }
  }
}

const FOLDERS: readonly StorageType[] = ['LOCAL', 'SYSTEM'];

function nameOf({ name }: DestinationInput): string | undefined {
  const trimmed = name?.trim();
  if (trimmed === undefined || (trimmed !== '' && trimmed.length <= 200)) return trimmed;
  throw badInput('name', 'must have 1 to 200 characters.');
}

const without = <T>(values: Record<string, T>, dropped: T) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== dropped && value !== undefined));

const known = ({ storagePath }: StorageAddress, { id, name }: DestinationRow) =>
  badInput('input', `${storagePath} is the place of destination ${id}${name === null ? '' : ` "${name}"`} already.`);

const inUse = ({ name, storagePath }: DestinationRow, why: string) =>
  new AppError('DESTINATION_IN_USE', `The destination ${name ?? storagePath} is in use: ${why}.`);
