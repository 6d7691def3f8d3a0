import type { CoreEnvironment } from '../environment.js';
import { type Attributes, type CreationAttributes, type Transaction, UniqueConstraintError } from 'sequelize';
import { AppError, badInput, toAppError } from '../../errors.js';
import { type BackupConfigRow, type EncryptionKeyRow, readPlain } from '../../models/index.js';
import { destinationAt } from '../archives/copies.js';
import type { Commands } from '../commands/commands.js';
import type { Keys } from '../keys/keys.js';
import { nextDrill, nextDue } from '../schedules/due.js';
import {
  changedSettings,
  checkSettings,
  type ConfigInput,
  givenSettings,
  newSettings,
  type Settings,
  type SettingsEnvironment,
  withDestination,
} from './settings.js';

export type { ConfigInput };

/** What the configs need of the process around them. */
export type ConfigsEnvironment = SettingsEnvironment &
  Pick<CoreEnvironment, 'models' | 'audit' | 'now'> & { keys: Keys; commands: Commands };

/**
 * What a config carries beside its settings: where it comes from if it was not made in the product, and the application whose
 * archives it continues (a new one by default).
 */
export type ConfigMark = Partial<Pick<BackupConfigRow, 'origin' | 'environment' | 'applicationId' | 'mediaMoved'>>;

/** Configs: what to protect and how. Nothing is saved that could not work or could hurt. */
export class Configs {
  constructor(private readonly env: ConfigsEnvironment) {}

  list(): Promise<BackupConfigRow[]> {
    return this.env.models.BackupConfig.findAll({ order: [['id', 'ASC']] });
  }

  /** These columns of all configs, the oldest first: much faster than whole rows where there are thousands. */
  columns<Column extends keyof Attributes<BackupConfigRow>>(
    columns: readonly Column[],
  ): Promise<Pick<BackupConfigRow, Column>[]> {
    return readPlain(this.env.models.BackupConfig, columns, { order: [['id', 'ASC']] });
  }

  find(id: number): Promise<BackupConfigRow | null> {
    return this.env.models.BackupConfig.findByPk(id);
  }

  /** The config of this id, or the first one where no id is given. @throws AppError NOT_FOUND */
  async get(id?: number): Promise<BackupConfigRow> {
    const row =
      id === undefined ? await this.env.models.BackupConfig.findOne({ order: [['id', 'ASC']] }) : await this.find(id);
    if (row !== null) return row;
    throw id === undefined
      ? new AppError('NOT_FOUND', 'There is no config yet.', {
          hint: 'Set DATABASE_URL, or make one: createConfig(input: {…}).',
        })
      : new AppError('NOT_FOUND', `configId: there is no config ${id}.`, { field: 'configId' });
  }

  /**
   * Makes a config. The sample's gives way to it, and it takes that one's id.
   * @param mark where it comes from, if it is not made in the product
   * @throws AppError BAD_USER_INPUT and others, naming the field
   */
  async create(input: ConfigInput, actor: string, mark: ConfigMark = {}): Promise<BackupConfigRow> {
    const given = givenSettings(await withDestination(this.env, input));
    if (given.name === undefined) throw badInput('name', 'is missing.');
    const keys = await this.env.keys.chosen(input.encryptionKeyIds ?? []);
    const now = this.env.now();
    const { BackupConfig, sequelize } = this.env.models;
    const sample = mark.origin === 'SAMPLE' ? null : await this.idleSample(mark);
    // The installation's own prefix is that of its first config; others have prefixes made of their names.
    const others = (await BackupConfig.count()) - (sample === null ? 0 : 1);
    const first = others === 0 ? { archivePrefix: null } : {};
    const values = await checkSettings(this.env, newSettings({ ...first, ...given }));
    assertOpened(values, keys);
    const identity = { ...mark, ...(sample !== null && { id: sample.id }), createdAt: now, updatedAt: now };
    const row = await this.unlessNameTaken(() =>
      sequelize.transaction(async (transaction) => {
        await sample?.destroy({ transaction });
        return this.insert({ ...values, ...identity }, keys, transaction);
      }),
    );
    if (sample !== null) await this.env.audit.record(actor, 'config.delete', sample.id, { name: sample.name });
    await this.env.audit.record(actor, 'config.create', row.id, { name: row.name });
    return row;
  }

