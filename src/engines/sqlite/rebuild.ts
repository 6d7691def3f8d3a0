import type { Finding } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { type SqliteConnection, withConnection } from './connection.js';
import { quoted } from './info.js';

/**
 * Rebuilds the indexes and search indexes that were found out of step, in a private copy.
 * @returns what is left to say: other findings as they were, and what could not be rebuilt, with the reason
 */
export async function rebuildIndexes(path: string, findings: Finding[], signal: AbortSignal): Promise<Finding[]> {
  const tables = new Set(findings.flatMap(({ kind, table }) => (isDerived(kind) && table !== null ? [table] : [])));
  if (tables.size === 0) return findings;
  const failed: Finding[] = [];
  const done = new Set<string>();
  await withConnection(path, 'readwrite', signal, async (connection) => {
    for (const table of tables) {
      const problems = await rebuild(connection, table);
      if (problems.length === 0) done.add(table);
      failed.push(...problems.map((message): Finding => ({ kind: 'index', table, message })));
    }
  });
  const kept = findings.filter(({ kind, table }) => !isDerived(kind) || table === null || !tables.has(table));
  return [...kept, ...[...done].map(rebuilt), ...failed];
}

const isDerived = (kind: Finding['kind']) => kind === 'index' || kind === 'virtual';

const rebuilt = (table: string): Finding => ({
  kind: 'index',
  table,
  message: `The indexes of table ${table} were out of step in the backup, and were rebuilt.`,
});

/** Rebuilds each index by itself, so that one that cannot be rebuilt does not stop the others. @returns what failed */
async function rebuild(connection: SqliteConnection, table: string): Promise<string[]> {
  const [found] = await connection.all<{ rootpage: number; sql: string }>(
    `SELECT rootpage, sql FROM sqlite_schema WHERE type = 'table' AND name = ?`,
    table,
  );
  if (found?.rootpage === 0) return rebuildVirtual(connection, table, found.sql);
  const indexes = await connection.all<{ name: string }>(
    `SELECT name FROM sqlite_schema WHERE type = 'index' AND lower(tbl_name) = lower(?)`,
    table,
  );
  const problems: string[] = [];
  for (const { name } of indexes) {
    const problem = await problemOf(() => connection.run(`REINDEX main.${quoted(name)}`));
    if (problem !== null) problems.push(`The index ${name} of table ${table} cannot be rebuilt: ${problem}`);
  }
  return problems;
}

async function rebuildVirtual(connection: SqliteConnection, table: string, sql: string): Promise<string[]> {
  const name = quoted(table);
  const problem = /\busing\s+["'`[]?fts/i.test(sql)
    ? await problemOf(() => connection.run(`INSERT INTO ${name} (${name}) VALUES ('rebuild')`))
    : 'its kind has no command for that.';
  return problem === null ? [] : [`The search index ${table} cannot be rebuilt: ${problem}`];
}

/** What a table or index answers in place of being rebuilt; null if it was. */
async function problemOf(work: () => Promise<void>): Promise<string | null> {
  try {
    await work();
    return null;
  } catch (error) {
    if (!(error instanceof AppError) || !/^DATABASE_(FAILED|CORRUPT)$/.test(error.code)) throw error;
    return error.message;
  }
}
