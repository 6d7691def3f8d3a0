import type { FileColumn, FileReferences, ReferencesOptions } from '../../core/ports.js';
import { badInput } from '../../errors.js';
import { cellOf, cellSql, textSql } from './cells.js';
import { fromOf, readTables, type ReadTable, tableCalled } from './columns.js';
import type { Connection } from './connection.js';
import { quoted, tableName } from './names.js';
import { SETTINGS, whileWanted } from './query.js';
import type { Place } from './url.js';

/** How many values of a column are looked at to tell whether it holds paths. */
const LOOKED_AT = 200;
/** What all media lie under in an archive. */
const MEDIA = 'media/';

/** What a text may be called in the list of names: with or without a slash or `media/` in front. As bytes: of any encoding. */
function spellings(value: string): string {
  const bare = `ltrim(${value}, '/')`;
  const bytes = (text: string) => `convert_to(${text}, 'UTF8')`;
  const below = `CASE WHEN starts_with(${bare}, '${MEDIA}') THEN substr(${bare}, ${MEDIA.length + 1}) END`;
  return `ARRAY[${bytes(bare)}, ${bytes(below)}]`;
}

const isThere = (value: string) =>
  `EXISTS (SELECT FROM pg_temp.dbm_names AS n WHERE n.name = ANY (${spellings(value)}))`;

/**
 * Compares what rows name with the files that there are. The list of these lies in temporary tables of a transaction that is
 * rolled back.
 * @throws AppError BAD_USER_INPUT naming `columns`; DATABASE_…; the signal's reason
 */
export async function referencesAt(
  place: Place,
  { columns: named, files, prefixes, samples, signal }: ReferencesOptions,
): Promise<FileReferences> {
  return whileWanted(place, signal, async (connection) => {
    await connection.run(
      `${SETTINGS}; SET idle_in_transaction_session_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE`,
    );
    const tables = (await readTables(connection)).filter(({ isPartition }) => !isPartition);
    await nameFiles(connection, files, prefixes);
    const wanted = named === null ? await suggested(connection, tables) : chosen(tables, named);
    const columns: FileColumn[] = [];
    for (const column of wanted) columns.push(await lookAt(connection, column, samples));
    const unused =
      'FROM pg_temp.dbm_files AS f WHERE NOT EXISTS (SELECT FROM pg_temp.dbm_used AS u WHERE u.file = f.id)';
    const [count] = await connection.rows<{ count: string }>(`SELECT count(*)::text AS count ${unused}`);
    const some = await connection.rows<{ id: number }>(`SELECT f.id ${unused} ORDER BY f.path LIMIT ${samples}`);
    return {
      columns,
      unreferenced: Number(count?.count),
      unreferencedSamples: some.map(({ id }) => files[id] ?? ''),
    };
  });
}

/** Bytes of a list that is sent at once. */
const PIECE = 64 * 1024;

/** Lists the files, and what rows may call them: a path below all media, or below one of the media folders. */
async function nameFiles(connection: Connection, files: readonly string[], prefixes: readonly string[]): Promise<void> {
  // Hashes, because a path may be longer than what other indexes take.
  await connection.run(
    `CREATE TEMP TABLE dbm_files (id integer, path bytea) ON COMMIT DROP;
     CREATE TEMP TABLE dbm_names (name bytea, file integer) ON COMMIT DROP;
     CREATE TEMP TABLE dbm_used (file integer) ON COMMIT DROP`,
  );
  const below = [...new Set([MEDIA, ...prefixes])];
  const bytes = (text: string) => `\\\\x${Buffer.from(text).toString('hex')}`;
  await copy(connection, 'pg_temp.dbm_files (id, path)', files, (path, id) => `${id}\t${bytes(path)}\n`);
  await copy(connection, 'pg_temp.dbm_names (name, file)', files, (path, id) =>
    below
      .filter((prefix) => path.startsWith(prefix))
      .map((prefix) => `${bytes(path.slice(prefix.length))}\t${id}\n`)
      .join(''),
  );
  await connection.run(
    `CREATE INDEX ON pg_temp.dbm_names USING hash (name); ANALYZE pg_temp.dbm_files; ANALYZE pg_temp.dbm_names`,
  );
}

