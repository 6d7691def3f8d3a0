import { DELTA_ENTRY, deltaBytes, type DeltaHeader, deltaOf, deltaStream, MAX_RUNS } from '../../archive/delta.js';
import type { MediaItem } from '../../archive/media.js';
import { MediaWatch } from '../../archive/media-state.js';
import { type ArchiveMetadata, INCREMENTAL_VERSION, MAX_REMOVED, type SourceFile } from '../../archive/metadata.js';
import { changedPages, hashPages, type PageHashes } from '../../archive/page-hashes.js';
import type { Collected } from '../../archive/write.js';
import { AppError } from '../../errors.js';
import { type BackupConfigRow, type BackupRow } from '../../models/index.js';
import { baseIdOf, chainStateOf, findBase } from '../archives/chains.js';
import { Hold, runLease } from '../runs/hold.js';
import type { Run, RunEnvironment } from '../runs/run.js';
import type { CoreEnvironment } from '../environment.js';
import type { ChangedSnapshot, FormerState, PagedFile, Snapshot } from '../ports.js';
import { indexPath, type PageIndex, readIndex, writeIndex } from './page-index.js';

/** What comparing with the last backup needs of the process around it. */
type IncrementEnvironment = RunEnvironment & Pick<CoreEnvironment, 'dataDir' | 'engines'>;

const DAY = 86_400_000;
/** A delta that is larger than this share of the database is not worth a chain. */
const MOST_CHANGED = 0.5;

/** Why a backup is a full one although it was to be incremental. */
interface Refusal {
  why: string;
  /** True if something is wrong, which the admin should know. */
  isWrong: boolean;
}

const routine = (why: string): Refusal => ({ why, isWrong: false });
const wrong = (why: string): Refusal => ({ why, isWrong: true });

/** The backup that an incremental one builds on. */
interface Base {
  row: BackupRow;
  index: PageIndex;
}

/** What is known of a run of a config with incremental backups before its database is read. */
export class Beginning {
  private constructor(
    readonly path: string,
    /** Milliseconds since 1970. */
    readonly startedAt: number,
    readonly fingerprint: string | null,
    readonly base: Base | null,
  ) {}

  /**
   * Looks for a backup to build on. Where there is none, the run says why.
   * @returns null where nothing is to be noted for the next one
   */
  static async of(
    env: IncrementEnvironment,
    run: Run,
    row: BackupRow,
    { config, url, mediaPaths }: { config: BackupConfigRow | null; url: string | null; mediaPaths: string[] },
  ): Promise<Beginning | null> {
    if (config === null || row.backupType === 'SAFETY') return null;
    if (row.mode === 'FULL' && !config.incremental) return null;
    const path = indexPath(env.dataDir, config.id);
    const startedAt = env.now().getTime();
    const look = url === null ? null : env.engines.of(row.engine).fingerprint(url);
    const fingerprint = (await look?.catch(() => null)) ?? null;
    const found = row.mode === 'FULL' ? null : await baseFor(env, row, { config, mediaPaths, path });
    if (found !== null && 'why' in found) await beFull(run, row, found);
    const base = found === null || 'why' in found ? null : found;
    if (base !== null) await buildOn(env, run, row, base);
    return new Beginning(path, startedAt, fingerprint, row.mode === 'INCREMENTAL' ? base : null);
  }

  /** The snapshot of a database that nobody has written to since the last backup; null if it must be read. */
  untouched({ engine }: BackupRow): ChangedSnapshot | null {
    const index = this.base?.index;
    if (index === undefined || this.fingerprint === null || index.fingerprint !== this.fingerprint) return null;
    const { name, entry, hashes, contents } = index;
    const pages = { file: '', pageSize: hashes.pageSize, entry };
    return { engine, name, files: [], contents: Promise.resolve(contents), pages, hashes };
  }

  /** What the database is compared with while it is read; null if there is nothing. */
  former(): FormerState | null {
    if (this.base === null) return null;
    const { hashes, contents } = this.base.index;
    return { hashes, findings: contents.findings, mostChanged: MOST_CHANGED };
  }
}

/**
 * How a run of a config with incremental backups is made: as what, of which files, and what is noted for the next one. A
 * run without any of this is a full one of which nothing is noted.
 */
export class Increment {
  private constructor(
    private readonly beginning: Beginning,
    private readonly snapshot: Snapshot,
    private readonly pages: PagedFile,
    private readonly hashes: PageHashes,
    private readonly watch: MediaWatch,
    private readonly base: (Base & { delta: DeltaHeader }) | null,
    private readonly mediaPaths: string[],
    /** Which part of the pages of the last backup has changed; null where there is none to compare with. */
    readonly changedShare: number | null,
  ) {}

