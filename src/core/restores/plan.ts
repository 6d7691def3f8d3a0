import type { CoreEnvironment } from '../environment.js';
import { leftOut, type MediaPart, mediaPart } from './media/part.js';
import { shown } from '../../archive/names.js';
import type { Archive } from '../../archive/read.js';
import { AppError, badInput } from '../../errors.js';
import type { BackupConfigRow, BackupRow, RestoreRow } from '../../models/index.js';
import { databaseLease, type HoldEnvironment } from '../runs/hold.js';
import { firstOf } from '../text/format.js';
import { type MediaPlan, planMedia } from './media/plan.js';
import { foreignRefusal, ignoredEntries, isForeign, tablesRefusal } from '../archives/origin.js';
import { protectedPaths } from '../configs/protection.js';
import type { Keys } from '../keys/keys.js';
import type { DatabaseInfo, Holder, TableRepair, TablesRehearsal } from '../ports.js';
import {
  isOwnMedia,
  type RestoreRequest,
  resolveScope,
  type Scope,
  type ScopeEnvironment,
  undoScope,
} from './scope.js';
import { allRelated, rehearse, type RelatedTable, relatedWarning } from './tables.js';
import { planSpace, type SpacePlan, tooFull } from './space.js';
import type { StoredArchive } from '../archives/stored-archive.js';
import { isDamage } from '../archives/verify.js';

/** What a plan needs of the process around it. */
export type PlanEnvironment = ScopeEnvironment &
  HoldEnvironment &
  Pick<CoreEnvironment, 'now' | 'storages' | 'workFolder' | 'exclude'> & { keys: Keys };

/** One table before and after the restore. */
export interface TablePlan {
  name: string;
  /** Null: the backup does not have it. */
  backupRows: number | null;
  /** Null: the target does not have it. */
  targetRows: number | null;
  change: 'ADD' | 'REPLACE' | 'REMOVE' | 'REPAIR' | 'KEEP';
  schemaDiffers: boolean;
}

/** A dry run: what would change, and every reason why it would be refused. */
export interface RestorePlan {
  backup: BackupRow;
  allowed: boolean;
  refusals: AppError[];
  warnings: string[];
  /** Where the copy lies that is read: the nearest good one. */
  archivePath: string;
  /** Without a password. */
  target: string;
  targetExists: boolean;
  /** Page size, journal mode, versions, … of the backup and of the target. */
  backupSource: Record<string, string | number>;
  targetSource: Record<string, string | number>;
  tables: TablePlan[];
  /** What happens to the rows of each table where only rows are brought back. */
  repairs: TableRepair[];
  /** Tables that belong to the chosen ones by foreign keys or triggers and are not chosen. */
  related: RelatedTable[];
  media: MediaPlan;
  space: SpacePlan[];
  holders: Holder[];
}

/** How long opening the archive may take, in milliseconds: someone waits for the plan. */
export const PATIENCE = 60_000;
/** A file that is no database is not replaced at another place: it may be anything. */
const OTHER_FILE = 'Choose another target, or move the file away.';

/**
 * Plans a restore without changing anything. Wishes that make no sense throw; what stands in the way is in `refusals`.
 * @throws AppError NOT_FOUND, BAD_USER_INPUT, ARCHIVE_…
 */
