import { AppError, badInput, errnoOf } from '../../errors.js';
import type { Connection } from './connection.js';
import { quoted } from './names.js';
import { BEYOND } from './query.js';
import type { RepairTable } from './repair-table.js';

/** How long a condition may take, in milliseconds. */
const WITHIN = 30_000;

const ONE = "Give one condition, such as: tenant_id = 5 AND day >= '2026-11-20'.";
const VIEW = 'pg_temp.repair_where';
const CHOSEN = 'pg_temp.repair_chosen';

/**
 * Notes which rows of the backup meet a condition. It becomes part of a view, which can hold only a SELECT and shows what it
 * would read and call; then it is asked where nothing can be written.
 * @param within how long it may take, in milliseconds
 * @returns the table that lists them in `s`
 * @throws AppError BAD_USER_INPUT naming `where`
 */
export async function chooseRows(
  connection: Connection,
  table: RepairTable,
  where: string,
  within = WITHIN,
): Promise<string> {
  if (where.includes('\0')) throw badInput('where', 'holds a NUL character.', ONE);
  await connection.run('CREATE TEMP TABLE repair_chosen (s tid) ON COMMIT DROP');
  await connection.run('SAVEPOINT asked');
  try {
    await connection.run(
      `SET LOCAL search_path = pg_catalog, ${quoted(table.table.schema)}, public; SET LOCAL statement_timeout = ${within}`,
    );
    // It may name the table, as in the application.
    const text = `CREATE TEMP VIEW repair_where AS SELECT ctid AS s FROM ${table.rows} AS ${quoted(table.table.name)} WHERE (\n${where}\n)`;
    await connection.one(text);
    await assertHarmless(connection, table);
    await connection.run('SET TRANSACTION READ ONLY');
    const before = await settingsOf(connection);
    await connection.run(`INSERT INTO ${CHOSEN} SELECT s FROM ${VIEW}`);
    if ((await settingsOf(connection)) !== before) throw badInput('where', 'changes settings of its session.', ONE);
  } catch (error) {
    throw refused(error, within);
  }
  // With the savepoint ends what was set since it, but for the two settings.
  await connection.run(
    `RELEASE SAVEPOINT asked; SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = 0; DROP VIEW ${VIEW};
     ANALYZE ${CHOSEN}`,
  );
  return CHOSEN;
}

/** What is set for the session: a function of the database could have changed what comes next. */
async function settingsOf(connection: Connection): Promise<string> {
  const [found] = await connection.rows<{ settings: string }>(
    `SELECT pg_catalog.string_agg(pg_catalog.concat(name, ' ', setting), ',' ORDER BY name) AS settings FROM pg_catalog.pg_settings`,
  );
  return found?.settings ?? '';
}

/** Fails if the view reads another table, or calls what may do more than to give a value. */
async function assertHarmless(connection: Connection, { rows }: RepairTable): Promise<void> {
  const [rule] = await connection.rows<{ tree: string; own: string; view: string }>(
    `SELECT ev_action::text AS tree, '${rows}'::regclass::oid::text AS own, ev_class::text AS view
     FROM pg_rewrite WHERE ev_class = '${VIEW}'::regclass`,
  );
  const tree = rule?.tree ?? '';
  // Older servers also note the view itself there, as OLD and NEW.
  const read = [...tree.matchAll(/:relid (\d+)/g)].map(([, oid]) => oid);
  const others = read.filter((oid) => oid !== rule?.own && oid !== rule?.view && oid !== '0');
  if (others.length > 0) {
    const [other] = await connection.rows<{ name: string }>('SELECT $1::oid::regclass::text AS name', [others[0]]);
    throw badInput('where', `reads ${other?.name ?? 'another table'}, and may read rows of the backup only.`, ONE);
  }
  const called = [...tree.matchAll(/:(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)/g)].map(([, oid]) => oid);
  const functions = await connection.rows<{ name: string; isVolatile: boolean }>(
    `SELECT proname AS name, provolatile = 'v' AS "isVolatile" FROM pg_proc WHERE oid = ANY ($1::oid[]) ORDER BY 1`,
    [called],
  );
  const beyond = functions.find(({ name }) => BEYOND.test(name));
  if (beyond !== undefined) {
    throw badInput('where', `calls ${beyond.name}(), which may read more than rows of the backup.`, ONE);
  }
  const volatile = functions.find(({ isVolatile }) => isVolatile);
  if (volatile === undefined) return;
  const text = `calls ${volatile.name}(), which may do more than to give a value, or another one each time.`;
  throw badInput('where', text, ONE);
}

/** What the error of a condition means for the user. */
function refused(error: unknown, within: number): unknown {
  if (!(error instanceof AppError) || error.field === 'where') return error;
  const code = errnoOf(error.cause) ?? '';
  if (code === '57014') {
    return badInput('where', `took longer than ${within / 1_000} seconds.`, 'Give a simpler condition.');
  }
  if (!/^[0-9A-Z]{5}$/.test(code) || /^(08|57|58|XX)/.test(code)) return error;
  const said = error.cause instanceof Error ? error.cause.message.split('\n')[0] : error.message;
  return badInput('where', `${said}.`, ONE);
}
