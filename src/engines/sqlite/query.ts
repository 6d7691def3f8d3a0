import type { QueryRows } from '../../core/ports.js';
import { badInput } from '../../errors.js';
import { cellOf, cellSql, isCut } from './cells.js';
import { isSqlError, SqliteConnection, sqliteCode, sqliteWords } from './connection.js';
import { quoted } from './info.js';

/** Bytes that SQLite may take from memory, in this process. */
export const HEAP_BYTES = 256 * 1024 * 1024;

/**
 * The rows that one SELECT gives, of a private copy. SQLite itself takes nothing else: the statement becomes a view, which
 * can hold only a SELECT, on a connection that can neither write nor attach another file.
 * @throws AppError BAD_USER_INPUT naming `sql`; DATABASE_…
 */
export async function queryCopy({
  path,
  sql,
  limit,
}: {
  path: string;
  sql: string;
  limit: number;
}): Promise<QueryRows> {
  const connection = await openPrivate(path);
  const start = performance.now();
  try {
    const text = `CREATE TEMP VIEW asked AS SELECT * FROM (\n${sql.trim().replace(/;$/, '')}\n)`;
    await connection.run(text);
    // SQLite runs the first statement of a text, and keeps of a view what it has read.
    const kept = await connection.value<string>("SELECT sql FROM sqlite_temp_schema WHERE name = 'asked'");
    if (kept.length < text.length - 'TEMP '.length) throw badInput('sql', 'holds more than one statement.', ONE);
    await connection.run('PRAGMA query_only = ON');
    const columns = await connection.all<{ name: string }>("SELECT name FROM pragma_table_info('asked')");
    const cells = columns.map(({ name }, index) => `${cellSql(quoted(name))} AS c${index}`).join(', ');
    // Materialized, so that what is random is asked for once.
    const rows = await connection.all<Record<string, string | null>>(
      `WITH result AS MATERIALIZED (SELECT * FROM asked LIMIT ${limit + 1}) SELECT ${cells} FROM result`,
    );
    const given = rows.slice(0, limit).map((row) => columns.map((_column, index) => row[`c${index}`] ?? null));
    return {
      columns: columns.map(({ name }) => name),
      rows: given.map((row) => row.map(cellOf)),
      cut: given.some((row) => row.some(isCut)),
      truncated: rows.length > limit,
      seconds: (performance.now() - start) / 1_000,
    };
  } catch (error) {
    if (sqliteCode(error) === 'SQLITE_NOMEM') throw badInput('sql', 'takes more memory than it may have.', LESS);
    if (sqliteCode(error) === 'SQLITE_TOOBIG') throw badInput('sql', 'makes a value that is too large.', LESS);
    if (isSqlError(error)) throw badInput('sql', `${sqliteWords(error)}.`, ONE);
    throw error;
  } finally {
    await connection.close();
  }
}

const ONE = 'Give one SELECT, such as: SELECT * FROM auth_user ORDER BY id.';
const LESS = 'Ask for fewer or shorter values, with a condition or substr().';

/** Opens a private copy in a process that does nothing else. @param attached how many more may be attached */
export async function openPrivate(
  path: string,
  attached: { name: string; path: string }[] = [],
): Promise<SqliteConnection> {
  const connection = await SqliteConnection.open(path, 'immutable');
  await connection.run(`PRAGMA hard_heap_limit = ${HEAP_BYTES}`);
  for (const other of attached) await connection.attachImmutable(other.path, other.name);
  connection.forbidAttach(attached.length);
  return connection;
}
