import type { CoreEnvironment } from '../environment.js';
import { Op } from 'sequelize';
import { isControlName, isSealedName } from '../../archive/format.js';
import { AppError, toAppError } from '../../errors.js';
import { type BackupConfigRow, type BackupRow, type EncryptionKeyRow, isGood } from '../../models/index.js';
import type { StorageAddress } from '../ports.js';
import { decideEquals, equalsIn, parentsIn, reasonOf, type Worthwhile, worthwhile } from './consolidations.js';
import {
  keepNeeded,
  planHash,
  planRetention,
  type RetentionBackup,
  type RetentionDecision,
  type RetentionReason,
  suspended,
} from './plan.js';
import { policyOf } from './policy.js';

/** What cleaning up needs of the process around it. */
export type CleanupEnvironment = Pick<
  CoreEnvironment,
  'models' | 'log' | 'now' | 'storages' | 'audit' | 'onDeletionPlanned'
> & {
  configs: {
    get(id: number): Promise<BackupConfigRow>;
    list(): Promise<BackupConfigRow[]>;
  };
  backups: {
    /** Ends the pin that a safety backup was made with, or that another backup of the same state has, too. */
    endPin(id: string, actor: string): Promise<void>;
    /** Makes a full backup of an incremental one, and returns it COMPLETED. */
    consolidateByPolicy(id: string, actor: string, stop: AbortSignal): Promise<BackupRow>;
    /** Deletes a backup, if under its lock it still may go; null if not. */
    removeByPolicy(
      id: string,
      actor: string,
      reason: string,
      stillDue: () => Promise<boolean>,
    ): Promise<BackupRow | null>;
    /** Deletes a backup whose deletion has waited for long enough, if under its lock it still may go; null if not. */
    removePlanned(row: BackupRow, stillDue: () => Promise<boolean>): Promise<BackupRow | null>;
    /** Takes back a deletion that waits. */
    keep(id: string, actor: string): Promise<BackupRow>;
  };
  keys: {
    /** The keys of each of these backups that has some. */
    ofBackups(ids: readonly string[]): Promise<{ id: string; keys: EncryptionKeyRow[] }[]>;
  };
};

/** What becomes of one backup, and why. */
export interface RetentionItem extends RetentionDecision {
  backup: BackupRow;
  /** True if a full backup is to be made of it, so that what it builds on can go. */
  consolidate: boolean;
  /** Why it could not be deleted or consolidated, when the plan was run. */
  error: AppError | null;
}

/** What a config's policy does to its backups at a moment. The plan that is shown is the plan that is run. */
export interface RetentionPlan {
  config: BackupConfigRow;
  at: Date;
  items: RetentionItem[];
  deleteCount: number;
  /** Bytes. */
  deleteSize: number;
  keepCount: number;
  /** Bytes. */
  keepSize: number;
  /** Names what would be deleted: `run` with this hash does just that or nothing. */
  hash: string;
}

/** What came of the plans of all configs. */
export interface CleanedUp {
  plans: RetentionPlan[];
  /** The configs whose plan could not be made or run, and what was thrown there. */
  failures: { config: BackupConfigRow; error: unknown }[];
}

/** A stored file without a row, or a row without its file. */
export interface Orphans {
  storage: StorageAddress;
  /** Archives that no backup of this installation knows. They are never touched. */
  files: string[];
  /** Backups whose archive is not there. */
  rows: BackupRow[];
  /** Why the storage could not be looked at. */
  error: AppError | null;
}

const FACTS = [
  'id',
  'createdAt',
  'status',
  'backupType',
  'pinned',
  'pinnedBy',
  'verifiedAt',
  'fileSize',
  'fileName',
  'archiveId',
  'parentArchiveId',
  'consolidates',
  'errorCode',
  'suspicious',
] as const;

/** Deletes by policy. Every deletion is checked against a plan of the moment, under the lock of the backup. */
export class Cleanup {
  constructor(private readonly env: CleanupEnvironment) {}

