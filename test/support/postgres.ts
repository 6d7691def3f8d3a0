import pg from 'pg';

/** Runs `work` with a connection that is closed again. */
export async function using<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Runs statements; gives the rows of the last one. */
export const query = <Row = Record<string, unknown>>(url: string, sql: string): Promise<Row[]> =>
  using(url, async (client) => {
    const result = (await client.query(sql)) as unknown as pg.QueryResult | pg.QueryResult[];
    return (Array.isArray(result) ? result.at(-1)?.rows : result.rows) as Row[];
  });

/** The same server and user, and another database. */
export function at(url: string, database: string, user?: { name: string; password: string }): string {
  const changed = new URL(url);
  changed.pathname = `/${encodeURIComponent(database)}`;
  if (user !== undefined) [changed.username, changed.password] = [user.name, encodeURIComponent(user.password)];
  return changed.href;
}

/** What a dump must bring back beside rows, as the catalogue words it. */
const CATALOGUE = `
  SELECT 'column', attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull::text, attidentity::text,
    attgenerated::text, pg_get_expr(adbin, adrelid)
  FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
  WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM own) AND relkind IN ('r', 'p', 'v', 'm'))
    AND attnum > 0 AND NOT attisdropped
  UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', '', NULL
    FROM pg_constraint WHERE connamespace IN (SELECT oid FROM own)
  UNION ALL SELECT 'index', indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid), '', '', '', NULL
    FROM pg_index WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM own))
  UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), '', '', '', NULL
    FROM pg_trigger WHERE NOT tgisinternal
  UNION ALL SELECT 'policy', polrelid::regclass::text, polname, pg_get_expr(polqual, polrelid), '', '', '', NULL FROM pg_policy
  UNION ALL SELECT 'relation', oid::regclass::text, relkind::text, pg_get_userbyid(relowner), relacl::text,
    relrowsecurity::text, coalesce(pg_get_expr(relpartbound, oid), ''), CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END
    FROM pg_class WHERE relnamespace IN (SELECT oid FROM own) AND relkind IN ('r', 'p', 'v', 'm', 'S')
  UNION ALL SELECT 'sequence', schemaname, sequencename, last_value::text, increment_by::text, '', '', NULL FROM pg_sequences
  UNION ALL SELECT 'function', proname, prosrc, pg_get_function_result(oid), '', '', '', NULL
    FROM pg_proc WHERE pronamespace IN (SELECT oid FROM own) AND prokind = 'f'
      AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
  UNION ALL SELECT 'extension', extname, extversion, '', '', '', '', NULL FROM pg_extension
  UNION ALL SELECT 'object', oid::text, md5(lo_get(oid)), '', '', '', '', NULL FROM pg_largeobject_metadata
  UNION ALL SELECT 'comment', objoid::regclass::text, description, '', '', '', '', NULL
    FROM pg_description WHERE classoid = 'pg_class'::regclass
      AND objoid IN (SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM own))`;

/** All that a database holds, as this product has no part in telling it: the catalogue, and a hash of all rows of each table. */
export function stateOf(url: string, except: string[] = []): Promise<string[]> {
  return using(url, async (client) => {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL search_path = pg_catalog');
    const own = `WITH own AS (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')`;
    const catalogue = await client.query({ text: `${own} ${CATALOGUE}`, rowMode: 'array' });
    const state = catalogue.rows.map((values) => JSON.stringify(values)).sort();
    const tables = await client.query<{ name: string; plain: string }>(
      `${own} SELECT oid::regclass::text AS name, relname AS plain FROM pg_class
       WHERE relkind IN ('r', 'm') AND relnamespace IN (SELECT oid FROM own) ORDER BY 1`,
    );
    for (const { name, plain } of tables.rows) {
      if (except.includes(plain)) continue;
      const { rows } = await client.query(
        `SELECT md5(coalesce(string_agg(md5(t::text), '' ORDER BY md5(t::text)), '')) AS sum, count(*) FROM ${name} t`,
      );
      state.push(`${name} ${JSON.stringify(rows)}`);
    }
    await client.query('COMMIT');
    return state;
  });
}

