import { Op, QueryTypes, type Transaction, UniqueConstraintError } from 'sequelize';
import {
  isRecipient,
  MAX_RECIPIENTS,
  newIdentity,
  openHeader,
  type SealedFor,
  wantsPassphrase,
} from '../../archive/seal-header.js';
import { AppError, badInput } from '../../errors.js';
import type { EncryptionKeyRow, Models } from '../../models/index.js';
import type { Audit } from '../audit.js';
import type { Secrets } from '../secrets.js';
import { type Given, readGiven } from './given.js';

/** What keys need of the process around them. */
export interface KeysEnvironment {
  models: Models;
  secrets: Secrets;
  audit: Audit;
  now: () => Date;
}

/** A new key: exactly one of `generate`, `recipient` and `passphrase`. */
export interface KeyInput {
  name: string;
  generate?: boolean | undefined;
  recipient?: string | undefined;
  passphrase?: string | undefined;
  /** Whether a generated identity is kept here. */
  keepHere?: boolean | undefined;
}

/** An opened header: its file key, and the keys on record that open it. */
export interface Opened {
  fileKey: Buffer;
  keyIds: number[];
}

/** Fewest characters of a passphrase. */
const MIN_PASSPHRASE = 12;
const LIVING = ['PENDING', 'RUNNING', 'COMPLETED'];

/** Encryption keys: what archives are sealed for, and what opens them where that is held here. */
export class Keys {
  constructor(private readonly env: KeysEnvironment) {}

  /** The oldest first. */
  list(): Promise<EncryptionKeyRow[]> {
    return this.env.models.EncryptionKey.findAll({ order: [['id', 'ASC']] });
  }

  /** @throws AppError NOT_FOUND */
  async get(id: number): Promise<EncryptionKeyRow> {
    const row = await this.env.models.EncryptionKey.findByPk(id);
    if (row !== null) return row;
    throw new AppError('NOT_FOUND', `There is no encryption key ${id}.`);
  }

  /**
   * Makes a key.
   * @returns the identity, if one was generated: it is shown this once
   * @throws AppError BAD_USER_INPUT naming the field
   */
  async create(input: KeyInput, actor: string): Promise<{ key: EncryptionKeyRow; identity: string | null }> {
    const name = input.name.trim();
    // eslint-disable-next-line no-control-regex -- control characters are what is looked for
    if (name === '' || name.length > 200 || /[\u0000-\u001f\u007f]/.test(name)) {
      throw badInput('name', 'must have 1 to 200 characters, without line breaks.');
    }
    const { recipient, identity, secret } = await made(input);
    const { EncryptionKey } = this.env.models;
    const same = recipient === null ? null : await EncryptionKey.findOne({ where: { recipient } });
    if (same !== null) throw badInput('recipient', `is that of the key "${same.name}" already.`);
    const sealed = secret === null ? null : await this.env.secrets.seal(secret);
    const values = { name, recipient, secret: sealed, createdAt: this.env.now() };
    const key = await EncryptionKey.create(values).catch((error: unknown) => {
      if (error instanceof UniqueConstraintError) throw badInput('name', 'is the name of another key.');
      throw error;
    });
    await this.env.audit.record(actor, 'key.create', key.id, { name, recipient, heldHere: sealed !== null });
    return { key, identity };
  }

  /** @throws AppError NOT_FOUND, ENCRYPTION_KEY_IN_USE */
  async remove(id: number, actor: string): Promise<EncryptionKeyRow> {
    const { sequelize, ConfigKey, BackupKey } = this.env.models;
    const row = await this.get(id);
    await sequelize.transaction(async (transaction) => {
      const where = { keyId: id };
      const configs = await ConfigKey.count({ where, transaction });
      if (configs > 0) throw inUse(row, `${configs} config(s) name it`);
      const only = await this.openedByNoOther(id, transaction);
      if (only > 0) throw inUse(row, `${only} backup(s) open with no other key`);
      await BackupKey.destroy({ where, transaction });
      await row.destroy({ transaction });
    });
    await this.env.audit.record(actor, 'key.delete', id, { name: row.name });
    return row;
  }

  /** The keys that the backups of a config are sealed for; none: they are not. */
  ofConfig(configId: number, transaction?: Transaction): Promise<EncryptionKeyRow[]> {
    return this.joined('config_keys', 'configId', configId, transaction);
  }