export async function planRestore(
  env: PlanEnvironment,
  { row: backup, stored }: { row: BackupRow; stored: StoredArchive },
  request: RestoreRequest,
  undone: RestoreRow | null = null,
): Promise<{ plan: RestorePlan; scope: Scope }> {
  const archive = await stored.archive(AbortSignal.timeout(PATIENCE));
  const scope =
    undone === null ? await resolveScope(env, backup, archive, request) : await undoScope(env, backup, archive, undone);
  if (scope.refused !== null) return { plan: refusedPlan(backup, stored, archive, scope, scope.refused), scope };
  const refusals: AppError[] = [];
  const refuse = (error: unknown) => {
    if (!(error instanceof AppError)) throw error;
    refusals.push(error);
    return null;
  };
  const { live, there, damage } = await lookAtTarget(scope).catch((error: unknown) => {
    refuse(error);
    return { live: null, there: false, damage: null };
  });
  for (const refusal of contentRefusals(backup, archive, scope, undone === null ? request : null)) refuse(refusal);
  if (scope.repair !== null && !scope.engine.capabilities.repairsRows) refuse(noRows(scope));
  else if (scope.tables !== null && !scope.engine.capabilities.selectiveTables) refuse(wholeOnly(scope));
  if (scope.restoreDatabase && refusals.length === 0) {
    const writable = scope.engine.checkWritable(scope.targetUrl);
    await writable.catch((error: unknown) => (isDamage(error) && damage !== null ? null : refuse(error)));
  }
  if (!scope.own && there && !request.overwrite && scope.restoreDatabase) {
    const held = live === null ? 'a damaged database' : `${live.tables.length} tables`;
    refuse(
      new AppError('BAD_USER_INPUT', `targetDatabaseUrl: ${targetOf(scope)} already holds ${held}.`, {
        field: 'targetDatabaseUrl',
        hint: 'Choose an empty target, or set overwrite: true.',
      }),
    );
  }
  const holders = await scope.engine.holders(scope.targetUrl);
  for (const refusal of replacementRefusals(backup, scope, live === null && there, holders)) refuse(refusal);
  await assertFree(env, scope).catch(refuse);
  const protection = await protectedPaths(env, { engine: scope.engine, url: scope.targetUrl });
  const parts: MediaPart[] = [];
  for (const target of scope.mediaTargets) {
    const part = await mediaPart(scope, archive, target, protection).catch(refuse);
    if (part !== null) parts.push(part);
  }
  const { media, ...work } = await planMedia(scope, parts, protection.covers);
  if (undone === null && request.allowForeign !== true) {
    for (const refusal of statementRefusals(backup, scope)) refuse(refusal);
    const replaced = { there, live, media: media.replace + media.remove > 0 };
    for (const refusal of await strangerRefusals(backup, archive, scope, replaced)) refuse(refusal);
  }
  if (undone === null && request.allowExcluded !== true) {
    for (const refusal of excludedRefusals(archive, scope, live)) refuse(refusal);
  }
  const safetyIn = stored.copy?.destination ?? backup.address;
  const space = await planSpace(env, scope, archive, live, { ...work, safetyIn });
  for (const place of space) if (place.free < place.needed) refuse(tooFull(place));
  const options = { includeRelated: request.includeRelated ?? false, exact: undone !== null };
  const found = refusals.length > 0 ? UNREHEARSED : await rehearsed(env, archive, scope, options, refusals);
  // Rows that others refer to are counted one by one.
  const related =
    scope.tables === null || scope.repair !== null
      ? []
      : allRelated(archive, scope.engine, scope.tables, found.related);
  const tables = scope.restoreDatabase ? planTables(scope, archive, live) : [];
  const notes =
    scope.restoreDatabase && refusals.length === 0
      ? await scope.engine.loadNotes(scope.targetUrl, live, scope.tables, scope.repair).catch(refuse)
      : null;
  const plan: RestorePlan = {
    backup,
    allowed: refusals.length === 0,
    refusals,
    archivePath: stored.location,
    warnings: [
      ...anomalyWarnings(backup),
      ...stored.passedOver.map(({ message }) => `${message} ${stored.location} is read instead.`),
      ...damageWarnings(scope, archive, damage),
      ...excludedWarnings(scope, archive),
      ...warnings(scope, archive, backup, related, request, tables),
      ...(notes ?? []),
      ...leftOut(parts),
      ...parts.flatMap(({ survey }) => survey.warnings),
    ],
    target: targetOf(scope),
    targetExists: scope.restoreDatabase ? there : await exists(scope),
    backupSource: archive.metadata.source,
    targetSource: live?.source ?? {},
    tables,
    repairs: found.repairs,
    related,
    media,
    space,
    holders,
  };
  return { plan, scope };
}

/** What is in the place of the target. */
interface TargetLook {
  /** Null if there is none, or if it is too damaged to be described. */
  live: DatabaseInfo | null;
  /** True if there is anything at all. */
  there: boolean;
  /** What is damaged about it. */
  damage: string | null;
}

/** @throws AppError if it cannot be read, or is another file than a database at a place that is not the config's own */
async function lookAtTarget({ engine, targetUrl, own, restoreDatabase }: Scope): Promise<TargetLook> {
  if (!restoreDatabase) return { live: null, there: false, damage: null };
  try {
    const live = await engine.describe(targetUrl);
    const damage = live?.findings.find(({ kind }) => kind === 'pages')?.message ?? null;
    return { live, there: live !== null, damage };
  } catch (error) {
    if (!isDamage(error)) throw error;
    const { code, message } = error;
    if (code === 'DATABASE_WRONG_KIND' && !own) throw new AppError(code, message, { hint: OTHER_FILE, cause: error });
    return { live: null, there: true, damage: message };
  }
}

