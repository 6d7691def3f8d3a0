import type { RowReader } from '../../core/ports.js';
import { compareDatabases } from './compare.js';
import { queryAt } from './query.js';
import { referencesAt } from './references.js';
import { rowAt } from './row.js';
import { suggestAt } from './suggest.js';
import type { Place } from './url.js';

/** Reads the rows of databases on a server. @param placeOf opens the URL of one */
export const createReader = (placeOf: (url: string) => Promise<Place>): RowReader => ({
  query: async (url, sql, options) => queryAt(await placeOf(url), { sql, ...options }),
  compare: async (before, after, options) => compareDatabases(await placeOf(before), await placeOf(after), options),
  row: async (url, table, key, signal) => rowAt(await placeOf(url), { table, key }, signal),
  suggest: async (url, growing, signal) => suggestAt(await placeOf(url), growing, signal),
  references: async (url, options) => referencesAt(await placeOf(url), options),
});
