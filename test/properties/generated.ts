import fc from 'fast-check';

/** SQL that builds a database, SQL that breaks it afterwards, and what is restored then. Statements that fail count as none. */
export interface Case {
  encoding: string;
  build: string[];
  breaks: string[];
  /** Which of the backup's tables are chosen, by number, and in which case they are written. */
  chosen: { index: number; upper: boolean }[];
  includeRelated: boolean;
  /** The database is another one at the time of the restore, of this encoding; null for the one that was backed up. */
  other: string | null;
}

const NAMES = ['item', 'Order', 'büch', 'my item', 'x"y', 'group'];
const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;
const spelled = (name: string, how: number) =>
  [quoted(name), `[${name}]`, `\`${name}\``, quoted(name.toUpperCase()), quoted(name.toLowerCase())][how % 5] as string;

/** A table of the pool: how it is made, and how its rows are. */
const table = fc.record({
  name: fc.nat(NAMES.length - 1),
  kind: fc.nat(7),
  rows: fc.array(fc.tuple(fc.nat(9), fc.constantFrom('apple', 'Pear', 'plum tart', '', 'é', '12'), fc.nat(3)), {
    maxLength: 5,
  }),
  refers: fc.nat(NAMES.length - 1),
  fits: fc.nat(4),
});
type Table = typeof table extends fc.Arbitrary<infer T> ? T : never;

function tableSql({ name, kind, rows, refers, fits }: Table): string[] {
  const own = NAMES[name] as string;
  const target = spelled(NAMES[refers] as string, fits);
  // Keys that fit, and those whose parent has no such column, no unique one, or is not there at all.
  const key = [`${target} (id)`, `${target} (a)`, `${target} (nothing)`, 'nowhere (id)', `${target}`][fits] as string;
  const columns = [
    'id INTEGER PRIMARY KEY, a TEXT, n INTEGER DEFAULT 3',
    'id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT UNIQUE, n INTEGER',
    'id, a, n',
    'id INTEGER, a TEXT, n, PRIMARY KEY (id, a)) WITHOUT ROWID --',
    'id INTEGER PRIMARY KEY, a TEXT, n INTEGER) STRICT --',
    'id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE, n, g TEXT GENERATED ALWAYS AS (upper(a)) STORED, v AS (n + 1)',
    `id INTEGER PRIMARY KEY, a TEXT REFERENCES ${key} ON DELETE CASCADE, n CHECK (n < 3)`,
    `id INTEGER PRIMARY KEY DESC, a TEXT NOT NULL, n, FOREIGN KEY (n) REFERENCES ${key} DEFERRABLE INITIALLY DEFERRED`,
  ][kind] as string;
  return [
    `CREATE TABLE ${quoted(own)} (${columns}\n)`.replace('--\n)', ''),
    ...rows.map(([id, a, n]) => `INSERT OR IGNORE INTO ${quoted(own)} (id, a, n) VALUES (${id}, '${a}', ${n})`),
  ];
}

/** Something that hangs on a table. */
const extra = fc.record({
  on: fc.nat(NAMES.length - 1),
  kind: fc.nat(15),
  how: fc.nat(4),
  other: fc.nat(NAMES.length - 1),
});
type Extra = typeof extra extends fc.Arbitrary<infer T> ? T : never;

function extraSql({ on, kind, how, other }: Extra, number: number): string[] {
  const own = NAMES[on] as string;
  const t = spelled(own, how);
  const o = spelled(NAMES[other] as string, how + 1);
  const id = `${number}`;
  const kept = (index: string, columns: string) => [
    `CREATE TRIGGER ${index}_ai AFTER INSERT ON ${t} BEGIN INSERT INTO ${index} (${columns}) VALUES (new.rowid, new.a); END`,
    `CREATE TRIGGER ${index}_ad AFTER DELETE ON ${t} BEGIN INSERT INTO ${index} (${index}, ${columns}) VALUES ('delete', old.rowid, old.a); END`,
  ];
  const lists: string[][] = [
    [`CREATE INDEX i${id} ON ${t} (a)`],
    [`CREATE UNIQUE INDEX I${id} ON ${t} (id, a)`],
    [`CREATE INDEX i${id} ON ${t} (lower(a)) WHERE n > 0`],
    [
      `CREATE TABLE log${id} (what, n)`,
      `CREATE TRIGGER tr${id} AFTER UPDATE ON ${t} BEGIN INSERT INTO LOG${id} VALUES (new.a, old.n); END`,
    ],
    [
      `CREATE TABLE count${id} (n)`,
      `INSERT INTO count${id} SELECT count(*) FROM ${t}`,
      `CREATE TRIGGER "Tr${id}" AFTER INSERT ON ${t} WHEN new.n > 0 BEGIN UPDATE OR IGNORE count${id} SET n = n + 1; END`,
    ],
    [
      `CREATE VIEW v${id} AS SELECT a, n FROM ${t}`,
      `CREATE TRIGGER vi${id} INSTEAD OF INSERT ON v${id} BEGIN INSERT INTO ${t} (a, n) VALUES (new.a, new.n); END`,
    ],
    [
      `CREATE VIRTUAL TABLE fts${id} USING fts5 (a, content=${quoted(own)}, content_rowid='rowid')`,
      `INSERT INTO fts${id} (fts${id}) VALUES ('rebuild')`,
      ...kept(`fts${id}`, 'rowid, a'),
    ],
    [`CREATE VIRTUAL TABLE own${id} USING fts5 (a)`, `INSERT INTO own${id} SELECT a FROM ${t}`],
    [
      `CREATE VIRTUAL TABLE four${id} USING fts4 (content=${quoted(own)}, a TEXT)`,
      `INSERT INTO four${id} (four${id}) VALUES ('rebuild')`,
      `CREATE TRIGGER four${id}_bd BEFORE DELETE ON ${t} BEGIN DELETE FROM four${id} WHERE docid = old.rowid; END`,
      `CREATE TRIGGER four${id}_ai AFTER INSERT ON ${t} BEGIN INSERT INTO four${id} (docid, a) VALUES (new.rowid, new.a); END`,
    ],
    [
      `CREATE VIRTUAL TABLE less${id} USING fts5 (a, content='')`,
      `INSERT INTO less${id} (rowid, a) SELECT rowid, a FROM ${t}`,
    ],
    [
      `CREATE VIRTUAL TABLE r${id} USING rtree (id, x0, x1)`,
      `INSERT OR IGNORE INTO r${id} SELECT rowid, n, n + 1 FROM ${t}`,
      `CREATE TRIGGER r${id}_ai AFTER INSERT ON ${t} BEGIN INSERT OR REPLACE INTO r${id} VALUES (new.rowid, new.n, new.n + 1); END`,
    ],
    [
      `CREATE TRIGGER copy${id} AFTER DELETE ON ${t} BEGIN INSERT OR REPLACE INTO ${o} (id, a, n) VALUES (old.id, old.a, old.n); END`,
    ],
    ['ANALYZE'],
    [`CREATE TABLE _db_manager_restore (id TEXT NOT NULL)`, `INSERT INTO _db_manager_restore VALUES ('mine')`],
    // A second table that feeds the index of another, which may well exist for some of the numbers.
    [
      `CREATE TRIGGER feeds${id} AFTER INSERT ON ${t} BEGIN INSERT INTO ${['fts', 'own', 'less'][how % 3]}${how} (a) VALUES (new.a); END`,
      `INSERT INTO ${t} (id, a) VALUES (${50 + number}, 'fed')`,
    ],
    [`CREATE VIEW both${id} AS SELECT x.a FROM ${t} x JOIN ${o} y ON x.n = y.n`],
  ];
  return lists[kind] ?? [];
}

