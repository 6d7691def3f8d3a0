import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Archive } from '../../archive/read.js';
import { badInput } from '../../errors.js';
import { Hold, type HoldEnvironment, runLease } from '../runs/hold.js';
import { newId } from '../text/ids.js';
import { nearest } from '../text/near.js';
import type { Engine, RehearseOptions, RelatedByTrigger, TablesRehearsal } from '../ports.js';
import { assertSameCounts, extractDatabase } from '../archives/verify.js';

/** A table that belongs together with the chosen ones. */
export interface RelatedTable {
  table: string;
  /**
   * NEEDED: a chosen table refers to it. DEPENDENT: it refers to a chosen table. DERIVED: triggers of chosen tables write it.
   * SOURCE: its triggers write a chosen table.
   */
  relation: 'NEEDED' | 'DEPENDENT' | RelatedByTrigger['relation'];
  /** Null where they could not be counted. */
  rowCount: number | null;
}

/**
 * The chosen tables as the archive spells them, in its order.
 * @param includeRelated also those that belong to them by foreign keys
 * @throws AppError for unknown names (with near ones)
 */
export function chosenTables(archive: Archive, engine: Engine, wanted: string[], includeRelated: boolean): string[] {
  const known = archive.metadata.tables.map((table) => table.name);
  if (wanted.length === 0) throw badInput('tables', 'is empty.', 'Name tables, or leave the field out for all.');
  if (known.length === 0) {
    throw badInput('tables', 'this archive does not list its tables (format 1.0).', 'Restore the whole database.');
  }
  const keys = new Set(known.map(engine.foldName));
  for (const table of wanted) {
    if (keys.has(engine.foldName(table))) continue;
    const near = nearest(table, known);
    throw badInput('tables', `there is no table "${table}".${near.length > 0 ? ` Near: ${near.join(', ')}.` : ''}`);
  }
  const related = includeRelated ? relatedTables(archive, engine, wanted).map(({ table }) => table) : [];
  const chosen = new Set([...wanted, ...related].map(engine.foldName));
  return known.filter((table) => chosen.has(engine.foldName(table)));
}

/** All tables, over any number of foreign keys, that the chosen ones need or that depend on them, without the chosen ones. */
export function relatedTables(archive: Archive, { foldName }: Engine, chosen: string[]): RelatedTable[] {
  const tables = archive.metadata.tables.map(({ name, row_count: rowCount, references = [] }) => ({
    name,
    key: foldName(name),
    rowCount,
    references: references.map(foldName),
  }));
  const start = new Set(chosen.map(foldName));
  const follow = (next: (key: string) => string[]) => {
    const reached = new Set<string>();
    const queue = [...start];
    for (let key = queue.pop(); key !== undefined; key = queue.pop()) {
      for (const other of next(key)) {
        if (reached.has(other) || start.has(other)) continue;
        reached.add(other);
        queue.push(other);
      }
    }
    return reached;
  };
  const needed = follow((key) => tables.find((table) => table.key === key)?.references ?? []);
  const dependent = follow((key) =>
    tables.filter(({ references }) => references.includes(key)).map((table) => table.key),
  );
  return tables.flatMap(({ name, key, rowCount }): RelatedTable[] => {
    if (needed.has(key)) return [{ table: name, relation: 'NEEDED', rowCount }];
    return dependent.has(key) ? [{ table: name, relation: 'DEPENDENT', rowCount }] : [];
  });
}

/** As `relatedTables`, together with those that are related by triggers. */
export function allRelated(
  archive: Archive,
  engine: Engine,
  chosen: string[],
  byTrigger: RelatedByTrigger[],
): RelatedTable[] {
  const linked = relatedTables(archive, engine, chosen);
  const named = new Set(linked.map(({ table }) => engine.foldName(table)));
  const relations = new Map(byTrigger.map(({ table, relation }) => [engine.foldName(table), relation]));
  const more = archive.metadata.tables.flatMap(({ name, row_count: rowCount }): RelatedTable[] => {
    const key = engine.foldName(name);
    const relation = relations.get(key);
    return relation === undefined || named.has(key) ? [] : [{ table: name, relation, rowCount }];
  });
  return [...linked, ...more];
}

/** The warning about tables that are related by foreign keys and stay; none if there are none. */
export function relatedWarning(related: RelatedTable[]): string[] {
  const linked = related.filter(({ relation }) => relation === 'NEEDED' || relation === 'DEPENDENT');
  if (linked.length === 0) return [];
  const names = linked.map((item) => `${item.table} (${item.rowCount ?? 'uncounted'} rows)`).join(', ');
  return [
    `Tables that belong to the chosen ones by foreign keys stay as they are: ${names}. Set includeRelated: true to restore them too.`,
  ];
}

/**
 * Extracts the dump, checks it as the run does and rehearses the load, in a work folder that is removed again.
 * @throws AppError ARCHIVE_…, DATABASE_…, STORAGE_FULL: the run would fail for the same reason
 */
export function rehearse(
  env: HoldEnvironment & { workFolder: string; now: () => Date },
  archive: Archive,
  { engine, targetUrl, tables }: { engine: Engine; targetUrl: string; tables: string[] },
  options: Omit<RehearseOptions, 'tables'>,
): Promise<TablesRehearsal> {
  const id = newId('plan', env.now());
  const folder = join(env.workFolder, id);
  const work = async (hold: Hold) => {
    const step = { signal: hold.lost, onProgress: () => undefined };
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await extractDatabase(archive, engine, folder, step);
      assertSameCounts(archive, await engine.inspect(folder, step));
      return await engine.rehearse(folder, targetUrl, { ...step, ...options, tables });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
  return Hold.during(env, [runLease(id)], work, (name) => {
    throw new Error(`The lease ${name} of a new id is held.`);
  });
}
