import { extname } from 'node:path';

/** While the program is developed it is TypeScript, which takes these arguments of Node. */
const LOADER = ['--import', new URL('../dev/typescript.mjs', import.meta.url).href];

/**
 * The module of a process or thread of this program.
 * @param module its URL without the extension
 * @returns with the extension, and the arguments that Node takes for it
 */
export function startable(module: URL): { url: URL; execArgv: string[] } {
  const extension = extname(import.meta.url);
  return { url: new URL(module.href + extension), execArgv: extension === '.ts' ? LOADER : [] };
}
