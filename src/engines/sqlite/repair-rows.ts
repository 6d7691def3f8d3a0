import type { RepairConflict, RowSample } from '../../core/ports.js';
import { type Cells, cells, MAX_COLUMNS, pick, valuesOf } from './compare.js';
import type { SqliteConnection } from './connection.js';
import { quoted } from './info.js';
import type { RepairTable } from './repair-table.js';

/** How many rows are shown of each kind. */
const SAMPLES = 10;

/** A list of columns, each with something before it. */
export const listed = (names: string[], side = '') => names.map((name) => side + quoted(name)).join(', ');

/** The names of a list's columns: `s0, s1, …`. */
export const numbered = (letter: string, names: string[]) => names.map((_name, index) => `${letter}${index}`);

/** A condition that pairs columns. The left side decides how texts are compared. */
export const paired = (names: string[], left: string, others: string[], right: string) =>
  names.map((name, index) => `${left}${quoted(name)} = ${right}${others[index] ?? ''}`).join(' AND ');

/** The rows of the list with those of the backup that they mean. */
export const listedRows = ({ list, from, source }: RepairTable) =>
  `${list} AS s CROSS JOIN ${from} AS d ON ${paired(source, 'd.', numbered('s', source), 's.')}`;

const sameKey = (key: { name: string }[]) =>
  key.map(({ name }) => `m.${quoted(name)} = d.${quoted(name)}`).join(' AND ');

/** By bytes, whatever the column's own order takes for equal. */
const differ = ({ name }: { name: string }) => `(m.${quoted(name)} IS NOT d.${quoted(name)} COLLATE BINARY)`;

const differs = ({ columns }: RepairTable) => columns.map(differ).join(' OR ');

/** True for the rows of the dump that `where` chose, which lie in a table of their own. */
const isChosen = ({ source }: RepairTable, chosen: string | null, side = 'd.') =>
  chosen === null
    ? 'TRUE'
    : `EXISTS (SELECT 1 FROM dump.${quoted(chosen)} AS c WHERE ${numbered('s', source)
        .map((id, index) => `c.${id} = ${side}${side === 'd.' ? quoted(source[index] ?? '') : id}`)
        .join(' AND ')})`;

/** Makes the list of the rows to write: `s…` name a row of the dump, `t…` the one that it overwrites, `e…` what that keeps. */
export async function makeList(
  connection: SqliteConnection,
  { list, source, target, extra }: RepairTable,
): Promise<void> {
  const sources = numbered('s', source);
  const columns = [...sources, ...numbered('t', target), ...numbered('e', extra)];
  await connection.run(
    `CREATE TEMP TABLE ${list.replace('temp.', '')} (${columns.join(', ')}, step INTEGER, taken INTEGER, UNIQUE (${sources.join(', ')}))`,
  );
}

/** Lists the rows of the dump that the target lost. */
export async function listMissing(
  connection: SqliteConnection,
  table: RepairTable,
  chosen: string | null,
): Promise<void> {
  const sources = numbered('s', table.source);
  await connection.run(
    `INSERT INTO ${table.list} (${sources.join(', ')}, step) SELECT *, 0 FROM (${missing(table, chosen)})`,
  );
}

/** What names the rows of the dump that the target lost. Of equal rows without a key it counts how many there are. */
function missing(table: RepairTable, chosen: string | null): string {
  const { from, to, source, columns, primary } = table;
  if (primary !== null) {
    return `SELECT ${listed(source, 'd.')} FROM ${from} AS d
      WHERE NOT EXISTS (SELECT 1 FROM ${to} AS m WHERE ${sameKey(primary)}) AND ${isChosen(table, chosen)}`;
  }
  const values = numbered(
    'k',
    columns.map(({ name }) => name),
  );
  const own = columns.map(({ name }, index) => `${quoted(name)} AS k${index}`).join(', ');
  const sources = numbered('s', source);
  const ids = source.map((name, index) => `${quoted(name)} AS s${index}`).join(', ');
  const alike = `PARTITION BY ${values.map((name) => `${name} COLLATE BINARY`).join(', ')}`;
  return `SELECT ${sources.join(', ')} FROM (
      SELECT *, row_number() OVER (${alike}, backed ORDER BY ${sources.join(', ')}) AS nth, sum(NOT backed) OVER (${alike}) AS here
      FROM (SELECT TRUE AS backed, ${ids}, ${own} FROM ${from}
        UNION ALL SELECT FALSE, ${source.map(() => 'NULL').join(', ')}, ${listed(columns.map(({ name }) => name))} FROM ${to})
    ) AS u WHERE backed AND nth > here AND ${isChosen(table, chosen, 'u.')}`;
}

