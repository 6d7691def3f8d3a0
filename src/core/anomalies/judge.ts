import type { Anomaly, AnomalyCode, BackupFacts, Normal, SeenNumber, TableCount } from '../../models/index.js';
import { humanSize } from '../text/format.js';
import { dayOf, explains, type Fall, fallOf, firstSeen, isYoung, seenAgain } from './seen.js';

/*
 * Which backups are unlike those before them. Pure: no clock, no database. A backup is compared with the newest one of the same
 * config that was not suspicious or was acknowledged, and with what the history up to that one teaches.
 */

/** A backup as far as it is compared. */
export interface State {
  /** Id of the backup. */
  id: string;
  at: Date;
  tables: TableCount[];
  /** Null if it is of other media folders than what it is compared with. */
  mediaFiles: number | null;
  /** Null where they were not kept: by older versions. */
  facts: BackupFacts | null;
}

/** The backup to judge: it also knows which tables others refer to. */
export interface NewState extends State {
  facts: BackupFacts;
  /** Tables that foreign keys of other tables point to: a loss there is grave even where nothing is known of them yet. */
  referenced: ReadonlySet<string>;
}

/** What came of a backup. */
export interface Verdict {
  /** The gravest first; empty if nothing is unusual. */
  anomalies: Anomaly[];
  /** What the history teaches together with this backup, for those that are compared with it. */
  normal: Normal;
}

/** So many anomalies are kept one by one; the others are summed up in one. */
const MAX_ANOMALIES = 50;
/** Of larger databases, the history of the tables with the most rows is kept. */
const MAX_TABLES = 10_000;
const MIB = 1024 * 1024;
/** Losses of bytes below this many are nothing, in units of `fallOf`: its smallest loss is 10 units. */
const BYTES = MIB / 10;
/** From this part of the pages on, almost all have changed. */
const ALMOST_ALL = 0.9;
/** Content that compressed to less than the first, and now to no less than the second, may have been encrypted. */
const COMPRESSED_BEFORE = 0.75;
const COMPRESSED_AFTER = 0.92;
/** What compresses no worse than this, in shares of its bytes, compresses as before. */
const AS_BEFORE = 0.05;
/** A renamed table has at least this part of the rows of the former one, and at most so many times them. */
const RENAMED_LEAST = 0.9;
const RENAMED_MOST = 1.5;
/** A fall of the database's bytes is that of its tables where these lost this part of all rows. */
const OWED_TO_TABLES = 0.15;

/** What nothing is known of yet. */
export function nothingSeen(at: Date): Normal {
  const number = firstSeen(dayOf(at));
  return { tables: {}, database: number, mediaFiles: number, mediaBytes: number, pages: number };
}

/**
 * Compares a backup with a former one.
 * @param normal what the history up to the former one teaches
 */
export function judge(now: NewState, former: State, normal: Normal): Verdict {
  const tables = judgeTables(now, former, normal);
  const database = judgeDatabase(now, former, normal, tables);
  const media = judgeMedia(now, former, normal);
  const losses = [...tables.anomalies, ...database.anomalies, ...media.anomalies];
  const anomalies = [...bounded(losses), ...schemaAnomalies(now, former, losses), ...findingAnomalies(now, former)];
  return { anomalies, normal: { tables: tables.seen, ...database.seen, ...media.seen } };
}

/** What the history teaches together with a backup, which need not be judged. */
export function learn(now: NewState, former: State | null, normal: Normal): Normal {
  return judge(now, former ?? { ...now, tables: [], mediaFiles: null, facts: null }, normal).normal;
}

// ─── Tables ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

interface TablesVerdict {
  anomalies: Anomaly[];
  seen: Record<string, SeenNumber>;
  /** Which part of all rows is lost in a way that the history explains, or that is too young to be judged. */
  usual: number;
}

/** Tables of one kind, such as a partition for each month, count as one: their names differ in a date. */
const DATED = /(?:19|20)\d\d/;
const kindOf = (name: string) => (DATED.test(name) ? name.replace(/\d+/g, '#') : name);

/** Rows by kind of table, without those of which some are not counted. */
function rowsOf(tables: readonly TableCount[], leftOut: ReadonlySet<string>): Map<string, number> {
  const rows = new Map<string, number>();
  for (const { name, rows: count } of tables) {
    const kind = kindOf(name);
    if (count !== null && !leftOut.has(kind)) rows.set(kind, (rows.get(kind) ?? 0) + count);
  }
  return rows;
}

