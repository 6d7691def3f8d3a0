import type { SqliteConnection } from './connection.js';

/** Runs work that writes `sqlite_schema` itself, and has SQLite read the schema anew afterwards. */
export async function withWritableSchema(connection: SqliteConnection, work: () => Promise<void>): Promise<void> {
  await connection.run('PRAGMA writable_schema = ON');
  try {
    await work();
  } finally {
    await connection.run('PRAGMA writable_schema = RESET');
  }
}