/** Lists the rows whose values differ, with what the target keeps of them. */
export async function listChanged(
  connection: SqliteConnection,
  table: RepairTable,
  chosen: string | null,
): Promise<void> {
  const { list, from, to, source, target, extra, primary } = table;
  if (primary === null) return;
  const into = [...numbered('s', source), ...numbered('t', target), ...numbered('e', extra)];
  const values = [listed(source, 'd.'), listed([...target, ...extra], 'm.')].join(', ');
  await connection.run(
    `INSERT INTO ${list} (${into.join(', ')}, step)
     SELECT ${values}, 0 FROM ${from} AS d CROSS JOIN ${to} AS m ON ${sameKey(primary)}
     WHERE (${differs(table)}) AND ${isChosen(table, chosen)}`,
  );
}

/** How many rows are listed: to add, and to overwrite. */
export async function countListed(connection: SqliteConnection, { list }: RepairTable) {
  const [found] = await connection.all<{ add: number; overwrite: number }>(
    `SELECT count(*) - count(t0) AS "add", count(t0) AS overwrite FROM ${list}`,
  );
  return found ?? { add: 0, overwrite: 0 };
}

/** Some of the listed rows, before they are written. */
export async function sampleListed(connection: SqliteConnection, table: RepairTable): Promise<RowSample[]> {
  const { columns, target, to } = table;
  const shown = await samplesOf(connection, table, `${listedRows(table)} WHERE s.t0 IS NULL`);
  if (3 * columns.length > MAX_COLUMNS) return shown;
  const flags = columns.map((column, index) => `${differ(column)} AS d${index}`).join(', ');
  const rows = await connection.all<Cells & Record<`d${number}`, number>>(
    `SELECT ${cells('m.', columns, 'a')}, ${cells('d.', columns, 'b')}, ${flags}
     FROM ${listedRows(table)} CROSS JOIN ${to} AS m ON ${paired(target, 'm.', numbered('t', target), 's.')} LIMIT ${SAMPLES}`,
  );
  const overwritten = rows.map((row): RowSample => {
    const differing = columns.filter((_column, index) => row[`d${index}`] === 1);
    const [before, after] = [valuesOf(row, columns, 'a'), valuesOf(row, columns, 'b')];
    return { key: pick(after, table.primary ?? []), before: pick(before, differing), after: pick(after, differing) };
  });
  return [...shown, ...overwritten];
}

/** Some rows of the dump. @param rows a FROM clause in which `d` is the dump's table */
export async function samplesOf(connection: SqliteConnection, table: RepairTable, rows: string): Promise<RowSample[]> {
  const found = await connection.all<Cells>(`SELECT ${cells('d.', table.columns, 'c')} FROM ${rows} LIMIT ${SAMPLES}`);
  return found.map((row): RowSample => {
    const after = valuesOf(row, table.columns, 'c');
    return { key: pick(after, table.primary ?? []), before: null, after };
  });
}

/**
 * Writes the listed rows: those that are overwritten go and come back, so that values may change places. One that does not fit
 * what the target holds is left out.
 * @returns how many were left out: the transaction must end with it
 */
