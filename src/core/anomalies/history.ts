import { Op, type WhereOptions } from 'sequelize';
import type { ArchiveMetadata, ExcludedTable } from '../../archive/metadata.js';
import {
  type Anomaly,
  type BackupFacts,
  type BackupRow,
  type InvariantResult,
  type Models,
  type Normal,
  readPlain,
  REGULAR_TYPES,
} from '../../models/index.js';
import { factsOf, type Known } from './facts.js';
import { judge, learn, type NewState, nothingSeen, type State } from './judge.js';

/** What a row says once its backup was compared with those before it. */
export interface Judged {
  facts: BackupFacts;
  normal: Normal;
  anomalies: Anomaly[];
  suspicious: boolean;
}

/** So many backups of an older version teach what is normal: their rows say how many rows and files there were. */
const LEARNED_FROM = 60;
/** More restores since the last backup than this are not looked at. */
const MAX_RESTORES = 20;

const COLUMNS = ['id', 'createdAt', 'tables', 'excluded', 'mediaFileCount', 'origin', 'facts', 'invariants'] as const;
type StateRow = Pick<BackupRow, (typeof COLUMNS)[number]>;

/**
 * Compares a backup that was just written with those of its config, by what their rows say: no archive is read, and not
 * more rows with more of them.
 * @param databaseKey of the config, to know what was restored into it
 */
export async function judgeBackup(
  models: Models,
  row: BackupRow,
  { metadata, databaseKey, ...known }: Known & { metadata: ArchiveMetadata; databaseKey: string },
): Promise<Judged> {
  const former = await formerOf(models, row);
  const broken = brokenInvariants(metadata.invariants ?? [], former?.invariants ?? []);
  const now = stateNow(row, metadata, known);
  const since = former === null ? null : await sinceThen(models, row, former, databaseKey);
  const { compressed, changed } = now.facts;
  now.facts.compressed = compressed ?? former?.facts?.compressed ?? null;
  if (former === null || since === null) {
    const normal = learn(now, null, nothingSeen(row.createdAt));
    return { facts: now.facts, normal, anomalies: broken, suspicious: broken.length > 0 };
  }
  const normal = await normalOf(models, row, former);
  const { excluded = [] } = metadata;
  const alike = (state: State) => withoutExcluded(state, former.excluded ?? [], excluded);
  const before = alike(withoutOtherMedia(stateOf(former), former, row));
  const seen = { ...now, facts: { ...now.facts, changed: changed === null ? null : Math.max(changed, since.changed) } };
  const plain = judge(seen, before, normal);
  const verdict =
    since.restores.length === 0 ? plain : judge(restoredNow(now), alike(restored(before, since.restores)), normal);
  const unlike = verdict.anomalies.filter(({ code, table }) =>
    plain.anomalies.some((one) => one.code === code && one.table === table),
  );
  const anomalies = [...broken, ...unlike];
  return { facts: now.facts, normal: verdict.normal, anomalies, suspicious: anomalies.length > 0 };
}

/** One that was broken before, and acknowledged, is no news: it stays a warning of each backup. */
function brokenInvariants(now: readonly InvariantResult[], former: readonly InvariantResult[]): Anomaly[] {
  const known = new Set(former.filter(({ holds }) => !holds).map(({ name, sql }) => `${name}\0${sql}`));
  return now
    .filter(({ holds, name, sql }) => !holds && !known.has(`${name}\0${sql}`))
    .map(({ message }) => ({
      code: 'INVARIANT_BROKEN',
      message: `Invariant ${message}`,
      table: null,
      before: null,
      after: null,
    }));
}

/** A restore writes pages anew. */
const restoredNow = (now: NewState): NewState => ({ ...now, facts: { ...now.facts, changed: null } });

/** Forgets what only the newest backup needs to know. @param row a backup that is not suspicious */
export async function forgetNormals({ Backup }: Models, { id, configId, createdAt }: BackupRow): Promise<void> {
  const older = { id: { [Op.ne]: id }, configId, createdAt: { [Op.lte]: createdAt }, normal: { [Op.ne]: null } };
  await Backup.update({ normal: null }, { where: older as WhereOptions<BackupRow> });
}

function stateNow(row: BackupRow, metadata: ArchiveMetadata, known: Known): NewState {
  const { media, reproduces } = metadata;
  return {
    id: row.id,
    at: row.createdAt,
    tables: metadata.tables.map(({ name, row_count: rows }) => ({ name, rows })),
    mediaFiles: (reproduces?.media ?? media).reduce((sum, { files }) => sum + files, 0),
    facts: factsOf(metadata, known),
    referenced: referencedIn(metadata),
  };
}

/** A table that refers to itself is not one that others need. */
function referencedIn({ tables }: ArchiveMetadata): Set<string> {
  const found = new Set<string>();
  for (const { name, references = [] } of tables) {
    for (const other of references) if (other !== name) found.add(other);
  }
  return found;
}

const stateOf = ({ id, createdAt, tables, mediaFileCount, facts }: StateRow): State => ({
  id,
  at: createdAt,
  tables: tables ?? [],
  mediaFiles: mediaFileCount,
  facts: facts ?? null,
});

/** Media of other folders cannot be compared. */
function withoutOtherMedia(state: State, { origin: one }: StateRow, { origin: other }: StateRow): State {
  const paths = (origin: StateRow['origin']) => JSON.stringify([...(origin?.mediaPaths ?? [])].sort());
  return paths(one ?? null) === paths(other ?? null) ? state : { ...state, mediaFiles: null };
}