  /**
   * What the policy would do, now or at another moment.
   * @param config with the policy that is planned, which need not be the saved one
   * @param waiting id of a backup that takes part although its deletion waits; the others of those count as gone
   */
  async plan(
    config: BackupConfigRow,
    at: Date = this.env.now(),
    waiting: string | null = null,
  ): Promise<RetentionPlan> {
    const rows = await this.env.models.Backup.findAll({
      attributes: [...FACTS],
      where: {
        configId: config.id,
        status: 'COMPLETED',
        [Op.or]: [{ deleteAfter: null }, ...(waiting === null ? [] : [{ id: waiting }])],
      },
    });
    const kept = suspended(rows);
    if (kept !== null) return summed(config, at, itemsOf(rows, kept));
    const equals = equalsIn(rows);
    const decided = decideEquals(equals, rows);
    const decisions = new Map<string, RetentionDecision>(decided.map((decision) => [decision.id, decision]));
    const ruled = rows.filter(({ id }) => !decisions.has(id));
    for (const backups of inEachDestination(ruled, config)) {
      const input = { backups, policy: policyOf(config), timezone: config.timezone, now: at };
      for (const decision of planRetention(input)) {
        const before = decisions.get(decision.id);
        // It goes only once nothing keeps it in any of the places in which it lies.
        if (before === undefined || weight(decision) > weight(before)) decisions.set(decision.id, decision);
      }
    }
    const parents = parentsIn(rows, equals);
    const items = keepNeeded(itemsOf(rows, [...decisions.values()]), parents);
    for (const one of worthwhile(items, parents, equals)) await this.planConsolidation(items, one);
    return summed(config, at, items);
  }

  /** Says on the item of a backup that it is consolidated, or why not. */
  private async planConsolidation(items: RetentionItem[], wanted: Worthwhile): Promise<void> {
    const { backup, below } = wanted;
    const sealed = [backup, ...below].filter(({ fileName }) => isSealedName(fileName)).map(({ id }) => id);
    const keys = await this.env.keys.ofBackups(sealed);
    const isHeld = (id: string) =>
      keys.some((own) => own.id === id && own.keys.some(({ secret }) => (secret ?? null) !== null));
    const opens = sealed.every(isHeld);
    const item = items.find(({ id }) => id === backup.id);
    if (item === undefined) return;
    item.consolidate = opens;
    item.reasons = [...item.reasons, reasonOf(wanted, opens)];
  }

  /**
   * Runs the plan of this moment. What cannot be deleted keeps its row, with the reason in the result, and is tried the
   * next time. Where it makes full backups of incremental ones, what they let go is deleted once they are stored, verified and
   * have their copies: at once, or the next time.
   * @param options `hash`: if given, the plan must still be the one with this hash
   * @returns the plan by which was deleted
   * @throws AppError NOT_FOUND, PLAN_CHANGED
   */
  async run(
    configId: number,
    actor: string,
    { hash, stop = new AbortController().signal }: { hash?: string | undefined; stop?: AbortSignal } = {},
  ): Promise<RetentionPlan> {
    const first = await this.plan(await this.env.configs.get(configId));
    if (hash !== undefined && hash !== first.hash) {
      throw new AppError('PLAN_CHANGED', 'Backups were added, verified, pinned or deleted since the plan was made.');
    }
    const stopped = stoppedBy(first);
    if (stopped !== null) this.env.log.warn({ config: configId }, `the clean-up is stopped: ${stopped.text}`);
    const plan = await this.consolidate(first, actor, stop);
    for (const item of plan.items) {
      if (item.unpin) await this.env.backups.endPin(item.id, actor);
      if (!item.keep) await this.delete(item, configId, actor);
    }
    const planned = plan.items.map(({ backup }) => backup).filter(({ deleteAfter }) => (deleteAfter ?? null) !== null);
    if (planned.length > 0) await this.env.onDeletionPlanned(planned);
    return plan;
  }

  /** Makes the full backups of a plan. @returns the plan that follows from them; the same where there are none */
  private async consolidate(plan: RetentionPlan, actor: string, stop: AbortSignal): Promise<RetentionPlan> {
    const wanted = plan.items.filter(({ consolidate }) => consolidate);
    const failed = new Map<string, AppError>();
    for (const item of wanted) {
      try {
        await this.env.backups.consolidateByPolicy(item.id, actor, stop);
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        failed.set(item.id, error);
        await this.noteFailure(item.id, actor, error, 'a backup could not be consolidated');
      }
    }
    const next = wanted.length === failed.size ? plan : await this.plan(plan.config);
    for (const item of next.items) item.error = failed.get(item.id) ?? null;
    return next;
  }

  /** Tries the plans of all configs: what stops one does not keep the others from theirs. */
  async tryAll(actor: string, stop?: AbortSignal): Promise<CleanedUp> {
    const done: CleanedUp = { plans: [], failures: [] };
    for (const config of await this.env.configs.list()) {
      try {
        done.plans.push(await this.run(config.id, actor, stop === undefined ? {} : { stop }));
      } catch (error) {
        done.failures.push({ config, error });
      }
    }
    await this.deletePlanned();
    return done;
  }

