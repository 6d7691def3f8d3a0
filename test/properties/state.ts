import type sqlite3 from 'sqlite3';
import { withDatabase } from '../support/sqlite.js';

/** Everything that a database holds, as text that can be compared: one entry for each object and for each table's rows. */
export type State = Record<string, string>;

interface Found {
  type: string;
  name: string;
  tbl_name: string;
  sql: string | null;
}

const folded = (name: string) => name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

/** A connection's rows; an error's words where the database cannot say them. */
export function rows<Row>(db: sqlite3.Database, sql: string, ...params: unknown[]): Promise<Row[] | string> {
  return new Promise((resolve) => db.all<Row>(sql, params, (error, found) => resolve(error ? error.message : found)));
}

/** Runs statements one by one; those that fail count as none. */
export async function runAll(path: string, statements: string[]): Promise<void> {
  await withDatabase(path, async (db) => {
    await rows(db, 'PRAGMA synchronous = OFF');
    for (const sql of statements) await rows(db, sql);
  });
}

/**
 * Reads the state. Full-text indexes and R-trees are read through their own interface: how they lay their content into
 * their companions is theirs.
 */
export function stateOf(path: string): Promise<State> {
  return withDatabase(path, async (db) => {
    const items = (await rows<Found>(db, 'SELECT type, name, tbl_name, sql FROM sqlite_schema')) as Found[];
    const listed = (await rows<{ name: string; type: string; wr: number }>(db, 'PRAGMA table_list')) as {
      name: string;
      type: string;
      wr: number;
    }[];
    const kinds = new Map(listed.map(({ name, type, wr }) => [folded(name), { type, wr }]));
    const state: State = {};
    for (const { type, name, tbl_name: table, sql } of items) {
      const kind = kinds.get(folded(name));
      if (sql !== null) state[`${type} ${name}`] = `${folded(table)}: ${sql}`;
      if (type === 'table' && kind?.type !== 'shadow') state[`rows ${name}`] = await content(db, name, kind);
    }
    return state;
  });
}

const WORDS = ['apple', 'pear', 'plum', 'changed', 'new', 'other'];

async function content(
  db: sqlite3.Database,
  name: string,
  kind: { type: string; wr: number } | undefined,
): Promise<string> {
  const table = quoted(name);
  const virtual = kind?.type === 'virtual';
  const columns = (await rows<{ name: string; hidden: number }>(
    db,
    `SELECT name, hidden FROM pragma_table_xinfo(?)`,
    name,
  )) as {
    name: string;
    hidden: number;
  }[];
  const shown = columns.filter(({ hidden }) => hidden !== 1).map((column) => `quote(${quoted(column.name)})`);
  const rowid =
    kind?.wr === 0 && !name.startsWith('sqlite_') && !columns.some((column) => /^rowid$/i.test(column.name));
  const list = [...(rowid ? ['rowid'] : []), ...shown].join(` || ' ' || `);
  const found = await rows<{ row: string }>(db, `SELECT ${list} AS row FROM ${table} ORDER BY 1`);
  const text = typeof found === 'string' ? found : found.map(({ row }) => row).join('\n');
  if (!virtual) return text;
  const searches: string[] = [];
  for (const word of WORDS) {
    const hits = await rows<{ id: number }>(
      db,
      `SELECT rowid AS id FROM ${table} WHERE ${table} MATCH ? ORDER BY 1`,
      word,
    );
    searches.push(
      `${word}: ${typeof hits === 'string' ? hits.replace(/^\w+: /, '') : hits.map(({ id }) => id).join(' ')}`,
    );
  }
  return `${text}\n${searches.join('\n')}`;
}

/**
 * What is wrong: SQLite's own check of the file, that of each full-text index against the table that it is of, and which
 * triggers' tables and views cannot be used.
 */
export function problemsOf(path: string): Promise<string[]> {
  return withDatabase(path, async (db) => {
    const check = await rows<{ integrity_check: string }>(db, 'PRAGMA integrity_check');
    const problems = typeof check === 'string' ? [check] : check.map((row) => row.integrity_check);
    const items = (await rows<Found>(
      db,
      `SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%using fts%' OR type = 'view'`,
    )) as Found[];
    await rows(db, 'BEGIN');
    for (const { type, name, sql } of items) {
      const own = quoted(name);
      const [columns, values] = /fts5/i.test(sql ?? '') ? [', rank', ', 1'] : ['', ''];
      const found = await rows(
        db,
        type === 'view'
          ? `SELECT * FROM ${own}`
          : `INSERT INTO ${own} (${own}${columns}) VALUES ('integrity-check'${values})`,
      );
      if (typeof found === 'string') problems.push(`${type} ${folded(name)}: ${found}`);
    }
    await rows(db, 'ROLLBACK');
    return problems.filter((text) => text !== 'ok').sort();
  });
}
