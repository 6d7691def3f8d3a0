import { BSON, type Collection, type Document } from 'mongodb';
import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../../errors.js';
import { type Connection, mongoCode, quoted } from './connection.js';
import type { Definition } from './definition.js';
import { type Listing, listingOf, namesIn } from './facts.js';
import { JOURNAL, newName, oldName, ownOf } from './names.js';

/** All that must be renamed for one collection. */
interface Move {
  name: string;
  /** The filled collection that takes the name; null: the collection goes. */
  from: string | null;
  /** Where the collection that has the name now is put; null: there is none. */
  aside: string | null;
}

/**
 * What is noted in the target before the first rename. Only its phase decides: `SWITCHING` and `UNDOING` come out as the old
 * state, `DONE` as the new one.
 */
interface Journal {
  _id: 'switch';
  stamp: string;
  phase: 'SWITCHING' | 'UNDOING' | 'DONE';
  at: Date;
  moves: Move[];
  /** The definitions of the views of both states, as Extended JSON: a field of them may begin with a dollar sign. */
  before: string;
  after: string;
}

const MAJORITY = { w: 'majority', j: true } as const;
const journalOf = ({ db }: Connection): Collection<Journal> =>
  db.collection<Journal>(JOURNAL, { writeConcern: MAJORITY });
const readJournal = (connection: Connection): Promise<Journal | null> =>
  journalOf(connection).findOne({ _id: 'switch' });

const writeViews = (views: Definition[]) => BSON.EJSON.stringify(views, { relaxed: false });
const readViews = (text: string) => BSON.EJSON.parse(text, { relaxed: false }) as Definition[];

/** What a switch needs. */
export interface Switch {
  stamp: string;
  /** The filled collections by the names that they are to have. */
  filled: Map<string, string>;
  views: Definition[];
  /** How long a rename may wait for those who use the collection, in milliseconds. */
  lockTimeoutMs: number;
  /** Called right before the journal is written. */
  onSwitch(): void;
}

/**
 * Puts the collections of the target aside, and the filled ones in their place. The last step, one write to one document,
 * decides: before it, `rollBack` makes the old state of whatever has happened.
 * @throws what the driver throws, AppError DATABASE_IN_USE; then the caller must call `rollBack`
 */
export async function switchOver(connection: Connection, options: Switch): Promise<void> {
  const { stamp, filled, views, lockTimeoutMs } = options;
  const live = await listingOf(connection);
  const moves = movesOf(live, filled, stamp);
  options.onSwitch();
  await journalOf(connection).insertOne({
    ...{ _id: 'switch', stamp, phase: 'SWITCHING', at: new Date(), moves },
    ...{ before: writeViews(live.views), after: writeViews(views) },
  });
  // Nothing is dropped before all is decided: what a killed process sent last may be done after the switch was taken back.
  const rename = (from: string, to: string) =>
    renameTo(connection, from, to, { dropTarget: false, maxTimeMS: lockTimeoutMs });
  let next = moves.length;
  try {
    for (const { name } of live.views) await drop(connection, name);
    for (const { name, from, aside } of moves) {
      if (aside !== null) await rename(name, aside);
      if (from !== null) await takeName(rename, { name, from }, () => newName(stamp, next++));
    }
    for (const view of views) await makeView(connection, view);
  } catch (error) {
    // MaxTimeMSExpired
    if (mongoCode(error) !== 50) throw error;
    throw new AppError('DATABASE_IN_USE', `Collections of ${quoted(connection.place.database)} are still in use.`, {
      hint: 'Stop the application, or raise the lock timeout of the config.',
      cause: error,
    });
  }
  const decided = await journalOf(connection).updateOne({ stamp, phase: 'SWITCHING' }, { $set: { phase: 'DONE' } });
  if (decided.matchedCount === 1) return;
  throw new AppError('DATABASE_FAILED', 'Another process has taken back this switch.');
}

/** How often a collection that the application makes under a name at that moment is put out of the way. */
const MOST_INTRUDERS = 20;

/** Renames a filled collection. What the application has made under the name since is in neither state. */
async function takeName(
  rename: (from: string, to: string) => Promise<void>,
  { name, from }: { name: string; from: string },
  awayName: () => string,
): Promise<void> {
  for (let intruder = 0; ; intruder++) {
    try {
      return await rename(from, name);
    } catch (error) {
      // NamespaceExists
      if (mongoCode(error) !== 48 || intruder === MOST_INTRUDERS) throw error;
      await rename(name, awayName());
    }
  }
}

function movesOf({ collections }: Listing, filled: Map<string, string>, stamp: string): Move[] {
  const live = new Set(collections.map(({ name }) => name));
  const names = [...new Set([...filled.keys(), ...live])];
  return names.map((name, index) => {
    return { name, from: filled.get(name) ?? null, aside: live.has(name) ? oldName(stamp, index) : null };
  });
}

