import { type DirectoryRecord } from './directory.js';
import { METADATA_ENTRY } from './metadata.js';

// An archive that was unpacked and packed again, by the tools of macOS, Windows or Java, has the same files in another
// order, often in one enclosing folder, and files that those tools add. Its metadata lists what is ours.

/** What tools add to an archive or leave in a folder; none of it is ever ours unless the metadata lists it. */
const LITTER =
  /^(?:__MACOSX|META-INF|\.Spotlight-V100|\.Trashes|\.fseventsd)\/|(?:^|\/)(?:\.DS_Store|\._[^/]*|\.localized|\.directory|Thumbs\.db|ehthumbs\.db|desktop\.ini)$|(?:^|\/)@eaDir\//i;

/** True for a path that a tool of another system makes by itself. */
export const isLitter = (path: string) => LITTER.test(path);

/**
 * Gives the entries the paths that they have in an archive of ours, without a folder that encloses all.
 * @returns the entries in the order in which they lie, and the names of those outside the enclosing folder
 */
export function unwrap(records: DirectoryRecord[]): { records: DirectoryRecord[]; outside: string[] } {
  const prefix = enclosing(records);
  if (prefix === '') return { records, outside: [] };
  const outside: string[] = [];
  const inside = records.filter((record) => {
    if (record.path === prefix) return false;
    if (record.path.startsWith(prefix)) return true;
    outside.push(record.path);
    return false;
  });
  inside.forEach((record, index) => {
    record.path = record.path.slice(prefix.length);
    record.index = index;
  });
  return { records: inside, outside };
}

/** The folder that encloses the archive's content, with its '/'; '' if there is none, or if it is unclear. */
function enclosing(records: DirectoryRecord[]): string {
  if (records.some(({ path }) => path === METADATA_ENTRY)) return '';
  const candidates = records.filter(({ path }) => {
    const folder = path.indexOf('/') + 1;
    return folder > 0 && path.slice(folder) === METADATA_ENTRY && !isLitter(path);
  });
  const [only] = candidates;
  if (only === undefined || candidates.length > 1) return '';
  const prefix = only.path.slice(0, -METADATA_ENTRY.length);
  // What lies beside the folder must be what tools add: otherwise the ZIP is something else that holds an archive's parts.
  return records.every(({ path }) => path.startsWith(prefix) || isLitter(path)) ? prefix : '';
}
