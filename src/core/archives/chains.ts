import { literal, Op } from 'sequelize';
import { AppError } from '../../errors.js';
import { type BackupRow, type Models, readPlain } from '../../models/index.js';

/** What a row says of its place in a chain. */
export type Member = Pick<BackupRow, (typeof MEMBER)[number]>;

const MEMBER = [
  'id',
  'archiveId',
  'parentArchiveId',
  'chainArchiveId',
  'chainPosition',
  'consolidates',
  'verifiedAt',
  'errorCode',
  'deleteAfter',
] as const;

/*
 * What builds on a backup names its archive. Two rows can be that archive: the backup itself, and the full backup that was
 * made of it and of what it builds on (`consolidates`). They are the same state, so either will do.
 */

/** The id under which others build on a backup. */
export const baseIdOf = ({ archiveId, consolidates }: Pick<BackupRow, 'archiveId' | 'consolidates'>): string | null =>
  consolidates ?? archiveId ?? null;

const isIntact = ({ verifiedAt, errorCode }: Member) => verifiedAt !== null && (errorCode ?? null) === null;

/** What was uploaded only says of itself what it is. */
const isMadeHere = ({ id, archiveId }: Member): boolean => id === archiveId;

/** True while its deletion waits. */
export const isPlanned = ({ deleteAfter }: Pick<Member, 'deleteAfter'>): boolean => (deleteAfter ?? null) !== null;

/** The columns of a backup whose deletion was taken back. */
export const NOT_PLANNED = { deleteAfter: null, deleteByPolicy: null, deletedBy: null, deleteReason: null };

const isConsolidation = ({ consolidates }: Member) => (consolidates ?? null) !== null;

/**
 * Of the rows that are one archive, the one to read: a good full backup that was made of it here, otherwise the backup itself,
 * and what else there is only without that.
 */
export function preferred<Row extends Member>(rows: readonly Row[]): Row | undefined {
  const own = rows.find((row) => isConsolidation(row) && isMadeHere(row) && isIntact(row));
  const itself = rows.filter((row) => !isConsolidation(row));
  return own ?? itself.find(isMadeHere) ?? itself[0] ?? rows.find(isIntact) ?? rows[0];
}

/** The rows by the id under which others build on them. */
export function byBaseId<Row extends Member>(rows: readonly Row[]): Map<string | null, Row[]> {
  const groups = new Map<string | null, Row[]>();
  for (const row of rows) groups.set(baseIdOf(row), [...(groups.get(baseIdOf(row)) ?? []), row]);
  return groups;
}

/** The stored backups that are this archive. */
const whereBase = (archiveId: string | string[]) => ({
  [Op.or]: [{ archiveId }, { consolidates: archiveId }],
  status: 'COMPLETED' as const,
});

/** The stored backup that others build on under this id; null if there is none. */
export async function findBase(models: Models, archiveId: string): Promise<BackupRow | null> {
  return preferred(await models.Backup.findAll({ where: whereBase(archiveId) })) ?? null;
}

/** As `findBase`, for many. */
export async function findBases(models: Models, archiveIds: string[]): Promise<Map<string, BackupRow>> {
  const groups = byBaseId(await models.Backup.findAll({ where: whereBase(archiveIds) }));
  return new Map(
    archiveIds.flatMap((id): [string, BackupRow][] => {
      const row = preferred(groups.get(id) ?? []);
      return row === undefined ? [] : [[id, row]];
    }),
  );
}

/** The stored backups of a chain. @param id `archiveId` of the full backup that it began with */
const whereChain = (id: string | null | undefined) => ({
  [Op.or]: [{ archiveId: id }, { chainArchiveId: id }],
  status: 'COMPLETED' as const,
});

/**
 * What an incremental backup builds on, the full one first; empty for a full one.
 * @throws AppError CHAIN_BROKEN naming what is missing
 */
export async function parentsOf(models: Models, row: BackupRow): Promise<BackupRow[]> {
  const line = await lineOf(models, row);
  if (line.length === 0) return [];
  const byId = new Map<string, BackupRow>();
  for (let at = 0; at < line.length; at += AT_ONCE) {
    const where = { id: line.slice(at, at + AT_ONCE).map(({ id }) => id) };
    for (const parent of await models.Backup.findAll({ where })) byId.set(parent.id, parent);
  }
  return line.map(({ id }) => {
    const parent = byId.get(id);
    if (parent === undefined) throw missing(row, id);
    return parent;
  });
}

/** So many rows are asked for by their ids in one statement, whose length is limited. */
const AT_ONCE = 500;

