import type { FileColumn, FileReferences } from '../../core/ports.js';
import { badInput } from '../../errors.js';
import { cellOf, cellSql } from './cells.js';
import type { SqliteConnection } from './connection.js';
import { quoted } from './info.js';
import { readObjects } from './objects.js';
import { openPrivate } from './query.js';
import { affinityOf } from './repair-table.js';
import { folded } from './schema.js';

/** How many values of a column are looked at to tell whether it holds paths. */
const LOOKED_AT = 200;
/** What all media lie under in an archive. */
const MEDIA = 'media/';

/** What a value may be called in the list of names: with or without a slash or `media/` in front. */
const spellings = (value: string) => {
  const bare = `ltrim(${value}, '/')`;
  return `(${bare}, iif(substr(${bare}, 1, ${MEDIA.length}) = '${MEDIA}', substr(${bare}, ${MEDIA.length + 1}), NULL))`;
};

const isThere = (value: string) => `EXISTS (SELECT 1 FROM temp.names AS n WHERE n.name IN ${spellings(value)})`;

/**
 * Compares what rows name with the files that there are.
 * @param task.files JSON lists of paths in the archive
 * @throws AppError BAD_USER_INPUT naming `columns`; DATABASE_…
 */
export async function referencesIn(task: {
  path: string;
  files: string[];
  prefixes: string[];
  columns: string[] | null;
  samples: number;
}): Promise<FileReferences> {
  const connection = await openPrivate(task.path);
  try {
    await nameFiles(connection, task.files, task.prefixes);
    const all = await textColumns(connection);
    const wanted = task.columns === null ? await suggested(connection, all) : chosen(all, task.columns);
    const columns: FileColumn[] = [];
    for (const column of wanted) columns.push(await lookAt(connection, column, task.samples));
    const unreferenced = await connection.value<number>('SELECT count(*) FROM temp.files WHERE NOT used');
    const samples = await connection.all<{ path: string }>(
      `SELECT path FROM temp.files WHERE NOT used ORDER BY path LIMIT ${task.samples}`,
    );
    return { columns, unreferenced, unreferencedSamples: samples.map(({ path }) => path) };
  } finally {
    await connection.close();
  }
}

/** Lists the files, and what rows may call them: a path below all media, or below one of the media folders. */
async function nameFiles(connection: SqliteConnection, files: string[], prefixes: string[]): Promise<void> {
  await connection.run('CREATE TEMP TABLE files (id INTEGER PRIMARY KEY, path TEXT, used INTEGER NOT NULL DEFAULT 0)');
  await connection.run('CREATE TEMP TABLE names (name TEXT, file INTEGER, PRIMARY KEY (name, file)) WITHOUT ROWID');
  for (const list of files) await connection.run('INSERT INTO temp.files (path) SELECT value FROM json_each(?)', list);
  for (const prefix of new Set([MEDIA, ...prefixes])) {
    await connection.run(
      `INSERT OR IGNORE INTO temp.names SELECT substr(path, length(?1) + 1), id FROM temp.files
       WHERE substr(path, 1, length(?1)) = ?1`,
      prefix,
    );
  }
}

interface Column {
  table: string;
  column: string;
  type: string;
  /** The primary key of its table. */
  key: string[];
}

/** The columns of tables that hold rows. */
async function textColumns(connection: SqliteConnection): Promise<Column[]> {
  const found: Column[] = [];
  for (const { name: table, kind } of (await readObjects(connection, 'main')).values()) {
    if (kind !== 'table') continue;
    const columns = await connection.all<{ name: string; type: string; pk: number }>(
      'SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid',
      table,
    );
    const key = columns.filter(({ pk }) => pk > 0).map(({ name }) => name);
    found.push(...columns.map(({ name, type }) => ({ table, column: name, type, key })));
  }
  return found;
}

/** Those of which at least half of the values are paths of files that are there. */
async function suggested(connection: SqliteConnection, columns: Column[]): Promise<Column[]> {
  const found: Column[] = [];
  for (const each of columns.filter(({ type }) => affinityOf(type) === 'TEXT')) {
    const name = quoted(each.column);
    const [count] = await connection.all<{ looked: number; hits: number }>(
      `SELECT count(*) AS looked, count(CASE WHEN ${isThere('value')} THEN 1 END) AS hits
       FROM (SELECT DISTINCT ${name} AS value FROM main.${quoted(each.table)} WHERE ${name} <> '' LIMIT ${LOOKED_AT})`,
    );
    const { looked = 0, hits = 0 } = count ?? {};
    if (hits > 0 && hits * 2 >= looked) found.push(each);
  }
  if (found.length > 0) return found;
  throw badInput('columns', 'no column holds mostly paths of the media files.', NAMED);
}

const NAMED = 'Name the columns as table.column, such as puja_service.image.';

function chosen(columns: Column[], names: string[]): Column[] {
  if (names.length === 0) throw badInput('columns', 'is empty.', NAMED);
  return [...new Set(names.map(folded))].map((name) => {
    const found = columns.find(({ table, column }) => folded(`${table}.${column}`) === name);
    if (found === undefined) throw badInput('columns', `there is no column "${name}".`, NAMED);
    return found;
  });
}

async function lookAt(connection: SqliteConnection, of: Column, samples: number): Promise<FileColumn> {
  const { table, column, key } = of;
  const value = `t.${quoted(column)}`;
  const named = `main.${quoted(table)} AS t WHERE ${value} <> ''`;
  const [count] = await connection.all<{ rows: number; missing: number }>(
    `SELECT count(*) AS rows, count(CASE WHEN NOT ${isThere(value)} THEN 1 END) AS missing FROM ${named}`,
  );
  await connection.run(
    `UPDATE temp.files SET used = 1 WHERE id IN
       (SELECT n.file FROM main.${quoted(table)} AS t CROSS JOIN temp.names AS n ON n.name IN ${spellings(value)})`,
  );
  const cells = [...key, column].map((name, index) => `${cellSql(`t.${quoted(name)}`)} AS c${index}`).join(', ');
  const found = await connection.all<Record<string, string | null>>(
    `SELECT ${cells} FROM ${named} AND NOT ${isThere(value)} LIMIT ${samples}`,
  );
  return {
    table,
    column,
    rows: count?.rows ?? 0,
    missing: count?.missing ?? 0,
    samples: found.map((row) => ({
      key: Object.fromEntries(key.map((name, index) => [name, cellOf(row[`c${index}`] ?? null)])),
      path: cellOf(row[`c${key.length}`] ?? null),
    })),
  };
}
