import type { DatabaseEngine, Engine, Engines } from '../core/ports.js';
import { AppError } from '../errors.js';
import { createSqliteEngine } from './sqlite/index.js';

const SCHEMES: Record<string, DatabaseEngine> = {
  sqlite: 'SQLITE',
  postgres: 'POSTGRES',
  postgresql: 'POSTGRES',
  mysql: 'MYSQL',
  mariadb: 'MYSQL',
  mongodb: 'MONGODB',
  'mongodb+srv': 'MONGODB',
};

/** The engines of this installation. @param options `scratch`: a folder for private copies */
export function createEngines(options: { scratch?: string } = {}): Engines {
  const engines = new Map<DatabaseEngine, Engine>([['SQLITE', createSqliteEngine(options)]]);
  const of = (kind: DatabaseEngine) => {
    const engine = engines.get(kind);
    if (engine === undefined) {
      throw new AppError('ENGINE_UNSUPPORTED', `${kind} databases are not supported by this version.`, {
        field: 'databaseUrl',
      });
    }
    return engine;
  };
  return {
    of,
    forUrl(url) {
      const scheme = /^([a-z+]+):/i.exec(url)?.[1]?.toLowerCase() ?? '';
      const kind = SCHEMES[scheme];
      if (kind === undefined) {
        throw new AppError(
          'ENGINE_UNSUPPORTED',
          `databaseUrl: no engine for "${scheme || 'a URL without a scheme'}".`,
          {
            field: 'databaseUrl',
          },
        );
      }
      return of(kind);
    },
  };
}
