import { beforeAll, describe, expect, it } from '@jest/globals';
import { Command } from 'commander';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const read = (path: string) => readFileSync(resolve(root, path), 'utf8');
const markdown = (folder: string) =>
  readdirSync(resolve(root, folder), { recursive: true })
    .map((name) => `${folder}/${String(name)}`)
    .filter((name) => name.endsWith('.md'));

const PAGES = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md', ...markdown('docs')];

/** A page without its code blocks. */
const prose = (page: string) => read(page).replace(/^```[^]*?^```$/gm, '');
const isTable = (line: string) => line.startsWith('|');

/** The anchors of a page's headings, as GitHub makes them. */
function anchors(page: string): string[] {
  return [...prose(page).matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** What is wrong with a link of a page, or null. */
function linkProblem(page: string, link: string): string | null {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? page : relative(root, resolve(root, dirname(page), path));
  if (!existsSync(resolve(root, target))) return `${link}: there is no ${target}`;
  if (anchor === undefined || anchors(target).includes(anchor)) return null;
  return `${link}: ${target} has no heading #${anchor}`;
}

describe.each(PAGES)('%s', (page) => {
  it('links only to files and headings that exist', () => {
    const links = [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
    const inside = links.filter((link) => !/^[a-z]+:/.test(link));
    expect(inside.flatMap((link) => linkProblem(page, link) ?? [])).toEqual([]);
  });

  it('names only files of ours that exist', () => {
    const named = [...prose(page).matchAll(/`((?:src|test|schema|docs)\/[\w./-]+)`/g)].map(([, path = '']) => path);
    expect(named.filter((path) => !existsSync(resolve(root, path)))).toEqual([]);
  });

  it('mentions only npm scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = [...read(page).matchAll(/npm run ([\w:]+)/g)].map(([, name = '']) => name);
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });

  it('has no line of more than 120 characters outside tables and code blocks', () => {
    const long = prose(page)
      .split('\n')
      .filter((line) => !isTable(line) && line.length > 120);
    expect(long).toEqual([]);
  });
});

describe('README.md', () => {
  it('has at most 130 lines', () => {
    expect(read('README.md').trimEnd().split('\n').length).toBeLessThanOrEqual(130);
  });
});

describe('docs/README.md', () => {
  it('lists every page of docs/', () => {
    const pages = readdirSync(resolve(root, 'docs')).filter((name) => name.endsWith('.md') && name !== 'README.md');
    expect(pages.filter((name) => !read('docs/README.md').includes(`(${name})`))).toEqual([]);
  });
});

describe('docs/adr/README.md', () => {
  it('lists every decision record', () => {
    const records = readdirSync(resolve(root, 'docs/adr')).filter((name) => /^\d/.test(name));
    expect(records.filter((name) => !read('docs/adr/README.md').includes(`(${name})`))).toEqual([]);
  });
});

describe('docs/operations.md', () => {
  it('has a row for every variable of .env.example, and no other', () => {
    const [, table = ''] = /<!-- environment -->([^]*)<!-- \/environment -->/.exec(read('docs/operations.md')) ?? [];
    const documented = [...table.matchAll(/^\| `([A-Z_]+)`/gm)].map(([, name]) => name);
    const known = [...read('.env.example').matchAll(/^([A-Z_]+)=/gm)].map(([, name]) => name);
    expect(documented.sort()).toEqual(known.sort());
  });
});

describe('docs/ARCHITECTURE.md', () => {
  it.each(['src', 'src/core'])('names every folder of %s/, and no other', (folder) => {
    const named = [...read('docs/ARCHITECTURE.md').matchAll(/^\| `(src\/[\w/]+)\/`/gm)].map(([, path = '']) => path);
    const real = readdirSync(resolve(root, folder), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `${folder}/${name}`);
    expect(named.filter((path) => dirname(path) === folder).sort()).toEqual(real.sort());
  });
});

/** A row of the commands in docs/cli.md: `config edit` and the options that it names. */
interface DocumentedCommand {
  name: string;
  options: string[];
}

const optionsIn = (text: string) => [...new Set(text.match(/(?<![\w-])--[a-z][a-z-]*/g))];

/** The commands that docs/cli.md has a row for. Those of a config's settings have an own table. */
function documentedCommands(): DocumentedCommand[] {
  const page = prose('docs/cli.md');
  const settings = optionsIn(page.slice(page.indexOf('\n## Settings of a config')));
  const [, table = ''] = /\n## Commands\n([^]*?)\n## /.exec(page) ?? [];
  return table.split('\n').flatMap((line) => {
    if (!line.startsWith('| `')) return [];
    const [, names = '', , options = ''] = line.split(/(?<!\\)\|/);
    const own = optionsIn(options);
    const all = options.includes('#settings-of-a-config') ? [...new Set([...own, ...settings])] : own;
    return [...names.matchAll(/`([^`]+)`/g)].map(([, name = '']) => ({ name, options: all }));
  });
}

/** Adds each command of the program with its options, and what it holds: `config`, `config edit`. */
function collect(command: Command, name: string, found: Map<string, string[]>): void {
  found.set(
    name,
    command.options.map(({ long }) => long ?? ''),
  );
  for (const each of command.commands) collect(each, `${name} ${each.name()}`, found);
}

describe('The commands', () => {
  const commands = new Map<string, string[]>();
  const documented = documentedCommands();
  const documentedNames = documented.map(({ name }) => name);

  beforeAll(async () => {
    const program = new Command('db-manager');
    const folder = resolve(root, 'src/cli');
    for (const file of readdirSync(folder)) {
      const exported = Object.entries((await import(resolve(folder, file))) as Record<string, unknown>);
      for (const [name, add] of exported) if (/^add[A-Z]/.test(name)) (add as (program: Command) => void)(program);
    }
    for (const command of program.commands) collect(command, command.name(), commands);
  });

  it('are all in docs/cli.md, but for those that only hold others', () => {
    const holdsOthers = (name: string) => [...commands.keys()].some((other) => other.startsWith(`${name} `));
    const names = [...commands.keys()].filter((name) => !holdsOthers(name));
    expect(names.filter((name) => !documentedNames.includes(name))).toEqual([]);
  });

  it('exist where docs/cli.md has a row for them', () => {
    expect(documentedNames.length).toBeGreaterThan(0);
    expect(documentedNames.filter((name) => !commands.has(name))).toEqual([]);
  });

  it('have all their options in docs/cli.md, and no other', () => {
    const wrong = documented.filter(
      ({ name, options }) => [...options].sort().join() !== [...(commands.get(name) ?? [])].sort().join(),
    );
    expect(wrong.map(({ name, options }) => ({ name, documented: options, real: commands.get(name) }))).toEqual([]);
  });

  it.each(PAGES)('and options that %s mentions exist', (page) => {
    const mentions = [...read(page).matchAll(/npx db-manager ([a-z][a-z-]*)(?: ([a-z]+))?([^`\n|]*)/g)];
    const wrong = mentions.filter(([, command = '', sub = '', rest = '']) => {
      const options = commands.get(`${command} ${sub}`) ?? commands.get(command);
      if (options === undefined) return command !== 'help';
      return optionsIn(rest).some((option) => !['--json', '--help', ...options].includes(option));
    });
    expect(wrong.map(([text]) => text)).toEqual([]);
  });
});