/** The tables without the oldest of those whose names differ in a date, where these are gone and at least as many stay. */
function withoutRotated(before: readonly TableCount[], after: readonly TableCount[]): TableCount[] {
  const stays = new Set(after.map(({ name }) => name));
  const kinds = new Map<string, string[]>();
  for (const { name } of before)
    if (DATED.test(name)) kinds.set(kindOf(name), [...(kinds.get(kindOf(name)) ?? []), name]);
  const rotated = new Set<string>();
  for (const names of kinds.values()) {
    const gone = names.filter((name) => !stays.has(name));
    const isOldest = names.sort().findIndex((name) => stays.has(name)) === gone.length;
    if (isOldest && gone.length <= names.length / 2) for (const name of gone) rotated.add(name);
  }
  return before.filter(({ name }) => !rotated.has(name));
}

function judgeTables(now: NewState, former: State, normal: Normal): TablesVerdict {
  const day = dayOf(now.at);
  const uncounted = new Set(now.tables.filter(({ rows }) => rows === null).map(({ name }) => kindOf(name)));
  const [before, after] = [rowsOf(withoutRotated(former.tables, now.tables), uncounted), rowsOf(now.tables, uncounted)];
  const referenced = new Set([...now.referenced].map(kindOf));
  const renamed = renamedTables(before, after);
  const anomalies: Anomaly[] = [];
  const known = new Map(Object.entries(normal.tables));
  const seen = new Map<string, SeenNumber>();
  let usual = 0;
  for (const [name, rows] of after) {
    const origin = before.has(name) ? name : (renamed.get(name) ?? name);
    const number = known.get(origin) ?? firstSeen(day);
    const fall = fallOf(before.get(origin) ?? 0, rows);
    seen.set(name, seenAgain(number, day, fall));
    if (fall === null) continue;
    if (isUnusual(number, fall, day, referenced.has(name))) anomalies.push(tableAnomaly(name, former, fall, rows));
    else usual += fall.lost;
  }
  const origins = new Set(renamed.values());
  for (const [name, rows] of before) {
    if (after.has(name) || origins.has(name)) continue;
    const number = known.get(name) ?? firstSeen(day);
    const fall = fallOf(rows, 0);
    if (fall === null) continue;
    seen.set(name, seenAgain(number, day, fall));
    if (isUnusual(number, fall, day, referenced.has(name))) anomalies.push(goneAnomaly(name, former, rows));
    else usual += fall.lost;
  }
  // A program may drop a table and make it anew; and one that cannot be counted now may be the next time.
  for (const [name, number] of known) {
    const isAway = uncounted.has(name) || (!origins.has(name) && explains(number, 'all', day));
    if (!seen.has(name) && isAway) seen.set(name, number);
  }
  const all = [...before.values()].reduce((sum, rows) => sum + rows, 0);
  return { anomalies: anomalies.sort(byLoss), seen: largest(seen, after), usual: all === 0 ? 0 : usual / all };
}

/** Of a young table only the loss of most rows counts, and only if others refer to it: it is no log and no cache. */
const isUnusual = (number: SeenNumber, fall: Fall, day: number, isReferenced: boolean) =>
  isYoung(number, day) ? isReferenced && isGreat(fall) : !explains(number, fall.size, day);

const isGreat = ({ size }: Fall) => size === 'much' || size === 'all';

/** For each new table the vanished one that has about as many rows. Each vanished one is found once. */
function renamedTables(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): Map<string, string> {
  const gone = [...before].filter(([name, rows]) => !after.has(name) && rows > 0).sort(([, a], [, b]) => a - b);
  const added = [...after].filter(([name]) => !before.has(name)).sort(([, a], [, b]) => a - b);
  const renamed = new Map<string, string>();
  let next = 0;
  for (const [name, rows] of gone) {
    while ((added[next]?.[1] ?? Infinity) < rows * RENAMED_LEAST) next += 1;
    const candidate = added[next];
    if (candidate === undefined || candidate[1] > rows * RENAMED_MOST) continue;
    renamed.set(candidate[0], name);
    next += 1;
  }
  return renamed;
}

