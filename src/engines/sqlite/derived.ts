import type { Objects, SchemaObject } from './objects.js';
import { folded, isSign, isWord, type Token, tokenize } from './schema.js';

/** Which tables' content ends up in which others without a statement of the application, as folded names. */
export interface Derivations {
  /** For each table that is derived from others: those others. */
  sources: Map<string, Set<string>>;
  /** Full-text indexes that can be rebuilt from the table or view that holds their content. */
  rebuildable: Set<string>;
}

/**
 * Finds what triggers write, through views with INSTEAD OF triggers too, and what full-text indexes read. A view that holds
 * the content of an index counts as every table that it names.
 */
export function derivationsOf(objects: Objects): Derivations {
  const found: Derivations = { sources: new Map(), rebuildable: new Set() };
  const add = (derived: string, source: string) => {
    if (derived === source || !objects.has(derived)) return;
    found.sources.set(derived, (found.sources.get(derived) ?? new Set()).add(source));
  };
  for (const [name, object] of objects) {
    if (object.kind === 'view') continue;
    for (const target of writtenBy(object, objects, new Set())) add(target, name);
    const content = object.kind === 'virtual' ? contentOf(object) : null;
    if (content === null) continue;
    found.rebuildable.add(name);
    // The table may be missing here and be there where the index goes.
    const sources = objects.has(content) ? tablesOf(content, objects, new Set()) : [content];
    for (const source of sources) add(name, source);
  }
  return found;
}

/** The tables that the triggers of a table or view write. */
function writtenBy(object: SchemaObject, objects: Objects, seen: Set<string>): string[] {
  return object.triggers
    .flatMap(({ sql }) => targetsOf(tokenize(sql ?? '')))
    .flatMap((target) => {
      const view = objects.get(target);
      if (view?.kind !== 'view') return [target];
      if (seen.has(target)) return [];
      seen.add(target);
      return writtenBy(view, objects, seen);
    });
}

/** What the statements of a trigger's body write, as folded names. */
function targetsOf(tokens: Token[]): string[] {
  const body = tokens.slice(tokens.findIndex((token) => isWord(token, 'BEGIN')) + 1);
  return body.flatMap((_, at) => {
    const target = targetAt(body, at);
    return target === undefined || isWord(target, 'SET') ? [] : [folded(target.text)];
  });
}

/** The table that a statement beginning here writes. `INTO` is only found behind INSERT and REPLACE, and their OR clauses. */
function targetAt(tokens: Token[], at: number): Token | undefined {
  const [token, next] = [tokens[at], tokens[at + 1]];
  if (isWord(token, 'INTO')) return next;
  if (isWord(token, 'DELETE') && isWord(next, 'FROM')) return tokens[at + 2];
  if (!isWord(token, 'UPDATE')) return undefined;
  return isWord(next, 'OR') ? tokens[at + 3] : next;
}

/** The table or view that holds the content of a full-text index; null for one that has its own or none at all. */
function contentOf({ definition }: SchemaObject): string | null {
  const tokens = tokenize(definition.sql ?? '');
  const using = tokens.findIndex((token) => isWord(token, 'USING'));
  if (!/^fts[345]$/i.test(tokens[using + 1]?.text ?? '')) return null;
  const at = tokens.findIndex((token, index) => isWord(token, 'CONTENT') && isSign(tokens[index + 1], '='));
  const content = at < 0 ? '' : (tokens[at + 2]?.text ?? '');
  return content === '' ? null : folded(content);
}

/** The table itself, or all tables that a view names, through other views too. */
function tablesOf(name: string, objects: Objects, seen: Set<string>): string[] {
  const object = objects.get(name);
  if (object === undefined || seen.has(name)) return [];
  seen.add(name);
  if (object.kind !== 'view') return [name];
  return tokenize(object.definition.sql ?? '')
    .map(({ text }) => folded(text))
    .flatMap((text) => tablesOf(text, objects, seen));
}