/** Copies lines into a table, a piece at a time. */
async function copy<T>(
  connection: Connection,
  into: string,
  items: readonly T[],
  lineOf: (item: T, index: number) => string,
): Promise<void> {
  const { write, end } = await connection.copyIn(`COPY ${into} FROM STDIN`);
  let piece = '';
  for (const [index, item] of items.entries()) {
    piece += lineOf(item, index);
    if (piece.length < PIECE) continue;
    await write(Buffer.from(piece));
    piece = '';
  }
  if (piece !== '') await write(Buffer.from(piece));
  await end();
}

interface Column {
  table: ReadTable;
  column: string;
  type: number;
}

const columnsOf = (table: ReadTable, isWanted: (column: ReadTable['columns'][number]) => boolean): Column[] =>
  table.columns.filter(isWanted).map(({ name, type }) => ({ table, column: name, type }));

/** Those of which at least half of the values are paths of files that are there. */
async function suggested(connection: Connection, tables: readonly ReadTable[]): Promise<Column[]> {
  const found: Column[] = [];
  for (const each of tables.flatMap((table) => columnsOf(table, ({ isText }) => isText))) {
    const value = textSql(`t.${quoted(each.column)}`, each.type);
    const [count] = await connection.rows<{ looked: string; hits: string }>(
      `SELECT count(*)::text AS looked, (count(*) FILTER (WHERE ${isThere('v.value')}))::text AS hits FROM (
         SELECT DISTINCT ${value} AS value FROM ${fromOf(each.table)} AS t WHERE ${value} <> '' LIMIT ${LOOKED_AT}) AS v`,
    );
    const [looked, hits] = [Number(count?.looked), Number(count?.hits)];
    if (hits > 0 && hits * 2 >= looked) found.push(each);
  }
  if (found.length > 0) return found;
  throw badInput('columns', 'no column holds mostly paths of the media files.', NAMED);
}

const NAMED = 'Name the columns as table.column, such as puja_service.image.';

function chosen(tables: readonly ReadTable[], names: readonly string[]): Column[] {
  if (names.length === 0) throw badInput('columns', 'is empty.', NAMED);
  return [...new Set(names)].map((name) => {
    const found = tables
      .flatMap((table) => columnsOf(table, () => true))
      .find(
        ({ table, column }) => tableCalled([table], name.slice(0, -column.length - 1)) && name.endsWith(`.${column}`),
      );
    if (found === undefined) throw badInput('columns', `there is no column "${name}".`, NAMED);
    return found;
  });
}

async function lookAt(connection: Connection, { table, column, type }: Column, samples: number): Promise<FileColumn> {
  const value = textSql(`t.${quoted(column)}`, type);
  const named = `FROM ${fromOf(table)} AS t WHERE ${value} <> ''`;
  const [count] = await connection.rows<{ rows: string; missing: string }>(
    `SELECT count(*)::text AS rows, (count(*) FILTER (WHERE NOT ${isThere(value)}))::text AS missing ${named}`,
  );
  await connection.run(
    `INSERT INTO pg_temp.dbm_used SELECT DISTINCT n.file FROM pg_temp.dbm_names AS n
       JOIN (SELECT unnest(${spellings(value)}) AS name ${named}) AS v ON v.name = n.name`,
  );
  const shown = [...table.columns.filter(({ name }) => table.key.includes(name)), { name: column, type }];
  const cells = shown.map((each, index) => `${cellSql(`t.${quoted(each.name)}`, each.type)} AS c${index}`).join(', ');
  const found = await connection.rows<Record<string, string | null>>(
    `SELECT ${cells} ${named} AND NOT ${isThere(value)} LIMIT ${samples}`,
  );
  return {
    table: tableName(table),
    column,
    rows: Number(count?.rows),
    missing: Number(count?.missing),
    samples: found.map((row) => {
      const values = shown.map((each, index) => cellOf(row[`c${index}`] ?? null, each.type));
      return {
        key: Object.fromEntries(
          table.key.map((name) => [name, values[shown.findIndex((each) => each.name === name)] ?? null]),
        ),
        path: values.at(-1) ?? null,
      };
    }),
  };
}
