import { Op } from 'sequelize';
import { AppError } from '../errors.js';
import type { Models } from '../models/index.js';

/** How many ids a refusal lists. */
const SHOWN = 5;

/** What the argument of a command says about ids. */
export const ID_HELP = 'its id, a unique beginning of it, or `latest`';

/**
 * The id of the backup that is meant: an id, a beginning that only one has (with or without `backup_`), or `latest`, the
 * newest COMPLETED one that was not made as a safety backup and is not damaged.
 * @param filter `configId`: only of this config
 * @throws AppError NOT_FOUND, and BAD_USER_INPUT for a beginning that several have
 */
export function backupId(
  models: Models,
  given: string,
  filter: { configId?: number | undefined } = {},
): Promise<string> {
  const newest = { status: 'COMPLETED', backupType: { [Op.ne]: 'SAFETY' }, damaged: false };
  const ofConfig = filter.configId === undefined ? {} : { configId: filter.configId };
  return find(models.Backup as never, 'backup', given, newest, ofConfig);
}

/** As `backupId`; `latest` is the newest restore. */
export function restoreId(models: Models, given: string): Promise<string> {
  return find(models.Restore as never, 'restore', given, {}, {});
}

/** As `backupId`; `latest` is the newest verification. */
export function verificationId(models: Models, given: string): Promise<string> {
  return find(models.Verification as never, 'verify', given, {}, {});
}

/**
 * The id of a run of any kind; `latest` is the newest backup, with `restore_latest` the newest restore, and with
 * `verify_latest` the newest verification.
 */
export async function runId(models: Models, given: string): Promise<{ kind: Kind; id: string }> {
  if (given.startsWith('verify_')) return { kind: 'verify', id: await verificationId(models, given) };
  if (given.startsWith('restore_')) return { kind: 'restore', id: await restoreId(models, given) };
  if (given === 'latest') return { kind: 'backup', id: await find(models.Backup as never, 'backup', given, {}, {}) };
  return { kind: 'backup', id: await backupId(models, given) };
}

/** What is needed of the two models whose rows have such ids. */
interface Table {
  findAll(options: object): Promise<{ id: string }[]>;
}

/** How the ids of a kind of run begin, what it is called, and the command that lists them. */
const KINDS = {
  backup: { noun: 'backup', list: 'list' },
  restore: { noun: 'restore', list: 'restores' },
  verify: { noun: 'verification', list: 'verifications' },
} as const;
type Kind = keyof typeof KINDS;

async function find(table: Table, kind: Kind, given: string, newest: object, where: object): Promise<string> {
  const text = given.trim().replace(/^(backup|restore|verify)_(?=latest$)/, '');
  const { noun, list } = KINDS[kind];
  if (text.toLowerCase() === 'latest') {
    const order = [
      ['createdAt', 'DESC'],
      ['id', 'DESC'],
    ];
    const [row] = await table.findAll({ attributes: ['id'], where: { ...where, ...newest }, order, limit: 1 });
    if (row !== undefined) return row.id;
    throw new AppError('NOT_FOUND', `There is no ${noun} yet that \`latest\` could mean.`);
  }
  const beginning = text.startsWith(`${kind}_`) ? text : `${kind}_${text}`;
  const unknown = new AppError('NOT_FOUND', `There is no ${noun} "${given}".`, {
    hint: `\`db-manager ${list}\` shows the ids.`,
  });
  if (text === '' || !/^\w+$/.test(beginning)) throw unknown;
  const ids = (
    await table.findAll({
      attributes: ['id'],
      where: { ...where, id: { [Op.startsWith]: beginning } },
      order: [['id', 'DESC']],
      limit: SHOWN + 1,
    })
  )
    .map(({ id }) => id)
    // `_` stands for any sign in the query.
    .filter((id) => id.startsWith(beginning));
  const exact = ids.find((id) => id === beginning);
  const [only, ...others] = ids;
  if (exact !== undefined || (only !== undefined && others.length === 0)) return exact ?? (only as string);
  if (only === undefined) throw unknown;
  const several = `${ids.slice(0, SHOWN).join(', ')}${ids.length > SHOWN ? ', …' : ''}`;
  throw new AppError('BAD_USER_INPUT', `id: "${given}" is the beginning of several ids: ${several}.`, {
    hint: 'Write more of the id.',
    field: 'id',
  });
}
