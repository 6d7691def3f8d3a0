import { constants } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';

/** What the settings of a Django project say, as far as their text can be understood. Nothing of it is ever executed. */
export interface DjangoProject {
  /** The folder of manage.py. */
  path: string;
  /** The settings files that were read. */
  settings: string[];
  /** What the SQLite databases of the settings are called; they need not exist. */
  databases: string[];
  /** What MEDIA_ROOT is in any of the settings files; the folders need not exist. */
  mediaRoots: string[];
}

/** No settings file is longer, in bytes. */
const LONGEST = 512 * 1024;
/** How many settings files are read. */
const MOST_FILES = 30;
/** How many folders above the one that is looked at may hold manage.py. */
const LEVELS = 3;

/**
 * The Django project that a folder belongs to: its own manage.py, or that of a folder above.
 * @param mayRead asked before each file is read
 */
export async function findDjangoProject(
  folder: string,
  mayRead: (path: string) => Promise<boolean>,
): Promise<DjangoProject | null> {
  let path = folder;
  for (let level = 0; level <= LEVELS; level++) {
    const manage = await readText(join(path, 'manage.py'), mayRead);
    if (manage !== null && /django/i.test(manage)) return readProject(path, manage, mayRead);
    if (dirname(path) === path) return null;
    path = dirname(path);
  }
  return null;
}

async function readProject(
  path: string,
  manage: string,
  mayRead: (path: string) => Promise<boolean>,
): Promise<DjangoProject> {
  const texts = new Map<string, string>();
  for (const file of (await settingsFiles(path, manage)).slice(0, MOST_FILES)) {
    const text = await readText(file, mayRead);
    if (text !== null) texts.set(file, text);
  }
  // A variable of one settings file is often defined in another that it imports.
  const assignments = [...texts].flatMap(([file, text]) => assignmentsOf(text).map((found) => ({ ...found, file })));
  const values = new Map<Assignment, string | null>();
  const known: ValueOf = (name, file) => {
    const found =
      assignments.findLast((one) => one.name === name && one.file === file) ??
      assignments.findLast((one) => one.name === name);
    if (found === undefined) return null;
    // Each is evaluated once; what refers to itself has no value.
    if (!values.has(found)) {
      values.set(found, null);
      values.set(found, evaluate(found.expression, found.file, known));
    }
    return values.get(found) ?? null;
  };
  const value = (expression: string, file: string) => {
    const found = evaluate(expression, file, known);
    return found === null ? [] : [resolve(path, found)];
  };
  const unique = (paths: string[]) => [...new Set(paths)];
  return {
    path,
    settings: [...texts.keys()],
    databases: unique(
      [...texts].flatMap(([file, text]) => databaseNames(text).flatMap((expression) => value(expression, file))),
    ),
    mediaRoots: unique(
      assignments
        .filter(({ name }) => name === 'MEDIA_ROOT')
        .flatMap(({ expression, file }) => value(expression, file)),
    ),
  };
}

/** The module that manage.py names, with its neighbours in a package; else each `settings` one folder down. */
async function settingsFiles(path: string, manage: string): Promise<string[]> {
  const module = /DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']/.exec(manage)?.[1];
  const places = [...(module === undefined ? [] : [join(path, ...module.split('.'))])];
  for (const name of await namesIn(path)) places.push(join(path, name, 'settings'));
  places.push(join(path, 'settings'));
  const files: string[] = [];
  for (const place of places) {
    const folder = basename(dirname(place)) === 'settings' ? dirname(place) : place;
    const packaged = (await namesIn(folder))
      .filter((name) => extname(name) === '.py')
      .map((name) => join(folder, name));
    files.push(`${place}.py`, ...packaged);
  }
  const exist = await Promise.all([...new Set(files)].map(async (file) => ((await isFile(file)) ? [file] : [])));
  return exist.flat();
}

const isFile = (path: string) =>
  stat(path).then(
    (found) => found.isFile(),
    () => false,
  );

/** How many names of a folder are looked at. */
const MOST_NAMES = 500;

async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names
    .filter((name) => !name.startsWith('.'))
    .sort()
    .slice(0, MOST_NAMES);
}

