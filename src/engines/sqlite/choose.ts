import { badInput } from '../../errors.js';
import { isSqlError, SqliteConnection, sqliteCode, sqliteWords } from './connection.js';
import { quoted } from './info.js';
import { readObjects } from './objects.js';
import { HEAP_BYTES } from './query.js';
import { identityOf } from './repair-table.js';
import { numbered } from './repair-rows.js';
import { folded, isSign, tokenize } from './schema.js';

const ONE = "Give one condition, such as: tenant_id = 5 AND day >= '2026-11-20'.";

/**
 * Notes in a private copy which rows of a table meet a condition. As for a query, it becomes part of a view, which can hold
 * only a SELECT.
 * @returns the table that lists them
 * @throws AppError BAD_USER_INPUT naming `where` or `tables`; DATABASE_…
 */
export async function chooseCopy(task: { path: string; table: string; where: string }): Promise<string> {
  assertCondition(task.where);
  const connection = await SqliteConnection.open(task.path, 'readwrite');
  try {
    await connection.run(`PRAGMA hard_heap_limit = ${HEAP_BYTES}`);
    await connection.run('PRAGMA cell_size_check = ON');
    connection.forbidAttach(0);
    const object = (await readObjects(connection, 'main')).get(folded(task.table));
    if (object?.kind !== 'table') throw badInput('tables', `the backup has no table ${task.table} of rows.`);
    const { names } = await identityOf(connection, 'main', object.name);
    const ids = numbered('s', names);
    const text = `CREATE TEMP VIEW asked (${ids.join(', ')}) AS SELECT ${names.map(quoted).join(', ')} FROM main.${quoted(object.name)} WHERE (\n${task.where}\n)`;
    await connection.run(text);
    // SQLite runs the first statement of a text, and keeps of a view what it has read.
    const kept = await connection.value<string>("SELECT sql FROM sqlite_temp_schema WHERE name = 'asked'");
    if (kept.length < text.length - 'TEMP '.length) throw badInput('where', 'is more than one condition.', ONE);
    const list = await freeName(connection);
    await connection.run(
      `CREATE TABLE main.${list} (${ids.join(', ')}, PRIMARY KEY (${ids.join(', ')})) WITHOUT ROWID`,
    );
    await connection.run(`INSERT INTO main.${list} SELECT * FROM temp.asked`);
    return list;
  } catch (error) {
    if (sqliteCode(error) === 'SQLITE_NOMEM') throw badInput('where', 'takes more memory than it may have.', ONE);
    if (isSqlError(error)) throw badInput('where', `${sqliteWords(error)}.`, ONE);
    throw error;
  } finally {
    await connection.close();
  }
}

/** Refuses a text that would not stay within the parentheses around it. */
function assertCondition(where: string): void {
  let depth = 0;
  for (const token of tokenize(where)) {
    if (isSign(token, '(')) depth += 1;
    if (isSign(token, ')')) depth -= 1;
    if (depth < 0 || isSign(token, ';')) throw badInput('where', 'is more than one condition.', ONE);
  }
  if (depth > 0) throw badInput('where', 'has a parenthesis that is not closed.', ONE);
}

async function freeName(connection: SqliteConnection): Promise<string> {
  for (let number = 1; ; number++) {
    const name = `_db_manager_chosen_${number}`;
    const taken = await connection.all('SELECT 1 FROM main.sqlite_schema WHERE name = ? COLLATE NOCASE', name);
    if (taken.length === 0) return name;
  }
}
