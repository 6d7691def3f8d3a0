import type { Connection } from './connection.js';
import { qualified, quoted } from './names.js';
import type { RepairTable } from './repair-table.js';

/** What two rows of a table must not have in common: a unique index, or an exclusion constraint. */
export interface Apart {
  /** What a row breaks that breaks it, in words. */
  reason: string;
  isPrimary: boolean;
  /** False where it can wait until the transaction ends. */
  isImmediate: boolean;
  /** The expressions that are compared, of the table's columns. */
  parts: string[];
  /** Which rows it is about; null for all. */
  condition: string | null;
  /** What `CREATE INDEX ON …` is followed by to have an index like that of an exclusion constraint; null for any other rule. */
  index: string | null;
  /** The condition for two rows of which it allows one. @param a and b their values of these expressions, as SQL */
  clash(a: (place: number) => string, b: (place: number) => string): string;
}

/** As `clash`, for two results of `parted`. */
export const clashing = (rule: Apart, a: string, b: string): string =>
  rule.clash(
    (place) => `${a}.k${place}`,
    (place) => `${b}.k${place}`,
  );

/** The values that a rule compares, of all rows that it is about: `k0, k1, …`. @param more what else is selected */
export const parted = ({ parts, condition }: Apart, table: string, more: string): string => {
  const keys = parts.map((part, index) => `(${part}) AS k${index}, `).join('');
  return `(SELECT ${keys}${more} FROM ${table} WHERE ${condition === null ? 'true' : `(${condition})`})`;
};

/** The SQL name of an operator and, behind it, of the collation that an index compares by. */
const OPERATOR = `'OPERATOR(' || quote_ident(on_.nspname) || '.' || o.oprname || ')'`;

/** The rules of a table that are about two rows. */
export async function apartRules(connection: Connection, { oid }: RepairTable): Promise<Apart[]> {
  const rows = await connection.rows<{
    constraint: string | null;
    definition: string | null;
    isExclusion: boolean;
    isPrimary: boolean;
    isImmediate: boolean;
    nullsAlike: boolean;
    index: string;
    condition: string | null;
    parts: string[];
    operators: string[];
    collations: (string | null)[];
  }>(
    `SELECT k.conname AS constraint, pg_get_constraintdef(k.oid) AS definition, i.indisexclusion AS "isExclusion",
       i.indisprimary AS "isPrimary", i.indimmediate AND NOT coalesce(k.condeferrable, false) AS "isImmediate",
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false) AS "nullsAlike",
       pg_get_expr(i.indpred, i.indrelid) AS condition,
       substr(pg_get_indexdef(i.indexrelid), length(format('CREATE INDEX %I ON %I.%I', ic.relname, tn.nspname, tc.relname)) + 1) AS index,
       array_agg(pg_get_indexdef(i.indexrelid, place, false) ORDER BY place) AS parts,
       array_agg(${OPERATOR} ORDER BY place) AS operators,
       array_agg(CASE WHEN c.oid IS NOT NULL THEN quote_ident(cn.nspname) || '.' || quote_ident(c.collname) END ORDER BY place) AS collations
     FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_class tc ON tc.oid = i.indrelid
       JOIN pg_namespace tn ON tn.oid = tc.relnamespace CROSS JOIN generate_series(1, i.indnkeyatts) AS place
       LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
       JOIN pg_opclass oc ON oc.oid = (i.indclass::oid[])[place - 1]
       JOIN pg_operator o ON o.oid = CASE WHEN i.indisexclusion THEN k.conexclop[place] ELSE (SELECT amopopr FROM pg_amop
         WHERE amopfamily = oc.opcfamily AND amopstrategy = 3 AND amoplefttype = oc.opcintype AND amoprighttype = oc.opcintype) END
       JOIN pg_namespace on_ ON on_.oid = o.oprnamespace
       LEFT JOIN pg_collation c ON c.oid = (i.indcollation::oid[])[place - 1]
       LEFT JOIN pg_namespace cn ON cn.oid = c.collnamespace
     WHERE i.indrelid = $1::oid AND (i.indisunique OR i.indisexclusion) AND i.indisvalid
     GROUP BY i.indexrelid, i.indisexclusion, i.indisprimary, i.indimmediate, i.indpred, i.indrelid, to_jsonb(i) ->> 'indnullsnotdistinct',
       k.oid, k.conname, k.condeferrable, ic.relname, tn.nspname, tc.relname
     ORDER BY i.indisprimary DESC, i.indexrelid`,
    [oid],
  );
  return rows.map((row): Apart => {
    const { parts, operators, collations, condition, constraint, isExclusion, nullsAlike } = row;
    const named = parts.map(plain).join(', ');
    return {
      reason: isExclusion
        ? `another row excludes it by ${constraint ?? ''}: ${row.definition ?? ''}`
        : `another row has the same ${named}${condition === null ? '' : ` where ${condition}`}`,
      isPrimary: row.isPrimary,
      isImmediate: row.isImmediate,
      parts,
      condition,
      index: isExclusion ? row.index : null,
      clash: (a, b) =>
        operators
          .map((operator, place) => {
            const collation = collations[place];
            const same = `${a(place)}${collation === null || collation === undefined ? '' : ` COLLATE ${collation}`} ${operator} ${b(place)}`;
            return nullsAlike ? `(${same} OR (${a(place)} IS NULL AND ${b(place)} IS NULL))` : same;
          })
          .join(' AND '),
    };
  });
}

