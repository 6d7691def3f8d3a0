import { createHash } from 'node:crypto';
import { type Connection, createConnection } from 'mysql2/promise';

/** Runs `work` with a connection that is closed again. */
export async function using<T>(url: string, work: (connection: Connection) => Promise<T>): Promise<T> {
  const { hostname, port, username, password, pathname, searchParams } = new URL(url);
  const socketPath = searchParams.get('socket') ?? undefined;
  const connection = await createConnection({
    ...{ host: hostname, port: Number(port), socketPath, user: decodeURIComponent(username), multipleStatements: true },
    ...{ password: decodeURIComponent(password), database: decodeURIComponent(pathname.slice(1)), charset: 'utf8mb4' },
  });
  connection.on('error', () => undefined);
  try {
    return await work(connection);
  } finally {
    await connection.end().catch(() => undefined);
  }
}

/** Runs statements. */
export const query = <Row = Record<string, unknown>>(url: string, sql: string): Promise<Row[]> =>
  using(url, async (connection) => (await connection.query(sql))[0] as Row[]);

/** The same server, with another database and another user. */
export function at(url: string, database: string, user?: { name: string; password: string }): string {
  const changed = new URL(url);
  changed.pathname = `/${encodeURIComponent(database)}`;
  if (user !== undefined) [changed.username, changed.password] = [user.name, encodeURIComponent(user.password)];
  return changed.href;
}

const quoted = (name: string) => `\`${name.replaceAll('`', '``')}\``;

/** All that a database holds, as this product has no part in telling it: every definition, and a hash of all rows by their bytes. */
export function stateOf(url: string, except: string[] = []): Promise<string[]> {
  return using(url, async (connection) => {
    const rows = async (sql: string) => (await connection.query({ sql, rowsAsArray: true }))[0] as string[][];
    const state: string[] = [];
    for (const [name = '', type = ''] of await rows('SHOW FULL TABLES')) {
      const [made = []] = await rows(`SHOW CREATE ${type === 'VIEW' ? 'VIEW' : 'TABLE'} ${quoted(name)}`);
      state.push(String(made[1]).replace(/ AUTO_INCREMENT=\d+/, ''));
      if (type === 'VIEW' || type === 'SEQUENCE' || except.includes(name)) continue;
      const columns = await rows(`SHOW COLUMNS FROM ${quoted(name)}`);
      const parts = columns.map(([column = '']) => `COALESCE(HEX(CAST(${quoted(column)} AS BINARY)), 'null')`);
      const found = await rows(`SELECT CONCAT_WS(',', ${parts.join(', ')}) AS r FROM ${quoted(name)} ORDER BY r`);
      state.push(`${name} ${found.length} ${createHash('sha256').update(found.join('\n')).digest('hex')}`);
    }
    for (const [name = ''] of await rows('SHOW TRIGGERS')) {
      const [made = []] = await rows(`SHOW CREATE TRIGGER ${quoted(name)}`);
      state.push([made[0], made[1], made[2]].join(' ').trim());
    }
    for (const kind of ['PROCEDURE', 'FUNCTION']) {
      for (const [, name = ''] of await rows(`SHOW ${kind} STATUS WHERE Db = DATABASE()`)) {
        state.push((await rows(`SHOW CREATE ${kind} ${quoted(name)}`))[0]?.slice(0, 3).join(' ') ?? '');
      }
    }
    for (const [, name = ''] of await rows('SHOW EVENTS')) {
      state.push((await rows(`SHOW CREATE EVENT ${quoted(name)}`))[0]?.slice(0, 4).join(' ') ?? '');
    }
    state.push(...(await rows('SELECT @@character_set_database, @@collation_database')).map((row) => row.join(' ')));
    return state;
  });
}

/** Every kind of value and object that a dump must bring back. */
export const ZOO = `
  SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
  CREATE TABLE zoo (i BIGINT UNSIGNED, b BIT(64), d DECIMAL(65, 30), f FLOAT, r DOUBLE, bl LONGBLOB, vb VARBINARY(300),
    j JSON, dt DATETIME(6), ts TIMESTAMP NULL, da DATE, ti TIME(6), y YEAR, e ENUM('a', 'it''s', 'ü'), s SET('x', 'y'),
    t LONGTEXT, l VARCHAR(50) CHARACTER SET latin1, g GEOMETRY, n INT GENERATED ALWAYS AS (y + 1) STORED,
    v INT GENERATED ALWAYS AS (y + 2) VIRTUAL);
  INSERT INTO zoo (i, b, d, f, r, bl, vb, j, dt, ts, da, ti, y, e, s, t, l, g) VALUES
    (18446744073709551615, b'1111', 12345678901234567890.123456789012345678901234567890, 1.5, 1e308, 0x00ff275c0a0d1a22,
     UNHEX('${[...Array(256).keys()].map((byte) => byte.toString(16).padStart(2, '0')).join('')}'), '{"ä": [1, null]}',
     '0000-00-00 00:00:00', '2026-03-29 01:30:00', '0000-00-00', '-838:59:59', 1999, 'it''s', 'x,y',
     CONCAT('a),(b;', CHAR(10), '-- x', CHAR(13), CHAR(0), CHAR(26), '\\\\', '''', '"', '\`', '😀 /*! */ DELIMITER ;;'), 'é',
     ST_GeomFromText('POINT(1 2)')), (0, NULL, NULL, NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', '', '', NULL, NULL);
  CREATE TABLE \`Ünï "q" \`\`b\`\` 'x'; --\` (\`a\`\`b\` INT PRIMARY KEY, \`select\` TEXT);
  INSERT INTO \`Ünï "q" \`\`b\`\` 'x'; --\` VALUES (1, 'one'), (2, NULL);
  CREATE TABLE parent (id INT AUTO_INCREMENT PRIMARY KEY, note TEXT);
  INSERT INTO parent VALUES (0, 'zero'), (7, 'seven');
  CREATE TABLE child (id INT PRIMARY KEY, parent INT NOT NULL, CONSTRAINT fk_child FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE);
  INSERT INTO child VALUES (1, 0), (2, 7);
  CREATE TABLE log (at INT AUTO_INCREMENT PRIMARY KEY, note TEXT) ENGINE=Aria;
  CREATE TABLE empty_one (x INT);
  CREATE VIEW outer_view AS SELECT 1 AS x;
  CREATE VIEW inner_view AS SELECT id, CONCAT(note, ';', '\\'') AS n FROM parent;
  CREATE OR REPLACE VIEW outer_view AS SELECT id, n FROM inner_view WHERE id > 0;
  CREATE TRIGGER log_it AFTER INSERT ON child FOR EACH ROW INSERT INTO log (note) VALUES (CONCAT('child;', NEW.id));
  CREATE PROCEDURE twice(IN n INT) BEGIN SELECT n * 2; SELECT ';;'; END;
  CREATE FUNCTION half(n INT) RETURNS INT DETERMINISTIC RETURN n DIV 2;
  CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM log WHERE at < 0; DELETE FROM log WHERE at < -1; END;
  CREATE SEQUENCE numbers START WITH 5;
  SELECT NEXTVAL(numbers);
`;
