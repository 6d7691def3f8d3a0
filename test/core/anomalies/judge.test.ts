import { describe, expect, it } from '@jest/globals';
import { withoutExcluded } from '../../../src/core/anomalies/history.js';
import { judge, learn, type NewState, nothingSeen, type State } from '../../../src/core/anomalies/judge.js';
import type { BackupFacts, Normal } from '../../../src/models/index.js';

const DAY = 86_400_000;
const START = Date.parse('2026-01-01T02:00:00Z');
const MIB = 1024 * 1024;

const FACTS: BackupFacts = {
  databaseBytes: 20 * MIB,
  freeBytes: 0,
  mediaBytes: 50 * MIB,
  schema: 'one',
  brokenKeys: 0,
  brokenIntegrity: 0,
  compressed: 0.3,
  changed: 0.1,
};

type Rows = Record<string, number | null>;

function stateAt(day: number, rows: Rows, facts: Partial<BackupFacts> = {}, mediaFiles: number | null = 500): NewState {
  return {
    id: `day_${day}`,
    at: new Date(START + day * DAY),
    tables: Object.entries(rows).map(([name, count]) => ({ name, rows: count })),
    mediaFiles,
    facts: { ...FACTS, ...facts },
    referenced: new Set(['users']),
  };
}

/** A history of days with these rows, each taken as it is; and its last day. */
function history(days: number, rowsOf: (day: number) => Rows): { former: State; normal: Normal; day: number } {
  let former = stateAt(0, rowsOf(0));
  let normal = learn(former, null, nothingSeen(former.at));
  for (let day = 1; day < days; day++) {
    const next = stateAt(day, rowsOf(day));
    normal = learn(next, former, normal);
    former = next;
  }
  return { former, normal, day: days };
}

const SHOP = { users: 900, orders: 4_000, tags: 30 };
const growing = (day: number): Rows => ({ ...SHOP, orders: 4_000 + day * 10 });

/** The codes, and tables, of the anomalies on the day after a history. */
function codesAfter(
  { former, normal, day }: ReturnType<typeof history>,
  rows: Rows,
  facts?: Partial<BackupFacts>,
  mediaFiles?: number | null,
): string[] {
  const { anomalies } = judge(stateAt(day, rows, facts, mediaFiles), former, normal);
  return anomalies.map(({ code, table }) => (table === null ? code : `${code} ${table}`));
}

describe('A table that a backup leaves out on purpose', () => {
  const { former, normal, day } = history(60, growing);
  const now = { users: SHOP.users, tags: SHOP.tags };
  const left = [{ table: 'orders', what: 'TABLE' as const }];
  const tables = (before: State) =>
    judge(stateAt(day, now, { databaseBytes: MIB }), before, normal).anomalies.map(({ table }) => table);

  it('is not missing, neither on the first day nor later', () => {
    expect(tables(withoutExcluded(former, [], left))).toEqual([]);
    const next = stateAt(day, now, { databaseBytes: MIB });
    expect(tables(withoutExcluded(next, left, left))).toEqual([]);
  });

  it('is missing where it was not left out', () => {
    expect(tables(withoutExcluded(former, [], [{ table: 'tags', what: 'ROWS' }]))).toContain('orders');
  });
});