function largest(seen: Map<string, SeenNumber>, rows: ReadonlyMap<string, number>): Record<string, SeenNumber> {
  if (seen.size <= MAX_TABLES) return Object.fromEntries(seen);
  const sorted = [...seen].sort(([one], [other]) => (rows.get(other) ?? 0) - (rows.get(one) ?? 0));
  return Object.fromEntries(sorted.slice(0, MAX_TABLES));
}

function tableAnomaly(table: string, { id }: State, { lost, share }: Fall, after: number): Anomaly {
  const before = after + lost;
  if (after === 0) {
    const message = `Table "${table}" is empty: it had ${counted(before)} rows in ${id}.`;
    return { code: 'TABLE_EMPTIED', message, table, before, after };
  }
  const message = `Table "${table}" has ${counted(after)} rows: ${percent(share)} fewer than the ${counted(before)} in ${id}.`;
  return { code: 'ROWS_DOWN', message, table, before, after };
}

function goneAnomaly(table: string, { id }: State, before: number): Anomaly {
  const message = `Table "${table}" is gone: it had ${counted(before)} rows in ${id}.`;
  return { code: 'TABLE_VANISHED', message, table, before, after: null };
}

const lossOf = ({ before, after }: Anomaly) => (before ?? 0) - (after ?? 0);
const byLoss = (one: Anomaly, other: Anomaly) => lossOf(other) - lossOf(one);

/** The gravest of many, and the others as one. */
function bounded(anomalies: Anomaly[]): Anomaly[] {
  if (anomalies.length <= MAX_ANOMALIES) return anomalies;
  const rest = anomalies.slice(MAX_ANOMALIES).filter(({ table }) => table !== null);
  const others = anomalies.slice(MAX_ANOMALIES).filter(({ table }) => table === null);
  const sum = (read: (anomaly: Anomaly) => number | null) => rest.reduce((all, one) => all + (read(one) ?? 0), 0);
  const [before, after] = [sum((one) => one.before), sum((one) => one.after)];
  const message = `${counted(rest.length)} more tables lost rows: they have ${counted(after)} of ${counted(before)}.`;
  const summed: Anomaly[] = rest.length === 0 ? [] : [{ code: 'ROWS_DOWN', message, table: null, before, after }];
  return [...anomalies.slice(0, MAX_ANOMALIES), ...summed, ...others];
}

// ─── The database as a whole ────────────────────────────────────────────────────────────────────────────────────────────

function judgeDatabase(now: NewState, former: State, normal: Normal, tables: TablesVerdict) {
  const day = dayOf(now.at);
  const anomalies: Anomaly[] = [];
  const { databaseBytes: after, compressed } = now.facts;
  const before = former.facts?.databaseBytes ?? 0;
  const shrunk = fallOf(before, after, BYTES);
  const own = tables.usual < OWED_TO_TABLES ? shrunk : null;
  if (own !== null && isLoss(normal.database, own, day)) {
    const message = `The database has ${humanSize(after)}: ${percent(own.share)} less than the ${humanSize(before)} in ${former.id}.`;
    anomalies.push({ code: 'DATABASE_SHRANK', message, table: null, before, after });
  }
  const rewritten = rewrittenOf(now, former);
  if (rewritten !== null && !isYoung(normal.pages, day) && !explains(normal.pages, 'all', day)) {
    const message = `${percent(rewritten.share)} of the pages of the database have changed since ${former.id}.`;
    anomalies.push({ code: 'ALMOST_ALL_CHANGED', message, table: null, before: null, after: rewritten.share });
  }
  const compressedBefore = former.facts?.compressed ?? null;
  if (
    compressed !== null &&
    compressedBefore !== null &&
    compressedBefore < COMPRESSED_BEFORE &&
    compressed >= COMPRESSED_AFTER
  ) {
    const message =
      `The database compresses to ${percent(compressed)} of its bytes, and in ${former.id} to ${percent(compressedBefore)}: ` +
      'its content may have been encrypted.';
    anomalies.push({ code: 'NO_LONGER_COMPRESSES', message, table: null, before: compressedBefore, after: compressed });
  }
  const seen = {
    database: seenAgain(normal.database, day, own),
    pages: seenAgain(normal.pages, day, rewritten),
  };
  return { anomalies, seen };
}

/**
 * Almost all pages changed, as one fall of those that stay; null if they did not. A change of the schema may write all tables
 * anew, and giving free space back does (VACUUM). Content that compresses as before is not encrypted, however it was written.
 */
