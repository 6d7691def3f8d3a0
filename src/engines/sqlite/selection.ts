import { AppError } from '../../errors.js';
import type { RelatedByTrigger } from '../../core/ports.js';
import { type Derivations, derivationsOf } from './derived.js';
import { familyOf, type Objects, type SchemaObject } from './objects.js';
import { folded } from './schema.js';

/** What a restore of single tables replaces, and what it does to the rest so that both still agree. */
export interface Selection {
  /** Folded names of all that is replaced or, where the dump lacks it, dropped. */
  keys: Set<string>;
  /** Full-text indexes to rebuild from their content in the target, by their names there. */
  rebuild: string[];
  /** Indexes in virtual tables that would not agree with their tables after the replacement alone, by folded names. */
  stale: { name: string; sources: string[]; rebuildable: boolean }[];
  /** Tables that stay although triggers bind them to replaced ones. */
  related: RelatedByTrigger[];
  warnings: string[];
  refusals: AppError[];
}

/** Two schemas and what is derived in either: the triggers of both have worked on the data. */
interface Both {
  dump: Objects;
  target: Objects;
  dumped: Derivations;
  targeted: Derivations;
}

/** The way out where single tables cannot be restored. */
export const WHOLE = 'Restore the whole database, or into another file with targetDatabaseUrl.';

/**
 * Works out what belongs to the chosen tables. Indexes in virtual tables come along where the dump holds them in the state
 * of the chosen tables, are rebuilt where they can be, and are refused where they would no longer agree with their tables.
 * @param includeRelated also the plain tables that triggers keep, and those whose triggers write the chosen ones
 * @param exact folded names of indexes that are to be as the dump has them, whatever their tables hold
 */
export function selectObjects(
  chosen: string[],
  dump: Objects,
  target: Objects,
  includeRelated: boolean,
  exact: ReadonlySet<string> = new Set(),
): Selection {
  const both: Both = { dump, target, dumped: derivationsOf(dump), targeted: derivationsOf(target) };
  const keys = new Set<string>();
  const add = (name: string) => {
    if (keys.has(name)) return;
    keys.add(name);
    for (const member of [...familyOf(name, dump), ...familyOf(name, target)]) add(member);
  };
  for (const name of chosen) {
    add(folded(name));
    if (includeRelated) for (const source of sourcesOf(folded(name), both)) if (dump.has(source)) add(source);
  }
  for (let size = -1; size !== keys.size;) {
    size = keys.size;
    for (const name of dump.keys())
      if (!keys.has(name)) for (const more of drawnIn(name, keys, both, includeRelated)) add(more);
  }
  const indexes = [...new Set([...dump.keys(), ...target.keys()])].filter(
    (name) => !exact.has(name) && isStale(name, keys, both),
  );
  const rebuild = indexes.filter((name) => isRebuildable(name, keys, both));
  const refusals = indexes.filter((name) => !rebuild.includes(name)).map((name) => staleRefusal(name, keys, both));
  const related = [...dependents(keys, both), ...feeders(keys, both)];
  return {
    keys,
    rebuild: rebuild.map((name) => after(name, keys, both)?.name ?? name),
    stale: indexes.map((name) => ({ name, sources: [...sourcesOf(name, both)], rebuildable: rebuild.includes(name) })),
    related,
    warnings: [...related.map(relatedWarning), ...rebuild.flatMap((name) => unfedWarning(name, keys, both))],
    refusals,
  };
}

/** What the table brings into the selection, itself included; nothing if it is not derived from what is selected. */
function drawnIn(name: string, keys: Set<string>, both: Both, includeRelated: boolean): string[] {
  const sources = sourcesOf(name, both);
  if (![...sources].some((source) => keys.has(source))) return [];
  if (both.dump.get(name)?.kind !== 'virtual') return includeRelated ? [name] : [];
  if (both.dumped.rebuildable.has(name)) return [name];
  // Kept by the triggers of several tables, it agrees with all of them or with none.
  if (includeRelated) return [name, ...[...sources].filter((source) => both.dump.has(source))];
  return [...sources].every((source) => keys.has(source)) ? [name] : [];
}

