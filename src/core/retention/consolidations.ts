import { type BackupRow, isGood } from '../../models/index.js';
import { baseIdOf, byBaseId, preferred } from '../archives/chains.js';
import { humanSize } from '../text/format.js';
import type { RetentionDecision, RetentionReason } from './plan.js';

/*
 * What a clean-up makes of chains. A full backup that was made of an incremental one is the same state, so only one of the two
 * takes part in the rules. And where a chain is kept only for what builds on it, the clean-up makes such a full backup of the
 * oldest member that a rule keeps, so that the older ones can go.
 */

/** A consolidation is worth it once it frees more than so many times what it writes. */
const WORTH = 1.25;

/** The full backups of a config that were made of incremental ones which are still here. */
export interface Equals {
  /** Incremental backups whose place is taken, and by which. */
  replaced: ReadonlyMap<string, BackupRow>;
  /** Full backups that lie in fewer destinations than the incremental ones do that they are made of, and those. */
  waiting: ReadonlyMap<string, BackupRow>;
}

/** @param rows all that are stored of a config */
export function equalsIn(rows: readonly BackupRow[]): Equals {
  const replaced = new Map<string, BackupRow>();
  const waiting = new Map<string, BackupRow>();
  const incrementals = new Map(rows.filter(isIncremental).map((row) => [row.archiveId ?? null, row]));
  for (const full of rows) {
    const member = incrementals.get(full.consolidates ?? null);
    if (member === undefined || !isMadeHere(full) || !isSound(full)) continue;
    if (!isAsSafe(full, member)) waiting.set(full.id, member);
    // A person's pin never ends by itself.
    else if (!member.pinned || full.pinned) replaced.set(member.id, full);
  }
  return { replaced, waiting };
}

const isIncremental = ({ parentArchiveId }: BackupRow) => (parentArchiveId ?? null) !== null;

/** What was uploaded says of itself what it was made of. */
const isMadeHere = ({ id, archiveId }: BackupRow) => id === archiveId;

const isSound = ({ verifiedAt, errorCode = null, fileSize, copies }: BackupRow) =>
  verifiedAt !== null && errorCode === null && (fileSize ?? 0) > 0 && copies.some(isGood);

/** True if there is a good copy wherever the other one has a good one. */
function isAsSafe(full: BackupRow, { copies }: BackupRow): boolean {
  const places = new Set(full.copies.filter(isGood).map(({ destinationId }) => destinationId));
  return copies.filter(isGood).every(({ destinationId }) => places.has(destinationId));
}

/** What becomes of the backups that the rules do not decide on. */
export function decideEquals({ replaced, waiting }: Equals, rows: readonly BackupRow[]): RetentionDecision[] {
  return rows.flatMap(({ id, pinned }): RetentionDecision[] => {
    const full = replaced.get(id);
    if (full !== undefined) {
      const reasons: RetentionReason[] = [{ code: 'CONSOLIDATED', text: `${full.id} is the same as a full backup.` }];
      return [{ id, keep: pinned, unpin: pinned, reasons }];
    }
    const member = waiting.get(id);
    if (member === undefined) return [];
    const text = `It takes the place of ${member.id} once it has as many copies.`;
    return [{ id, keep: true, unpin: false, reasons: [{ code: 'TOO_FEW_COPIES', text }] }];
  });
}

/** For each incremental backup the one that it builds on, by their ids. */
export function parentsIn(rows: readonly BackupRow[], { waiting }: Equals): Map<string, string> {
  const bases = byBaseId(rows.filter(({ id }) => !waiting.has(id)));
  return new Map(
    rows.flatMap(({ id, parentArchiveId = null }): [string, string][] => {
      const parent = parentArchiveId === null ? undefined : preferred(bases.get(parentArchiveId) ?? []);
      return parent === undefined ? [] : [[id, parent.id]];
    }),
  );
}

/** A consolidation that is worth it. */
export interface Worthwhile {
  /** The oldest of its chain that a rule keeps. */
  backup: BackupRow;
  /** What it builds on, which is kept for no other reason. */
  below: BackupRow[];
  /** Bytes. */
  frees: number;
}

/**
 * The consolidations that free more than they write. How much they write is taken from the full backup of the chain.
 * @param items the decisions, with what is needed kept
 * @param parents as `parentsIn`
 */
export function worthwhile(
  items: readonly (RetentionDecision & { backup: BackupRow })[],
  parents: ReadonlyMap<string, string>,
  { replaced, waiting }: Equals,
): Worthwhile[] {
  const byId = new Map(items.map((item) => [item.id, item]));
  const taken = new Set([...waiting.values()].map(baseIdOf));
  const found: Worthwhile[] = [];
  for (const { id, keep, reasons, backup } of items) {
    if (!keep || isNeededOnly(reasons) || !isIncremental(backup)) continue;
    if (replaced.has(id) || taken.has(baseIdOf(backup))) continue;
    const below = ancestors(id, parents).map((parent) => byId.get(parent));
    const [full] = below.slice(-1);
    if (full === undefined || isIncremental(full.backup)) continue;
    if (!below.every((one) => one !== undefined && isNeededOnly(one.reasons) && isSound(one.backup))) continue;
    if (!isSound(backup)) continue;
    const rows = below.flatMap((one) => one?.backup ?? []);
    const frees = [backup, ...rows].reduce((sum, { fileSize }) => sum + (fileSize ?? 0), 0);
    if (frees > WORTH * (full.backup.fileSize ?? 0)) found.push({ backup, below: rows, frees });
  }
  // Where two branches of a chain are kept, one consolidation frees nothing.
  const uses = (row: BackupRow) => found.filter(({ below }) => below.includes(row)).length;
  return found.filter(({ below }) => below.every((row) => uses(row) === 1));
}

const isNeededOnly = (reasons: readonly RetentionReason[]) => reasons.every(({ code }) => code === 'NEEDED');

/** What a backup builds on, the nearest first. */
function ancestors(id: string, parents: ReadonlyMap<string, string>): string[] {
  const found: string[] = [];
  for (let at = parents.get(id); at !== undefined && !found.includes(at); at = parents.get(at)) found.push(at);
  return found;
}

/** The reason that a plan gives for a consolidation, or for doing without it. */
export function reasonOf({ below, frees }: Worthwhile, opens: boolean): RetentionReason {
  const what = `the ${below.length} older backups that it builds on (${humanSize(frees)} with its own archive)`;
  return opens
    ? { code: 'CONSOLIDATE', text: `A full backup is made of it, so that ${what} can go.` }
    : { code: 'CONSOLIDATE_NO_KEY', text: `No key that is held here opens it, or ${what} could go.` };
}
