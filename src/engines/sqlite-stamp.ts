import { AppError } from '../errors.js';
import { SqliteConnection, withConnection } from './sqlite-connection.js';
import { assertSqliteFile, hasContent } from './sqlite-file.js';

/** The table that holds a load's stamp: see `Engine.load`. */
export const STAMP_TABLE = '_db_manager_restore';

/** Leaves a stamp in the database of the connection, in the transaction that is open. */
export async function writeStamp(connection: SqliteConnection, stamp: string): Promise<void> {
  await connection.run(`CREATE TABLE IF NOT EXISTS main.${STAMP_TABLE} (id TEXT NOT NULL)`);
  await connection.run(`DELETE FROM main.${STAMP_TABLE}`);
  await connection.run(`INSERT INTO main.${STAMP_TABLE} (id) VALUES (?)`, stamp);
}

/** The stamp that a load left in the database, or null. */
export async function stampOf(target: string): Promise<string | null> {
  if (!(await hasContent(target))) return null;
  await assertSqliteFile(target);
  return withConnection(target, 'readwrite', undefined, async (connection) => {
    const found = await connection.all(`SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?`, STAMP_TABLE);
    if (found.length === 0) return null;
    return (await connection.value<string>(`SELECT id FROM ${STAMP_TABLE}`)) ?? null;
  });
}

/** Removes the stamp. @throws AppError DATABASE_IN_USE if another program holds a lock for longer than the deadline */
export async function clearStamp(target: string, lockTimeoutMs: number): Promise<void> {
  if (!(await hasContent(target))) return;
  const connection = await SqliteConnection.open(target, 'readwrite', lockTimeoutMs);
  try {
    await connection.run(`DROP TABLE IF EXISTS ${STAMP_TABLE}`);
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