  /** The keys on record that open the archive of a backup. */
  ofBackup(backupId: string, transaction?: Transaction): Promise<EncryptionKeyRow[]> {
    return this.joined('backup_keys', 'backupId', backupId, transaction);
  }

  /** The keys of each of these configs that has some. */
  async ofConfigs(ids: readonly number[]): Promise<{ id: number; keys: EncryptionKeyRow[] }[]> {
    const rows = await this.env.models.ConfigKey.findAll({ where: { configId: [...ids] }, order: [['keyId', 'ASC']] });
    return this.grouped(rows.map(({ configId, keyId }) => ({ id: configId, keyId })));
  }

  /** The keys of each of these backups that has some. */
  async ofBackups(ids: readonly string[]): Promise<{ id: string; keys: EncryptionKeyRow[] }[]> {
    const rows = await this.env.models.BackupKey.findAll({ where: { backupId: [...ids] }, order: [['keyId', 'ASC']] });
    return this.grouped(rows.map(({ backupId, keyId }) => ({ id: backupId, keyId })));
  }

  /**
   * The keys of these ids, which together can seal an archive.
   * @throws AppError NOT_FOUND, BAD_USER_INPUT naming `encryptionKeyIds`
   */
  async chosen(ids: readonly number[]): Promise<EncryptionKeyRow[]> {
    const field = 'encryptionKeyIds';
    const unique = [...new Set(ids)];
    const rows = await this.env.models.EncryptionKey.findAll({ where: { id: unique }, order: [['id', 'ASC']] });
    const missing = unique.find((id) => !rows.some((row) => row.id === id));
    if (missing !== undefined) {
      throw new AppError('NOT_FOUND', `${field}: there is no encryption key ${missing}.`, { field });
    }
    if (rows.length > MAX_RECIPIENTS) throw badInput(field, `names more than ${MAX_RECIPIENTS} keys.`);
    const passphrase = rows.find(({ recipient }) => recipient === null);
    if (passphrase !== undefined && rows.length > 1) {
      throw badInput(
        field,
        `the passphrase "${passphrase.name}" cannot be combined with other keys.`,
        'The age format allows a passphrase only alone: choose it, or recipients.',
      );
    }
    return rows;
  }

  /** Replaces the keys of a config. @param keys as `chosen` */
  async setForConfig(configId: number, keys: EncryptionKeyRow[], transaction: Transaction): Promise<void> {
    const { ConfigKey } = this.env.models;
    await ConfigKey.destroy({ where: { configId }, transaction });
    await ConfigKey.bulkCreate(
      keys.map(({ id }) => ({ configId, keyId: id })),
      { transaction },
    );
  }

  /** Replaces the keys that open the archive of a backup. */
  async setForBackup(backupId: string, keyIds: readonly number[], transaction: Transaction): Promise<void> {
    const { BackupKey } = this.env.models;
    await BackupKey.destroy({ where: { backupId }, transaction });
    await BackupKey.bulkCreate(
      keyIds.map((keyId) => ({ backupId, keyId })),
      { transaction },
    );
  }

  /** For whom these keys seal. @throws AppError CONFIG_INVALID if a passphrase does not open with the secrets key */
  async sealedFor(keys: readonly EncryptionKeyRow[]): Promise<SealedFor> {
    const [first] = keys;
    if (first?.recipient !== null) return { recipients: keys.flatMap(({ recipient }) => recipient ?? []) };
    const { passphrase = '' } = await this.env.secrets.open(first.secret ?? '');
    return { passphrase };
  }

  /** Notes that keys have sealed or opened an archive. */
  async used(ids: readonly number[]): Promise<void> {
    if (ids.length === 0) return;
    await this.env.models.EncryptionKey.update({ lastUsedAt: this.env.now() }, { where: { id: [...ids] } });
  }

  /** As `open`, for whoever needs the file key alone. @returns what gives the file key of a header */
  unsealing(what: string, given: string | undefined, backupId: string | null): (header: Buffer) => Promise<Buffer> {
    return async (header) => (await this.open(header, what, given, backupId)).fileKey;
  }