  /**
   * Deletes what has waited for long enough. What a policy wanted is taken back if it would keep it by now, such as after the
   * loss of a newer one. What builds on another goes before it.
   */
  private async deletePlanned(): Promise<void> {
    const due = await this.env.models.Backup.findAll({
      where: { status: 'COMPLETED', deleteAfter: { [Op.lte]: this.env.now() } },
      order: [['chainPosition', 'DESC']],
    });
    for (const row of due) {
      try {
        let isKept = false;
        const removed = await this.env.backups.removePlanned(row, async () => !(isKept = await this.keepsByNow(row)));
        if (removed === null && isKept) await this.env.backups.keep(row.id, 'system');
      } catch (error) {
        await this.noteFailure(row.id, 'system', toAppError(error), 'a backup could not be deleted');
      }
    }
  }

  /** True if a policy wanted it gone and no longer does, or is no longer there. */
  private async keepsByNow({ id, configId, deleteByPolicy }: BackupRow): Promise<boolean> {
    if (deleteByPolicy !== true) return false;
    const config = configId === null ? null : await this.env.models.BackupConfig.findByPk(configId);
    if (config === null) return true;
    const { items } = await this.plan(config, this.env.now(), id);
    return items.some((item) => item.id === id && item.keep);
  }

  /** As `tryAll`, for a person. @throws AppError what stopped a config, once all have been tried */
  async runAll(actor: string, stop?: AbortSignal): Promise<RetentionPlan[]> {
    const done = await this.tryAll(actor, stop);
    const error = failureOf(done);
    if (error !== null) throw error;
    return done.plans;
  }

  /** As `tryAll`, for the schedule: failures go to the log, and each config is tried again the next time. */
  async runScheduled(stop?: AbortSignal): Promise<void> {
    for (const { config, error } of (await this.tryAll('system', stop)).failures) {
      this.env.log.error({ err: error, config: config.id }, 'the retention of a config failed');
    }
  }

  /**
   * Compares the storages with the rows: those that rows name, those of the configs, the one that archives lie in by
   * default, and other folders. Reports only: nothing is deleted or changed.
   * @param folders absolute paths of other folders to look into
   */
  async reconcile(folders: string[] = []): Promise<Orphans[]> {
    const { models, storages } = this.env;
    const rows = await models.Backup.findAll({ attributes: [...FACTS], where: { status: 'COMPLETED' } });
    // A damaged copy still lies there.
    const damaged = { status: 'FAILED', size: { [Op.ne]: null } };
    const where = { [Op.or]: [{ status: ['COMPLETED', 'RUNNING'] }, damaged] };
    const copies = await models.StoredObject.findAll({ attributes: ['location'], where });
    const known = new Set(copies.map(({ location }) => location));
    const groups = new Map<string, { storage: StorageAddress; rows: Map<string, BackupRow> }>();
    const groupOf = (storage: StorageAddress) => {
      const { place } = storages.open(storage);
      const group = groups.get(place) ?? { storage, rows: new Map<string, BackupRow>() };
      groups.set(place, group);
      return group;
    };
    for (const row of rows) {
      for (const { status, name, destination } of row.copies) {
        const { storageType, storagePath } = destination;
        if (status === 'COMPLETED') groupOf({ storageType, storagePath }).rows.set(name, row);
      }
    }
    for (const { storageType, storagePath } of await this.env.configs.list()) groupOf({ storageType, storagePath });
    const destinations = await models.Destination.findAll({ where: { deletedAt: null } });
    const away = new Set<unknown>();
    const asked = new Set<unknown>();
    for (const { storageType, storagePath, name, settings, offline } of destinations) {
      const group = groupOf({ storageType, storagePath });
      if (offline) away.add(group);
      // Somebody has added it, so it must be there.
      else if (name !== null || settings !== null) asked.add(group);
    }
    groupOf(storages.resolve({ storageType: 'LOCAL', storagePath: '.' }, 'storagePath'));
    for (const storagePath of folders) asked.add(groupOf({ storageType: 'SYSTEM', storagePath }));
    const found: Orphans[] = [];
    for (const group of groups.values()) {
      const wanted = asked.has(group) || (group.rows.size > 0 && !away.has(group));
      found.push(await this.compare(group.storage, group.rows, known, wanted));
    }
    return found;
  }