/** True for an index in a virtual table that would not agree with its tables after the replacement alone. */
function isStale(name: string, keys: Set<string>, both: Both): boolean {
  if (after(name, keys, both)?.kind !== 'virtual') return false;
  const sources = [...sourcesOf(name, both)].filter((source) => both.dump.has(source) || both.target.has(source));
  if (sources.length === 0) return false;
  const selected = sources.filter((source) => keys.has(source)).length;
  return keys.has(name) ? selected < sources.length : selected > 0;
}

const isRebuildable = (name: string, keys: Set<string>, { dumped, targeted }: Both) =>
  (keys.has(name) ? dumped : targeted).rebuildable.has(name);

/** The object that has the name after the load. */
const after = (name: string, keys: Set<string>, { dump, target }: Both): SchemaObject | undefined =>
  (keys.has(name) ? dump : target).get(name);

function sourcesOf(name: string, { dumped, targeted }: Both): Set<string> {
  return new Set([...(dumped.sources.get(name) ?? []), ...(targeted.sources.get(name) ?? [])]);
}

const nameOf = (key: string, { dump, target }: Both) => (dump.get(key) ?? target.get(key))?.name ?? key;

function staleRefusal(name: string, keys: Set<string>, both: Both): AppError {
  const missing = [name, ...sourcesOf(name, both)].filter((key) => !keys.has(key));
  const text = `${nameOf(name, both)} is kept by triggers of ${names(sourcesOf(name, both), both)} and would no longer agree with them.`;
  const inDump = missing.every((key) => both.dump.has(key));
  return new AppError('BAD_USER_INPUT', `tables: ${text}`, {
    field: 'tables',
    hint: inDump ? `Choose ${names(missing, both)} as well, or set includeRelated: true.` : WHOLE,
  });
}

const names = (keys: Iterable<string>, both: Both) =>
  [...keys]
    .map((key) => nameOf(key, both))
    .sort()
    .join(', ');

/** Plain tables that the triggers of selected ones write. */
function dependents(keys: Set<string>, both: Both): RelatedByTrigger[] {
  const all = new Set([...both.dumped.sources.keys(), ...both.targeted.sources.keys()]);
  return [...all]
    .filter((name) => !keys.has(name) && after(name, keys, both)?.kind !== 'virtual')
    .flatMap((name) => {
      const by = [...sourcesOf(name, both)].filter((source) => keys.has(source));
      return by.length === 0 ? [] : [relation(name, 'DERIVED', by, both)];
    });
}

/** Tables whose triggers write plain selected ones. */
function feeders(keys: Set<string>, both: Both): RelatedByTrigger[] {
  const found = new Map<string, string[]>();
  for (const name of keys) {
    if (after(name, keys, both)?.kind === 'virtual') continue;
    for (const source of sourcesOf(name, both)) {
      if (!keys.has(source)) found.set(source, [...(found.get(source) ?? []), name]);
    }
  }
  return [...found].map(([source, written]) => relation(source, 'SOURCE', written, both));
}

const relation = (key: string, kind: RelatedByTrigger['relation'], by: string[], both: Both): RelatedByTrigger => ({
  table: nameOf(key, both),
  relation: kind,
  of: by.map((one) => nameOf(one, both)).sort(),
});

function relatedWarning({ table, relation: kind, of }: RelatedByTrigger): string {
  const [writer, written] = kind === 'DERIVED' ? [of.join(', '), table] : [table, of.join(', ')];
  return `Triggers of ${writer} write ${written}, and ${table} stays as it is: check that they agree, or set includeRelated: true to restore both.`;
}

/** An index that the dump does not have: the triggers that keep it are not there either. */
function unfedWarning(name: string, keys: Set<string>, both: Both): string[] {
  if (keys.has(name) || both.dump.has(name)) return [];
  return [
    `The backup does not have ${nameOf(name, both)}: it is rebuilt from the restored rows, but triggers of the restored tables that kept it are gone.`,
  ];
}
