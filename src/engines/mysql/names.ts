/** An identifier as SQL takes it. */
export const quoted = (identifier: string): string => `\`${identifier.replaceAll('`', '``')}\``;

/** A table of a database as SQL takes it. */
export const qualified = (database: string, table: string): string => `${quoted(database)}.${quoted(table)}`;

/** Reads the identifier in backquotes that a text begins with; null for anything else. */
export function readIdentifier(text: string): string | null {
  const inner = /^`((?:[^`]|``)+)`/.exec(text)?.[1];
  return inner === undefined ? null : inner.replaceAll('``', '`');
}

/** The table of ours in a restored database, until its restore is tidied up. */
export const STAMP_TABLE = '_db_manager_restore';
