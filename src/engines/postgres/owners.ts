import type { Connection } from './connection.js';
import { literal, quoted } from './names.js';

/** The SQL of a query of one table: each row is an array of these texts. @param rest the FROM clause, and what follows it */
export type ReadTexts = (oid: string, cells: readonly string[], rest: string) => string;

/**
 * Finds the way on which tables are read with no more than the rights of those who own them: PostgreSQL works out functions
 * of a table's indexes while it plans a query, with the rights of the user who asks. For a superuser it makes functions that
 * run a text as the owner, which cannot be left from within them: in a transaction that may write, and is rolled back. A
 * standby server has none; there the user reads.
 * @param oids of the tables
 */
export async function asOwners(connection: Connection, oids: readonly string[]): Promise<ReadTexts> {
  const owned = await connection.rows<{ oid: string; owner: string }>(
    `SELECT c.oid::text AS oid, r.rolname AS owner FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
     WHERE c.oid = ANY ($1::oid[]) AND NOT r.rolsuper AND NOT pg_is_in_recovery()
       AND (SELECT rolsuper FROM pg_roles WHERE rolname = session_user)`,
    [oids],
  );
  const owners = [...new Set(owned.map(({ owner }) => owner))];
  const functions = new Map(owners.map((owner, index) => [owner, `pg_temp.dbm_owner_${index}`]));
  for (const [owner, name] of functions) {
    await connection.run(
      `CREATE FUNCTION ${name}(asked pg_catalog.text) RETURNS SETOF pg_catalog.text[] LANGUAGE plpgsql SECURITY DEFINER AS
         'BEGIN RETURN QUERY EXECUTE asked; END';
       ALTER FUNCTION ${name}(pg_catalog.text) OWNER TO ${quoted(owner)}`,
    );
  }
  const readers = new Map(owned.map(({ oid, owner }) => [oid, functions.get(owner)]));
  return (oid, cells, rest) => {
    const sql = `SELECT ARRAY[${cells.join(', ')}]::pg_catalog.text[] AS texts ${rest}`;
    const reader = readers.get(oid);
    return reader === undefined ? sql : `SELECT texts FROM ${reader}(${literal(sql)}::pg_catalog.text) AS texts`;
  };
}