/**
 * What a backup left out on purpose is not missing: forgets such tables, and sizes where other ones were left out before.
 * @param former what the backup of the state left out @param now what the one that is compared with it left out
 */
export function withoutExcluded(state: State, former: readonly ExcludedTable[], now: readonly ExcludedTable[]): State {
  const names = (excluded: readonly ExcludedTable[]) => excluded.map(({ table, what }) => `${what} ${table}`).sort();
  const isSame = JSON.stringify(names(former)) === JSON.stringify(names(now));
  if (isSame) return state;
  const left = new Set(now.map(({ table }) => table));
  return { ...state, tables: state.tables.filter(({ name }) => !left.has(name)), facts: null };
}

/** The backups of a config that others may be compared with. A deleted one is known by its row as well as any. */
const comparable = ({ id, configId, engine }: BackupRow) => ({
  id: { [Op.ne]: id },
  configId,
  engine,
  backupType: REGULAR_TYPES,
  status: ['COMPLETED', 'DELETED'],
  checksum: { [Op.ne]: null },
  consolidates: null,
  damaged: false,
});

const NEWEST: [string, string][] = [
  ['createdAt', 'DESC'],
  ['id', 'DESC'],
];

/** What the invariants came to in the newest good backup before a new one. */
export async function formerInvariants(models: Models, row: BackupRow): Promise<InvariantResult[]> {
  return (await formerOf(models, row))?.invariants ?? [];
}

/** The newest one that is not suspicious, or was acknowledged. */
async function formerOf({ Backup }: Models, row: BackupRow): Promise<StateRow | null> {
  const where = { ...comparable(row), suspicious: false } as WhereOptions<BackupRow>;
  const [former] = await readPlain(Backup, COLUMNS, { where, order: NEWEST, limit: 1 });
  return former ?? null;
}

/** What the history up to a backup teaches: as its row says, or learned anew of the rows before it. */
async function normalOf({ Backup }: Models, row: BackupRow, former: StateRow): Promise<Normal> {
  const [known] = await readPlain(Backup, ['normal'], { where: { id: former.id } });
  if (known?.normal) return known.normal;
  const where = { ...comparable(row), suspicious: false, createdAt: { [Op.lte]: former.createdAt } };
  const rows = await readPlain(Backup, ['id'], {
    where: where as WhereOptions<BackupRow>,
    order: NEWEST,
    limit: LEARNED_FROM,
  });
  let normal: Normal | null = null;
  let before: State | null = null;
  // One at a time: there may be thousands of tables.
  for (const { id } of rows.reverse()) {
    const [one] = await readPlain(Backup, COLUMNS, { where: { id } });
    if (one === undefined) continue;
    const state = withoutOtherMedia(stateOf(one), one, former);
    const facts = state.facts ?? NO_FACTS;
    normal = learn({ ...state, facts, referenced: new Set() }, before, normal ?? nothingSeen(one.createdAt));
    before = state;
  }
  return normal ?? nothingSeen(former.createdAt);
}

const NO_FACTS: BackupFacts = {
  databaseBytes: 0,
  freeBytes: 0,
  mediaBytes: 0,
  schema: null,
  brokenKeys: 0,
  brokenIntegrity: 0,
  compressed: null,
  changed: null,
};

/** A restore into the config's database, and what it brought back. */
interface Restored {
  state: State;
  /** Only these tables; null for all. */
  tables: string[] | null;
  withMedia: boolean;
}

/** What happened after the former backup: restores, and suspicious backups with the share of pages that changed before them. */
async function sinceThen(
  models: Models,
  row: BackupRow,
  former: StateRow,
  databaseKey: string,
): Promise<{ restores: Restored[]; changed: number }> {
  const later = { ...comparable(row), suspicious: true, createdAt: { [Op.gt]: former.createdAt } };
  const suspicious = await readPlain(models.Backup, ['facts'], { where: later as WhereOptions<BackupRow> });
  const changed = Math.max(0, ...suspicious.map(({ facts }) => facts?.changed ?? 0));
  const restores = await readPlain(models.Restore, ['backupId', 'tables', 'restoreMedia'], {
    where: {
      targetKey: databaseKey,
      status: 'COMPLETED',
      restoreDatabase: true,
      completedAt: { [Op.gt]: former.createdAt },
    },
    order: [['completedAt', 'DESC']],
    limit: MAX_RESTORES,
  });
  const found: Restored[] = [];
  for (const { backupId, tables, restoreMedia: withMedia } of restores.reverse()) {
    const [backup] = await readPlain(models.Backup, COLUMNS, { where: { id: backupId } });
    if (backup !== undefined) found.push({ state: stateOf(backup), tables, withMedia });
  }
  return { restores: found, changed };
}

/** The state that restores made of a former one: someone wanted it so. */
function restored(former: State, restores: Restored[]): State {
  let state = former;
  for (const { state: from, tables, withMedia } of restores) {
    const mediaFiles = withMedia ? null : state.mediaFiles;
    if (tables === null) {
      state = { ...from, mediaFiles };
      continue;
    }
    const chosen = new Set(tables);
    const kept = state.tables.filter(({ name }) => !chosen.has(name));
    state = {
      ...state,
      id: from.id,
      mediaFiles,
      tables: [...kept, ...from.tables.filter(({ name }) => chosen.has(name))],
    };
  }
  return state;
}
