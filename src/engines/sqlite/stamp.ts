import { AppError } from '../../errors.js';
import { SqliteConnection } from './connection.js';
import { assertSqliteFile, hasContent } from './file.js';
import { readSource } from './source.js';

/** The table that holds a load's stamp, unless the application has one of this name: see `Engine.load`. */
const STAMP_TABLE = '_db_manager_restore';
/** Tells the stamp from a table of the application's own that has the same name. */
const STAMP_COLUMNS = '(id TEXT NOT NULL /* left by a restore of db-manager */)';

/** SQL that is true for the stamp's row of `sqlite_schema`. */
export const STAMP_CONDITION = `type = 'table' AND name NOT GLOB '*[^_a-z0-9]*' AND sql = 'CREATE TABLE ' || name || ' ${STAMP_COLUMNS}'`;

/** Leaves a stamp in the database of the connection, in the transaction that is open. */
export async function writeStamp(connection: SqliteConnection, stamp: string): Promise<void> {
  await removeStamp(connection);
  const table = await freeName(connection);
  await connection.run(`CREATE TABLE main.${table} ${STAMP_COLUMNS}`);
  await connection.run(`INSERT INTO main.${table} (id) VALUES (?)`, stamp);
}

/** The stamp that a load left in the database, or null. Leaves the database as it is, also after a crash. */
export async function stampOf(target: string, scratch?: string): Promise<string | null> {
  if (!(await hasContent(target))) return null;
  await assertSqliteFile(target);
  return readSource(target, { wait: 5_000, scratch }, async (connection) => {
    const table = await stampTable(connection);
    return table === null ? null : ((await connection.value<string>(`SELECT id FROM main.${table}`)) ?? null);
  });
}

/** Removes the stamp. @throws AppError DATABASE_IN_USE if another program holds a lock for longer than the deadline */
export async function clearStamp(target: string, lockTimeoutMs: number): Promise<void> {
  if (!(await hasContent(target))) return;
  const connection = await SqliteConnection.open(target, 'readwrite', lockTimeoutMs);
  try {
    await removeStamp(connection);
  } catch (error) {
    if (error instanceof AppError && error.code === 'DATABASE_IN_USE') {
      throw new AppError('DATABASE_IN_USE', `${target} was locked, so the table ${STAMP_TABLE} is still in it.`, {
        hint: `It does no harm. Remove it with \`DROP TABLE ${STAMP_TABLE}\`.`,
        cause: error,
      });
    }
    throw error;
  } finally {
    await connection.close();
  }
}

async function removeStamp(connection: SqliteConnection): Promise<void> {
  const table = await stampTable(connection);
  if (table !== null) await connection.run(`DROP TABLE main.${table}`);
}

/** The stamp's table. Its definition holds its name without quotes, so it needs none here either. */
async function stampTable(connection: SqliteConnection): Promise<string | null> {
  const [found] = await connection.all<{ name: string }>(
    `SELECT name FROM main.sqlite_schema WHERE ${STAMP_CONDITION}`,
  );
  return found?.name ?? null;
}

/** The first name that no table, view or index of the application has. */
async function freeName(connection: SqliteConnection): Promise<string> {
  for (let number = 1; ; number++) {
    const name = number === 1 ? STAMP_TABLE : `${STAMP_TABLE}_${number}`;
    const taken = await connection.all(
      `SELECT 1 FROM main.sqlite_schema WHERE type <> 'trigger' AND name = ? COLLATE NOCASE`,
      name,
    );
    if (taken.length === 0) return name;
  }
}
