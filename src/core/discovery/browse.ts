import type { CoreEnvironment } from '../environment.js';
import type { FileEngine } from '../ports.js';
import type { Dirent } from 'node:fs';
import { opendir, realpath, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, isAbsolute, join, parse, resolve } from 'node:path';
import { contained } from '../../archive/names.js';
import { AppError, badInput, errnoOf } from '../../errors.js';
import { type DjangoProject, findDjangoProject } from './django.js';
import type { PageRequest } from '../lists/lists.js';
import { assertPageSize } from '../lists/page.js';

/** What an entry of a folder is: what cannot be read may be of any kind. */
export type EntryKind = 'FOLDER' | FileEngine | 'FILE' | 'UNREADABLE';

export interface FolderEntry {
  name: string;
  path: string;
  kind: EntryKind;
  /** Bytes; null for a folder. */
  size: number | null;
  modifiedAt: Date | null;
}

/** What the settings of a Django project suggest: only what is there and may be named. */
export interface ProjectSuggestion {
  path: string;
  databases: string[];
  mediaFolders: string[];
}

/** A page of a folder of the server. */
export interface FolderListing {
  /** Absolute, links resolved; null for the list of the allowed folders. */
  path: string | null;
  /** The folder above; null where there is none that may be seen. */
  parent: string | null;
  entries: FolderEntry[];
  cursors: string[];
  hasNextPage: boolean;
  hasPreviousPage: boolean;
  totalCount: number;
  /** There are more entries than are ever listed. */
  truncated: boolean;
  project: ProjectSuggestion | null;
}

export type BrowseEnvironment = Pick<CoreEnvironment, 'engines' | 'allowedPaths' | 'controlFile'>;

/** How many entries of a folder are looked at: more are not for people to browse. */
const MOST_ENTRIES = 10_000;
/** How many entries are looked at together. */
const TOGETHER = 32;
/** The kinds of entry that are no database. */
const NO_DATABASE: ReadonlySet<EntryKind> = new Set(['FOLDER', 'FILE', 'UNREADABLE']);

/** Shows the folders of the server, so that a database and its media can be chosen instead of typed. Changes nothing. */
export class Browser {
  constructor(private readonly env: BrowseEnvironment) {}

  /**
   * A page of a folder: folders first, then files; in each group hidden ones last, by name.
   * @param path absolute; where to begin if left out: the allowed folders, or the home of the server's user
   * @throws AppError BAD_USER_INPUT, PATH_NOT_ALLOWED, NOT_FOUND, naming `path`
   */
  async list(path: string | null, { first, after }: PageRequest): Promise<FolderListing> {
    assertPageSize(first);
    const start = after ? decodePosition(after) + 1 : 0;
    const roots = await this.roots();
    if (path === null && roots.length > 1) return this.page(null, roots.map(rootEntry), false, start, first);
    const folder = await this.resolve(path ?? roots[0] ?? (await home()));
    const { entries, truncated } = await this.read(folder);
    return this.page(folder, entries, truncated, start, first);
  }

  /** The allowed folders as they really lie; those that are not there now are left out. Empty: any folder is allowed. */
  private async roots(): Promise<string[]> {
    const real = await Promise.all(this.env.allowedPaths.map((path) => realpath(path).catch(() => path)));
    return [...new Set(real)];
  }

  private async isAllowed(path: string): Promise<boolean> {
    if (this.env.allowedPaths.length === 0) return true;
    return (await this.roots()).some((root) => contained(root, path));
  }

  /** A folder that may be looked at, links resolved. */
  private async resolve(path: string): Promise<string> {
    if (!isAbsolute(path) || path.includes('\0')) {
      throw badInput('path', `"${path}" is not an absolute path.`, 'Write a path such as /srv.');
    }
    const real = await realpath(path).catch((error: unknown) => error);
    // Whether something exists outside is not for the caller to learn.
    if (!(await this.isAllowed(typeof real === 'string' ? real : await nearest(resolve(path))))) throw notAllowed(path);
    if (typeof real !== 'string') throw unreadable(path, real);
    const found = await stat(real).catch((error: unknown) => {
      throw unreadable(path, error);
    });
    if (!found.isDirectory())
      throw badInput('path', `"${path}" is not a folder.`, 'Choose the folder that it lies in.');
    return real;
  }

  private async read(folder: string): Promise<{ entries: Listed[]; truncated: boolean }> {
    const found: Listed[] = [];
    let truncated = false;
    try {
      for await (const entry of await opendir(folder)) {
        if (found.length === MOST_ENTRIES) {
          truncated = true;
          break;
        }
        found.push({
          name: entry.name,
          path: join(folder, entry.name),
          folder: isFolder(entry),
          link: entry.isSymbolicLink(),
        });
      }
    } catch (error) {
      throw unreadable(folder, error);
    }
    const entries = (await together(found, (entry) => this.followed(entry))).flat();
    return { entries: entries.sort(byKindAndName), truncated };
  }

  /** What a link leads to; nothing where it leads nowhere or outside. */
  private async followed(entry: Listed): Promise<Listed[]> {
    if (!entry.link) return [entry];
    const real = await realpath(entry.path).catch(() => null);
    if (real === null || !(await this.isAllowed(real))) return [];
    const target = await stat(real).catch(() => null);
    return target === null ? [] : [{ ...entry, folder: target.isDirectory() }];
  }