  /**
   * Opens the header of a sealed archive: with what is given, or otherwise with the keys that are held here.
   * @param what the archive, for the error
   * @param given an identity or a passphrase, as `readGiven` takes it
   * @param backupId whose keys are tried first; null: it is not on record
   * @throws AppError ENCRYPTION_KEY_MISSING, ENCRYPTION_KEY_WRONG, BAD_USER_INPUT naming `identity`, ARCHIVE_…
   */
  async open(header: Buffer, what: string, given: string | undefined, backupId: string | null): Promise<Opened> {
    const own = backupId === null ? [] : await this.ofBackup(backupId);
    const opened =
      given === undefined ? await this.openHeld(header, own) : await this.openGiven(header, await readGiven(given));
    if (opened !== null) {
      await this.used(opened.keyIds);
      return opened;
    }
    const names = own.map(({ name, recipient }) => (recipient === null ? `"${name}"` : `"${name}" (${recipient})`));
    const sealed = wantsPassphrase(header) ? 'a passphrase' : 'a key that is not on record';
    const for_ = names.length === 0 ? sealed : names.join(', ');
    if (given !== undefined) {
      throw new AppError('ENCRYPTION_KEY_WRONG', `${what} is encrypted for ${for_}, and not for the one given.`, {
        field: 'identity',
      });
    }
    throw new AppError('ENCRYPTION_KEY_MISSING', `${what} is encrypted for ${for_}, and its key is not held here.`);
  }

  /**
   * True if the identities that are held here open the header; null if there are none. A passphrase is not tried: it has just
   * made the header, and would take as long again.
   */
  async opensHere(header: Buffer, keys: readonly EncryptionKeyRow[], fileKey: Buffer): Promise<boolean | null> {
    const held = keys.filter(({ recipient, secret }) => recipient !== null && secret !== null);
    if (held.length === 0) return null;
    for (const key of held) {
      const found = await openHeader(header, await this.secretOf(key));
      if (found === null || !found.equals(fileKey)) return false;
    }
    return true;
  }

  /** Seals everything anew. Called while a new secrets key takes the place of the old one. */
  async reseal(transaction: Transaction): Promise<number> {
    const { EncryptionKey, Restore } = this.env.models;
    const { secrets } = this.env;
    const keys = await EncryptionKey.findAll({ where: { secret: { [Op.ne]: null } }, transaction });
    for (const row of keys) {
      const secret = await secrets.reseal(row.secret ?? '');
      await row.update({ secret }, { transaction });
    }
    for (const row of await Restore.findAll({ where: { sealedFileKey: { [Op.ne]: null } }, transaction })) {
      const sealedFileKey = await secrets.reseal(row.sealedFileKey ?? '');
      await row.update({ sealedFileKey }, { transaction });
    }
    return keys.length;
  }

  /** A file key as a row may keep it until its run has ended. */
  sealFileKey(fileKey: Buffer): Promise<string> {
    return this.env.secrets.seal({ fileKey: fileKey.toString('base64') });
  }

  /** @throws AppError CONFIG_INVALID if it does not open with the secrets key */
  async openFileKey(sealed: string): Promise<Buffer> {
    const { fileKey = '' } = await this.env.secrets.open(sealed);
    return Buffer.from(fileKey, 'base64');
  }

  private async openHeld(header: Buffer, own: EncryptionKeyRow[]): Promise<Opened | null> {
    const byPassphrase = wantsPassphrase(header);
    const others = (await this.list()).filter(({ id }) => !own.some((key) => key.id === id));
    for (const key of [...own, ...others]) {
      // A passphrase takes about a second to try.
      if (key.secret === null || (key.recipient === null) !== byPassphrase) continue;
      const fileKey = await openHeader(header, await this.secretOf(key));
      if (fileKey !== null) return { fileKey, keyIds: [key.id] };
    }
    return null;
  }

  private async openGiven(header: Buffer, { identities, passphrases, recipients }: Given): Promise<Opened | null> {
    const fileKey = await openHeader(header, { identities, passphrases });
    if (fileKey === null) return null;
    const rows = await this.env.models.EncryptionKey.findAll({ where: { recipient: recipients } });
    const keyIds: number[] = [];
    for (const [index, recipient] of recipients.entries()) {
      const key = rows.find((row) => row.recipient === recipient);
      const identity = identities[index] ?? '';
      if (key === undefined || (await openHeader(header, { identities: [identity], passphrases: [] })) === null)
        continue;
      keyIds.push(key.id);
    }
    return { fileKey, keyIds };
  }

