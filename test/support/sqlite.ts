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
    const rows = <Row>(sql: string) =>
      new Promise<Row[]>((resolve, reject) =>
        db.all<Row>(sql, (error, found) => (error ? reject(error) : resolve(found))),
      );
    // What is counted and what is read are of one state.
    await rows('BEGIN');
    const schema = await rows<{ type: string; name: string; sql: string | null }>(
      `SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name`,
    );
    for (const { type, name, sql } of schema) {
      if (tables !== undefined && !tables.includes(name)) continue;
      hash.update(`${type} ${name} ${sql}\n`);
      if (type !== 'table') continue;
      const columns = await rows<{ name: string }>(`PRAGMA table_info("${name}")`);
      const order = columns.map((_, index) => index + 1).join(', ');
      const [counted] = await rows<{ n: number }>(`SELECT count(*) AS n FROM "${name}"`);
      hash.update(await hashOfRows(db, `SELECT * FROM "${name}" ORDER BY ${order}`, counted?.n ?? 0));
    }
    return hash.digest('hex');
  });
}

/** The driver can call the end of `each` before its last rows, which are then never given: it is asked again. */
async function hashOfRows(db: sqlite3.Database, sql: string, count: number): Promise<string> {
  for (let attempt = 0; attempt < 5; attempt++) {
    const hash = createHash('sha256');
    let seen = 0;
    await new Promise<void>((resolve, reject) =>
      db.each<Record<string, unknown>>(
        sql,
        (error, row) => {
          if (error) return reject(error);
          seen += 1;
          for (const value of Object.values(row)) {
            hash.update(Buffer.isBuffer(value) ? `b${value.toString('hex')}` : `${typeof value}${String(value)}`);
            hash.update('\0');
          }
        },
        (error) => (error ? reject(error) : resolve()),
      ),
    );
    if (seen === count) return hash.digest('hex');
  }
  throw new Error(`"${sql}" never gave its ${count} rows.`);
}
