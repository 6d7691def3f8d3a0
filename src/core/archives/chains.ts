import { Op } from 'sequelize';
import { AppError } from '../../errors.js';
import { type BackupRow, type Models, readPlain } from '../../models/index.js';

/** What a row says of its place in a chain. */
export type Member = Pick<BackupRow, (typeof MEMBER)[number]>;

const MEMBER = ['id', 'archiveId', 'parentArchiveId', 'chainArchiveId', 'chainPosition'] as const;

/**
 * What an incremental backup builds on, the full one first; empty for a full one.
 * @throws AppError CHAIN_BROKEN naming what is missing
 */
export async function parentsOf(models: Models, row: BackupRow): Promise<BackupRow[]> {
  if ((row.chainArchiveId ?? null) === null) return [];
  const where = { [Op.or]: [{ archiveId: row.chainArchiveId }, { chainArchiveId: row.chainArchiveId }] };
  const rows = await models.Backup.findAll({ where: { ...where, status: 'COMPLETED' } });
  const byArchive = new Map(rows.map((member) => [member.archiveId, member]));
  const parents: BackupRow[] = [];
  for (let at: BackupRow = row; at.parentArchiveId;) {
    const parent = byArchive.get(at.parentArchiveId);
    // A record that names itself as its parent leads nowhere either.
    if (parent === undefined || parents.includes(parent)) throw missing(row, at.parentArchiveId);
    parents.unshift(parent);
    at = parent;
  }
  return parents;
}

const missing = ({ id }: BackupRow, parent: string) =>
  new AppError('CHAIN_BROKEN', `Backup ${id} builds on ${parent}, which is not here.`);

/** All backups that need this one, stored or being made: those that build on it directly first. */
export async function descendantsOf(models: Models, row: Member): Promise<Member[]> {
  const chain = row.chainArchiveId ?? row.archiveId ?? null;
  if (chain === null) return [];
  const where = { chainArchiveId: chain, status: ['COMPLETED' as const, 'RUNNING' as const] };
  const rows = await readPlain(models.Backup, MEMBER, { where });
  const found: Member[] = [];
  const known = new Set([row.archiveId]);
  for (let next = rows.filter(isOn(known)); next.length > 0; next = rows.filter(isOn(known))) {
    for (const member of next) known.add(member.archiveId);
    found.push(...next);
  }
  return found.filter(({ id }) => id !== row.id);
}

/** True for a row whose parent is among these, and which is not itself. */
const isOn =
  (known: ReadonlySet<string | null | undefined>) =>
  ({ archiveId, parentArchiveId }: Member) =>
    (parentArchiveId ?? null) !== null && known.has(parentArchiveId) && !known.has(archiveId);

/** Notes on all backups that need a damaged one that they cannot be restored. */
export async function noteBroken(models: Models, row: BackupRow): Promise<void> {
  const needing = await descendantsOf(models, row);
  if (needing.length === 0) return;
  const {
    code: errorCode,
    message: errorMessage,
    hint: errorHint,
  } = new AppError('CHAIN_BROKEN', `It builds on ${row.id}, which is damaged.`);
  const where = { id: needing.map(({ id }) => id) };
  await models.Backup.update(
    { verifiedAt: null, verificationLevel: null, errorCode, errorMessage, errorHint },
    { where },
  );
}