/** What of the backup itself stands in the way. @param request null for an undo, which puts back what was there */
function contentRefusals(
  backup: BackupRow,
  archive: Archive,
  scope: Scope,
  request: RestoreRequest | null,
): AppError[] {
  if (!scope.restoreDatabase || request === null) return [];
  const refusals = archive.metadata.findings
    .filter(({ kind }) => kind === 'schema')
    .map(({ message }) => new AppError('ARCHIVE_HOSTILE', message));
  if (!backup.damaged) return refusals;
  if (scope.tables !== null) {
    refusals.push(
      badInput('tables', 'a backup of a damaged database is restored only as a whole.', 'Leave tables out.'),
    );
  }
  if (request.allowDamaged !== true) {
    const text = `${backup.id} is of a damaged database. A restore puts its files in place as they are.`;
    refusals.push(new AppError('DATABASE_CORRUPT', text, { field: 'allowDamaged', hint: ALLOW_DAMAGED }));
  }
  return refusals;
}

const noRows = ({ engine }: Scope) =>
  new AppError('ENGINE_UNSUPPORTED', `rows: single rows of a ${engine.kind} database cannot be brought back.`, {
    field: 'rows',
    hint: 'Restore into a new database with targetDatabaseUrl, and copy the rows from there.',
  });

const wholeOnly = ({ engine }: Scope) =>
  badInput('tables', `single tables of a ${engine.kind} database cannot be restored.`, 'Leave tables out.');

/** An archive that came from outside says itself whose it is: its statements are run only if someone answers for them. */
function statementRefusals({ id, backupType }: BackupRow, { engine, restoreDatabase }: Scope): AppError[] {
  if (!restoreDatabase || !engine.capabilities.runsStatements || backupType !== 'UPLOADED') return [];
  const text = `${id} was uploaded. A restore runs the statements in it with all rights of the database's user.`;
  const hint =
    'If you know who made it, repeat it with allowForeign: true (command line: --allow-foreign). If not, restore it only on a server that may be lost.';
  return [new AppError('BACKUP_FOREIGN', text, { field: 'allowForeign', hint })];
}

/** What stands in the way where the database can only be replaced as a file. @param unreadable the target is too damaged */
function replacementRefusals(backup: BackupRow, scope: Scope, unreadable: boolean, open: Holder[]): AppError[] {
  if (!scope.restoreDatabase || !(unreadable || backup.damaged)) return [];
  const refusals: AppError[] = [];
  if (scope.tables !== null && unreadable) {
    const text = `${targetOf(scope)} is too damaged for single tables.`;
    refusals.push(new AppError('DATABASE_CORRUPT', text, { field: 'tables', hint: 'Restore the whole database.' }));
  }
  if (open.length > 0) {
    const names = open.map(({ pid, command }) => `${command} (${pid})`).join(', ');
    const text = `${targetOf(scope)} must be replaced as a file, and is open in ${names}.`;
    refusals.push(new AppError('DATABASE_IN_USE', text, { hint: 'Stop the application and restore again.' }));
  }
  return refusals;
}

const ALLOW_DAMAGED =
  'Choose a verified backup. If this is what you want, repeat it with allowDamaged: true (command line: --allow-damaged).';

/** What was found wrong with the database of the backup, and with the target. */
function damageWarnings({ restoreDatabase, rebuildIndexes }: Scope, archive: Archive, damage: string | null): string[] {
  if (!restoreDatabase) return [];
  const { findings } = archive.metadata;
  const derived = findings.some(({ kind }) => kind === 'index' || kind === 'virtual');
  return [
    ...findings.filter(({ kind }) => kind !== 'schema').map(({ message }) => `In the backup: ${message}`),
    ...(derived && rebuildIndexes ? ['The indexes that are out of step will be rebuilt.'] : []),
    ...(damage === null ? [] : [`The target is damaged: ${damage} ${RAW_FIRST}`]),
  ];
}

const RAW_FIRST = 'The safety backup keeps its files byte by byte, so that an undo can put them back.';

/**
 * Rehearses the load of chosen tables. Adds to the scope what has to be loaded with them and what to know of it, and to the
 * refusals why it would fail.
 */
