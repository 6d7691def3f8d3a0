import type { Readable } from 'node:stream';
// Its newer interface takes several times as long to load.
import { z } from 'zod/v3';
import { AppError } from '../errors.js';
import { type LongList, MetadataScan } from './metadata-scan.js';
import { foreign, hostile } from './refuse.js';

/** Names that begin so are db-manager's own, such as files laid ready by a restore: they are never archived. */
export const RESERVED_PREFIX = '.db-manager-';

/** The archive's last entry: what it holds and where that came from. */
export const METADATA_ENTRY = 'backup_metadata.json';
/** The `backup_version` that is written. */
export const BACKUP_VERSION = '2.0';
/** That of an incremental backup: a reader that knows none must not take it for a whole one. */
export const INCREMENTAL_VERSION = '3.0';
/** Largest metadata that is written, in bytes. A string of Node.js cannot be longer than this. */
export const MAX_METADATA_BYTES = 512 * 1024 * 1024 - 1024;

/** A table: the number of its rows, what makes it, and the tables that its foreign keys point to. */
export interface TableInfo {
  name: string;
  /** Null where they could not be counted. */
  rows: number | null;
  /** Hash of its definition with that of its indexes and triggers: differs when the schema differs. */
  schema: string;
  references: string[];
}

/** A table that was left out of a backup on request: the whole of it, or only its rows. */
export interface ExcludedTable {
  table: string;
  what: 'TABLE' | 'ROWS';
}

/** An app of the protected application and its newest migration (Django's `django_migrations`). */
export interface AppVersion {
  app: string;
  latestMigration: string;
}

/** One file that goes into an archive: its path there, and how its bytes are had. `open` is called once. */
export interface SourceFile {
  path: string;
  /** Bytes, where known before reading. */
  size?: number;
  /** Bytes that it may come to, where `size` is not known. */
  expected?: number;
  mtime?: Date;
  mode?: number;
  open(): Promise<Readable>;
}

const count = z.number().int().nonnegative();
const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/, 'not a SHA-256');
const isoDate = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)$/, 'not an ISO 8601 date');

const tableSchema = z.object({
  name: z.string(),
  /** Null where the rows could not be counted. */
  row_count: count.nullable(),
  schema: z.string().optional(),
  references: z.array(z.string()).optional(),
});
const entrySchema = z.object({
  path: z.string().min(1),
  /** Bytes before compression. */
  size: count,
  /** SHA-256 of the bytes before compression, 64 hexadecimal digits in lower case. */
  sha256: sha256Schema,
  /** When the file was last changed, ISO 8601. */
  mtime: z.string().optional(),
  /** Permission bits, such as 420 for rw-r--r--. */
  mode: count.optional(),
  /**
   * Where a deflated entry of more than 1 MiB can be inflated from: the bytes after compression of each MiB before it, in
   * order. Each of these blocks ends at a byte and refers to none before it.
   */
  blocks: z.array(count).optional(),
});
const mediaSchema = z.object({ path: z.string(), prefix: z.string().endsWith('/'), files: count, bytes: count });
/** No text from an archive reaches a terminal or a log with control characters in it. */
const clean = (max: number) =>
  z
    .string()
    .max(max)
    // eslint-disable-next-line no-control-regex -- control characters are what is looked for
    .transform((text) => text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '\ufffd'));
const originSchema = z.object({
  /** The same for all archives of one application: a UUID. */
  application_id: z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'not a UUID in lower case'),
  /** Name of the config that made the archive, and of the machine. */
  config: clean(200),
  host: clean(255),
  /** Address of the database, never with a password. */
  database: clean(4096),
});
const findingSchema = z.object({
  kind: z
    .enum(['pages', 'index', 'virtual', 'rows', 'foreign-keys', 'uncounted', 'unchecked', 'access', 'schema'])
    .catch('unchecked'),
  table: clean(1000).nullable(),
  message: clean(4000),
});
/** Most tables that `excluded` may have. */
export const MAX_EXCLUDED = 200_000;
const excludedSchema = z.object({
  table: z.string(),
  /** TABLE: it is not in the archive. ROWS: it is, without its rows. */
  what: z.enum(['TABLE', 'ROWS']),
});
/** Most invariants that an archive may have. */
const MAX_INVARIANTS = 100;
const invariantSchema = z.object({
  name: clean(100),
  sql: z.string().max(10_000),
  expect: z.enum(['EQUALS', 'AT_LEAST', 'AT_MOST', 'NOT_LESS_THAN_BEFORE', 'EMPTY']),
  value: clean(200).nullable(),
  /** The answer when the backup was made, and in the backup before where they were compared. */
  actual: clean(1000).nullable(),
  before: clean(1000).nullable(),
  holds: z.boolean(),
  message: clean(4000),
});
const symlinkSchema = z.object({ path: z.string(), target: z.string() });
const skippedSchema = z.object({ path: z.string(), reason: z.string() });
const renamedSchema = z.object({
  path: z.string(),
  name: z
    .string()
    .refine((name) => !['', '.', '..'].includes(name) && !/[/\0]/.test(name), 'not the name of a file')
    .refine((name) => !name.startsWith(RESERVED_PREFIX), "one of db-manager's own names"),
});