  /**
   * Compares the snapshot with the last backup, and decides whether this one holds only the difference. Where not, the run
   * says why.
   * @returns null where nothing is to be noted
   */
  static async plan(
    run: Run,
    row: BackupRow,
    beginning: Beginning | null,
    { snapshot, mediaPaths }: { snapshot: Snapshot | ChangedSnapshot; mediaPaths: string[] },
  ): Promise<Increment | null> {
    if (beginning === null) return null;
    const { startedAt, base } = beginning;
    const found = await pagesOf(run, snapshot);
    if (found === null) {
      await beFull(run, row, wrong('the database has no pages that can be compared.'));
      return null;
    }
    const { pages, hashes } = found;
    const all = base === null ? null : differenceOf(base.index.hashes, hashes);
    const delta = all === null || 'why' in all ? all : worthOf(all, hashes);
    if (delta !== null && 'why' in delta) await beFull(run, row, delta);
    const kept = base === null || delta === null || 'why' in delta ? null : { ...base, delta };
    const watch = new MediaWatch(kept?.index.media ?? null, startedAt);
    const changed = all === null || 'why' in all ? null : changedShareOf(all);
    return new Increment(beginning, snapshot, pages, hashes, watch, kept, mediaPaths, changed);
  }

  /** What is stored of the database. @param files those of a full backup */
  files(files: SourceFile[]): SourceFile[] {
    const { base, pages } = this;
    if (base === null) return files;
    const { delta } = base;
    const own = files.find(({ path }) => path === pages.entry);
    const about = { mtime: own?.mtime ?? new Date(this.beginning.startedAt), mode: own?.mode ?? 0o600 };
    return [{ ...about, path: DELTA_ENTRY, size: deltaBytes(delta), open: async () => deltaStream(pages.file, delta) }];
  }

  /** Called before the media are walked. @returns what to ask of each item */
  watchMedia(): (item: MediaItem) => Promise<boolean> {
    this.watch.begin();
    return (item) => this.watch.isUnchanged(item);
  }

  /** What the metadata says beyond that of a full backup. */
  describe(collected: Collected): Partial<ArchiveMetadata> {
    if (this.base === null) return {};
    const { row, index } = this.base;
    const { pageSize, pageCount, sha256 } = this.hashes;
    const state = this.watch.state(collected);
    const removed = this.watch.removed(state);
    if (removed.length > MAX_REMOVED) {
      throw new AppError('MEDIA_UNREADABLE', `${removed.length} media files are gone since ${row.id}.`, {
        hint: 'Make a full backup: createBackup(mode: FULL).',
      });
    }
    return {
      backup_version: INCREMENTAL_VERSION,
      parent: { backup_id: baseIdOf(row) ?? row.id, file_name: row.fileName, metadata_sha256: index.metadataSha256 },
      chain: { id: row.chainArchiveId ?? row.archiveId ?? row.id, position: row.chainPosition + 1 },
      reproduces: {
        database: {
          path: this.pages.entry,
          size: pageCount * pageSize,
          sha256,
          page_size: pageSize,
          page_count: pageCount,
        },
        media: this.watch.roots(state, collected.media),
        removed,
      },
    };
  }

  /** True if nothing changed since the backup that this one builds on. */
  isSame(collected: Pick<Collected, 'entries'>): boolean {
    return this.base !== null && this.base.delta.changed === 0 && this.watch.isSame(collected);
  }

  /** True if only the difference is stored. */
  get isIncremental(): boolean {
    return this.base !== null;
  }

  /** Id of the backup that it builds on. */
  get parentId(): string | null {
    return this.base?.row.id ?? null;
  }

  /**
   * Keeps what the next backup is compared with. Without it that is a full one, so a failure ends nothing.
   * @param metadataSha256 of the archive that was stored
   */
  async note(
    env: IncrementEnvironment,
    row: BackupRow,
    collected: Pick<Collected, 'entries'>,
    metadataSha256: string,
  ): Promise<void> {
    const { hashes, mediaPaths, snapshot, pages, beginning } = this;
    const media = this.watch.state(collected);
    const database = { name: snapshot.name, entry: pages.entry, contents: await snapshot.contents };
    const about = { backupId: row.id, fileName: row.fileName, metadataSha256, mediaPaths, ...database };
    try {
      await writeIndex(beginning.path, { ...about, fingerprint: beginning.fingerprint, hashes, media });
    } catch (error) {
      env.log.warn(
        { err: error, backup: row.id },
        'the index of pages could not be kept: the next backup is a full one',
      );
    }
  }
}

interface HashedPages {
  pages: PagedFile;
  hashes: PageHashes;
}

/** Null where the snapshot has none that can be compared. */
async function pagesOf(run: Run, snapshot: Snapshot | ChangedSnapshot): Promise<HashedPages | null> {
  const { pages } = snapshot;
  if (pages === undefined) return null;
  const hashes = 'hashes' in snapshot ? snapshot.hashes : await hashPages(pages, run.signal);
  return hashes === null ? null : { pages, hashes };
}