  private async page(
    folder: string | null,
    all: Listed[],
    truncated: boolean,
    start: number,
    first: number,
  ): Promise<FolderListing> {
    const shown = all.slice(start, start + first);
    return {
      path: folder,
      parent: folder === null ? null : await this.parentOf(folder),
      entries: await together(shown, (entry) => this.describe(entry)),
      cursors: shown.map((_, index) => encodePosition(start + index)),
      hasNextPage: all.length > start + first,
      hasPreviousPage: start > 0,
      totalCount: all.length,
      truncated,
      project: folder === null ? null : await this.projectOf(folder),
    };
  }

  private async parentOf(folder: string): Promise<string | null> {
    const parent = dirname(folder);
    return parent !== folder && (await this.isAllowed(parent)) ? parent : null;
  }

  private async describe({ name, path, folder }: Listed): Promise<FolderEntry> {
    const found = await stat(path).catch(() => null);
    const modifiedAt = found === null ? null : new Date(found.mtimeMs);
    if (folder) return { name, path, kind: 'FOLDER', size: null, modifiedAt };
    const kind = found === null || found.isFile() ? await this.kindOf(path) : 'FILE';
    return { name, path, kind, size: found?.size ?? null, modifiedAt };
  }

  /** By the first bytes. The product's own records are no database to protect. */
  private async kindOf(path: string): Promise<EntryKind> {
    try {
      const engine = await this.env.engines.recognise(path);
      return engine === null || (await this.isControl(path)) ? 'FILE' : engine;
    } catch {
      return 'UNREADABLE';
    }
  }

  private async isControl(path: string): Promise<boolean> {
    if (this.env.controlFile === null) return false;
    const [one, other] = await Promise.all([path, this.env.controlFile].map((file) => stat(file).catch(() => null)));
    return one !== null && other !== null && one?.dev === other?.dev && one?.ino === other?.ino;
  }

  private async projectOf(folder: string): Promise<ProjectSuggestion | null> {
    const project = await findDjangoProject(folder, async (path) => {
      const real = await realpath(path).catch(() => null);
      return real !== null && this.isAllowed(real);
    });
    return project === null ? null : this.suggestion(project);
  }

  private async suggestion({ path, databases, mediaRoots }: DjangoProject): Promise<ProjectSuggestion> {
    // Where the settings do not say, these names are what most projects use.
    const usual = mediaRoots.length > 0 ? [] : ['media', 'mediafiles', 'uploads'].map((name) => join(path, name));
    const seen = async (candidates: string[], fits: (path: string) => Promise<boolean>) => {
      const kept = await together(candidates, async (candidate) => {
        const real = await realpath(candidate).catch(() => null);
        return real !== null && (await this.isAllowed(real)) && (await fits(candidate)) ? [candidate] : [];
      });
      return kept.flat();
    };
    return {
      path,
      databases: await seen(databases, async (file) => !NO_DATABASE.has(await this.kindOf(file))),
      mediaFolders: await seen([...mediaRoots, ...usual], async (media) => {
        const found = await stat(media).catch(() => null);
        // A project without MEDIA_ROOT has Django's own default, which is the working folder: never its code.
        return found?.isDirectory() === true && !contained(media, path);
      }),
    };
  }
}

/** An entry before it is looked at closely. */
interface Listed {
  name: string;
  path: string;
  folder: boolean;
  link: boolean;
}

const isFolder = (entry: Dirent) => entry.isDirectory();

const rootEntry = (path: string): Listed => ({ name: path, path, folder: true, link: false });

const collator = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

/** Hidden ones last: few people look for something in them. */
const rankOf = ({ folder, name }: Listed) => (folder ? 0 : 2) + (name.startsWith('.') ? 1 : 0);

const byKindAndName = (one: Listed, other: Listed) =>
  rankOf(one) - rankOf(other) || collator.compare(one.name, other.name) || (one.name < other.name ? -1 : 1);

/** Where something that is not there would really lie. */
async function nearest(path: string): Promise<string> {
  const real = await realpath(path).catch(() => null);
  if (real !== null) return real;
  if (dirname(path) === path) return path;
  return join(await nearest(dirname(path)), basename(path));
}

async function home(): Promise<string> {
  const path = homedir();
  return (await stat(path).catch(() => null))?.isDirectory() ? path : parse(process.cwd()).root;
}

/** As `Promise.all` over all of them, but only so many at a time. */
async function together<One, Result>(all: One[], work: (one: One) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  const next = all.entries();
  const take = async () => {
    for (const [index, one] of next) results[index] = await work(one);
  };
  await Promise.all(Array.from({ length: TOGETHER }, take));
  return results;
}

function notAllowed(path: string): AppError {
  return new AppError('PATH_NOT_ALLOWED', `path: "${path}" lies outside the folders that ALLOWED_PATHS names.`, {
    field: 'path',
    hint: 'Choose a folder within them, or add the folder to ALLOWED_PATHS.',
  });
}

function unreadable(path: string, error: unknown): AppError {
  const code = errnoOf(error);
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new AppError('NOT_FOUND', `path: there is no folder "${path}".`, {
      field: 'path',
      hint: 'Check the spelling, and that the disk is mounted.',
    });
  }
  const why = code === 'EACCES' || code === 'EPERM' ? 'permission denied' : (code ?? 'unknown error');
  const hint = 'Give the user that runs db-manager the right to read it.';
  return badInput('path', `"${path}" cannot be read: ${why}.`, hint);
}

const encodePosition = (position: number) => Buffer.from(`folder ${position}`).toString('base64url');

function decodePosition(cursor: string): number {
  const position = /^folder (\d{1,9})$/.exec(Buffer.from(cursor, 'base64url').toString())?.[1];
  if (position !== undefined) return Number(position);
  throw badInput('after', 'is not a cursor of this list.', 'Use pageInfo.endCursor of the page before.');
}
