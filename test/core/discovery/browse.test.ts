import { createEngines } from '../../../src/engines/index.js';
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Browser } from '../../../src/core/discovery/browse.js';
import { createWorld, type World, writeTree } from '../../support/world.js';
import { exec } from '../../support/sqlite.js';

const engines = createEngines();

let world: World;
let root: string;
let inside: string;
let browser: Browser;
const all = { first: 500, after: null };

beforeAll(async () => {
  world = await createWorld();
  root = join(world.folder, 'browse');
  inside = join(root, 'inside');
  await writeTree(root, {
    'inside/readme.txt': 'text',
    'inside/empty.sqlite3': '',
    'inside/not-a-database.sqlite3': 'SQLite is a fine thing',
    'inside/.hidden/x.txt': 'x',
    'inside/photos/a.txt': 'x',
    'inside/Archive 10/x.txt': 'x',
    'inside/Archive 9/x.txt': 'x',
    'outside/secret.txt': 'x',
  });
  await exec(join(inside, 'odd name.data'), 'CREATE TABLE a (id INTEGER)');
  await symlink(join(root, 'outside'), join(inside, 'leads-out'));
  await symlink(join(root, 'outside', 'secret.txt'), join(inside, 'secret-link.txt'));
  await symlink(join(inside, 'odd name.data'), join(inside, 'link.sqlite3'));
  await symlink(join(inside, 'photos'), join(inside, 'pictures'));
  await symlink(join(root, 'none'), join(inside, 'dangling'));
  execFileSync('mkfifo', [join(inside, 'pipe')]);
  browser = new Browser({ engines, allowedPaths: [inside], controlFile: null });
});
afterAll(() => world.close());

const refused = (code: string) => expect.objectContaining({ code, field: 'path' });

describe('A folder of the server', () => {
  it('lists folders first, and knows a SQLite database by its first bytes, whatever its name', async () => {
    const { path, parent, entries, project } = await browser.list(inside, all);
    expect({ path, parent, project }).toEqual({ path: inside, parent: null, project: null });
    expect(entries.map(({ name, kind }) => [name, kind])).toEqual([
      ['Archive 9', 'FOLDER'],
      ['Archive 10', 'FOLDER'],
      ['photos', 'FOLDER'],
      ['pictures', 'FOLDER'],
      ['.hidden', 'FOLDER'],
      ['empty.sqlite3', 'FILE'],
      ['link.sqlite3', 'SQLITE'],
      ['not-a-database.sqlite3', 'FILE'],
      ['odd name.data', 'SQLITE'],
      ['pipe', 'FILE'],
      ['readme.txt', 'FILE'],
    ]);
  });

  it('comes in pages that follow each other', async () => {
    const names: string[] = [];
    let after: string | null = null;
    do {
      const page = await browser.list(inside, { first: 3, after });
      names.push(...page.entries.map(({ name }) => name));
      expect(page.totalCount).toBe(11);
      after = page.hasNextPage ? (page.cursors.at(-1) ?? null) : null;
    } while (after !== null);
    expect(names).toHaveLength(11);
    expect(new Set(names).size).toBe(11);
    await expect(browser.list(inside, { first: 3, after: 'x' })).rejects.toMatchObject({ field: 'after' });
    await expect(browser.list(inside, { first: 0, after: null })).rejects.toMatchObject({ field: 'first' });
  });

  it.each([
    ['above', () => root],
    ['beside', () => join(root, 'outside')],
    ['reached with ..', () => join(inside, 'photos') + '/../../outside'],
    ['reached through a link', () => join(inside, 'leads-out')],
    ['whose name begins alike', () => `${inside}-too`],
    ['that does not exist outside', () => join(root, 'none', 'at', 'all')],
    ['that does not exist behind a link', () => join(inside, 'leads-out', 'none')],
  ])('is refused when it lies outside of ALLOWED_PATHS: %s', async (_case, path) => {
    await mkdir(`${inside}-too`, { recursive: true });
    await expect(browser.list(path(), all)).rejects.toEqual(refused('PATH_NOT_ALLOWED'));
  });

  it('is refused with the reason when it is relative, missing, a file or not readable', async () => {
    await expect(browser.list('photos', all)).rejects.toEqual(refused('BAD_USER_INPUT'));
    await expect(browser.list('/srv\0/etc', all)).rejects.toEqual(refused('BAD_USER_INPUT'));
    await expect(browser.list(join(inside, 'none'), all)).rejects.toEqual(refused('NOT_FOUND'));
    await expect(browser.list(join(inside, 'readme.txt'), all)).rejects.toEqual(refused('BAD_USER_INPUT'));
    await expect(browser.list(join(inside, 'readme.txt', 'x'), all)).rejects.toEqual(refused('NOT_FOUND'));
  });

  it('begins at the one allowed folder, at the list of several, or anywhere when none is named', async () => {
    expect((await browser.list(null, all)).path).toBe(inside);
    const allowedPaths = [inside, join(root, 'outside')];
    const several = new Browser({ engines, allowedPaths, controlFile: null });
    const start = await several.list(null, all);
    expect(start).toMatchObject({ path: null, parent: null });
    expect(start.entries.map(({ path }) => path)).toEqual(allowedPaths);
    const anywhere = new Browser({ engines, allowedPaths: [], controlFile: null });
    expect((await anywhere.list(null, all)).path).toEqual(expect.stringMatching(/^\//));
    expect(await anywhere.list('/', { first: 1, after: null })).toMatchObject({ path: '/', parent: null });
    expect((await anywhere.list(inside, all)).parent).toBe(root);
  });

  it('that is allowed by a link to it is listed where it really lies', async () => {
    await symlink(inside, join(root, 'entry'));
    const linked = new Browser({ engines, allowedPaths: [join(root, 'entry')], controlFile: null });
    expect((await linked.list(join(root, 'entry', 'photos'), all)).path).toBe(join(inside, 'photos'));
    expect((await linked.list(null, all)).path).toBe(inside);
  });

  it('never offers the control database, also under another name', async () => {
    const controlFile = join(inside, 'odd name.data');
    const { entries } = await new Browser({ engines, allowedPaths: [inside], controlFile }).list(inside, all);
    expect(entries.filter(({ kind }) => kind === 'SQLITE')).toEqual([]);
  });

  it('with very many entries is listed in part, and says so', async () => {
    const many = join(root, 'many');
    await mkdir(many);
    for (let from = 0; from < 10_100; from += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, index) => writeFile(join(many, `${from + index}`), '')));
    }
    const anywhere = new Browser({ engines, allowedPaths: [], controlFile: null });
    expect(await anywhere.list(many, { first: 5, after: null })).toMatchObject({ truncated: true, totalCount: 10_000 });
  });
});