/** What happens between the backup and the restore. */
const change = fc.record({ on: fc.nat(NAMES.length - 1), kind: fc.nat(15), number: fc.nat(7) });
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

function changeSql({ on, kind, number }: Change): string[] {
  const own = NAMES[on] as string;
  const t = quoted(own);
  const lists: string[][] = [
    [`DELETE FROM ${t}`],
    [`UPDATE ${t} SET a = 'changed', n = 1 WHERE id % 2 = 0`],
    [`INSERT OR REPLACE INTO ${t} (id, a, n) VALUES (40, 'new one', 2), (41, 'other', 0)`],
    [`DROP TABLE ${t}`],
    [`ALTER TABLE ${t} RENAME TO between_names`, `ALTER TABLE between_names RENAME TO ${quoted(own.toUpperCase())}`],
    [`DROP TABLE ${t}`, `CREATE VIEW ${t} AS SELECT 1 AS id, 'view' AS a, 2 AS n`],
    [`DROP TABLE ${t}`, `CREATE TABLE ${quoted(own.toLowerCase())} (other, columns)`],
    [`ALTER TABLE ${t} ADD COLUMN more DEFAULT 5`],
    [`DROP TRIGGER tr${number}`, `DROP TRIGGER "TR${number}"`, `DROP TRIGGER fts${number}_ai`],
    [`DROP INDEX i${number}`, `CREATE INDEX I${number} ON ${t} (n)`],
    [`DROP INDEX i${number}`, `CREATE TABLE i${number} (taken)`],
    [`DROP TABLE fts${number}`, `DROP TABLE four${number}`],
    ['ANALYZE', `DELETE FROM ${t}`],
    ['DROP TABLE sqlite_stat1'],
    [`DROP VIEW v${number}`, `CREATE TABLE v${number} (a)`],
    [`CREATE TRIGGER later${number} AFTER INSERT ON ${t} BEGIN DELETE FROM ${t} WHERE id = 40; END`],
  ];
  return lists[kind] ?? [];
}

export const cases: fc.Arbitrary<Case> = fc
  .record({
    encoding: fc.constantFrom('UTF-8', 'UTF-8', 'UTF-8', 'UTF-16le'),
    pageSize: fc.constantFrom(512, 4096),
    wal: fc.boolean(),
    tables: fc.uniqueArray(table, { minLength: 1, maxLength: 4, selector: ({ name }) => name }),
    extras: fc.array(extra, { maxLength: 5 }),
    changes: fc.array(change, { maxLength: 5 }),
    chosen: fc.array(fc.record({ index: fc.nat(20), upper: fc.boolean() }), { minLength: 1, maxLength: 3 }),
    includeRelated: fc.boolean(),
    other: fc.constantFrom(null, null, null, null, null, 'UTF-8', 'UTF-16le'),
  })
  .map(({ encoding, pageSize, wal, tables, extras, changes, ...rest }) => ({
    encoding,
    build: [
      `PRAGMA page_size = ${pageSize}`,
      `PRAGMA encoding = '${encoding}'`,
      ...(wal ? ['PRAGMA journal_mode = WAL'] : []),
      'CREATE TABLE base (id INTEGER PRIMARY KEY, a, n)',
      ...tables.flatMap(tableSql),
      ...extras.flatMap(extraSql),
    ],
    breaks: changes.flatMap(changeSql),
    ...rest,
  }));