async function renameTo(connection: Connection, from: string, to: string, options: Document): Promise<void> {
  const at = (name: string) => `${connection.place.database}.${name}`;
  const writeConcern = { w: 'majority' };
  await connection.admin({ renameCollection: at(from), to: at(to), writeConcern, ...options });
}

const makeView = (connection: Connection, { name, options }: Definition) =>
  connection.run({ create: name, ...options });

/**
 * Makes the old state again, if a switch was begun and not decided; may be done any number of times, also after a crash in
 * the middle of it. A switch that still runs elsewhere can no longer be decided then.
 */
export async function rollBack(connection: Connection): Promise<void> {
  const journals = journalOf(connection);
  const noted = await readJournal(connection);
  if (noted === null || noted.phase === 'DONE') return;
  const journal = await journals.findOneAndUpdate(
    { _id: 'switch', phase: { $ne: 'DONE' } },
    { $set: { phase: 'UNDOING' } },
    { returnDocument: 'after' },
  );
  if (journal === null) return;
  // What the killed process sent last may still be done by the server: only a look in which nothing was left ends this.
  let failure: unknown = null;
  for (let look = 0, quiet = false; !quiet; look++) {
    if (look === MOST_LOOKS) throw failure ?? new AppError('DATABASE_IN_USE', 'Another program renames collections.');
    if (look > 0) await sleep(LOOK_AGAIN);
    try {
      const changed = await takeBack(connection, journal);
      quiet = look > 0 && !changed;
    } catch (error) {
      failure = error;
    }
  }
  await journals.deleteOne({ _id: 'switch' });
  await dropJournal(connection);
}

/** How long to wait between two looks, in milliseconds, and how many there are at most. */
const LOOK_AGAIN = 300;
const MOST_LOOKS = 10;

/** @returns true if anything had to be changed */
async function takeBack(connection: Connection, { moves, before, after }: Journal): Promise<boolean> {
  let changed = false;
  const made = new Set(readViews(after).map(({ name, options }) => viewText(name, options)));
  const old = readViews(before);
  const kept = new Set(old.map(({ name, options }) => viewText(name, options)));
  for (const { name, options } of (await listingOf(connection)).views) {
    const text = viewText(name, options);
    if (!made.has(text) || kept.has(text)) continue;
    await drop(connection, name);
    changed = true;
  }
  const present = new Set(await namesIn(connection));
  for (const { name, from, aside } of moves.toReversed()) {
    // The filled one goes back to where it was, so that nothing is dropped before the old one is in its place.
    const isIn = from !== null && !present.has(from) && present.has(name);
    const isBack = isIn && (aside === null || present.has(aside));
    if (isBack) await renameTo(connection, name, from, { dropTarget: false });
    const isAside = aside !== null && present.has(aside);
    // What the application has made under the name since is in neither state.
    if (isAside) await renameTo(connection, aside, name, { dropTarget: true });
    changed ||= isBack || isAside;
  }
  const left = new Set(await namesIn(connection));
  for (const view of old) {
    if (left.has(view.name)) continue;
    await makeView(connection, view);
    changed = true;
  }
  return changed;
}

const viewText = (name: string, options: Document) => BSON.EJSON.stringify({ name, options }, { relaxed: false });

/** As `Engine.stampOf`: of a switch that was decided. One that was not is taken back first. */
export async function decidedStamp(connection: Connection): Promise<string | null> {
  await rollBack(connection);
  return (await readJournal(connection))?.stamp ?? null;
}

/** Drops what a decided switch has put aside, then its journal. */
export async function settle(connection: Connection): Promise<void> {
  const journal = await readJournal(connection);
  if (journal?.phase !== 'DONE') return;
  await dropOwn(connection, ({ stamp }) => stamp === journal.stamp);
  await dropJournal(connection);
}

/** Drops collections of ours. */
export async function dropOwn(
  connection: Connection,
  isMeant: (own: { kind: 'new' | 'old'; stamp: string }) => boolean,
): Promise<void> {
  for (const name of await namesIn(connection)) {
    const own = ownOf(name);
    if (own !== null && isMeant(own)) await drop(connection, name);
  }
}

const dropJournal = (connection: Connection) => drop(connection, JOURNAL);

async function drop(connection: Connection, name: string): Promise<void> {
  await connection.run({ drop: name, writeConcern: { w: 'majority' } }).catch((error: unknown) => {
    // NamespaceNotFound: it is gone.
    if (mongoCode(error) !== 26) throw error;
  });
}

/** Fails while a switch is under way, or was left by a process that died: what is there is a mixture. */
export async function assertSettled(connection: Connection): Promise<void> {
  const journal = await readJournal(connection);
  if (journal === null || journal.phase === 'DONE') return;
  const { database } = connection.place;
  throw new AppError(
    'DATABASE_IN_USE',
    `The restore ${journal.stamp} is switching the collections of ${quoted(database)}.`,
    {
      hint: 'Wait for it. If its process died, start the db-manager that ran it: it ends the restore by itself.',
    },
  );
}