const MANAGE = `import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
from django.core.management import execute_from_command_line
`;
const BASE = 'from pathlib import Path\nBASE_DIR = Path(__file__).resolve().parent.parent\n';
const DATABASES = `DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
    }
}
`;
let projects = 0;

async function project(files: Record<string, string>, folders: string[] = ['files']): Promise<string> {
  const path = join(world.folder, `project-${++projects}`);
  await writeTree(path, { 'manage.py': MANAGE, ...files });
  for (const folder of folders) await mkdir(join(path, folder), { recursive: true });
  await exec(join(path, 'db.sqlite3'), 'CREATE TABLE a (id INTEGER)');
  return path;
}

async function suggestion(path: string, allowedPaths: string[] = []) {
  return (await new Browser({ engines, allowedPaths, controlFile: null }).list(path, all)).project;
}

describe('A Django project', () => {
  it.each([
    ['BASE_DIR / "files"'],
    ["BASE_DIR / 'files'  # where uploads go"],
    ['os.path.join(BASE_DIR, "files")'],
    ['os.path.join(BASE_DIR, "files/")'],
    ["os.path.join(BASE_DIR, 'shop', '..', 'files')"],
    ['str(BASE_DIR / "files")'],
    ['str(BASE_DIR.joinpath("files"))'],
    ['Path(BASE_DIR) / "files"'],
    ['Path(__file__).resolve().parent.parent / "files"'],
    ['Path(__file__).resolve().parents[1] / "files"'],
    ['os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "files")'],
    ['f"{BASE_DIR}/files"'],
    ['os.environ.get("MEDIA_ROOT", BASE_DIR / "files")'],
    ['os.getenv("MEDIA_ROOT", str(BASE_DIR / "files"))'],
    ['env("MEDIA_ROOT", default=str(BASE_DIR / "files"))'],
    ['config("MEDIA_ROOT", cast=str, default=BASE_DIR / "files")'],
    ['(\n    BASE_DIR\n    / "files"\n)'],
    ['os.path.join(\n    BASE_DIR,\n    "files",\n)'],
    ['FILES_DIR'],
    ['(BASE_DIR / "shop").parent / "files"'],
    ['"files"'],
  ])('suggests the folder that MEDIA_ROOT names: %s', async (expression) => {
    const settings = `${BASE}${DATABASES}FILES_DIR = BASE_DIR / "files"\n# MEDIA_ROOT = "/etc"\nMEDIA_ROOT = ${expression}\nX = 1\n`;
    const path = await project({ 'shop/settings.py': settings });
    expect(await suggestion(path)).toEqual({
      path,
      databases: [join(path, 'db.sqlite3')],
      mediaFolders: [join(path, 'files')],
    });
  });

  it('takes an absolute MEDIA_ROOT and an annotated one as they are', async () => {
    const media = join(world.folder, 'far away');
    await mkdir(media);
    for (const line of [`MEDIA_ROOT = "${media}"`, `MEDIA_ROOT: Path = Path("${media}")`]) {
      const path = await project({ 'shop/settings.py': `${BASE}${line}\n` });
      expect((await suggestion(path))?.mediaFolders).toEqual([media]);
    }
  });

  it('reads a settings package, whose files import each other', async () => {
    const path = await project({
      'manage.py': MANAGE.replace('shop.settings', 'shop.settings.dev'),
      'shop/settings/__init__.py': '',
      'shop/settings/base.py': `${BASE.replace('.parent.parent', '.parent.parent.parent')}${DATABASES}`,
      'shop/settings/dev.py': 'from .base import *\nMEDIA_ROOT = BASE_DIR / "files"\n',
    });
    expect(await suggestion(path)).toEqual({
      path,
      databases: [join(path, 'db.sqlite3')],
      mediaFolders: [join(path, 'files')],
    });
  });

  it('is found from a folder below it', async () => {
    const path = await project({ 'shop/settings.py': `${BASE}MEDIA_ROOT = BASE_DIR / "files"\n` }, [
      'files',
      'data/live',
    ]);
    expect(await suggestion(join(path, 'data', 'live'))).toMatchObject({ path, mediaFolders: [join(path, 'files')] });
  });

  it('without MEDIA_ROOT suggests the usual folders that exist, and never its own code', async () => {
    const without = await project({ 'shop/settings.py': BASE }, ['media']);
    expect((await suggestion(without))?.mediaFolders).toEqual([join(without, 'media')]);
    for (const line of [
      'MEDIA_ROOT = ""',
      'MEDIA_ROOT = BASE_DIR',
      'MEDIA_ROOT = "/"',
      'MEDIA_ROOT = BASE_DIR / "no"',
    ]) {
      const path = await project({ 'shop/settings.py': `${BASE}${line}\n` });
      expect((await suggestion(path))?.mediaFolders).toEqual([]);
    }
  });

  it.each([
    ['what it cannot understand', 'MEDIA_ROOT = make_path("files")\n'],
    ['a name that refers to itself', 'MEDIA_ROOT = MEDIA_ROOT / "files"\n'],
    ['names that refer to each other', 'A = B / B\nB = A / A\nMEDIA_ROOT = A\n'],
    ['very deep brackets', `MEDIA_ROOT = ${'('.repeat(5_000)}BASE_DIR${')'.repeat(5_000)}\n`],
    ['an expression without an end', 'MEDIA_ROOT = os.path.join(BASE_DIR,\n'],
    ['code', `MEDIA_ROOT = __import__("os").system("touch /tmp/never") or "files"\n`],
    ['nothing', ''],
  ])('suggests nothing by %s', async (_case, text) => {
    const path = await project({ 'shop/settings.py': `${BASE}${text}` });
    expect((await suggestion(path))?.mediaFolders).toEqual([]);
  });

  it('reads and suggests nothing outside of ALLOWED_PATHS', async () => {
    const path = await project({ 'shop/settings.py': `${BASE}${DATABASES}MEDIA_ROOT = "${world.media}"\n` });
    await symlink(world.media, join(path, 'media'));
    expect(await suggestion(path, [path])).toEqual({ path, databases: [join(path, 'db.sqlite3')], mediaFolders: [] });
    expect(await suggestion(join(path, 'files'), [join(path, 'files')])).toBeNull();
    const linked = await project({});
    await mkdir(join(linked, 'shop'));
    await symlink(join(path, 'shop', 'settings.py'), join(linked, 'shop', 'settings.py'));
    expect(await suggestion(linked, [linked])).toMatchObject({ databases: [] });
  });

  it('is none when manage.py says nothing of Django or cannot be read', async () => {
    expect(await suggestion(await project({ 'manage.py': 'print("hello")' }))).toBeNull();
    const unreadable = await project({});
    await chmod(join(unreadable, 'manage.py'), 0o000);
    if (process.getuid?.() !== 0) expect(await suggestion(unreadable)).toBeNull();
  });
});