  /**
   * Makes a config for each of these databases, or none, with settings and keys like those of a config.
   * @throws AppError as `create`, and BAD_USER_INPUT if another config backs one of them up
   */
  async createLike(like: BackupConfigRow, inputs: ConfigInput[], actor: string): Promise<BackupConfigRow[]> {
    const { BackupConfig, sequelize } = this.env.models;
    const now = this.env.now();
    const prepared: { keys: EncryptionKeyRow[]; values: Awaited<ReturnType<typeof checkSettings>> }[] = [];
    for (const input of inputs) {
      const given = givenSettings(await withDestination(this.env, input));
      const keys = await this.env.keys.chosen(input.encryptionKeyIds ?? []);
      const values = await checkSettings(this.env, newSettings(given));
      assertOpened(values, keys);
      prepared.push({ keys, values });
    }
    const rows = await this.unlessNameTaken(() =>
      sequelize.transaction(async (transaction) => {
        const databaseKey = prepared.map(({ values }) => values.databaseKey);
        const taken = await BackupConfig.findOne({ where: { databaseKey }, transaction });
        if (taken !== null)
          throw badInput('names', `has a database that config ${taken.id} backs up.`, 'Leave it out.');
        const made: BackupConfigRow[] = [];
        for (const { keys, values } of prepared) {
          made.push(await this.insert({ ...values, createdAt: now, updatedAt: now }, keys, transaction));
        }
        return made;
      }),
    );
    for (const { id, name } of rows) await this.env.audit.record(actor, 'config.create', id, { name, like: like.id });
    return rows;
  }

  private async insert(
    values: CreationAttributes<BackupConfigRow>,
    keys: EncryptionKeyRow[],
    transaction: Transaction,
  ): Promise<BackupConfigRow> {
    const { BackupConfig, ServerDatabase } = this.env.models;
    const made = await BackupConfig.create(values, { transaction });
    await destinationAt(this.env.models, made, transaction);
    await this.env.keys.setForConfig(made.id, keys, transaction);
    await ServerDatabase.destroy({ where: { databaseKey: made.databaseKey }, transaction });
    // The due time depends on the id. Without it a config would never run, and never be called overdue.
    const due = { nextRunAt: nextDue(made, values.createdAt), nextDrillAt: nextDrill(made, values.createdAt) };
    return made.update(due, { transaction });
  }

  /** The sample's config, if it can go now. @throws AppError CONFIG_IN_USE for the environment's, which needs its place */
  private async idleSample({ origin }: ConfigMark): Promise<BackupConfigRow | null> {
    const sample = await this.env.models.BackupConfig.findOne({ where: { origin: 'SAMPLE' } });
    if (sample === null) return null;
    try {
      await this.assertIdle(sample);
      return sample;
    } catch (error) {
      if (origin === 'ENVIRONMENT') throw error;
      return null;
    }
  }

  /** @throws AppError as `create`, and CONFIG_IN_USE when the database of a config with runs under way would change */
  async update(id: number, input: ConfigInput, actor: string): Promise<BackupConfigRow> {
    const row = await this.get(id);
    const given = await this.changes(row, input);
    const values = await checkSettings(this.env, changedSettings(row, given), row);
    const { encryptionKeyIds: keyIds } = input;
    const keys = keyIds === undefined || keyIds === null ? null : await this.env.keys.chosen(keyIds);
    await this.assertStillOpened(row, values, keys);
    if (values.databaseKey !== row.databaseKey) await this.assertIdle(row);
    const now = this.env.now();
    const schedule = { ...row.get({ plain: true }), ...values };
    const same = (['autoBackupEnabled', 'schedule', 'timezone', 'jitterSeconds'] as const).every(
      (field) => row[field] === schedule[field],
    );
    const backupDue = same ? {} : { nextRunAt: nextDue(schedule, now), retryAt: null };
    const sameDrills = row.drillSchedule === values.drillSchedule && row.timezone === values.timezone;
    const due = { ...backupDue, ...(sameDrills ? {} : { nextDrillAt: nextDrill(schedule, now) }) };
    await this.unlessNameTaken(() =>
      this.env.models.sequelize.transaction(async (transaction) => {
        await row.update({ ...values, ...due, updatedAt: now }, { transaction });
        await destinationAt(this.env.models, row, transaction);
        await this.env.models.ServerDatabase.destroy({ where: { databaseKey: row.databaseKey }, transaction });
        if (keys !== null) await this.env.keys.setForConfig(id, keys, transaction);
      }),
    );
    await this.env.audit.record(actor, 'config.update', id, {
      fields: [...Object.keys(given), ...(keys === null ? [] : ['encryptionKeyIds'])],
    });
    return row;
  }

  /** As `assertOpened`, where the schedule or the keys change. @param keys null: they stay as they are */
  private async assertStillOpened(
    row: BackupConfigRow,
    values: { drillSchedule: string | null },
    keys: EncryptionKeyRow[] | null,
  ): Promise<void> {
    if (keys === null && values.drillSchedule === row.drillSchedule) return;
    assertOpened(values, keys ?? (await this.env.keys.ofConfig(row.id)));
  }