/** As `parentsOf`, no more than the place of each in the chain: there can be thousands. */
async function lineOf(models: Models, row: Member): Promise<Member[]> {
  if ((row.parentArchiveId ?? null) === null) return [];
  const rows = byBaseId(await readPlain(models.Backup, MEMBER, { where: whereChain(row.chainArchiveId) }));
  const line: Member[] = [];
  const seen = new Set<string>();
  for (let at: Member = row; at.parentArchiveId;) {
    const parent = preferred(rows.get(at.parentArchiveId) ?? []);
    // A record that names itself as its parent leads nowhere either.
    if (parent === undefined || seen.has(parent.id)) throw missing(row, at.parentArchiveId);
    seen.add(parent.id);
    line.push(parent);
    at = parent;
  }
  return line.reverse();
}

/** What the next backup has to know of the chain that it would build on. */
export interface ChainState {
  /** Id of the full backup that it begins with. */
  fullId: string;
  /** Id of a member on which nothing can build: unverified, damaged, or without a good copy. Null if there is none. */
  badId: string | null;
  /** Id of a member whose deletion waits; null if there is none. */
  goingId: string | null;
}

/** Looks at a backup and all that it builds on. @throws AppError CHAIN_BROKEN naming what is missing */
export async function chainStateOf(models: Models, row: Member): Promise<ChainState> {
  const chain = [...(await lineOf(models, row)), row];
  const id = models.sequelize.escape(row.chainArchiveId ?? row.archiveId ?? row.id);
  const members = literal(`(SELECT id FROM backups WHERE "archiveId" = ${id} OR "chainArchiveId" = ${id})`);
  const where = { status: 'COMPLETED' as const, errorCode: null, backupId: { [Op.in]: members } };
  const copies = await readPlain(models.StoredObject, ['backupId'], { where });
  const stored = new Set(copies.map(({ backupId }) => backupId));
  const bad = chain.find((member) => !isIntact(member) || !stored.has(member.id));
  return { fullId: chain[0]?.id ?? row.id, badId: bad?.id ?? null, goingId: chain.find(isPlanned)?.id ?? null };
}

const missing = ({ id }: Member, parent: string) =>
  new AppError('CHAIN_BROKEN', `Backup ${id} builds on ${parent}, which is not here.`);

/** How many archives a restore of a backup reads; as many as it began with where one is missing. */
export async function chainLengthOf(models: Models, row: Member): Promise<number> {
  if ((row.parentArchiveId ?? null) === null) return 1;
  const rows = byBaseId(await readPlain(models.Backup, MEMBER, { where: whereChain(row.chainArchiveId) }));
  let length = 1;
  for (let at: Member | undefined = row; at?.parentArchiveId && length <= row.chainPosition; length++) {
    at = preferred(rows.get(at.parentArchiveId) ?? []);
    if (at === undefined) return row.chainPosition + 1;
  }
  return length;
}

/** The other stored backups of the same state, of which each can take the place of the others. */
export async function equalsOf(models: Models, row: BackupRow): Promise<BackupRow[]> {
  const id = baseIdOf(row);
  if (id === null) return [];
  return (await models.Backup.findAll({ where: whereBase(id) })).filter((other) => other.id !== row.id);
}

/**
 * All backups that need this one, stored or being made: those that build on it directly first. None needs one whose place
 * another good one of the same state takes.
 * @param gone ids of backups that are to be deleted as well, and so take no one's place
 */
export async function descendantsOf(
  models: Models,
  row: Member,
  gone: ReadonlySet<string> = new Set(),
): Promise<Member[]> {
  const chain = row.chainArchiveId ?? row.archiveId ?? null;
  if (chain === null) return [];
  const where = {
    [Op.or]: [{ archiveId: chain }, { chainArchiveId: chain }],
    status: ['COMPLETED' as const, 'RUNNING' as const],
  };
  const rows = await readPlain(models.Backup, [...MEMBER, 'status'], { where });
  const stored = byBaseId(rows.filter(({ id, status }) => status === 'COMPLETED' && !gone.has(id)));
  const isReplaced = (member: Member) =>
    (stored.get(baseIdOf(member)) ?? []).some(
      (other) => other.id !== member.id && isIntact(other) && (isMadeHere(other) || !isMadeHere(member)),
    );
  const found = new Map<string, Member>();
  for (let level: Member[] = [row]; level.length > 0;) {
    const bases = new Set(level.filter((member) => !isReplaced(member)).map(baseIdOf));
    // A record that names itself as its parent is found once.
    level = rows.filter(
      ({ id, parentArchiveId = null }) =>
        parentArchiveId !== null && bases.has(parentArchiveId) && id !== row.id && !found.has(id),
    );
    for (const member of level) found.set(member.id, member);
  }
  return [...found.values()];
}

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