/** A text file of a length that settings have; null for anything else. */
async function readText(path: string, mayRead: (path: string) => Promise<boolean>): Promise<string | null> {
  if (!(await mayRead(path))) return null;
  // A pipe of this name would never answer.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => null);
  try {
    const found = await file?.stat();
    if (file === null || !found?.isFile() || found.size > LONGEST) return null;
    return await file.readFile('utf8');
  } catch {
    return null;
  } finally {
    await file?.close();
  }
}

interface Assignment {
  name: string;
  expression: string;
  file: string;
}

/** What a name stands for in a settings file; null where that is no path, or unknown. */
type ValueOf = (name: string, file: string) => string | null;

/** `NAME = expression` at the beginning of a line, also over several lines within brackets. */
function assignmentsOf(text: string): { name: string; expression: string }[] {
  return [...text.matchAll(/^[ \t]*([A-Za-z_]\w*)[ \t]*(?::[^=\n]+)?=(?!=)[ \t]*/gm)].flatMap((match) => {
    const [, name] = match;
    return name === undefined ? [] : [{ name, expression: expressionAt(text, match.index + match[0].length) }];
  });
}

/** The expressions of `"NAME":` in the dictionaries of SQLite databases. */
function databaseNames(text: string): string[] {
  const found = [...text.matchAll(/["']ENGINE["']\s*:\s*["'][\w.]*sqlite3["']/g)];
  return found.flatMap(({ index }) => {
    const from = text.lastIndexOf('{', index);
    const to = text.indexOf('}', index);
    const dictionary = text.slice(from, to === -1 ? undefined : to);
    const name = /["']NAME["']\s*:\s*/.exec(dictionary);
    return name === null ? [] : [expressionAt(dictionary, name.index + name[0].length, true)];
  });
}

/** How long an expression for a path may be. */
const LONGEST_EXPRESSION = 1_000;

/** The expression that begins there: to the end of the line, or of its brackets. @param inList a comma ends it, too */
function expressionAt(text: string, start: number, inList = false): string {
  let depth = 0;
  let end = start;
  for (const token of text.slice(start, start + LONGEST_EXPRESSION).matchAll(/"[^"\n]*"|'[^'\n]*'|#[^\n]*|[\s\S]/g)) {
    const [character] = token;
    if ('([{'.includes(character)) depth += 1;
    if (')]}'.includes(character)) depth -= 1;
    if (depth < 0 || (depth === 0 && (character === '\n' || (inList && character === ',')))) break;
    end = start + token.index + (character.startsWith('#') ? 0 : character.length);
  }
  return text.slice(start, end).trim();
}

/** How deep brackets may lie in brackets. */
const DEEPEST = 20;

/**
 * The path that a Python expression stands for; null where it is anything but a path made of strings, names, `/`,
 * `os.path` and `pathlib`. This reads text; it runs nothing.
 */
function evaluate(expression: string, file: string, known: ValueOf): string | null {
  const pattern = /\s+|#[^\n]*|([rRbBuUfF]{0,2}(?:"[^"\n]*"|'[^'\n]*'))|([A-Za-z_]\w*)|(\d+)|([()[\].,/=])/y;
  const tokens: string[] = [];
  while (pattern.lastIndex < expression.length) {
    const match = pattern.exec(expression);
    if (match === null) return null;
    const token = match[1] ?? match[2] ?? match[3] ?? match[4];
    if (token !== undefined) tokens.push(token);
  }
  return new PathReader(tokens, file, (name) => known(name, file)).whole();
}

/** Reads a path from the tokens of an expression, by recursive descent. */
class PathReader {
  private position = 0;
  private depth = 0;

  constructor(
    private readonly tokens: string[],
    private readonly file: string,
    private readonly valueOf: (name: string) => string | null,
  ) {}

  whole(): string | null {
    const value = this.path();
    return this.position === this.tokens.length ? value : null;
  }

  private path(): string | null {
    if (++this.depth > DEEPEST) return null;
    let value = this.operand();
    while (value !== null && this.take('/')) {
      const right = this.operand();
      value = right === null ? null : resolve(value, right);
    }
    this.depth -= 1;
    return value;
  }

  private operand(): string | null {
    let value = this.atom();
    for (;;) {
      if (value === null || !this.take('.')) return value;
      value = this.member(value, this.next());
    }
  }

  private atom(): string | null {
    const token = this.next();
    if (token === '(') {
      const value = this.path();
      return this.take(')') ? value : null;
    }
    const text = textOf(token, this.valueOf);
    if (text !== undefined) return text;
    if (token === '__file__') return this.file;
    if (!/^[A-Za-z_]/.test(token)) return null;
    let name = token;
    // The dots of a function's name; those of a value are its members.
    while (isModule(name) && this.take('.')) name += `.${this.next()}`;
    return this.take('(') ? call(name, this.parameters()) : this.valueOf(name);
  }

  private member(value: string, name: string): string | null {
    if (name === 'parent') return dirname(value);
    if (name === 'parents') {
      if (!this.take('[')) return null;
      const levels = Number(this.next());
      if (!this.take(']') || !Number.isInteger(levels) || levels > DEEPEST) return null;
      return Array.from({ length: levels + 1 }).reduce<string>((path) => dirname(path), value);
    }
    if (!this.take('(')) return null;
    const { positional } = this.parameters();
    if (name === 'joinpath') return joined([value, ...positional]);
    return ['resolve', 'absolute', 'expanduser', 'as_posix', '__str__'].includes(name) ? value : null;
  }

  private parameters(): Parameters {
    const found: Parameters = { positional: [], named: new Map() };
    while (this.position < this.tokens.length && !this.take(')')) {
      const name = this.tokens[this.position + 1] === '=' ? this.next() : null;
      if (name !== null) this.next();
      const before = this.position;
      const value = this.path() ?? this.skip(before);
      if (name === null) found.positional.push(value);
      else found.named.set(name, value);
      this.take(',');
    }
    return found;
  }

  /** Passes over an argument that is no path, such as `cast=str`. */
  private skip(from: number): null {
    this.position = from;
    let depth = 0;
    for (; this.position < this.tokens.length; this.position++) {
      const token = this.tokens[this.position] ?? '';
      if (depth === 0 && (token === ',' || token === ')')) break;
      if ('(['.includes(token)) depth += 1;
      if (')]'.includes(token)) depth -= 1;
    }
    return null;
  }

  private take(token: string): boolean {
    if (this.tokens[this.position] !== token) return false;
    this.position += 1;
    return true;
  }

  private next(): string {
    return this.tokens[this.position++] ?? '';
  }
}

interface Parameters {
  positional: (string | null)[];
  named: Map<string, string | null>;
}

const isModule = (name: string) => /^(os|os\.path|os\.environ|environ|pathlib|path|env)$/.test(name);

/** The text of a string token; names in the braces of an f-string stand for their values. Undefined for other tokens. */
function textOf(token: string, valueOf: (name: string) => string | null): string | null | undefined {
  const match = /^([rRbBuUfF]{0,2})(["'])([\s\S]*)\2$/.exec(token);
  if (match === null) return undefined;
  const [, prefix = '', , text = ''] = match;
  if (!/f/i.test(prefix)) return text;
  let whole = true;
  const filled = text.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = valueOf(name);
    whole &&= value !== null;
    return value ?? '';
  });
  return whole && !/[{}]/.test(filled) ? filled : null;
}

function call(name: string, { positional, named }: Parameters): string | null {
  const [first = null, second = null] = positional;
  const last = name.split('.').at(-1) ?? '';
  if (['join', 'Path', 'PurePath', 'PosixPath'].includes(last)) return joined(positional);
  if (last === 'dirname') return first === null ? null : dirname(first);
  if (['str', 'abspath', 'realpath', 'normpath', 'expanduser', 'root', 'fspath'].includes(last)) return first;
  // What the environment says is not known here: the default is the best guess.
  if (['get', 'getenv', 'env', 'config', 'path'].includes(last)) return named.get('default') ?? second;
  return null;
}

function joined(parts: (string | null)[]): string | null {
  if (parts.length === 0 || parts.some((part) => part === null)) return null;
  // Not `join`: as in Python, an absolute part begins anew. A relative beginning stays relative.
  const [first = '', ...rest] = parts as string[];
  return rest.reduce((path, part) => (part.startsWith('/') ? part : join(path, part)), first);
}