describe('The judgement on a backup', () => {
  const old = history(60, growing);
  const now = growing(60);

  it('finds nothing where all is as on the day before', () => {
    expect(codesAfter(old, now)).toEqual([]);
  });

  it('says what, how much and compared with which backup where a table is emptied', () => {
    const { anomalies } = judge(stateAt(60, { ...now, orders: 0 }), old.former, old.normal);
    expect(anomalies).toEqual([
      {
        code: 'TABLE_EMPTIED',
        table: 'orders',
        before: 4_590,
        after: 0,
        message: 'Table "orders" is empty: it had 4,590 rows in day_59.',
      },
    ]);
  });

  it('finds a table that is gone', () => {
    const { orders: _orders, ...rest } = now;
    expect(codesAfter(old, rest)).toEqual(['TABLE_VANISHED orders']);
  });

  it('finds a loss of a tenth of a table that has always grown', () => {
    expect(codesAfter(old, { ...now, orders: 4_100 })).toEqual(['ROWS_DOWN orders']);
  });

  it('finds nothing where a table lost a few rows, or a little table one of its few', () => {
    expect(codesAfter(old, { users: 895, orders: 4_500, tags: 22 })).toEqual([]);
  });

  it('takes a new table with as many rows for the renamed one', () => {
    const { orders: _orders, ...rest } = now;
    expect(codesAfter(old, { ...rest, shop_orders: 4_610 })).toEqual([]);
  });

  it('goes on with what it knew of a table once that is renamed', () => {
    const { users, tags } = SHOP;
    const renamed = stateAt(60, { users, tags, shop_orders: 4_610 });
    const { normal } = judge(renamed, old.former, old.normal);
    const { anomalies } = judge(stateAt(61, { users, tags, shop_orders: 0 }), renamed, normal);
    expect(anomalies.map(({ code }) => code)).toEqual(['TABLE_EMPTIED']);
  });

  it('finds a table emptied although another one was renamed to about its size', () => {
    const { tags: _tags, ...rest } = now;
    expect(codesAfter(old, { ...rest, users: 0, labels: 30 })).toEqual(['TABLE_EMPTIED users']);
  });

  it('takes the oldest of monthly tables that goes for a rotation, and the newest for a loss', () => {
    const months = { log_2026_01: 900, log_2026_02: 900, log_2026_03: 900, log_2026_04: 900 };
    const logs = history(60, () => ({ ...SHOP, ...months }));
    const { log_2026_01: _first, ...withoutFirst } = months;
    const { log_2026_04: _last, ...withoutLast } = months;
    expect(codesAfter(logs, { ...SHOP, ...withoutFirst })).toEqual([]);
    expect(codesAfter(logs, { ...SHOP, ...withoutLast })).toEqual(['ROWS_DOWN log_#_#']);
    expect(codesAfter(logs, SHOP)).toEqual(['TABLE_VANISHED log_#_#']);
  });

  it('finds a table emptied that was each week, only if it then was not for months', () => {
    const weekly = (day: number) => ({ ...SHOP, sessions: (day % 7) * 300 });
    expect(codesAfter(history(63, weekly), { ...SHOP, sessions: 0 })).toEqual([]);
    const stopped = history(200, (day) => (day < 63 ? weekly(day) : { ...SHOP, sessions: 1_800 }));
    expect(codesAfter(stopped, { ...SHOP, sessions: 0 })).toEqual(['TABLE_EMPTIED sessions']);
  });

  it('finds a table emptied that only ever lost a part of its rows', () => {
    const trimmed = history(120, (day) => ({ ...SHOP, jobs: day % 30 === 0 ? 700 : 1_000 }));
    expect(codesAfter(trimmed, { ...SHOP, jobs: 0 })).toEqual(['TABLE_EMPTIED jobs']);
  });

  it('says nothing of logs and caches in the first month, but of a table that others refer to', () => {
    const young = history(3, growing);
    expect(codesAfter(young, { ...now, orders: 0 })).toEqual([]);
    expect(codesAfter(young, { ...now, users: 0 })).toEqual(['TABLE_EMPTIED users']);
  });

  it('leaves out tables that cannot be counted, and knows them again afterwards', () => {
    const uncounted = stateAt(60, { ...now, orders: null });
    const verdict = judge(uncounted, old.former, old.normal);
    expect(verdict.anomalies).toEqual([]);
    expect(verdict.normal.tables['orders']).toEqual(old.normal.tables['orders']);
  });

  it('compares the second day with what was before the loss', () => {
    const lost = { ...now, orders: 0 };
    expect(codesAfter({ ...old, day: 61 }, lost)).toEqual(['TABLE_EMPTIED orders']);
  });

  it('takes an acknowledged loss for normal, and one like it a month later', () => {
    const purged = stateAt(60, { ...now, orders: 1_000 });
    const { normal } = judge(purged, old.former, old.normal);
    expect(codesAfter({ former: purged, normal, day: 61 }, { ...SHOP, orders: 1_010 })).toEqual([]);
    const full = stateAt(90, { ...SHOP, orders: 4_000 });
    const later = { former: full, normal: learn(full, purged, normal), day: 91 };
    expect(codesAfter(later, { ...SHOP, orders: 1_000 })).toEqual([]);
  });

  it('finds a database that shrinks while its tables keep their rows', () => {
    expect(codesAfter(old, now, { databaseBytes: 4 * MIB })).toEqual(['DATABASE_SHRANK']);
  });

  it('finds content that no longer compresses, and pages that all changed', () => {
    const changed = { compressed: 0.99, changed: 0.98 };
    expect(codesAfter(old, now, changed)).toEqual(['ALMOST_ALL_CHANGED', 'NO_LONGER_COMPRESSES']);
    expect(codesAfter(old, now, { compressed: null, changed: 0.98 })).toEqual(['ALMOST_ALL_CHANGED']);
  });

  it('finds nothing where a VACUUM or a migration wrote all pages anew', () => {
    const former = { ...old.former, facts: { ...FACTS, freeBytes: 5 * MIB } };
    expect(codesAfter({ ...old, former }, now, { compressed: null, changed: 0.98 })).toEqual([]);
    expect(codesAfter(old, now, { compressed: null, changed: 0.98, schema: 'two' })).toEqual([]);
    expect(codesAfter(old, now, { changed: 0.98 })).toEqual([]);
  });

  it('names a change of the schema only beside a loss of rows', () => {
    expect(codesAfter(old, now, { schema: 'two' })).toEqual([]);
    expect(codesAfter(old, { ...now, orders: 0 }, { schema: 'two' })).toEqual([
      'TABLE_EMPTIED orders',
      'SCHEMA_CHANGED',
    ]);
  });

  it('finds broken foreign keys and indexes that were not broken before', () => {
    const broken = { brokenKeys: 2, brokenIntegrity: 1 };
    expect(codesAfter(old, now, broken)).toEqual(['INTEGRITY_BROKEN', 'FOREIGN_KEYS_BROKEN']);
    const former = { ...old.former, facts: { ...FACTS, ...broken } };
    expect(codesAfter({ ...old, former }, now, broken)).toEqual([]);
  });

  it('finds media files that are gone, and bytes where all files are there', () => {
    expect(codesAfter(old, now, { mediaBytes: 10 * MIB }, 100)).toEqual(['MEDIA_FILES_DOWN']);
    expect(codesAfter(old, now, { mediaBytes: 10 * MIB }, 500)).toEqual(['MEDIA_BYTES_DOWN']);
    expect(codesAfter(old, now, { mediaBytes: 0 }, null)).toEqual([]);
  });

  it('compares rows alone with a backup of a version that kept no more', () => {
    const former = { ...old.former, facts: null };
    expect(codesAfter({ ...old, former }, { ...now, users: 0 }, { compressed: 0.99 })).toEqual(['TABLE_EMPTIED users']);
  });

  it('names the fifty greatest of thousands of losses, and sums up the others', () => {
    const rows = Object.fromEntries(
      Array.from({ length: 3_000 }, (_, index) => [`t_${index.toString(36)}`, 100 + index]),
    );
    const many = history(40, () => rows);
    const { anomalies } = judge(
      stateAt(40, Object.fromEntries(Object.keys(rows).map((name) => [name, 0]))),
      many.former,
      many.normal,
    );
    expect(anomalies).toHaveLength(51);
    expect(anomalies[0]).toMatchObject({ code: 'TABLE_EMPTIED', before: 3_099 });
    expect(anomalies[50]).toMatchObject({ code: 'ROWS_DOWN', table: null, after: 0 });
    expect(anomalies[50]?.message).toMatch(/^2,950 more tables lost rows/);
  });

  it('keeps what it knows of no more than ten thousand tables, those with the most rows', () => {
    const rows = Object.fromEntries(Array.from({ length: 10_050 }, (_, index) => [`t_${index.toString(36)}`, index]));
    const { normal } = judge(stateAt(1, rows), stateAt(0, {}), nothingSeen(new Date(START)));
    expect(Object.keys(normal.tables)).toHaveLength(10_000);
    expect(normal.tables).not.toHaveProperty(`t_${(49).toString(36)}`);
  });

  it('takes a table called __proto__ as one like any other', () => {
    const rows = (count: number) => Object.fromEntries([['__proto__', count]]);
    const odd = history(60, () => rows(500));
    const kept = JSON.parse(JSON.stringify(odd.normal)) as Normal;
    expect(codesAfter({ ...odd, normal: kept }, rows(0))).toEqual(['TABLE_EMPTIED __proto__']);
  });
});