async function rehearsed(
  env: PlanEnvironment,
  archive: Archive,
  scope: Scope,
  options: { includeRelated: boolean; exact: boolean },
  refusals: AppError[],
): Promise<Pick<TablesRehearsal, 'related' | 'repairs'>> {
  const { tables, restoreDatabase, repair } = scope;
  if (tables === null || !restoreDatabase) return UNREHEARSED;
  try {
    const how = { ...options, ...(repair !== null && { repair }) };
    const found = await rehearse(env, archive, { ...scope, tables }, how);
    scope.tables = found.tables;
    scope.leaves = [...scope.leaves, ...found.warnings];
    refusals.push(...found.refusals);
    return found;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    refusals.push(error);
    return UNREHEARSED;
  }
}

const UNREHEARSED: Pick<TablesRehearsal, 'related' | 'repairs'> = { related: [], repairs: [] };

/** What the backup was made without, as far as the target has it: the restore would take it away. */
function excludedRefusals(archive: Archive, scope: Scope, live: DatabaseInfo | null): AppError[] {
  if (!scope.restoreDatabase || live === null) return [];
  const { foldName } = scope.engine;
  const rows = new Map(live.tables.map((table) => [foldName(table.name), table.rows]));
  const taken = (archive.metadata.excluded ?? []).flatMap(({ table, what }) => {
    const found = rows.get(foldName(table));
    if (found === undefined || (what === 'ROWS' && found === 0)) return [];
    const count = found === null ? 'rows' : `${found} rows`;
    return [what === 'TABLE' ? `${shown(table)} (the table with its ${count})` : `${shown(table)} (its ${count})`];
  });
  if (taken.length === 0) return [];
  const text = `The backup was made without tables or rows that ${targetOf(scope)} has, and the restore would take them away: ${firstOf(taken)}.`;
  return [new AppError('TABLES_EXCLUDED', text, { field: 'allowExcluded', hint: ALLOW_EXCLUDED })];
}

const ALLOW_EXCLUDED =
  'Restore into another place with targetDatabaseUrl, or copy them out first. To restore here all the same, repeat it with allowExcluded: true (command line: --allow-excluded); the safety backup keeps them.';

/** What will be missing or empty after the restore, because the backup was made without it. */
function excludedWarnings({ restoreDatabase }: Scope, { metadata }: Archive): string[] {
  if (!restoreDatabase) return [];
  const named = (what: 'TABLE' | 'ROWS') =>
    (metadata.excluded ?? []).filter((each) => each.what === what).map(({ table }) => shown(table));
  const [gone, emptied] = [named('TABLE'), named('ROWS')];
  return [
    ...(gone.length === 0
      ? []
      : [`The backup was made without these tables, which will be missing: ${firstOf(gone)}.`]),
    ...(emptied.length === 0
      ? []
      : [`The backup was made without the rows of these tables, which will be empty: ${firstOf(emptied)}.`]),
  ];
}

/**
 * Why a stranger's backup must not replace the config's own data. Where nothing is there yet, nothing is replaced; another
 * place has a word of its own for that: overwrite.
 */
async function strangerRefusals(
  backup: BackupRow,
  archive: Archive,
  scope: Scope,
  replaced: { there: boolean; live: DatabaseInfo | null; media: boolean },
): Promise<AppError[]> {
  const { config } = scope;
  if (config === null) return [];
  const database = scope.own && replaced.there;
  const media = replaced.media && (await someOwnMedia(config, scope));
  const refusals: AppError[] = [];
  if ((database || media) && isForeign(backup, config)) refusals.push(foreignRefusal(backup, config, targetOf(scope)));
  const names = (tables: { name: string }[] = []) => tables.map(({ name }) => name);
  const differ = tablesRefusal(names(archive.metadata.tables), names(replaced.live?.tables), targetOf(scope));
  if (database && differ !== null) refusals.push(differ);
  return refusals;
}

/** The plan of a restore whose places are refused: nothing is looked at there. */
function refusedPlan(
  backup: BackupRow,
  { location: archivePath }: StoredArchive,
  archive: Archive,
  scope: Scope,
  refusal: AppError,
): RestorePlan {
  return {
    backup,
    allowed: false,
    refusals: [refusal],
    archivePath,
    warnings: [],
    target: targetOf(scope),
    targetExists: false,
    backupSource: archive.metadata.source,
    targetSource: {},
    tables: [],
    repairs: [],
    related: [],
    media: { add: 0, replace: 0, unchanged: 0, keep: 0, remove: 0, bytes: 0 },
    space: [],
    holders: [],
  };
}

