import type { DatabaseEngine, Engine, Engines } from '../core/ports.js';
import { AppError } from '../errors.js';
import { createMongodbEngine } from './mongodb/index.js';
import { createMysqlEngine } from './mysql/index.js';
import type { Passwords } from './on-server.js';
import { createPostgresEngine } from './postgres/index.js';
import { createSqliteEngine } from './sqlite/index.js';

/** The kind that a URL's scheme means. */
const SCHEMES: Record<string, DatabaseEngine> = {
  sqlite: 'SQLITE',
  postgres: 'POSTGRES',
  postgresql: 'POSTGRES',
  mongodb: 'MONGODB',
  'mongodb+srv': 'MONGODB',
  mysql: 'MYSQL',
  mariadb: 'MYSQL',
};

const schemeOf = (url: string) => /^([a-z+]+):/i.exec(url)?.[1]?.toLowerCase() ?? '';
const kindOf = (url: string) => SCHEMES[schemeOf(url)];

/** What the engines get from the process. */
export interface EngineOptions {
  /** A folder for private copies. */
  scratch?: string;
  /** PG_BIN_DIR; null: PostgreSQL's client programs are looked for. */
  pgBinDir?: string | null;
  /** MYSQL_BIN_DIR; null: the client programs of MySQL and MariaDB are looked for. */
  mysqlBinDir?: string | null;
  /** Seals and opens the passwords in URLs. */
  passwords?: Passwords;
}

/** The engines of this installation. */
export function createEngines({ scratch, pgBinDir, mysqlBinDir, passwords }: EngineOptions = {}): Engines {
  const sqlite = createSqliteEngine(scratch === undefined ? {} : { scratch });
  const engines = new Map<DatabaseEngine, Engine>([
    ['SQLITE', sqlite],
    ['POSTGRES', createPostgresEngine({ binDir: pgBinDir, passwords })],
    ['MONGODB', createMongodbEngine({ passwords })],
    ['MYSQL', createMysqlEngine({ binDir: mysqlBinDir, scratch, passwords })],
  ]);
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
      return (await sqlite.recognises(path)) ? 'SQLITE' : null;
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
