import type { RepairConflict } from '../../core/ports.js';
import type { SqliteConnection } from './connection.js';
import { quoted } from './info.js';
import { linkOf } from './foreign-keys.js';
import type { RepairTable } from './repair-table.js';
import { listedRows, numbered, samplesOf } from './repair-rows.js';
import { folded } from './schema.js';
import type { Schemas } from './tables.js';

/** A foreign key of a repaired table, as the target defines it. */
interface Link {
  child: RepairTable;
  /** The parent's name, and the table in the dump and in the target; null where it is not there. */
  parent: string;
  from: string | null;
  to: string | null;
  columns: string[];
  /** The columns of the parent that they refer to. */
  refers: string[];
}

/** A row that refers to something: NULL in any column is no reference. */
const refersTo = ({ columns }: Link) => columns.map((name) => `d.${quoted(name)} IS NOT NULL`).join(' AND ');

/** Finds the row that is referred to, as SQLite does: the parent's column decides how values are compared. */
const found = ({ columns, refers }: Link, parent: string) =>
  refers.map((name, index) => `${parent}.${quoted(name)} = d.${quoted(columns[index] ?? '')}`).join(' AND ');

const isIn = (link: Link, table: string | null) =>
  table === null ? 'FALSE' : `EXISTS (SELECT 1 FROM ${table} AS p WHERE ${found(link, 'p')})`;

/** The foreign keys of a table. One that does not fit its parent is left out: SQLite cannot follow it either. */
async function linksOf(connection: SqliteConnection, { dump, target }: Schemas, child: RepairTable): Promise<Link[]> {
  const rows = await connection.all<{ id: number; parent: string; from: string; to: string | null }>(
    `SELECT id, "table" AS parent, "from", "to" FROM pragma_foreign_key_list(?, 'main') ORDER BY id, seq`,
    child.name,
  );
  const links: Link[] = [];
  for (const id of new Set(rows.map((row) => row.id))) {
    const parts = rows.filter((row) => row.id === id);
    const parent = parts[0]?.parent ?? '';
    const columns = parts.map(({ from }) => from);
    const written = columns.every((name) => child.columns.some((one) => folded(one.name) === folded(name)));
    if (!written) continue;
    const to = target.get(folded(parent));
    const known = to === undefined ? [] : await columnsOf(connection, 'main', to.name);
    const key = known.filter(({ pk }) => pk > 0).sort((one, other) => one.pk - other.pk);
    const refers = parts.map((part, index) => part.to ?? key[index]?.name ?? '');
    if (to !== undefined && (refers.length !== columns.length || !hasAll(known, refers))) continue;
    const from = dump.get(folded(parent));
    const former = from?.kind === 'table' ? await columnsOf(connection, 'dump', from.name) : [];
    links.push({
      child,
      parent: to?.name ?? parent,
      from: from === undefined || !hasAll(former, refers) ? null : `dump.${quoted(from.name)}`,
      to: to === undefined ? null : `main.${quoted(to.name)}`,
      columns,
      refers,
    });
  }
  return links;
}

const columnsOf = (connection: SqliteConnection, schema: 'main' | 'dump', table: string) =>
  connection.all<{ name: string; pk: number }>('SELECT name, pk FROM pragma_table_xinfo(?, ?)', table, schema);

const hasAll = (columns: { name: string }[], names: string[]) =>
  names.every((name) => columns.some((column) => folded(column.name) === folded(name)));

/**
 * Lists the rows that the listed ones refer to and that the target lacks, and those that these refer to, to the end.
 * @param tableOf the parent's table, with a list
 */
export async function listParents(
  connection: SqliteConnection,
  schemas: Schemas,
  tables: readonly RepairTable[],
  tableOf: (name: string) => Promise<RepairTable>,
  signal: AbortSignal,
): Promise<void> {
  const links = new Map<RepairTable, Link[]>();
  let open = [...tables];
  for (let step = 0; open.length > 0; step++) {
    const next = new Set<RepairTable>();
    for (const child of open) {
      const own = links.get(child) ?? (await linksOf(connection, schemas, child));
      links.set(child, own);
      for (const link of own) {
        signal.throwIfAborted();
        if (link.from === null || link.to === null) continue;
        const lost = `${listedRows(child)} CROSS JOIN ${link.from} AS q ON ${found(link, 'q')}
          WHERE s.step = ${step} AND ${refersTo(link)} AND NOT ${isIn(link, link.to)}`;
        if ((await connection.all(`SELECT 1 FROM ${lost} LIMIT 1`)).length === 0) continue;
        const parent = await tableOf(link.parent);
        await connection.run(
          `INSERT OR IGNORE INTO ${parent.list} (${numbered('s', parent.source).join(', ')}, step)
           SELECT ${parent.source.map((name) => `q.${quoted(name)}`).join(', ')}, ${step + 1} FROM ${lost}`,
        );
        if ((await connection.value<number>('SELECT changes()')) > 0) next.add(parent);
      }
    }
    open = [...next];
  }
}

/** What the written rows refer to that is not there. */
export interface Dangling {
  /** Rows whose parents the backup has: without them they would break. */
  conflicts: RepairConflict[];
  /** The tables that those parents are of. */
  parents: string[];
  /** Rows whose parents the backup lacks too, by pairs of child and parent: they are as they were. */
  former: Map<string, number>;
}

/** Looks for what the rows of a table that were written refer to in vain. */
export async function danglingOf(
  connection: SqliteConnection,
  schemas: Schemas,
  child: RepairTable,
): Promise<Dangling> {
  const dangling: Dangling = { conflicts: [], parents: [], former: new Map() };
  for (const link of await linksOf(connection, schemas, child)) {
    const lost = `${listedRows(child)} WHERE ${refersTo(link)} AND NOT ${isIn(link, link.to)}`;
    const broken = `${lost} AND ${isIn(link, link.from)}`;
    const [count] = await connection.all<{ all: number; broken: number }>(
      `SELECT count(*) AS "all", count(CASE WHEN ${isIn(link, link.from)} THEN 1 END) AS broken FROM ${lost}`,
    );
    const { all = 0, broken: rows = 0 } = count ?? {};
    if (rows > 0) {
      const reason = `${link.columns.join(', ')} refers to rows of ${link.parent} that the target does not have`;
      dangling.conflicts.push({ reason, rows, samples: await samplesOf(connection, child, broken) });
      dangling.parents.push(link.parent);
    }
    if (all > rows) {
      const pair = linkOf(child.name, link.parent);
      dangling.former.set(pair, (dangling.former.get(pair) ?? 0) + all - rows);
    }
  }
  return dangling;
}
