import { Readable } from 'node:stream';
import type { ClientSession } from 'mongodb';
import type { Exclusions, Snapshot, SnapshotContents, SourceFile, StepContext, TableInfo } from '../../core/ports.js';
import { AppError } from '../../errors.js';
import { connect, type Connection, failureAt, quoted } from './connection.js';
import { type Definition, tableOf, writeDefinition } from './definition.js';
import {
  assertRights,
  assertThere,
  consistencyFinding,
  type Kept,
  keptOf,
  type Listing,
  listingFindings,
  listingOf,
  sourceOf,
} from './facts.js';
import { DATA, DEFINITION, fileNameOf, FOLDER } from './names.js';
import { assertSettled } from './switch.js';
import type { Place } from './url.js';

/** How many bytes of documents go into the archive at once, at least. */
const PIECE = 1 << 20;
/** How often a snapshot is begun anew because a collection was made or dropped at that moment. */
const TRIES = 5;

/**
 * One state of the database, as far as the server gives one: its documents are read while the archive is written, in the
 * server's own bytes, and counted on the way. Nothing is laid on this machine's disk.
 */
export async function takeSnapshot(place: Place, step: StepContext, exclusions: Exclusions): Promise<Snapshot> {
  const { connection, close } = await connect(place, { signal: step.signal });
  try {
    await assertRights(connection, 'read');
    await assertSettled(connection);
    const { listing, session } = await begin(connection);
    assertThere(connection, listing);
    const reading = new Reading(connection, keptOf(listing, exclusions), session, step.signal);
    const files = await reading.files();
    step.onProgress(1, 1);
    return { engine: 'MONGODB', name: place.database, files, contents: reading.contents };
  } catch (error) {
    await close();
    step.signal.throwIfAborted();
    throw failureAt(place, error);
  }
}

/** What tells one collection from a later one of its name. */
const identity = ({ name, uuid }: Definition) => `${name}\0${uuid ?? ''}`;
const identities = ({ collections, views }: Listing) => [...collections, ...views].map(identity).join('\0\0');

/** Lists the database, and begins to read it at a moment at which the list is right. */
async function begin(connection: Connection): Promise<{ listing: Listing; session: ClientSession | undefined }> {
  let listing = await listingOf(connection);
  if (!connection.hasSnapshots) return { listing, session: undefined };
  for (let left = TRIES; left > 0; left--) {
    const session = connection.client.startSession({ snapshot: true });
    // The first read chooses the moment for all later ones.
    const [first] = listing.collections;
    if (first !== undefined) await connection.db.collection(first.name).findOne({}, { session, raw: true });
    const again = await listingOf(connection);
    if (identities(again) === identities(listing)) return { listing, session };
    await session.endSession();
    listing = again;
  }
  throw new AppError(
    'DATABASE_IN_USE',
    `Collections of ${quoted(connection.place.database)} are made and dropped all the time.`,
    {
      hint: 'Back up when the application makes no collections, or have it make temporary ones in another database.',
    },
  );
}

/** The reading of one state. */
class Reading {
  private readonly counts = new Map<string, number>();
  private finish: () => void = () => undefined;
  private fail: (error: unknown) => void = () => undefined;
  readonly contents: Promise<SnapshotContents>;
  private readonly listing: Listing;

  constructor(
    private readonly connection: Connection,
    private readonly kept: Kept,
    private readonly session: ClientSession | undefined,
    private readonly signal: AbortSignal,
  ) {
    this.listing = kept.listing;
    const read = new Promise<void>((resolve, reject) => {
      [this.finish, this.fail] = [resolve, reject];
    });
    signal.addEventListener('abort', () => this.fail(signal.reason), { once: true });
    if (this.listing.collections.length === 0) this.finish();
    this.contents = read.then(() => this.summary());
    this.contents.catch(() => undefined);
  }

  /** The archive's entries, each definition before its documents. */
  async files(): Promise<SourceFile[]> {
    const mtime = new Date();
    const files: SourceFile[] = [];
    for (const definition of [...this.listing.collections, ...this.listing.views]) {
      const { name, type } = definition;
      const text = Buffer.from(writeDefinition(definition));
      const base = { mtime, mode: 0o600 };
      const path = `${FOLDER}${fileNameOf(name)}`;
      files.push({
        ...base,
        path: `${path}${DEFINITION}`,
        size: text.length,
        open: async () => Readable.from([text], { objectMode: false }),
      });
      if (type === 'view') continue;
      const { size = 0 } = this.kept.emptied.has(name) ? {} : await this.connection.run({ collStats: name });
      files.push({
        ...base,
        path: `${path}${DATA}`,
        expected: Number(size),
        open: async () => Readable.from(this.bytesOf(name), { objectMode: false }),
      });
    }
    return files;
  }

  private async *bytesOf(name: string): AsyncGenerator<Buffer> {
    const { connection, session, signal } = this;
    if (this.kept.emptied.has(name)) return this.counted(name, 0);
    let piece: Uint8Array[] = [];
    let [size, count] = [0, 0];
    const options = { raw: true, noCursorTimeout: true, ...(session !== undefined && { session }) };
    const cursor = connection.db.collection(name).find({}, options);
    try {
      for await (const document of cursor) {
        // The driver's types do not know that it gives bytes then.
        const bytes = document as unknown as Uint8Array;
        count++;
        piece.push(bytes);
        size += bytes.length;
        if (size < PIECE) continue;
        yield Buffer.concat(piece);
        [piece, size] = [[], 0];
      }
      if (size > 0) yield Buffer.concat(piece);
      this.counted(name, count);
    } catch (thrown) {
      const error: unknown = signal.aborted ? signal.reason : failureAt(connection.place, thrown);
      this.fail(error);
      throw error;
    } finally {
      // Not waited for: where the server is gone, that would take as long as it may be looked for.
      cursor.close().catch(() => undefined);
    }
  }

  private counted(name: string, count: number): void {
    this.counts.set(name, count);
    if (this.counts.size === this.listing.collections.length) this.finish();
  }

  /** @throws AppError if what was read is not what was listed */
  private async summary(): Promise<SnapshotContents> {
    const { connection, listing, counts } = this;
    try {
      const now = new Set((await listingOf(connection)).collections.map(identity));
      const gone = listing.collections.find((collection) => !now.has(identity(collection)));
      if (gone !== undefined) {
        throw new AppError(
          'DATABASE_FAILED',
          `The collection ${quoted(gone.name)} was dropped or replaced while it was read.`,
          {
            hint: 'Back up again when no program drops collections of this database.',
          },
        );
      }
      await this.session?.endSession();
    } catch (error) {
      this.signal.throwIfAborted();
      throw failureAt(connection.place, error);
    }
    const tables = listing.collections.map((each): TableInfo => tableOf(each, counts.get(each.name) ?? 0));
    const consistency = consistencyFinding(connection);
    return {
      tables,
      apps: [],
      source: sourceOf(connection),
      findings: [...(consistency === null ? [] : [consistency]), ...listingFindings(listing)],
      damaged: false,
      exclusions: this.kept.matches,
    };
  }
}