/** Most paths that `removed` may have. */
export const MAX_REMOVED = 100_000;
const reproducesSchema = z.object({
  /** The database that this archive and its parents make together. */
  database: z.object({
    path: z.string(),
    size: count,
    sha256: sha256Schema,
    page_size: count,
    page_count: count,
  }),
  /** The media roots with all their files, as `media` of a full backup. */
  media: z.array(mediaSchema),
  /** Media files, and folders with a '/' at their end, that the parent has and this state does not. */
  removed: z.array(z.string()).max(MAX_REMOVED),
});

const metadataSchema = z
  .object({
    backup_version: z.string(),
    /** Null in archives of version 1.0. */
    backup_id: z.string().nullable(),
    /** MANUAL, AUTO, UPLOADED or SAFETY. Null in archives of version 1.0. */
    backup_type: z.string().nullable(),
    /** ISO 8601 with microseconds, UTC. */
    backup_date: isoDate,
    database_engine: z.string().min(1).max(200).pipe(clean(200)),
    /** Never a password. */
    database_name: clean(4096),
    /** Whose data it is. Missing in archives of version 1.0 and of the first releases. */
    origin: originSchema.optional(),
    /** For whom the archive was sealed when it was made: age recipients, or a passphrase. Missing where it was not. */
    encryption: z.object({ recipients: z.array(clean(100)).max(1000), passphrase: z.boolean() }).optional(),
    /** The newest event of the audit trail when the archive was made, and its link in the chain. Missing in older ones. */
    audit: z.object({ event: count, sha256: sha256Schema }).optional(),
    /** The archive that this one builds on, known by its metadata entry. Missing in a full backup, as the next two. */
    parent: z.object({ backup_id: clean(64), file_name: clean(255), metadata_sha256: sha256Schema }).optional(),
    /** The full backup that it all builds on, and the place behind it: 1 for the first incremental. */
    chain: z.object({ id: clean(64), position: z.number().int().positive().max(1_000_000) }).optional(),
    reproduces: reproducesSchema.optional(),
    /**
     * In a full archive that was made of a chain: the incremental backup of the same state, known by its metadata entry. What
     * builds on that builds on this as well.
     */
    consolidated: z
      .object({
        backup_id: clean(64),
        metadata_sha256: sha256Schema,
        chain: z.object({ id: clean(64), position: z.number().int().positive().max(1_000_000) }),
      })
      .optional(),
    app_version: z.string().nullable(),
    node_version: z.string().nullable(),
    /** Django's version; only in archives of version 1.0. */
    django_version: z.string().optional(),
    apps: z.array(z.object({ app: z.string(), latest_migration: z.string() })),
    tables: z.array(tableSchema),
    /** The tables that were left out on request, as a whole or without their rows. Missing where none was. */
    excluded: z.array(excludedSchema).max(MAX_EXCLUDED).optional(),
    /** Queries with the answers that the database must give, and what they came to. Missing where there were none. */
    invariants: z.array(invariantSchema).max(MAX_INVARIANTS).optional(),
    /** Every file of the archive but the metadata itself, in the archive's order. Empty in version 1.0. */
    entries: z.array(entrySchema),
    /** Page size, journal mode, versions, …. */
    source: z.record(clean(100), z.union([clean(1000), z.number()])),
    /** True if the database is kept as it was found, with damaged pages. */
    damaged: z.boolean().default(false),
    /** What was found wrong with the database when it was backed up. */
    findings: z.array(findingSchema).max(1000).default([]),
    /** The media roots, in the configured order. */
    media: z.array(mediaSchema).default([]),
    /** Symbolic links of the media folders. They are noted, never followed and never made again. */
    symlinks: z.array(symlinkSchema).default([]),
    /** What was met in the media folders but is not stored as it was. */
    skipped: z.array(skippedSchema).default([]),
    /**
     * Files and folders whose own names a ZIP cannot hold: the path in the archive, without a '/' at its end, and the name
     * that its last segment has on the machine. A byte that is not UTF-8 is a lone surrogate, U+DC80 to U+DCFF (PEP 383).
     */
    renamed: z.array(renamedSchema).default([]),
  })
  .passthrough();

