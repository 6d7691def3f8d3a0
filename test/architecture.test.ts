import { describe, expect, it } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
// @ts-expect-error The linter's configuration is plain JavaScript.
import { importRules } from '../eslint.config.js';

const rules = importRules as Record<string, { may: string[]; why: string }>;
const src = new URL('../src', import.meta.url).pathname;
const files = readdirSync(src, { recursive: true })
  .map(String)
  .filter((name) => /\.(ts|tsx|mjs)$/.test(name) && !name.includes('generated'))
  .map((name) => ({ name, text: readFileSync(join(src, name), 'utf8') }));
const folderOf = (name: string) => name.replace(/\.(ts|tsx|mjs|js)$/, '').split('/')[0] ?? '';

/** The files of ours that a file imports, as paths below src without ending. */
function importsOf({ name, text }: { name: string; text: string }): string[] {
  const found = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) => match[1] ?? '');
  return found.map((path) => relative(src, resolve(src, name, '..', path)).replace(/\.(js|ts|mjs)$/, ''));
}

describe('The architecture', () => {
  it.each(Object.entries(rules))('%s imports only what it may', (folder, { may, why }) => {
    if (may.includes('*')) return;
    for (const file of files.filter(({ name }) => folderOf(name) === folder)) {
      const wrong = importsOf(file).filter((path) => {
        const other = folderOf(path);
        return other !== folder && !path.startsWith('..') && !may.includes(other) && !may.includes(path);
      });
      expect({ file: file.name, why, wrong }).toEqual({ file: file.name, why, wrong: [] });
    }
  });

  it('has a rule for every folder', () => {
    const without = [...new Set(files.map(({ name }) => folderOf(name)))].filter((folder) => !(folder in rules));
    expect(without).toEqual([]);
  });

  it('has no cycles', () => {
    const graph = new Map(files.map((file) => [file.name.replace(/\.(ts|tsx|mjs)$/, ''), typelessImports(file)]));
    const done = new Set<string>();
    const visit = (name: string, path: string[]): void => {
      if (path.includes(name)) throw new Error(`cycle: ${[...path.slice(path.indexOf(name)), name].join(' → ')}`);
      if (done.has(name)) return;
      for (const next of graph.get(name) ?? []) visit(next, [...path, name]);
      done.add(name);
    };
    for (const name of graph.keys()) visit(name, []);
  });

  it('reads the environment in one file only', () => {
    const readers = files.filter(({ text }) => /process\.env/.test(text)).map(({ name }) => name);
    expect(readers).toEqual(['environment.ts']);
  });
});

describe('The tests', () => {
  it("never run the product in the checkout, whose .env is its user's", () => {
    const tests = new URL('.', import.meta.url).pathname;
    const wrong = readdirSync(tests, { recursive: true })
      .map(String)
      .filter((name) => /\.(ts|mjs)$/.test(name) && name !== 'architecture.test.ts')
      // Run only by tests, which give it a folder.
      .filter((name) => name !== 'support/run-once.mjs')
      .filter((name) =>
        /cwd: (ROOT|process\.cwd)|loadEnvironment\((\)|\w+\))|loadEnvironment\(process\.env/.test(
          readFileSync(join(tests, name), 'utf8'),
        ),
      );
    expect(wrong).toEqual([]);
  });
});

/** Imports that remain at run time: a circle of types alone is none. */
function typelessImports(file: { name: string; text: string }): string[] {
  const text = file.text
    .replace(/import type [^;]+;/g, '')
    .replace(/import \{\s*(?:type \w+,?\s*)+\} from [^;]+;/g, '');
  return importsOf({ name: file.name, text });
}
