/** A table by schema and name. */
export interface TableName {
  schema: string;
  name: string;
}

/** An identifier as SQL takes it. */
export const quoted = (identifier: string): string => `"${identifier.replaceAll('"', '""')}"`;

/** A text as SQL takes it, also with `standard_conforming_strings` off. */
export const literal = (text: string): string => {
  const escaped = text.replaceAll("'", "''");
  return escaped.includes('\\') ? `E'${escaped.replaceAll('\\', '\\\\')}'` : `'${escaped}'`;
};

/** A table as SQL takes it. */
export const qualified = ({ schema, name }: TableName): string => `${quoted(schema)}.${quoted(name)}`;

const PLAIN = /^[\p{L}_][\p{L}\p{N}_$]*$/u;
const shown = (part: string) => (PLAIN.test(part) ? part : quoted(part));

/**
 * A table as lists name it: without its schema where that is `public`, and with quotes where it could be taken for another
 * one. No two tables of a database have the same.
 */
export const tableName = ({ schema, name }: TableName): string =>
  schema === 'public' ? shown(name) : `${shown(schema)}.${shown(name)}`;

/** One part of a name, as pg_dump writes it. */
export const IDENTIFIER = String.raw`(?:"(?:[^"]|"")*"|[^\s".(;,]+)`;
const NAME = new RegExp(String.raw`^(${IDENTIFIER})\.(${IDENTIFIER})`);

const unquoted = (part: string) => (part.startsWith('"') ? part.slice(1, -1).replaceAll('""', '"') : part);

/** Reads `schema.name` at the beginning of a text, as pg_dump writes it; null for anything else. */
export function readTableName(text: string): TableName | null {
  const [, schema, name] = NAME.exec(text) ?? [];
  return schema === undefined || name === undefined ? null : { schema: unquoted(schema), name: unquoted(name) };
}

/** Reads an identifier that is the whole text. */
export const readIdentifier = unquoted;
