import { stat } from 'node:fs/promises';
import type { DatabaseInfo, DumpSize, LoadSpace } from '../../core/ports.js';

/** What a journal adds to each page (24 bytes in a WAL and its share of the index), and a whole one besides. */
const PER_PAGE = 32;
const INDEX_BYTES = 64 * 1024;
/** Tables, each with some indexes, take at least a page each. */
const TREES_PER_TABLE = 4;

/**
 * What `loadDump` needs at most. A target in WAL mode gets all pages into its WAL before they go to the file; another one
 * keeps its old pages in a journal. Either way the file grows by what it gains.
 */
export async function loadSpace(
  dump: DumpSize,
  target: string,
  live: DatabaseInfo | null,
  tables: string[] | null,
): Promise<LoadSpace> {
  if (live === null) return { beside: 0, target: dump.bytes + INDEX_BYTES };
  const { size: present } = await stat(target);
  const pageSize = Number(live.source.page_size);
  const remade = tables === null && live.source.journal_mode === 'wal' && dump.source.page_size !== pageSize;
  const loaded = remade || tables !== null ? inPagesOf(pageSize, dump) : dump.bytes;
  const journal = Math.max(loaded, present) * (1 + PER_PAGE / pageSize) + INDEX_BYTES;
  const growth = tables === null ? Math.max(0, loaded - present) : loaded;
  return { beside: remade ? loaded : 0, target: journal + growth };
}

/** At most what the dump takes in pages of another size: a smaller one holds less of long rows, a larger one of short tables. */
function inPagesOf(pageSize: number, { bytes, source, tables }: DumpSize): number {
  if (source.page_size === pageSize) return bytes;
  const smaller = !(pageSize > Number(source.page_size));
  return bytes * (smaller ? 2 : 1.2) + TREES_PER_TABLE * tables * pageSize;
}