/** The state that an incremental backup and its parents make together. */
export type Reproduced = z.infer<typeof reproducesSchema>;
/** What `backup_metadata.json` says, in one shape for all versions. Fields that this version does not know are kept. */
export type ArchiveMetadata = z.infer<typeof metadataSchema>;
/** Something that was found wrong with the database: what kind of thing, in which table if in one, and in words. */
export type FindingMetadata = z.infer<typeof findingSchema>;
/** A stored file: path in the archive, bytes, SHA-256 in hex, and where known the time of change and permission bits. */
export type EntryMetadata = z.infer<typeof entrySchema>;
/** A media root: its path on the machine, its prefix in the archive (ends in '/'), how many files and bytes were stored. */
export type MediaMetadata = z.infer<typeof mediaSchema>;
/** A symbolic link: its path in the archive and where it points to. */
export type SymlinkMetadata = z.infer<typeof symlinkSchema>;
/** A file or folder that has another name in the archive: see `renamed`. */
export type RenamedMetadata = z.infer<typeof renamedSchema>;
/**
 * `name`: its path would be too long for a ZIP; `path` is then the folder that it lies in. `vanished`: listed, then gone. `changed`: stored, but its size or time changed while it was read. `replaced`: another
 * file took its place again and again while it was opened. `special`: a pipe, socket or device, never stored.
 */
export type SkipReason = 'name' | 'vanished' | 'changed' | 'replaced' | 'special';
/** Something that is not stored, or not as one consistent state: its path in the archive and why. */
export interface SkippedMetadata {
  path: string;
  reason: SkipReason;
}

const ELEMENTS = {
  entries: entrySchema,
  symlinks: symlinkSchema,
  skipped: skippedSchema,
  renamed: renamedSchema,
  tables: tableSchema,
};
/** How many tables, links and left-out files are kept of what an archive lists; of files as many as it really has. */
const MAX_LISTED = 200_000;

/**
 * Reads `backup_metadata.json` as it comes, in little memory however long it is.
 * @param onEntry is given each stored file; the result's `entries` is empty
 * @throws AppError as `parseMetadata`; ARCHIVE_HOSTILE for one that says absurdly much
 */
export async function readMetadata(
  chunks: AsyncIterable<Buffer>,
  onEntry: (entry: EntryMetadata) => void,
): Promise<ArchiveMetadata> {
  const lists = {
    symlinks: [] as SymlinkMetadata[],
    skipped: [] as SkippedElement[],
    renamed: [] as RenamedMetadata[],
    tables: [] as TableElement[],
  };
  const take = (list: LongList, element: unknown) => {
    if (list === 'entries' && isEntry(element)) return onEntry(element);
    const read = ELEMENTS[list].safeParse(element);
    if (!read.success) throw wrongField(list, read.error.issues[0]);
    if (list === 'entries') return onEntry(read.data as EntryMetadata);
    if (lists[list].length >= MAX_LISTED) throw hostile(`${METADATA_ENTRY} lists too many ${list}.`);
    (lists[list] as unknown[]).push(read.data);
  };
  const scan = new MetadataScan((list, text) => take(list, parseJson(text)));
  let failed: unknown;
  for await (const chunk of chunks) {
    try {
      if (failed === undefined) scan.push(chunk);
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'ARCHIVE_FOREIGN') throw error;
      // The rest is read for its checksum: an archive damaged on its way is damaged, not foreign.
      failed = error;
    }
  }
  if (failed !== undefined) throw failed;
  const metadata = parseMetadata(scan.finish());
  // A list whose name was written with escapes was not recognised.
  for (const entry of metadata.entries) take('entries', entry);
  if (metadata.backup_version.startsWith('1')) return metadata;
  return {
    ...metadata,
    entries: [],
    symlinks: [...metadata.symlinks, ...lists.symlinks],
    skipped: [...metadata.skipped, ...lists.skipped],
    renamed: [...metadata.renamed, ...lists.renamed],
    tables: [...metadata.tables, ...lists.tables],
  };
}

const SHA256 = /^[0-9a-f]{64}$/;

/** What `entrySchema` accepts, as nearly all entries are: there may be very many, and the schema makes work for each. */
function isEntry(value: unknown): value is EntryMetadata {
  if (typeof value !== 'object' || value === null) return false;
  const { path, size, sha256, mtime, mode, blocks } = value as Partial<Record<keyof EntryMetadata, unknown>>;
  const isCount = (number: unknown) => Number.isSafeInteger(number) && (number as number) >= 0;
  return (
    typeof path === 'string' &&
    path !== '' &&
    isCount(size) &&
    typeof sha256 === 'string' &&
    SHA256.test(sha256) &&
    (mtime === undefined || typeof mtime === 'string') &&
    (mode === undefined || isCount(mode)) &&
    (blocks === undefined || (Array.isArray(blocks) && blocks.every(isCount)))
  );
}

type SkippedElement = z.infer<typeof skippedSchema>;
type TableElement = z.infer<typeof tableSchema>;