/** Finds what a backup can build on; or why it must be a full one. */
async function baseFor(
  env: IncrementEnvironment,
  row: BackupRow,
  { config, mediaPaths, path }: { config: BackupConfigRow; mediaPaths: string[]; path: string },
): Promise<Base | Refusal> {
  const index = await readIndex(path).catch(() => 'doubtful' as const);
  if (index === null) return routine('there is none to build on yet.');
  if (index === 'doubtful') return wrong('what was noted of the last one cannot be read.');
  // Its id is that of its archive. A full backup may have taken its place since.
  const parent = await findBase(env.models, index.backupId);
  if (parent?.configId !== config.id) {
    return routine(`the last one, ${index.backupId}, was deleted.`);
  }
  const state = await chainStateOf(env.models, parent).catch(() => null);
  if (state === null) return wrong(`${parent.id} builds on a backup that is missing.`);
  if (state.badId !== null) return wrong(`${state.badId} is damaged or not verified.`);
  if (state.goingId !== null) return routine(`${state.goingId} is about to be deleted.`);
  const read = await beginningOf(env, state.fullId);
  if (read === null) return wrong(`${parent.id} builds on a backup that is missing.`);
  if (read.createdAt.getTime() + config.fullEveryDays * DAY <= row.createdAt.getTime()) {
    return routine(`the last one, ${read.id}, is ${config.fullEveryDays} days old.`);
  }
  if (index.mediaPaths.join('\0') !== mediaPaths.join('\0')) {
    return routine('the media folders of the config have changed.');
  }
  return { row: parent, index };
}

/** The full backup that was made of the database itself: one that was made of a chain is not. */
async function beginningOf({ models }: IncrementEnvironment, fullId: string): Promise<BackupRow | null> {
  const full = await models.Backup.findByPk(fullId);
  if (full === null || (full.consolidates ?? null) === null) return full;
  return (await models.Backup.findOne({ where: { archiveId: full.chainArchiveId } })) ?? full;
}

/** The pages that differ; or why they cannot be compared. */
function differenceOf(before: PageHashes, hashes: PageHashes): DeltaHeader | Refusal {
  if (before.pageSize !== hashes.pageSize) return routine('the page size of the database has changed.');
  return deltaOf(changedPages(before, hashes), {
    pageSize: hashes.pageSize,
    before: before.pageCount,
    after: hashes.pageCount,
  });
}

/** Which part of the pages that were there before has changed. */
function changedShareOf({ before, after, changed }: DeltaHeader): number {
  const common = Math.min(before, after);
  return common === 0 ? 0 : (changed - (after - common)) / common;
}

/** The pages that differ; or why they are not worth a chain. */
function worthOf(delta: DeltaHeader, hashes: PageHashes): DeltaHeader | Refusal {
  const isWorth = deltaBytes(delta) <= Math.max(MOST_CHANGED * hashes.pageCount * hashes.pageSize, SMALL_DELTA);
  if (isWorth && delta.runs.length / 2 <= MAX_RUNS) return delta;
  return routine(`${delta.changed} of ${hashes.pageCount} pages have changed.`);
}

/** A delta of up to so many bytes is always worth it. */
const SMALL_DELTA = 4_096;

/** Notes what the row builds on, unless that is being deleted at this moment. */
async function buildOn(env: IncrementEnvironment, run: Run, row: BackupRow, { row: parent }: Base): Promise<void> {
  const noted = await Hold.during(
    env,
    [runLease(parent.id)],
    async () => {
      await parent.reload();
      if (parent.status !== 'COMPLETED') return false;
      await noteMode(run, row, {
        mode: 'INCREMENTAL',
        parentArchiveId: baseIdOf(parent) ?? parent.id,
        chainArchiveId: parent.chainArchiveId ?? parent.archiveId ?? parent.id,
        chainPosition: parent.chainPosition + 1,
      });
      return true;
    },
    () => false,
  );
  if (noted !== true) await beFull(run, row, routine(`the last one, ${parent.id}, is in use.`));
}

async function beFull(run: Run, row: BackupRow, { why, isWrong }: Refusal): Promise<void> {
  if (row.mode === 'FULL') return;
  const text = `A full backup was made: ${why}`;
  if (isWrong) run.warn(text);
  const note = isWrong ? row.note : [row.note, text].filter(Boolean).join(' ');
  await noteMode(run, row, { mode: 'FULL', parentArchiveId: null, chainArchiveId: null, chainPosition: 0, note });
}

async function noteMode(
  run: Run,
  row: BackupRow,
  values: Partial<Pick<BackupRow, 'mode' | 'parentArchiveId' | 'chainArchiveId' | 'chainPosition' | 'note'>>,
): Promise<void> {
  if (!(await run.update(values))) throw new AppError('INTERRUPTED', 'The run was lost.');
  await row.reload();
}
