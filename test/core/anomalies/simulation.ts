import { judge, learn, type NewState, nothingSeen } from '../../../src/core/anomalies/judge.js';
import type { Anomaly, Normal } from '../../../src/models/index.js';

/*
 * A year of daily backups of applications that live as real ones do, and what goes wrong with some of them. The same seed gives
 * the same years.
 */

const DAY = 86_400_000;
const START = Date.parse('2025-01-01T02:00:00Z');
const DAYS = 365;
const MIB = 1024 * 1024;

/** Numbers from 0 up to 1, the same for the same seed. */
export type Dice = () => number;

export function diceOf(seed: number): Dice {
  let state = seed;
  return () => {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const between = (dice: Dice, from: number, to: number) => Math.floor(from + dice() * (to - from));

/** What an application holds on a day. */
interface World {
  tables: Map<string, number>;
  mediaFiles: number;
  mediaBytes: number;
  freeBytes: number;
  schema: number;
  brokenKeys: number;
  /** Null in a third of the applications: they are small, or their archives are not compressed. */
  compressed: number | null;
  changed: number;
  /** Bytes of each row, for the size of the database. */
  rowBytes: number;
}

/** What an application is like: how much is sold, and when its tables are tidied up. */
interface Habits {
  sales: number;
  /** Days between two rotations of its log. */
  rotation: number;
  /** True if orders are moved to an archive each quarter. */
  purges: boolean;
  /** Days between two VACUUMs; 0 for none. */
  vacuum: number;
  renamesAt: number;
  newTableAt: number;
  dropsAt: number;
  partitions: boolean;
}

/** Disasters by name: what becomes of a world. */
export const DISASTERS: Record<string, (world: World, dice: Dice) => void> = {
  'a table emptied': (world, dice) => void world.tables.set(coreTable(dice), 0),
  'a table dropped': (world, dice) => void world.tables.delete(coreTable(dice)),
  'a third to nine tenths of the rows of a table deleted': (world, dice) =>
    void scale(world, coreTable(dice), 0.1 + dice() * 0.55),
  'a tenth of the rows of a table deleted': (world, dice) => void scale(world, coreTable(dice), 0.9),
  'all tables emptied': (world) => {
    for (const name of world.tables.keys()) world.tables.set(name, 0);
  },
  'a migration that lost a table': (world, dice) => {
    world.schema += 1;
    world.tables.set(coreTable(dice), 0);
  },
  'media deleted': (world, dice) => {
    const share = 0.1 + dice() * 0.6;
    world.mediaFiles = Math.floor(world.mediaFiles * share);
    world.mediaBytes = Math.floor(world.mediaBytes * share);
  },
  'media truncated': (world) => void (world.mediaBytes = Math.floor(world.mediaBytes * 0.2)),
  'content encrypted': (world) => {
    if (world.compressed !== null) world.compressed = 0.99;
    world.changed = 0.99;
  },
  'content blanked': (world) => {
    world.rowBytes *= 0.3;
    world.changed = 0.8;
  },
  'parents of rows deleted': (world, dice) => {
    scale(world, 'users', 0.95 + dice() * 0.03);
    world.brokenKeys = 2;
  },
};

const CORE = ['users', 'products', 'orders', 'order_items'];
const coreTable = (dice: Dice) => CORE[between(dice, 0, CORE.length)] ?? 'orders';
const scale = ({ tables }: World, name: string, share: number) =>
  tables.has(name) && tables.set(name, Math.floor((tables.get(name) ?? 0) * share));
const rowsOf = ({ tables }: World) => [...tables.values()].reduce((sum, rows) => sum + rows, 0);

function habitsOf(dice: Dice): Habits {
  return {
    sales: between(dice, 3, 80),
    rotation: [7, 14, 30][between(dice, 0, 3)] ?? 7,
    purges: dice() < 0.25,
    vacuum: [0, 7, 30][between(dice, 0, 3)] ?? 0,
    renamesAt: between(dice, 40, 340),
    newTableAt: between(dice, 40, 340),
    dropsAt: dice() < 0.3 ? between(dice, 40, 340) : -1,
    partitions: dice() < 0.5,
  };
}

function firstDay(dice: Dice): World {
  const rows = {
    users: between(dice, 50, 5_000),
    products: between(dice, 40, 2_000),
    orders: between(dice, 100, 20_000),
    sessions: between(dice, 50, 3_000),
    carts: between(dice, 20, 300),
    request_log: between(dice, 0, 5_000),
    queue: 0,
    cache: between(dice, 100, 2_000),
    settings: 12,
    tags: between(dice, 5, 60),
    legacy_import: between(dice, 100, 900),
    shop_coupon: between(dice, 30, 400),
  };
  const tables = new Map<string, number>(Object.entries(rows));
  tables.set('order_items', Math.floor(rows.orders * 2.5));
  const mediaFiles = between(dice, 50, 5_000);
  const compressed = dice() < 0.33 ? null : 0.35;
  const rest = { freeBytes: 0, schema: 1, brokenKeys: 0, compressed, changed: 0.1, rowBytes: 400 };
  return { tables, mediaFiles, mediaBytes: mediaFiles * 80_000, ...rest };
}

/** An ordinary day. */
function live(world: World, day: number, habits: Habits, dice: Dice): void {
  const { sales } = habits;
  const { tables } = world;
  const add = (name: string, rows: number) => void tables.set(name, Math.max(0, (tables.get(name) ?? 0) + rows));
  const before = rowsOf(world);
  const season = 1 + 0.5 * Math.sin((day / 365) * 2 * Math.PI) + (day % 7 > 4 ? 0.5 : 0);
  const sold = Math.floor(sales * season * (0.5 + dice()));
  add('users', between(dice, -1, 1 + sales / 4));
  add('orders', sold - between(dice, 0, 2));
  add('order_items', Math.floor(sold * 2.5));
  add('products', dice() < 0.03 ? -between(dice, 1, 6) : between(dice, 0, 3));
  add('settings', dice() < 0.02 ? (dice() < 0.5 ? 1 : -1) : 0);
  add('tags', dice() < 0.05 ? between(dice, -3, 4) : 0);
  add('shop_coupon', dice() < 0.1 ? between(dice, -4, 9) : 0);
  // Now and then someone tidies up.
  if (dice() < 0.01)
    scale(world, ['users', 'products', 'shop_coupon'][between(dice, 0, 3)] ?? '', 0.92 + dice() * 0.07);
  // Sessions that have ended are removed each week, abandoned carts at any time.
  add('sessions', day % 7 === 3 ? -Math.floor((tables.get('sessions') ?? 0) * (0.4 + dice() * 0.5)) : sold * 4);
  tables.set('carts', Math.floor(between(dice, 20, 300)));
  if (day % habits.rotation === 0) tables.set('request_log', between(dice, 0, 100));
  else add('request_log', sold * 30);
  tables.set('queue', dice() < 0.6 ? 0 : between(dice, 1, 200));
  if (dice() < 0.05) tables.set('cache', 0);
  else add('cache', between(dice, 0, 120));
  if (habits.purges && day % 91 === 90) {
    const kept = 0.55 + dice() * 0.1;
    scale(world, 'orders', kept);
    scale(world, 'order_items', kept);
  }
  if (habits.partitions) partition(tables, day, sold);
  world.mediaFiles += between(dice, 0, 1 + sales / 5);
  world.mediaBytes = world.mediaFiles * 80_000;
  migrate(world, day, habits);
  const freed = Math.max(0, before - rowsOf(world)) * world.rowBytes;
  world.freeBytes = Math.max(0, world.freeBytes + freed - (sold * 5 * world.rowBytes) / 2);
  world.changed = 0.05 + dice() * 0.2;
  if (habits.vacuum > 0 && day % habits.vacuum === 5) {
    world.freeBytes = 0;
    world.changed = 0.97;
  }
  if (world.compressed !== null) world.compressed = 0.33 + dice() * 0.04;
}

/** A table for each month; the oldest of six goes. */
function partition(tables: Map<string, number>, day: number, sold: number): void {
  const nameOf = (month: number) =>
    `events_${2025 + Math.floor(month / 12)}_${String((month % 12) + 1).padStart(2, '0')}`;
  const month = Math.floor(day / 30.4);
  tables.set(nameOf(month), (tables.get(nameOf(month)) ?? 0) + sold * 10);
  tables.delete(nameOf(month - 6));
}

function migrate(world: World, day: number, { renamesAt, newTableAt, dropsAt }: Habits): void {
  const { tables } = world;
  if (day === renamesAt) {
    tables.set('promotions_coupon', tables.get('shop_coupon') ?? 0);
    tables.delete('shop_coupon');
  }
  if (day > renamesAt) tables.delete('shop_coupon');
  if (day === newTableAt) tables.set('reviews', 0);
  if (day >= newTableAt) tables.set('reviews', (tables.get('reviews') ?? 0) + 3);
  if (day === dropsAt) tables.delete('legacy_import');
  if ([renamesAt, newTableAt, dropsAt].includes(day)) {
    world.schema += 1;
    world.changed = 0.95;
  }
}

function stateOf(world: World, day: number): NewState {
  const bytes = rowsOf(world) * world.rowBytes + MIB / 4;
  return {
    id: `day_${day}`,
    at: new Date(START + day * DAY),
    tables: [...world.tables].map(([name, rows]) => ({ name, rows })),
    mediaFiles: world.mediaFiles,
    referenced: new Set(['users', 'products', 'orders']),
    facts: {
      databaseBytes: bytes,
      freeBytes: world.freeBytes,
      mediaBytes: world.mediaBytes,
      schema: String(world.schema),
      brokenKeys: world.brokenKeys,
      brokenIntegrity: 0,
      compressed: world.compressed,
      changed: world.changed,
    },
  };
}

const copyOf = (world: World): World => ({ ...world, tables: new Map(world.tables) });

/** What came of a year of one application. */
export interface Year {
  /** Alarms on ordinary days, which a person then acknowledged. */
  falseAlarms: { day: number; anomalies: Anomaly[] }[];
  /** Disasters, and whether the backup of the day raised an alarm. */
  disasters: { day: number; name: string; found: boolean }[];
}

/**
 * Lives through a year. A disaster is undone on the next day; what was lost is noticed then, at the latest.
 * @param chance of a disaster on each day
 */
export function liveYear(seed: number, chance: number): Year {
  const dice = diceOf(seed);
  const habits = habitsOf(dice);
  const world = firstDay(dice);
  const names = Object.keys(DISASTERS);
  const year: Year = { falseAlarms: [], disasters: [] };
  let former = stateOf(world, 0);
  let normal: Normal = learn(former, null, nothingSeen(former.at));
  for (let day = 1; day < DAYS; day++) {
    live(world, day, habits, dice);
    const name = dice() < chance ? names[between(dice, 0, names.length)] : undefined;
    const today = name === undefined ? world : copyOf(world);
    if (name !== undefined) DISASTERS[name]?.(today, dice);
    const state = stateOf(today, day);
    const verdict = judge(state, former, normal);
    const found = verdict.anomalies.length > 0;
    if (name !== undefined) year.disasters.push({ day, name, found });
    else if (found) year.falseAlarms.push({ day, anomalies: verdict.anomalies });
    // What was found stays out of what is normal; the rest is taken for good.
    if (name === undefined || !found) [former, normal] = [state, verdict.normal];
  }
  return year;
}