const djangoSchema = z
  .object({
    backup_date: z.string(),
    django_version: z.string(),
    database_engine: z.string().min(1).max(200).pipe(clean(200)),
    database_name: clean(4096),
    apps: z.union([z.array(z.unknown()), z.record(z.string(), z.unknown())]).default([]),
  })
  .passthrough();

/**
 * Reads `backup_metadata.json` of version 2.x, 3.x or of the older Django system's 1.x.
 * @throws AppError ARCHIVE_TOO_NEW for a higher version; ARCHIVE_FOREIGN, naming the field, for anything else
 */
export function parseMetadata(text: string): ArchiveMetadata {
  const json = parseJson(text);
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw foreign(`${METADATA_ENTRY} is not a JSON object.`);
  }
  const version = 'backup_version' in json ? String(json.backup_version) : undefined;
  if (version === undefined) throw foreign(`${METADATA_ENTRY} has no backup_version.`);
  const major = /^(\d{1,6})(\.\d{1,6})?$/.exec(version)?.[1];
  if (major === undefined) throw foreign(`${METADATA_ENTRY}: backup_version is wrong: ${version.slice(0, 40)}.`);
  if (Number(major) > 3) {
    throw new AppError('ARCHIVE_TOO_NEW', `The archive has version ${version}; this product reads up to 3.`);
  }
  if (major === '2' || major === '3') return whole(major, checked(metadataSchema, json));
  if (major === '1') return fromDjango(version, checked(djangoSchema, json));
  throw foreign(`${METADATA_ENTRY}: backup_version is wrong: ${version}.`);
}

/** An incremental has all that says so, and a full backup nothing of it. */
function whole(major: string, metadata: ArchiveMetadata): ArchiveMetadata {
  for (const field of ['parent', 'chain', 'reproduces'] as const) {
    if ((metadata[field] !== undefined) === (major === '3')) continue;
    throw foreign(`${METADATA_ENTRY}: ${field} ${major === '3' ? 'is missing' : 'stands in a full backup'}.`);
  }
  if (major === '3' && metadata.consolidated !== undefined) {
    throw foreign(`${METADATA_ENTRY}: consolidated stands in an incremental backup.`);
  }
  return metadata;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw foreign(`${METADATA_ENTRY} is not JSON.`, error);
  }
}

function wrongField(list: LongList, issue: z.ZodIssue | undefined): AppError {
  return foreign(`${METADATA_ENTRY}: ${[list, ...(issue?.path ?? [])].join('.')} is wrong: ${issue?.message}.`);
}

function checked<T>(schema: z.ZodType<T, z.ZodTypeDef, unknown>, json: object): T {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const field = issue?.path.join('.') ?? '';
  const problem = field in json || field.includes('.') ? `is wrong: ${issue?.message}` : 'is missing';
  throw foreign(`${METADATA_ENTRY}: ${field} ${problem}.`);
}

/** A 1.x metadata has no zone in its date where Django ran without time zones; such a date is taken as UTC. */
function fromDjango(version: string, old: z.infer<typeof djangoSchema>): ArchiveMetadata {
  const date = old.backup_date.replace(' ', 'T');
  const zoned = isoDate.safeParse(date).success ? date : `${date}Z`;
  if (!isoDate.safeParse(zoned).success) throw foreign(`${METADATA_ENTRY}: backup_date is wrong.`);
  return {
    ...old,
    backup_version: version.includes('.') ? version : `${version}.0`,
    backup_id: null,
    backup_type: null,
    backup_date: zoned,
    database_engine: djangoEngine(old.database_engine),
    app_version: null,
    node_version: null,
    apps: djangoApps(old.apps),
    tables: [],
    entries: [],
    source: { django_version: old.django_version },
    damaged: false,
    findings: [],
    media: [],
    symlinks: [],
    skipped: [],
    renamed: [],
  };
}

function djangoEngine(engine: string): string {
  if (/sqlite|spatialite/i.test(engine)) return 'SQLITE';
  if (/postg/i.test(engine)) return 'POSTGRES';
  if (/mysql|mariadb/i.test(engine)) return 'MYSQL';
  if (/mongo|djongo/i.test(engine)) return 'MONGODB';
  return engine;
}

function djangoApps(apps: unknown[] | Record<string, unknown>): ArchiveMetadata['apps'] {
  if (!Array.isArray(apps)) return Object.entries(apps).map(([app, latest]) => named(app, latest));
  return apps.flatMap((item) => {
    if (typeof item === 'string') return [named(item, '')];
    if (typeof item !== 'object' || item === null) return [];
    const { app, name, latest_migration: latest } = item as Record<string, unknown>;
    return typeof (app ?? name) === 'string' ? [named(String(app ?? name), latest)] : [];
  });
}

function named(app: string, latest: unknown): ArchiveMetadata['apps'][number] {
  return { app, latest_migration: typeof latest === 'string' ? latest : '' };
}