/** Values of every kind with their edges, odd names, and all that a database can hold beside tables. */
export const ZOO = `
  CREATE EXTENSION IF NOT EXISTS pg_trgm;
  CREATE SCHEMA "Ünïque ""schema"".";
  CREATE TYPE mood AS ENUM ('sad', 'so "so"', '😀');
  CREATE DOMAIN positive AS int CHECK (VALUE > 0);
  CREATE TYPE pair AS (a int, b text);
  CREATE TABLE zoo (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s smallint, i int, b bigint, n numeric, m numeric(1000, 500), r real,
    d double precision, t text, c char(5), v varchar(7), x bytea, ts timestamp, tz timestamptz, da date, ti time, tiz timetz,
    iv interval, bo boolean, u uuid, j json, jb jsonb, a int[], aa text[][], rg int4range, mr int4multirange, ip inet, ci cidr,
    ma macaddr, bi bit(3), vb bit varying, po point, pl polygon, mo mood, dom positive, pr pair, xm xml, tv tsvector, mn money,
    twice int GENERATED ALWAYS AS (i / 2) STORED);
  INSERT INTO zoo (s, i, b, n, m, r, d, t, c, v, x, ts, tz, da, ti, tiz, iv, bo, u, j, jb, a, aa, rg, mr, ip, ci, ma, bi, vb, po,
    pl, mo, dom, pr, xm, tv, mn) VALUES
    (-32768, -2147483648, -9223372036854775808, 'NaN', 1e-400, '-Infinity', 'NaN', '', '', '', '', '-infinity', 'infinity',
     '4713-01-01 BC', '24:00', '23:59:60+15:59', '-178000000 years', false, '00000000-0000-0000-0000-000000000000', '{"a": 1,  "a": 2}',
     '{}', '{}', '{}', 'empty', '{}', '::1/0', '0.0.0.0/0', '00:00:00:00:00:00', B'000', B'', '(NaN,Infinity)', '((0,0))', 'sad', 1,
     ROW(NULL, NULL), '<a/>', '', '-92233720368547758.08'),
    (32767, 2147483647, 9223372036854775807, 1e300, 1e400, 1e-45, 5e-324, E'tab\\t nl\\n cr\\r back\\\\ \\u2028 \\\\. "q" ''', 'ab', 'Ünï😀', E'\\\\x00ff5c2e0a',
     '294276-12-31 23:59:59.999999', '0001-01-01 00:00+00 BC', '5874897-12-31', '00:00:00.000001', '00:00-15:59', '1 mon -1 day 00:00:00.1', true,
     'ffffffff-ffff-ffff-ffff-ffffffffffff', 'null', '[1e100, "\\\\u00fc", null]', '{1,NULL,3}', '{{"a,b","c\\"d"},{NULL,"NULL"}}', '[1,)', '{[1,3),[5,9)}',
     '192.168.0.1/24', '10.0.0.0/8', 'ff:ff:ff:ff:ff:ff', B'101', B'1', '(1e308,-1e-308)', '((0,0),(1,1),(1,0))', '😀', 2147483647, ROW(1, 'x,"y"'), NULL, '''fat'':1 ''cat'':2',
     '92233720368547758.07');
  INSERT INTO zoo DEFAULT VALUES;
  CREATE TABLE "Ünïque ""schema""."."it's ""a"".table; --" ("select" int, "a ""b"" .c" text, "😀" text);
  INSERT INTO "Ünïque ""schema""."."it's ""a"".table; --" SELECT g, 'row ' || g, E'\\\\.' FROM generate_series(1, 20) g;
  CREATE TABLE "a.b" (x int); INSERT INTO "a.b" VALUES (1);
  CREATE TABLE no_columns (); INSERT INTO no_columns DEFAULT VALUES; INSERT INTO no_columns DEFAULT VALUES;
  CREATE TABLE orders (id int, at date, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
  CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
  CREATE TABLE orders_2 PARTITION OF orders DEFAULT;
  INSERT INTO orders SELECT g, date '2023-12-20' + g, 'n' || g FROM generate_series(1, 30) g;
  CREATE TABLE parent (id serial PRIMARY KEY, name text UNIQUE); CREATE TABLE kid (extra int) INHERITS (parent);
  INSERT INTO parent (name) VALUES ('p'); INSERT INTO kid (name, extra) VALUES ('k', 1);
  CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED, self int REFERENCES child);
  INSERT INTO child VALUES (1, 1, 2), (2, NULL, 1);
  CREATE UNLOGGED TABLE unlogged (x int); INSERT INTO unlogged VALUES (1);
  CREATE INDEX ON zoo USING gin (t gin_trgm_ops); CREATE UNIQUE INDEX ON parent (lower(name)) WHERE id > 0;
  CREATE VIEW seen AS SELECT name, count(*) OVER () FROM parent; CREATE MATERIALIZED VIEW kept AS SELECT * FROM seen;
  CREATE TABLE log (what text);
  CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO public.log VALUES (NEW.name); RETURN NEW; END $f$;
  CREATE TRIGGER noting AFTER INSERT ON parent FOR EACH ROW EXECUTE FUNCTION noted();
  INSERT INTO parent (name) VALUES ('noted'); REFRESH MATERIALIZED VIEW kept;
  CREATE SEQUENCE odd INCREMENT -7 START 100 MINVALUE -1000 MAXVALUE 200 CYCLE; SELECT nextval('odd'), nextval('odd');
  CREATE TABLE secret (owner text, v text); ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
  CREATE POLICY own_rows ON secret USING (owner = current_user); INSERT INTO secret VALUES ('a', '1'), ('b', '2');
  COMMENT ON TABLE zoo IS 'it''s a zoo';
  SELECT lo_from_bytea(0, decode(repeat('00ff5c', 5000), 'hex')), lo_from_bytea(0, '');`;