/** A column as a person writes it. */
const plain = (part: string) => (/^"(?:[^"]|"")*"$/.test(part) ? part.slice(1, -1).replaceAll('""', '"') : part);

/** What a single row must be like: `isBroken` is a condition on it, which it names `d` where that is needed. */
export interface OwnRule {
  reason: string;
  isBroken: string;
}

/** The rules of a table that are about one row, without those of its types. */
export async function ownRules(connection: Connection, table: RepairTable): Promise<OwnRule[]> {
  const checks = await connection.rows<{ name: string; expression: string; definition: string; isWhole: boolean }>(
    `SELECT conname AS name, pg_get_expr(conbin, conrelid) AS expression, pg_get_constraintdef(oid) AS definition,
       0 = ANY (conkey) AS "isWhole"
     FROM pg_constraint WHERE conrelid = $1::oid AND contype = 'c' ORDER BY conname`,
    [table.oid],
  );
  const [partition] = await connection.rows<{ expression: string | null }>(
    'SELECT pg_get_partition_constraintdef($1::oid) AS expression',
    [table.oid],
  );
  const required = table.all.filter((column) => column.isRequired && !isLate(table, column));
  return [
    ...required.map(({ name }) => ({
      reason: `${name} must not be NULL`,
      isBroken: `${quoted(name)} IS NOT DISTINCT FROM NULL`,
    })),
    ...checks.map(({ name, expression, definition, isWhole }) => ({
      reason: `${name} does not allow it: ${definition}`,
      isBroken: isWhole ? wholeRow(table, `(${expression}) IS FALSE`) : `(${expression}) IS FALSE`,
    })),
    ...(partition === undefined || partition.expression === null
      ? []
      : [{ reason: 'it does not belong to this partition', isBroken: `(${partition.expression}) IS FALSE` }]),
  ];
}

/** A condition that takes the row as a whole, by the table's name, as one of the table's type. */
function wholeRow({ table, all }: RepairTable, condition: string): string {
  const row = `ROW(${all.map(({ name }) => `d.${quoted(name)}`).join(', ')})::${qualified(table)}`;
  return `EXISTS (SELECT FROM unnest(ARRAY[${row}]) AS ${quoted(table.name)} WHERE ${condition})`;
}

/** True for a column that only the target has and that numbers its rows: it gets its value when the row is written. */
export const isLate = ({ extra }: RepairTable, column: { name: string; isCounted: boolean }): boolean =>
  column.isCounted && extra.some(({ name }) => name === column.name);

