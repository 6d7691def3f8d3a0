import { describe, expect, it } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
// @ts-expect-error The linter's configuration is plain JavaScript.
import { importRules, mayImport, ruleOf } from '../eslint.config.js';

const rules = importRules as Record<string, { may: string[]; why: string }>;
const pathOf = (name: string) => name.replace(/\.(ts|tsx|mjs|js)$/, '');
const src = new URL('../src', import.meta.url).pathname;
const files = readdirSync(src, { recursive: true })
  .map(String)
  .filter((name) => /\.(ts|tsx|mjs)$/.test(name) && !name.includes('generated'))
  .map((name) => ({ name, text: readFileSync(join(src, name), 'utf8') }));
/** The files of ours that a file imports, as paths below src without ending. */
function importsOf({ name, text }: { name: string; text: string }): string[] {
  const found = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) => match[1] ?? '');
  return found.map((path) => relative(src, resolve(src, name, '..', path)).replace(/\.(js|ts|mjs)$/, ''));
}

describe('The architecture', () => {
  it('lets every file import only what its folder may', () => {
    const wrong = files.flatMap((file) => {
      const own = ruleOf(pathOf(file.name));
      if (own === undefined) return [];
      const imports = importsOf(file).filter((path) => !path.startsWith('..') && !mayImport(own, path));
      return imports.map((path) => `${file.name} imports ${path}, though ${rules[own]?.why}`);
    });
    expect(wrong).toEqual([]);
  });

  it('has a rule for every folder', () => {
    expect(files.filter(({ name }) => ruleOf(pathOf(name)) === undefined).map(({ name }) => name)).toEqual([]);
    const coreFolders = files.flatMap(({ name }) => /^core\/[^/]+(?=\/)/.exec(name) ?? []);
    expect([...new Set(coreFolders)].filter((folder) => !(folder in rules))).toEqual([]);
  });

  it('has no cycles between files, those of types included', () => {
    const graph = new Map(files.map((file) => [pathOf(file.name), importsOf(file)]));
    expect(cyclesOf(graph)).toEqual([]);
  });

  it('has no cycles between the folders of the domain', () => {
    const graph = new Map<string, string[]>();
    for (const file of files.filter(({ name }) => name.startsWith('core/'))) {
      const own = ruleOf(pathOf(file.name)) ?? '';
      const others = importsOf(file).flatMap((path) => ruleOf(path) ?? []);
      graph.set(own, [...(graph.get(own) ?? []), ...others.filter((other) => other !== own)]);
    }
    expect(cyclesOf(graph)).toEqual([]);
  });

  it('reads the environment in one file only', () => {
    const readers = files.filter(({ text }) => /process\.env/.test(text)).map(({ name }) => name);
    expect(readers).toEqual(['environment.ts']);
  });
});

describe('The tests', () => {
  const folder = new URL('.', import.meta.url).pathname;
  const tests = readdirSync(folder, { recursive: true })
    .map(String)
    .filter((name) => /\.(ts|mjs)$/.test(name) && name !== 'architecture.test.ts')
    .map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }));

  it("never run the product in the checkout, whose .env is its user's", () => {
    const wrong = tests
      // Run only by tests, which give it a folder.
      .filter(({ name }) => !['support/run-once.mjs', 'support/run-many.mjs'].includes(name))
      .filter(({ text }) =>
        /cwd: (ROOT|process\.cwd)|loadEnvironment\((\)|\w+\))|loadEnvironment\(process\.env/.test(text),
      );
    expect(wrong.map(({ name }) => name)).toEqual([]);
  });

  it('have titles of at most 90 characters, what is filled in not counted', () => {
    const title = /(?:\bit\w*|\))\(\s*('(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`),/g;
    const titles = tests.flatMap(({ text }) => [...text.matchAll(title)].map(([, quoted = '']) => quoted.slice(1, -1)));
    expect(titles.length).toBeGreaterThan(900);
    expect(titles.filter((text) => text.replace(/\$\{[^}]*\}|\\/g, '').length > 90)).toEqual([]);
  });

  it('are written with `it`', () => {
    expect(tests.filter(({ text }) => /^\s*test(\.\w+)?[(<]/m.test(text)).map(({ name }) => name)).toEqual([]);
  });
});

/** Every way round that leads back to where it began. */
function cyclesOf(graph: Map<string, string[]>): string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (name: string, path: string[]): void => {
    if (path.includes(name)) {
      cycles.push([...path.slice(path.indexOf(name)), name].join(' → '));
      return;
    }
    if (done.has(name)) return;
    for (const next of graph.get(name) ?? []) visit(next, [...path, name]);
    done.add(name);
  };
  for (const name of graph.keys()) visit(name, []);
  return cycles;
}