  /** Checks what `create` would save. @throws AppError as `create` */
  async validate(input: ConfigInput): Promise<void> {
    const given = givenSettings(await withDestination(this.env, input));
    if (given.name === undefined) throw badInput('name', 'is missing.');
    const keys = await this.env.keys.chosen(input.encryptionKeyIds ?? []);
    const values = await checkSettings(this.env, newSettings(given));
    assertOpened(values, keys);
    const { name } = values;
    if ((await this.env.models.BackupConfig.count({ where: { name } })) > 0) throw nameTaken();
  }

  /** The config as `update` would make it. Nothing is saved. @throws AppError as `update`, but for a name that is taken */
  async preview(id: number, input: ConfigInput): Promise<BackupConfigRow> {
    const row = await this.get(id);
    const { encryptionKeyIds: keyIds } = input;
    const keys = keyIds === undefined || keyIds === null ? null : await this.env.keys.chosen(keyIds);
    const values = await checkSettings(this.env, changedSettings(row, await this.changes(row, input)), row);
    await this.assertStillOpened(row, values, keys);
    return row.set(values);
  }

  /**
   * All settings as `update` would make them of this input, or `create` where no id is given. Not checked yet.
   * @throws AppError NOT_FOUND
   */
  async settings(input: ConfigInput, id?: number): Promise<Settings> {
    if (id === undefined) return newSettings(await withDestination(this.env, input));
    const row = await this.get(id);
    return changedSettings(row, await this.changes(row, input));
  }

  /** Deletes the config; its backups stay, with their archives. @throws AppError CONFIG_IN_USE */
  async remove(id: number, actor: string): Promise<BackupConfigRow> {
    const row = await this.get(id);
    await this.assertIdle(row);
    await this.env.models.sequelize.transaction(async (transaction) => {
      await row.destroy({ transaction });
      await this.decline(row, transaction);
    });
    await this.env.audit.record(actor, 'config.delete', id, { name: row.name });
    return row;
  }

  /** Remembers a database whose config was deleted: none may make another one by itself. */
  private async decline(row: BackupConfigRow, transaction: Transaction): Promise<void> {
    const { BackupConfig, ServerDatabase } = this.env.models;
    const { databaseKey, engine, databaseUrl } = row;
    if (!this.env.engines.of(engine).capabilities.onServer) return;
    if ((await BackupConfig.count({ where: { databaseKey }, transaction })) > 0) return;
    await ServerDatabase.destroy({ where: { databaseKey }, transaction });
    const { name } = this.env.engines.of(engine).resolve(databaseUrl);
    await ServerDatabase.create({ databaseKey, name, declinedAt: this.env.now() }, { transaction });
  }

  /** The database URL as it may be shown: without a password. @param url in place of the config's own */
  maskedUrl(row: BackupConfigRow, url: string = row.databaseUrl): string {
    return this.env.engines.of(row.engine).resolve(url).display;
  }

  /** Why the config's database cannot be backed up now, or null. */
  async databaseProblem(row: BackupConfigRow): Promise<AppError | null> {
    try {
      await this.env.engines.of(row.engine).check(row.databaseUrl);
      return null;
    } catch (error) {
      return toAppError(error);
    }
  }

  /** What was given, but for a URL that is the saved one as it is shown. */
  private async changes(row: BackupConfigRow, input: ConfigInput): Promise<ConfigInput> {
    const given = givenSettings(await withDestination(this.env, input));
    if (given.databaseUrl === this.maskedUrl(row)) delete given.databaseUrl;
    return given;
  }

  private async unlessNameTaken<T>(save: () => Promise<T>): Promise<T> {
    try {
      return await save();
    } catch (error) {
      if (!(error instanceof UniqueConstraintError)) throw error;
      throw nameTaken();
    }
  }

  private async assertIdle(row: BackupConfigRow): Promise<void> {
    const where = { configId: row.id, status: ['PENDING', 'RUNNING'] };
    const backups = await this.env.models.Backup.count({ where });
    const restores = await this.env.models.Restore.count({ where });
    if (backups + restores > 0) {
      throw new AppError('CONFIG_IN_USE', `Config "${row.name}" has ${backups + restores} run(s) under way.`);
    }
  }
}

const nameTaken = () => badInput('name', 'is the name of another config.', 'Choose another name.');

/** A drill of the schedule opens backups alone: nobody is there to give a key. @throws AppError BAD_USER_INPUT */
function assertOpened({ drillSchedule }: { drillSchedule: string | null }, keys: readonly EncryptionKeyRow[]): void {
  if (drillSchedule === null || keys.length === 0 || keys.some(({ secret }) => secret !== null)) return;
  throw badInput(
    'drillSchedule',
    'needs a key that is held here: the backups are encrypted for keys that only people hold.',
    'Add such a key to encryptionKeyIds, or leave drillSchedule out and drill by hand: `db-manager verify latest --level drill --identity-file FILE`.',
  );
}
