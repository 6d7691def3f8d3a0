import type { Engine, EngineCapabilities, LoadOptions } from '../core/ports.js';
import { AppError, badInput, errnoOf } from '../errors.js';

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
export const onServer = (
  words: ServerWords,
  passwords: Passwords | undefined,
  more: Partial<EngineCapabilities> = {},
): Pick<Engine, Common> => ({
  // A dump is loaded by statements, or brings JavaScript that the server runs.
  capabilities: {
    selectiveTables: false,
    onServer: true,
    exactCounts: true,
    snapshotOnDisk: false,
    runsStatements: true,
    ...more,
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
export function assertWhole(words: ServerWords, options: Pick<LoadOptions, 'tables' | 'damaged'>): void {
  if (options.tables !== null) throw wholeOnly(words);
  assertSound(words, options);
}

/** Fails unless what is to be loaded is sound. @throws AppError DATABASE_CORRUPT */
export function assertSound(words: ServerWords, { damaged }: Pick<LoadOptions, 'damaged'>): void {
  if (damaged) throw new AppError('DATABASE_CORRUPT', `A ${words.named} database is never kept damaged.`);
}

const wholeOnly = ({ named, parts }: ServerWords) =>
  badInput('tables', `single ${parts} of a ${named} database cannot be restored.`, 'Leave tables out.');

/** The error for level CONTENT of a backup whose server is not known. */
export const noServer = (): AppError =>
  new AppError(
    'DATABASE_NOT_FOUND',
    'Level CONTENT needs the server that the backup was made of, and this backup has none.',
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

/** What a URL names, whatever kind of server it leads to. */
interface Named {
  database: string;
  password: string | null;
}

/** Writes the URL of a place in one form. @param password as it is written between user and host; null for none */
type Write<Place> = (place: Place, password: string | null) => string;

/** The URL of a place, with the password. */
export const urlOf = <Place extends Named>(write: Write<Place>, place: Place): string =>
  write(place, place.password === null ? null : encodeURIComponent(place.password));

/** As `Engine.resolve`, once the URL was read. */
export const resolved = <Place extends Named>(
  write: Write<Place>,
  place: Place,
): { url: string; display: string; name: string } => ({
  url: urlOf(write, place),
  display: write(place, place.password === null ? null : '***'),
  name: place.database,
});

/** How long a look that a user waits for counts rows, in milliseconds. */
export const COUNT_WITHIN = 20_000;
/** After so many milliseconds programs are looked for again: they may have been installed. */
const LOOK_AGAIN = 10_000;

/** Finds the programs of an engine: one run asks several times. */
export function lookedUp<Found>(find: () => Promise<Found>): () => Promise<Found> {
  let looked: { at: number; found: Promise<Found> } | null = null;
  return () => {
    if (looked === null || Date.now() - looked.at > LOOK_AGAIN) looked = { at: Date.now(), found: find() };
    return looked.found;
  };
}

/** Works on a database. @param missing the driver's code for one that is not there @returns null in that case */
export async function ifThere<T>(missing: string, work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AppError && errnoOf(error.cause) === missing) return null;
    throw error;
  }
}