export async function writeListed(connection: SqliteConnection, table: RepairTable): Promise<number> {
  const { list, to, target, extra, rowid } = table;
  const columns = table.columns.map(({ name }) => name);
  const targets = numbered('t', target);
  if (rowid !== null) {
    const isTaken = table.keepsRowid ? `EXISTS (SELECT 1 FROM ${to} AS m WHERE m.${quoted(rowid)} = s.s0)` : 'TRUE';
    await connection.run(`UPDATE ${list} AS s SET taken = ${isTaken} WHERE s.t0 IS NULL`);
  }
  await connection.run(
    `DELETE FROM ${to} WHERE (${listed(target)}) IN (SELECT ${targets.join(', ')} FROM ${list} WHERE t0 IS NOT NULL)`,
  );
  let written = 0;
  const insert = async (names: string[], values: string[], condition: string) => {
    await connection.run(
      `INSERT OR IGNORE INTO ${to} (${listed(names)}) SELECT ${values.join(', ')} FROM ${listedRows(table)} WHERE ${condition}`,
    );
    written += await connection.value<number>('SELECT changes()');
  };
  const own = columns.map((name) => `d.${quoted(name)}`);
  const kept = [...own, ...numbered('e', extra).map((name) => `s.${name}`)];
  const hidden = rowid === null ? [] : [rowid];
  await insert([...hidden, ...columns, ...extra], [...hidden.map(() => 's.t0'), ...kept], 's.t0 IS NOT NULL');
  if (rowid === null) await insert(columns, own, 's.t0 IS NULL');
  else {
    await insert([rowid, ...columns], ['s.s0', ...own], 's.t0 IS NULL AND NOT s.taken');
    await insert(columns, own, 's.t0 IS NULL AND s.taken');
  }
  const { add, overwrite } = await countListed(connection, table);
  return add + overwrite - written;
}

/** What the rows that were left out break, for each rule. @param left how many they are */
export async function conflictsOf(
  connection: SqliteConnection,
  table: RepairTable,
  left: number,
): Promise<RepairConflict[]> {
  const { to, source, primary } = table;
  const absent =
    primary === null
      ? `(${listed(source, 'd.')}) IN (${missing(table, null)})`
      : `NOT EXISTS (SELECT 1 FROM ${to} AS m WHERE ${sameKey(primary)} AND NOT (${differs(table)}))`;
  const conflicts: RepairConflict[] = [];
  const taken: string[] = [];
  let explained = 0;
  for (const columns of await uniqueRules(connection, table)) {
    const holds = `EXISTS (SELECT 1 FROM ${to} AS m WHERE ${columns.map((name) => `m.${quoted(name)} = d.${quoted(name)}`).join(' AND ')})`;
    const rows = `${listedRows(table)} WHERE ${[absent, holds, ...taken.map((one) => `NOT ${one}`)].join(' AND ')}`;
    const count = await connection.value<number>(`SELECT count(*) FROM ${rows}`);
    taken.push(holds);
    if (count === 0) continue;
    explained += count;
    const reason = `another row has the same ${columns.join(', ')}`;
    conflicts.push({ reason, rows: count, samples: await samplesOf(connection, table, rows) });
  }
  if (explained >= left) return conflicts;
  const rows = `${listedRows(table)} WHERE ${[absent, ...taken.map((one) => `NOT ${one}`)].join(' AND ')}`;
  const samples = await samplesOf(connection, table, rows);
  return [...conflicts, { reason: OTHER_RULE, rows: left - explained, samples }];
}

const OTHER_RULE = 'the table does not allow such rows any more (CHECK, NOT NULL or a unique index)';

/** The columns that must be unique in the target, for each rule without conditions or expressions that the rows can be asked for. */
async function uniqueRules(connection: SqliteConnection, { name, primary, columns }: RepairTable): Promise<string[][]> {
  const rules = await connection.all<{ index: string }>(
    `SELECT name AS "index" FROM pragma_index_list(?, 'main') WHERE "unique" = 1 AND partial = 0 AND origin <> 'pk' ORDER BY seq`,
    name,
  );
  const found = primary === null ? [] : [primary.map((column) => column.name)];
  for (const { index } of rules) {
    const parts = await connection.all<{ name: string | null }>(
      `SELECT name FROM pragma_index_info(?, 'main') ORDER BY seqno`,
      index,
    );
    const names = parts.flatMap((part) => columns.find((column) => column.name === part.name)?.name ?? []);
    if (names.length === parts.length) found.push(names);
  }
  return found;
}
