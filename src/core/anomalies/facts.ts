import { createHash } from 'node:crypto';
import { BLOCK_BYTES } from '../../archive/block.js';
import type { ArchiveMetadata, EntryMetadata } from '../../archive/metadata.js';
import type { BackupFacts } from '../../models/index.js';

/** What is known of a backup beside its metadata. */
export interface Known {
  /** `DatabaseInfo.freeBytes`. */
  freeBytes: number;
  /** `BackupFacts.changed`. */
  changed: number | null;
}

/** Fewer blocks say little of how a whole database compresses. */
const LEAST_BLOCKS = 4;
/** What an incremental backup stores says how the database compresses only if it is at least this part of it. */
const LEAST_CHANGED = 0.25;
/** Findings about foreign keys are counted apart; these say nothing of the data. */
const HARMLESS = new Set(['foreign-keys', 'uncounted', 'unchecked', 'access']);

/** The facts of a backup that was just written. */
export function factsOf(metadata: ArchiveMetadata, { freeBytes, changed }: Known): BackupFacts {
  const { entries, media, reproduces, findings } = metadata;
  const database = entries.filter(({ path }) => !media.some(({ prefix }) => path.startsWith(prefix)));
  const size = reproduces?.database.size ?? database.reduce((sum, entry) => sum + entry.size, 0);
  const isTelling = reproduces === undefined || (changed ?? 0) >= LEAST_CHANGED;
  const roots = reproduces?.media ?? media;
  return {
    databaseBytes: Math.max(0, size - freeBytes),
    freeBytes,
    mediaBytes: roots.reduce((sum, { bytes }) => sum + bytes, 0),
    schema: schemaOf(metadata),
    brokenKeys: findings.filter(({ kind }) => kind === 'foreign-keys').length,
    brokenIntegrity: findings.filter(({ kind }) => !HARMLESS.has(kind)).length,
    compressed: isTelling ? compressedOf(database) : null,
    changed,
  };
}

/** Stored bytes for each byte, as far as blocks say; null if they say too little. */
function compressedOf(entries: EntryMetadata[]): number | null {
  let blocks = 0;
  let bytes = 0;
  for (const { blocks: lengths = [] } of entries) {
    blocks += lengths.length;
    for (const length of lengths) bytes += length;
  }
  return blocks < LEAST_BLOCKS ? null : Math.round((bytes / (blocks * BLOCK_BYTES)) * 1000) / 1000;
}

function schemaOf({ tables }: ArchiveMetadata): string | null {
  const known = tables.flatMap(({ name, schema }) => (schema === undefined ? [] : [`${name}\0${schema}`]));
  return known.length === 0 ? null : createHash('sha256').update(known.sort().join('\n')).digest('hex');
}