/** A foreign key, as the target defines it. */
export interface Link {
  name: string;
  /** Oids of the table that refers and of the one that is referred to. */
  child: string;
  parent: string;
  /** As SQL takes them. A partitioned one stands for its partitions, another one not for what inherits from it. */
  childTable: string;
  parentTable: string;
  /** Names for messages. */
  childName: { schema: string; name: string };
  parentName: { schema: string; name: string };
  /** The tables that hold the parent's rows. */
  parents: string[];
  columns: string[];
  refers: string[];
  /** Compare a column of the parent, on the left, with one of the child. */
  operators: string[];
  /** MATCH FULL: a row must not have NULL in some of its columns only. */
  isFull: boolean;
  /** What a deletion of a parent does, as `pg_constraint` has it: `a` for nothing but to fail. */
  onDelete: string;
}

const LINKS = `SELECT k.conname AS name, k.conrelid::text AS child, k.confrelid::text AS parent,
    CASE WHEN c.relkind = 'p' THEN '' ELSE 'ONLY ' END || format('%I.%I', cn.nspname, c.relname) AS "childTable",
    CASE WHEN p.relkind = 'p' THEN '' ELSE 'ONLY ' END || format('%I.%I', pn.nspname, p.relname) AS "parentTable",
    json_build_object('schema', cn.nspname, 'name', c.relname) AS "childName",
    json_build_object('schema', pn.nspname, 'name', p.relname) AS "parentName",
    (WITH RECURSIVE tree AS (SELECT p.oid UNION ALL SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid)
     SELECT array_agg(t.oid::text) FROM tree JOIN pg_class t USING (oid) WHERE t.relkind = 'r' AND (p.relkind = 'p' OR t.oid = p.oid)) AS parents,
    (SELECT array_agg(attname::text ORDER BY place) FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, place)
      JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum) AS columns,
    (SELECT array_agg(attname::text ORDER BY place) FROM unnest(k.confkey) WITH ORDINALITY AS u (attnum, place)
      JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum) AS refers,
    (SELECT array_agg(${OPERATOR} ORDER BY place) FROM unnest(k.conpfeqop) WITH ORDINALITY AS u (operator, place)
      JOIN pg_operator o ON o.oid = u.operator JOIN pg_namespace on_ ON on_.oid = o.oprnamespace) AS operators,
    k.confmatchtype = 'f' AS "isFull", k.confdeltype AS "onDelete"
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
    JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
    LEFT JOIN pg_constraint whole ON whole.oid = k.conparentid
  WHERE k.contype = 'f' AND `;

/** The foreign keys of a table. One to a partitioned table counts once, and not for each of its partitions. */
export const linksOf = (connection: Connection, { oid }: RepairTable): Promise<Link[]> =>
  connection.rows<Link>(
    `${LINKS} k.conrelid = $1::oid AND whole.conrelid IS DISTINCT FROM k.conrelid ORDER BY k.conname`,
    [oid],
  );

/** The foreign keys to a table. */
export const linksTo = (connection: Connection, { oid }: RepairTable): Promise<Link[]> =>
  connection.rows<Link>(`${LINKS} k.confrelid = $1::oid ORDER BY 3, k.conname`, [oid]);

/** Finds the row that is referred to. @param parent and child are aliases */
export const refersTo = ({ columns, refers, operators }: Link, parent: string, child: string): string =>
  refers
    .map((name, index) => `${parent}.${quoted(name)} ${operators[index]} ${child}.${quoted(columns[index] ?? '')}`)
    .join(' AND ');

/** True for a row that refers to something: NULL in any column is no reference. @param child an alias */
export const isReference = ({ columns }: Link, child: string): string =>
  columns.map((name) => `${child}.${quoted(name)} IS DISTINCT FROM NULL`).join(' AND ');

/** True for a row that MATCH FULL refuses: NULL in some columns of the foreign key, and not in all. @param child an alias */
export const isTorn = ({ columns }: Link, child: string): string => {
  const nulls = columns.map((name) => `${child}.${quoted(name)} IS NOT DISTINCT FROM NULL`);
  return `(${nulls.join(' OR ')}) AND NOT (${nulls.join(' AND ')})`;
};