  /**
   * @param rows by the name of their copy there
   * @param wanted false if the place need not be there: nothing is said to lie in it yet
   */
  private async compare(
    storage: StorageAddress,
    rows: ReadonlyMap<string, BackupRow>,
    known: Set<string>,
    wanted: boolean,
  ): Promise<Orphans> {
    const missing = new Map(rows);
    const files: string[] = [];
    try {
      for await (const { name, location } of this.env.storages.open(storage).list()) {
        if (!missing.delete(name) && !known.has(location) && !isControlName(name)) files.push(location);
      }
      return { storage, files: files.sort(), rows: [...missing.values()], error: null };
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      return { storage, files: [], rows: [], error: wanted ? error : null };
    }
  }

  private async delete(item: RetentionItem, configId: number, actor: string): Promise<void> {
    const stillDue = async () => {
      const now = await this.plan(await this.env.configs.get(configId));
      return now.items.some(({ id, keep }) => id === item.id && !keep);
    };
    const reason = item.reasons.map(({ text }) => text).join(' ');
    try {
      const removed = await this.env.backups.removeByPolicy(item.id, actor, reason, stillDue);
      if (removed === null) throw new AppError('PLAN_CHANGED', 'By now a rule keeps it.');
      item.backup = removed;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      item.error = error;
      await this.noteFailure(item.id, actor, error, 'a backup could not be deleted');
    }
  }

  private async noteFailure(id: string, actor: string, error: AppError, what: string): Promise<void> {
    this.env.log.warn({ err: error, backup: id }, what);
    await this.env.audit.record(actor, 'cleanup.failed', id, { code: error.code });
  }
}

/** Why a plan deletes nothing at all; null if it is a plan like any other. */
export const stoppedBy = ({ items }: RetentionPlan): RetentionReason | null =>
  items[0]?.reasons.find(({ code }) => code === 'ANOMALY') ?? null;

/** The first failure as one to show: it names each config that failed, and those that did not; null if none did. */
export function failureOf({ plans, failures }: CleanedUp): AppError | null {
  const errors = failures.map(({ error }) => toAppError(error));
  const [first] = errors;
  if (first === undefined) return null;
  const named = ({ id, name }: BackupConfigRow) => `config ${id} "${name}"`;
  const told = failures.map(({ config }, i) => `The clean-up of ${named(config)} failed: ${errors[i]?.message}`);
  if (plans.length > 0) told.push(`It was done for ${plans.map(({ config }) => named(config)).join(', ')}.`);
  const [cause, ...more] = failures.map(({ error }) => error);
  return new AppError(first.code, told.join(' '), {
    hint: first.hint,
    cause: more.length > 0 ? new AggregateError([cause, ...more]) : cause,
  });
}

function itemsOf(rows: BackupRow[], decisions: RetentionDecision[]): RetentionItem[] {
  const byId = new Map(decisions.map((decision) => [decision.id, decision]));
  return rows.flatMap((backup) => {
    const decision = byId.get(backup.id);
    return decision === undefined ? [] : [{ ...decision, backup, consolidate: false, error: null }];
  });
}

function summed(config: BackupConfigRow, at: Date, items: RetentionItem[]): RetentionPlan {
  const size = (keep: boolean) =>
    items.filter((item) => item.keep === keep).reduce((sum, { backup }) => sum + (backup.fileSize ?? 0), 0);
  const deleteCount = items.filter(({ keep }) => !keep).length;
  return {
    config,
    at,
    items: items.sort((a, b) => b.backup.createdAt.getTime() - a.backup.createdAt.getTime()),
    deleteCount,
    deleteSize: size(false),
    keepCount: items.length - deleteCount,
    keepSize: size(true),
    hash: planHash(items),
  };
}

/** The backups as each destination has them: verified as its own copy is. */
function inEachDestination(rows: BackupRow[], { minimumCopies }: BackupConfigRow): RetentionBackup[][] {
  const destinations = new Map<number, RetentionBackup[]>();
  for (const row of rows) {
    const stored = row.copies.filter(({ status }) => status === 'COMPLETED');
    const good = stored.filter(isGood).length;
    for (const { destinationId, verifiedAt } of stored.length > 0 ? stored : [row.copy]) {
      const group = destinations.get(destinationId) ?? [];
      destinations.set(destinationId, group);
      const { id, createdAt, status, backupType, pinned, pinnedBy = null, fileSize } = row;
      const facts = { id, createdAt, status, backupType, pinned, pinnedBy, fileSize };
      group.push({ ...facts, verifiedAt: row.verifiedAt && (verifiedAt ?? null), copied: good >= minimumCopies });
    }
  }
  return [...destinations.values()];
}

/** How much a decision keeps: a backup is kept before it is unpinned, and unpinned before it is deleted. */
const weight = ({ keep, unpin }: RetentionDecision) => (keep ? (unpin ? 1 : 2) : 0);
