import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { swc } from './swc.mjs';

// Own hooks, as the tests start thousands of threads and processes: a loader that reads tsconfig.json loads the whole
// compiler in each of them, and translates every file again, which takes some five times as long.
// Node's side of them: https://nodejs.org/docs/latest-v20.x/api/module.html#customization-hooks

/** What translates: another version makes other text of the same source. */
const { version } = createRequire(import.meta.url)('@swc/core/package.json');

/** What was translated, by the hash of its source. */
const CACHE = fileURLToPath(new URL('../node_modules/.cache/typescript/', import.meta.url));

/** A `.js` that a TypeScript file imports is the `.ts` beside it. */
export async function resolve(specifier, context, next) {
  const isOurs = context.parentURL?.endsWith('.ts') && /^\.{1,2}\/.*\.js$/.test(specifier);
  const url = isOurs ? new URL(specifier.replace(/\.js$/, '.ts'), context.parentURL) : null;
  return url !== null && existsSync(url) ? { url: url.href, shortCircuit: true } : next(specifier, context);
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  return { format: 'module', source: await translated(fileURLToPath(url)), shortCircuit: true };
}

async function translated(filename) {
  const source = readFileSync(filename, 'utf8');
  const name = createHash('sha256')
    .update(JSON.stringify([filename, swc, version, source]))
    .digest('hex');
  const kept = join(CACHE, name);
  if (existsSync(kept)) return readFileSync(kept, 'utf8');
  const { transformSync } = await import('@swc/core');
  const { code } = transformSync(source, { ...swc, filename, sourceMaps: 'inline', swcrc: false });
  keep(kept, code);
  return code;
}

function keep(path, code) {
  const draft = `${path}.${process.pid}.${Math.random()}`;
  try {
    mkdirSync(CACHE, { recursive: true });
    writeFileSync(draft, code);
    // Whole at once: others may read it at the same moment.
    renameSync(draft, path);
  } catch {
    // Another user's folder: it is translated again next time.
  }
}
