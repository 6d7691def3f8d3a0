import { isAbsolute, relative, sep } from 'node:path';

/** Longest name of an entry, in bytes of UTF-8. */
export const MAX_NAME_BYTES = 4096;

/**
 * Why an entry must not have this name, as the end of a sentence, or undefined if the name is fine. Names that pass are
 * relative, use '/', stay below the folder they are extracted into, and mean the same on every system. A name that ends
 * with '/' is a directory's.
 */
export function nameProblem(name: string): string | undefined {
  if (name === '' || name === '/') return 'is empty';
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) return `is longer than ${MAX_NAME_BYTES} bytes`;
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(name)) return 'holds a control character';
  if (name.includes('\\')) return 'holds a backslash, which other systems take for a folder';
  if (name.startsWith('/')) return 'is an absolute path';
  if (/^[A-Za-z]:/.test(name)) return 'starts with a drive letter';
  const segments = (name.endsWith('/') ? name.slice(0, -1) : name).split('/');
  if (segments.includes('..')) return "leads out of the folder ('..')";
  if (segments.includes('') || segments.includes('.')) return 'has an empty segment';
  return undefined;
}

/** A name for messages and logs: quoted, control characters escaped, at most 200 characters. */
export function shown(name: string): string {
  const text = JSON.stringify(name);
  return text.length > 200 ? `${text.slice(0, 200)}…"` : text;
}

/** True if `path` is `root` or lies below it. Both absolute and normalised; a mere common prefix of names is not enough. */
export function contained(root: string, path: string): boolean {
  const inside = relative(root, path);
  return inside === '' || (inside !== '..' && !inside.startsWith(`..${sep}`) && !isAbsolute(inside));
}

/**
 * Tells of relative paths whether they are one of `tops` or lie below one. Remembers folders, so that it takes the same time
 * for each path, however many tops there are and however deep it lies.
 */
export function belowAny(tops: Iterable<string>): (path: string) => boolean {
  const known = new Map([...tops].map((top) => [top, true]));
  if (known.size === 0) return () => false;
  return (path) => {
    const passed: string[] = [];
    let at = path;
    while (!known.has(at) && at.includes('/')) {
      passed.push(at);
      at = at.slice(0, at.lastIndexOf('/'));
    }
    const isBelow = known.get(at) ?? false;
    // The path itself is not asked for again.
    for (const folder of passed.slice(1)) known.set(folder, isBelow);
    return isBelow;
  };
}
