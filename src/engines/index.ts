import type { DatabaseEngine, Engine, Engines } from '../core/ports.js';
import { AppError } from '../errors.js';
import { createSqliteEngine } from './sqlite/index.js';

/** The kind that a URL's scheme means. */
const SCHEMES: Record<string, DatabaseEngine> = { sqlite: 'SQLITE' };

const schemeOf = (url: string) => /^([a-z+]+):/i.exec(url)?.[1]?.toLowerCase() ?? '';
const kindOf = (url: string) => SCHEMES[schemeOf(url)];

/** The engines of this installation. @param options `scratch`: a folder for private copies */
export function createEngines(options: { scratch?: string } = {}): Engines {
  const engines = new Map<DatabaseEngine, Engine>([['SQLITE', createSqliteEngine(options)]]);
  const of = (kind: string) => {
    const engine = engines.get(kind as DatabaseEngine);
    if (engine === undefined) {
      throw new AppError('ENGINE_UNSUPPORTED', `${kind} databases are not supported by this version.`, {
        field: 'databaseUrl',
      });
    }
    return engine;
  };
  return {
    of,
    async filesOf(url) {
      const kind = kindOf(url);
      const engine = kind === undefined ? undefined : engines.get(kind);
      return engine === undefined ? [] : engine.files(engine.resolve(url).url);
    },
    urlOfFile: (path) => `sqlite:${path}`,
    async recognise(path) {
      for (const engine of engines.values()) if (await engine.recognises(path)) return engine.kind;
      return null;
    },
    forUrl(url) {
      const kind = kindOf(url);
      if (kind === undefined) {
        throw new AppError(
          'ENGINE_UNSUPPORTED',
          `databaseUrl: no engine for "${schemeOf(url) || 'a URL without a scheme'}".`,
          {
            field: 'databaseUrl',
          },
        );
      }
      return of(kind);
    },
  };
}