async function someOwnMedia(config: BackupConfigRow, { mediaTargets }: Scope): Promise<boolean> {
  for (const { root } of mediaTargets) if (await isOwnMedia(config, root)) return true;
  return false;
}

const exists = ({ engine, targetUrl }: Scope) =>
  engine.check(targetUrl).then(
    () => true,
    () => false,
  );

const targetOf = (scope: Scope) => scope.engine.resolve(scope.targetUrl).display;

/** One restore of a database at a time, also of those that wait: the later one would take away what came in between. */
async function assertFree({ models }: PlanEnvironment, { targetKey }: Scope): Promise<void> {
  const where = { targetKey, status: ['PENDING', 'RUNNING'] };
  const other = await models.Restore.findOne({ attributes: ['id', 'status'], where });
  if (other !== null) {
    throw new AppError('BUSY', `The restore ${other.id} of this database is ${other.status}.`, {
      hint: 'Wait until it has ended, or cancel it: cancelRestore(id).',
    });
  }
  if ((await models.leases.holderOf(databaseLease(targetKey))) === null) return;
  throw new AppError('BUSY', 'A backup of this database is under way.');
}

function planTables(scope: Scope, archive: Archive, live: DatabaseInfo | null): TablePlan[] {
  const { foldName } = scope.engine;
  const backup = new Map(archive.metadata.tables.map((table) => [foldName(table.name), table]));
  const target = new Map((live?.tables ?? []).map((table) => [foldName(table.name), table]));
  const chosen = scope.tables === null ? null : new Set(scope.tables.map(foldName));
  const plans = [...new Set([...backup.keys(), ...target.keys()])].map((key): TablePlan => {
    const [from, to] = [backup.get(key), target.get(key)];
    const replaced = from === undefined ? 'REMOVE' : to === undefined ? 'ADD' : 'REPLACE';
    const written = scope.repair === null ? replaced : 'REPAIR';
    const change = chosen === null || chosen.has(key) ? written : 'KEEP';
    return {
      name: from?.name ?? to?.name ?? key,
      backupRows: from?.row_count ?? null,
      targetRows: to?.rows ?? null,
      change: archive.metadata.tables.length === 0 ? 'REPLACE' : change,
      schemaDiffers: from?.schema !== undefined && to !== undefined && from.schema !== to.schema,
    };
  });
  return plans.sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** A suspicious backup can be restored like any other, by someone who knows. */
function anomalyWarnings({ suspicious, anomalies: [first] }: BackupRow): string[] {
  return suspicious && first !== undefined ? [`The backup is suspicious: ${first.message}`] : [];
}

function warnings(
  scope: Scope,
  archive: Archive,
  backup: BackupRow,
  related: RelatedTable[],
  request: RestoreRequest,
  tables: TablePlan[],
): string[] {
  const list: string[] = [];
  const { metadata } = archive;
  if (backup.verifiedAt === null)
    list.push(`The backup is not verified${backup.errorMessage ? `: ${backup.errorMessage}` : '.'}`);
  if (metadata.backup_version.startsWith('1.')) {
    list.push(
      'The archive is of the older format 1.0, which carries no hashes: only its checksums (CRC-32) can be compared.',
    );
  }
  if (metadata.symlinks.length > 0) {
    const links = metadata.symlinks.map(({ path, target }) => `${shown(path)} (leads to ${shown(target)})`);
    list.push(
      `${links.length} symbolic links were noted in the backup and are not made again; what they led to is not in it: ${firstOf(links)}.`,
    );
  }
  for (const { holds, message } of metadata.invariants ?? []) {
    if (!holds) list.push(`The state of the backup broke an invariant when it was made: ${message}`);
  }
  list.push(...ignoredEntries(archive.ignored));
  if (!request.includeRelated && scope.repair === null) list.push(...relatedWarning(related));
  const differing = tables
    .filter((table) => table.schemaDiffers && table.change === 'REPLACE')
    .map((table) => table.name);
  if (differing.length > 0)
    list.push(`The schema differs for: ${differing.join(', ')}. The application's code must fit the older schema.`);
  const lost = tables.filter((table) => table.change === 'REMOVE').map((table) => table.name);
  if (lost.length > 0) list.push(`Tables that the backup does not have will go: ${lost.join(', ')}.`);
  return [...list, ...scope.leaves];
}
