import type { Engine, LoadOptions } from '../core/ports.js';
import { AppError, badInput } from '../errors.js';

/** Seals the password of a URL, and opens it again. */
export interface Passwords {
  sealUrl(url: string, saved?: string): Promise<string>;
  openUrl(url: string): Promise<string>;
}

/** How messages name the databases of a server, and what they are made of. */
export interface ServerWords {
  /** Such as `PostgreSQL`. */
  named: string;
  /** `tables` or `collections`. */
  parts: string;
}

type Common =
  | 'capabilities'
  | 'rows'
  | 'seal'
  | 'files'
  | 'foldName'
  | 'urlOfFile'
  | 'recognises'
  | 'fingerprint'
  | 'snapshotChanges'
  | 'rebuild'
  | 'rehearse'
  | 'loadSpace';

/** What is the same for every engine whose databases are on a server and are dumped and loaded as a whole. */
export const onServer = (words: ServerWords, passwords: Passwords | undefined): Pick<Engine, Common> => ({
  // A dump is loaded by statements, or brings JavaScript that the server runs.
  capabilities: {
    selectiveTables: false,
    onServer: true,
    exactCounts: true,
    snapshotOnDisk: false,
    runsStatements: true,
  },
  rows: null,
  seal: async (url, saved) => (await passwords?.sealUrl(url, saved)) ?? url,
  files: async () => [],
  foldName: (name) => name,
  urlOfFile: () => null,
  recognises: async () => false,
  fingerprint: async () => null,
  // A dump has no pages that could be compared.
  snapshotChanges: async () => null,
  rebuild: async (_folder, findings) => findings,
  rehearse: async () => {
    throw wholeOnly(words);
  },
  loadSpace: async () => ({ beside: 0, target: 0 }),
});

/** The URL with its password in the clear. */
export const openedUrl = async (passwords: Passwords | undefined, url: string): Promise<string> =>
  (await passwords?.openUrl(url)) ?? url;

/** Fails unless a whole and sound database is to be loaded. @throws AppError BAD_USER_INPUT, DATABASE_CORRUPT */
export function assertWhole(words: ServerWords, { tables, damaged }: Pick<LoadOptions, 'tables' | 'damaged'>): void {
  if (tables !== null) throw wholeOnly(words);
  if (damaged) throw new AppError('DATABASE_CORRUPT', `A ${words.named} database is never kept damaged.`);
}

const wholeOnly = ({ named, parts }: ServerWords) =>
  badInput('tables', `single ${parts} of a ${named} database cannot be restored.`, 'Leave tables out.');

/** The error for a drill of a backup that has no config. */
export const noServer = (): AppError =>
  new AppError(
    'DATABASE_NOT_FOUND',
    'A drill needs the server that the backup was made of, and this backup has none.',
    {
      hint: 'Verify it at level ARCHIVE, or restore it into a new database of a server of your choice.',
    },
  );

/** What a plan says of writes while a database is replaced. */
export const LOST_WRITES =
  'What the application writes after the safety backup was taken, and before the switch, is lost: stop it first if that matters.';

/**
 * The user, password or name of a URL that was written with percent signs. NUL and line ends stand in none of them.
 * @param malformed the message and the hint where the signs mean nothing
 * @throws AppError BAD_USER_INPUT naming databaseUrl
 */
export function decodedPart(text: string, malformed: { form: string; hint: string }): string {
  let plain: string;
  try {
    plain = decodeURIComponent(text);
  } catch {
    throw badInput('databaseUrl', malformed.form, malformed.hint);
  }
  if (/[\0\r\n]/.test(plain)) throw badInput('databaseUrl', 'holds a NUL character or a line end.');
  return plain;
}