  private async secretOf({ secret }: EncryptionKeyRow): Promise<{ identities: string[]; passphrases: string[] }> {
    const { identity, passphrase } = await this.env.secrets.open(secret ?? '');
    return {
      identities: identity === undefined ? [] : [identity],
      passphrases: passphrase === undefined ? [] : [passphrase],
    };
  }

  private async grouped<Id>(pairs: { id: Id; keyId: number }[]): Promise<{ id: Id; keys: EncryptionKeyRow[] }[]> {
    const where = { id: [...new Set(pairs.map(({ keyId }) => keyId))] };
    const keys = new Map((await this.env.models.EncryptionKey.findAll({ where })).map((key) => [key.id, key]));
    const groups = new Map<Id, EncryptionKeyRow[]>();
    for (const { id, keyId } of pairs) groups.set(id, [...(groups.get(id) ?? []), keys.get(keyId) ?? []].flat());
    return [...groups].map(([id, found]) => ({ id, keys: found }));
  }

  private joined(table: string, column: string, owner: number | string, transaction?: Transaction) {
    const { sequelize, EncryptionKey } = this.env.models;
    return sequelize.query(
      `SELECT k.* FROM encryption_keys k JOIN ${table} j ON j."keyId" = k.id WHERE j."${column}" = :owner ORDER BY k.id`,
      { model: EncryptionKey, mapToModel: true, replacements: { owner }, ...(transaction && { transaction }) },
    );
  }

  private async openedByNoOther(id: number, transaction: Transaction): Promise<number> {
    const [row] = await this.env.models.sequelize.query<{ count: number | string }>(
      `SELECT count(*) AS count FROM backup_keys j JOIN backups b ON b.id = j."backupId"
       WHERE j."keyId" = :id AND b.status IN (:living)
         AND NOT EXISTS (SELECT 1 FROM backup_keys o WHERE o."backupId" = j."backupId" AND o."keyId" <> :id)`,
      { type: QueryTypes.SELECT, replacements: { id, living: LIVING }, transaction },
    );
    return Number(row?.count ?? 0);
  }
}

/** What a new key consists of. */
async function made({ generate = false, recipient, passphrase, keepHere }: KeyInput): Promise<{
  recipient: string | null;
  identity: string | null;
  secret: Record<string, string> | null;
}> {
  const given = [generate, recipient !== undefined, passphrase !== undefined].filter(Boolean).length;
  if (given !== 1) throw badInput('input', 'must have exactly one of generate, recipient and passphrase.');
  if (recipient !== undefined) {
    if (keepHere === true) throw badInput('keepHere', 'has nothing to keep: a recipient has no secret.');
    const text = recipient.trim();
    if (await isRecipient(text)) return { recipient: text, identity: null, secret: null };
    throw badInput('recipient', 'is no X25519 recipient of age.', 'Paste the line `age1…` that age-keygen shows.');
  }
  if (passphrase === undefined) {
    const fresh = await newIdentity();
    return { ...fresh, secret: keepHere === true ? { identity: fresh.identity } : null };
  }
  if (keepHere === false) {
    throw badInput('keepHere', 'cannot be false for a passphrase: every backup needs it.', 'Use a recipient instead.');
  }
  assertPassphrase(passphrase);
  return { recipient: null, identity: null, secret: { passphrase } };
}

function assertPassphrase(passphrase: string): void {
  if (passphrase.length < MIN_PASSPHRASE || passphrase.length > 1_000) {
    const hint = 'Use four random words or more: it can be guessed by anyone who has an archive.';
    throw badInput('passphrase', `must have ${MIN_PASSPHRASE} to 1000 characters.`, hint);
  }
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(passphrase) || passphrase !== passphrase.trim()) {
    throw badInput('passphrase', 'must not hold line breaks, nor begin or end with a blank.');
  }
  if (passphrase.startsWith('AGE-')) throw badInput('passphrase', 'looks like an identity of age.');
}

const inUse = ({ name }: EncryptionKeyRow, why: string) =>
  new AppError('ENCRYPTION_KEY_IN_USE', `The encryption key "${name}" cannot be deleted: ${why}.`);
