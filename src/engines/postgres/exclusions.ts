import type { ExclusionMatches, Exclusions } from '../../core/ports.js';
import { type Excludable, isNothing, matchesOf, namesOf, neededRows, neededTable } from '../exclusions.js';
import type { Connection } from './connection.js';
import { OWN } from './facts.js';
import { qualified, type TableName, tableName } from './names.js';

/** What exclusions come to in the database of a connection. */
export interface LeftOut {
  matches: ExclusionMatches;
  /** Arguments of pg_dump that leave just that out. */
  args: string[];
  /** Bytes of it on the server's disk. */
  bytes: number;
}

interface Relation extends TableName {
  oid: string;
  kind: string;
  within: TableName[];
}

/**
 * Finds what the patterns fit, as far as the connection's transaction sees it: pg_dump gets exact names. The partitions of a
 * table go with it.
 * @throws AppError BAD_USER_INPUT if something that stays needs what is left out
 */
export async function leftOut(connection: Connection, exclusions: Exclusions): Promise<LeftOut> {
  if (isNothing(exclusions)) return { matches: { excluded: [], unmatched: [] }, args: [], bytes: 0 };
  const relations = await connection.rows<Relation>(
    `SELECT c.oid::text AS oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       COALESCE((SELECT json_agg(json_build_object('schema', pn.nspname, 'name', p.relname))
         FROM pg_partition_ancestors(c.oid) a JOIN pg_class p ON p.oid = a.relid
         JOIN pg_namespace pn ON pn.oid = p.relnamespace WHERE a.relid <> c.oid), '[]') AS within
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' AND ${OWN} ORDER BY 2, 3`,
  );
  const excludable = relations.map((each): Excludable => {
    const also = [plainName(each), ...each.within.flatMap((part) => [tableName(part), plainName(part)])];
    return { name: tableName(each), also, hasRows: each.kind === 'r' };
  });
  const matches = matchesOf(excludable, exclusions);
  const byName = new Map(relations.map((each) => [tableName(each), each]));
  const named = (what: 'TABLE' | 'ROWS') =>
    namesOf(matches, what)
      .map((name) => byName.get(name))
      .filter((each) => each !== undefined);
  const [gone, emptied] = [named('TABLE'), named('ROWS')];
  await assertUnneeded(connection, oidsOf(gone));
  await assertUnreferred(connection, oidsOf(gone), oidsOf(emptied));
  const [size] = await connection.rows<{ bytes: string }>(
    'SELECT COALESCE(sum(pg_total_relation_size(oid)), 0)::text AS bytes FROM pg_class WHERE oid = ANY ($1::oid[])',
    [oidsOf([...gone, ...emptied])],
  );
  // In quotes, nothing of a name is a pattern to pg_dump.
  const args = [
    ...gone.map((each) => `--exclude-table=${qualified(each)}`),
    ...emptied.map((each) => `--exclude-table-data=${qualified(each)}`),
  ];
  return { matches, args, bytes: Number(size?.bytes ?? 0) };
}

/** As `tableName`, without the quotes. */
const plainName = ({ schema, name }: TableName) => (schema === 'public' ? name : `${schema}.${name}`);

const oidsOf = (relations: Relation[]) => relations.map(({ oid }) => oid);

/** Views, foreign keys, functions and what else is made of a table cannot be made again without it. */
async function assertUnneeded(connection: Connection, gone: string[]): Promise<void> {
  if (gone.length === 0) return;
  const [needed] = await connection.rows<TableName & { needer: string | null; described: string; of: TableName }>(
    `WITH gone AS (SELECT unnest($1::oid[]) AS oid),
     parts AS (SELECT 'pg_class'::regclass::oid AS class, oid, oid AS of FROM gone
       UNION ALL SELECT 'pg_type'::regclass, t.oid, gone.oid FROM pg_type t JOIN gone ON t.typrelid = gone.oid
       UNION ALL SELECT 'pg_type'::regclass, t.typarray, gone.oid FROM pg_type t JOIN gone ON t.typrelid = gone.oid),
     needs AS (SELECT d.classid, d.objid, d.objsubid, parts.of,
         CASE d.classid WHEN 'pg_class'::regclass THEN d.objid
           WHEN 'pg_rewrite'::regclass THEN (SELECT ev_class FROM pg_rewrite WHERE oid = d.objid)
           WHEN 'pg_constraint'::regclass THEN (SELECT NULLIF(conrelid, 0) FROM pg_constraint WHERE oid = d.objid)
           WHEN 'pg_attrdef'::regclass THEN (SELECT adrelid FROM pg_attrdef WHERE oid = d.objid)
           WHEN 'pg_trigger'::regclass THEN (SELECT tgrelid FROM pg_trigger WHERE oid = d.objid)
           WHEN 'pg_policy'::regclass THEN (SELECT polrelid FROM pg_policy WHERE oid = d.objid) END AS holder
       FROM pg_depend d JOIN parts ON d.refclassid = parts.class AND d.refobjid = parts.oid WHERE d.deptype = 'n')
     SELECT h.relname AS needer, hn.nspname AS schema, h.relname AS name,
       pg_describe_object(needs.classid, needs.objid, needs.objsubid) AS described,
       json_build_object('schema', gn.nspname, 'name', g.relname) AS of
     FROM needs LEFT JOIN pg_class h ON h.oid = needs.holder LEFT JOIN pg_namespace hn ON hn.oid = h.relnamespace
       JOIN pg_class g ON g.oid = needs.of JOIN pg_namespace gn ON gn.oid = g.relnamespace
     WHERE needs.holder IS NULL OR needs.holder NOT IN (SELECT oid FROM gone)
     ORDER BY needs.classid, needs.objid LIMIT 1`,
    [gone],
  );
  if (needed === undefined) return;
  throw neededTable(needed.needer === null ? needed.described : tableName(needed), tableName(needed.of));
}

/** Foreign keys are made once all rows are there, and then compared. */
async function assertUnreferred(connection: Connection, gone: string[], emptied: string[]): Promise<void> {
  if (emptied.length === 0) return;
  const [found] = await connection.rows<{ one: TableName; other: TableName }>(
    `SELECT json_build_object('schema', n.nspname, 'name', c.relname) AS one,
       json_build_object('schema', rn.nspname, 'name', r.relname) AS other
     FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
       JOIN pg_class r ON r.oid = k.confrelid JOIN pg_namespace rn ON rn.oid = r.relnamespace
     WHERE k.contype = 'f' AND c.relkind = 'r' AND k.confrelid = ANY ($1::oid[])
       AND k.conrelid <> ALL ($1::oid[]) AND k.conrelid <> ALL ($2::oid[]) ORDER BY k.oid LIMIT 1`,
    [emptied, gone],
  );
  if (found !== undefined) throw neededRows(tableName(found.one), tableName(found.other));
}