function rewrittenOf({ facts }: NewState, former: State): Fall | null {
  const { changed, schema, databaseBytes, freeBytes } = facts;
  const before = former.facts;
  if (before === null || changed === null || changed < ALMOST_ALL || databaseBytes < MIB) return null;
  if (schema !== before.schema || freeBytes < before.freeBytes / 2) return null;
  const { compressed } = facts;
  if (compressed !== null && before.compressed !== null && compressed < before.compressed + AS_BEFORE) return null;
  return { size: 'all', share: changed, lost: databaseBytes };
}

/** A schema that changed is no anomaly, unless something is lost at the same time. */
function schemaAnomalies({ facts: { schema } }: NewState, { id, facts }: State, losses: Anomaly[]): Anomaly[] {
  const before = facts?.schema ?? null;
  if (before === null || schema === null || before === schema || !losses.some(isRowLoss)) return [];
  const message = `The schema of the database has changed since ${id}, and rows were lost with it.`;
  return [{ code: 'SCHEMA_CHANGED', message, table: null, before: null, after: null }];
}

const ROW_LOSS: readonly AnomalyCode[] = ['TABLE_VANISHED', 'TABLE_EMPTIED', 'ROWS_DOWN'];
const isRowLoss = ({ code }: Anomaly) => ROW_LOSS.includes(code);

/** What is wrong with the database now and was not before. */
function findingAnomalies({ facts }: NewState, { id, facts: former }: State): Anomaly[] {
  if (former === null) return [];
  const worse = (code: AnomalyCode, what: string, before: number, after: number): Anomaly[] => {
    if (after <= before) return [];
    const message = `${what}: ${counted(after)} findings, and ${before === 0 ? 'none' : counted(before)} in ${id}.`;
    return [{ code, message, table: null, before, after }];
  };
  return [
    ...worse(
      'INTEGRITY_BROKEN',
      'The integrity of the database is broken',
      former.brokenIntegrity,
      facts.brokenIntegrity,
    ),
    ...worse('FOREIGN_KEYS_BROKEN', 'Foreign keys of the database are broken', former.brokenKeys, facts.brokenKeys),
  ];
}

// ─── Media ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

function judgeMedia(now: NewState, former: State, normal: Normal) {
  const day = dayOf(now.at);
  const { mediaFiles, mediaBytes } = normal;
  if (now.mediaFiles === null || former.mediaFiles === null) return { anomalies: [], seen: { mediaFiles, mediaBytes } };
  const anomalies: Anomaly[] = [];
  const [before, after] = [former.mediaFiles, now.mediaFiles];
  const files = fallOf(before, after);
  if (files !== null && isLoss(mediaFiles, files, day)) {
    const message = `There are ${counted(after)} media files: ${percent(files.share)} fewer than the ${counted(before)} in ${former.id}.`;
    anomalies.push({ code: 'MEDIA_FILES_DOWN', message, table: null, before, after });
  }
  const [bytesBefore, bytesAfter] = [former.facts?.mediaBytes ?? 0, now.facts.mediaBytes];
  const bytes = fallOf(bytesBefore, bytesAfter, BYTES);
  // Where files are missing, so are their bytes.
  if (bytes !== null && files === null && isLoss(mediaBytes, bytes, day)) {
    const message = `The media files have ${humanSize(bytesAfter)}: ${percent(bytes.share)} less than the ${humanSize(bytesBefore)} in ${former.id}.`;
    anomalies.push({ code: 'MEDIA_BYTES_DOWN', message, table: null, before: bytesBefore, after: bytesAfter });
  }
  const seen = { mediaFiles: seenAgain(mediaFiles, day, files), mediaBytes: seenAgain(mediaBytes, day, bytes) };
  return { anomalies, seen };
}

/** Bytes and media hardly ever go: even at first, half of them are no small thing, and a few of them never are one. */
function isLoss(number: SeenNumber, fall: Fall, day: number): boolean {
  if (isYoung(number, day)) return isGreat(fall);
  const { size } = fall;
  return size !== 'few' && !explains(number, size, day);
}

const counted = (number: number) => number.toLocaleString('en');

/** In whole per cent; never all where something is left, nor nothing where something is gone. */
function percent(share: number): string {
  const whole = share >= 1 ? 100 : Math.min(99, Math.max(1, Math.round(share * 100)));
  return `${whole} %`;
}
