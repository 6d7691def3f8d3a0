import { createHash } from 'node:crypto';
import sqlite3 from 'sqlite3';

/** Runs work with a connection to the file and closes it. */
export async function withDatabase<T>(path: string, work: (db: sqlite3.Database) => Promise<T>): Promise<T> {
  const db = await new Promise<sqlite3.Database>((resolve, reject) => {
    const opened = new sqlite3.Database(path, (error) => (error ? reject(error) : resolve(opened)));
  });
  db.configure('busyTimeout', 10_000);
  try {
    return await work(db);
  } finally {
    await new Promise<void>((resolve, reject) => db.close((error) => (error ? reject(error) : resolve())));
  }
}

export function exec(path: string, sql: string): Promise<void> {
  return withDatabase(
    path,
    (db) => new Promise((resolve, reject) => db.exec(sql, (error) => (error ? reject(error) : resolve()))),
  );
}

export function all<Row = Record<string, unknown>>(path: string, sql: string): Promise<Row[]> {
  return withDatabase(
    path,
    (db) =>
      new Promise((resolve, reject) => db.all<Row>(sql, (error, rows) => (error ? reject(error) : resolve(rows)))),
  );
}

/** SHA-256 over the schema and every value of every row of every table: two databases are equal if it is. */
export function contentHash(path: string, tables?: string[]): Promise<string> {
  return withDatabase(path, async (db) => {
    const hash = createHash('sha256');
    const rows = <Row>(sql: string, each: (row: Row) => void) =>
      new Promise<void>((resolve, reject) =>
        db.each<Row>(
          sql,
          (error, row) => (error ? reject(error) : each(row)),
          (error) => (error ? reject(error) : resolve()),
        ),
      );
    const names: string[] = [];
    await rows<{ type: string; name: string; sql: string | null }>(
      `SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name`,
      ({ type, name, sql }) => {
        if (tables !== undefined && !tables.includes(name)) return;
        hash.update(`${type} ${name} ${sql}\n`);
        if (type === 'table') names.push(name);
      },
    );
    for (const name of names) {
      const columns = await new Promise<{ name: string }[]>((resolve, reject) =>
        db.all<{ name: string }>(`PRAGMA table_info("${name}")`, (error, found) =>
          error ? reject(error) : resolve(found),
        ),
      );
      const order = columns.map((_, index) => index + 1).join(', ');
      await rows<Record<string, unknown>>(`SELECT * FROM "${name}" ORDER BY ${order}`, (row) => {
        for (const value of Object.values(row)) {
          hash.update(Buffer.isBuffer(value) ? `b${value.toString('hex')}` : `${typeof value}${String(value)}`);
          hash.update('\0');
        }
      });
    }
    return hash.digest('hex');
  });
}
