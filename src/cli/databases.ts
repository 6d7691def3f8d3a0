import type { Command } from 'commander';
import type { DatabaseOnServer } from '../core/configs/server.js';
import { humanSize } from '../core/text/format.js';
import { badInput } from '../errors.js';
import { configOf } from './config.js';
import { configDocument } from './configs.js';
import { secretIn } from './identity.js';
import { table, type GlobalOptions } from './print.js';
import { inSession, type Session } from './session.js';

/** Which server is meant. */
interface ServerOptions {
  config?: string;
  urlFile?: string;
}

export function addDatabases(program: Command): void {
  program
    .command('databases')
    .description('List the databases of a server, and which of them a config backs up. JSON: {databases: […]}')
    .argument('[url]', 'of the server, such as postgres://user@host:5432; seen by others among the processes')
    .option('--url-file <file>', 'a file with the URL, for one with a password; - for stdin')
    .option('--config <config>', 'the config of a database that is on the server: its id or name')
    .action((url: string | undefined, options: ServerOptions, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
        const { app, print, stop } = session;
        const databases = await app.servers.discover(await serverOf(session, url, options), stop);
        print.result({ databases }, () =>
          databases.length === 0 ? 'The server has no database yet.' : text(databases),
        );
      }),
    );
}

export function addProtect(program: Command): void {
  program
    .command('protect')
    .description(
      'Back up more databases of a server: each gets a config with the schedule, retention, destinations and keys of ' +
        'the one that is named. JSON: {configs: […]}',
    )
    .argument('<config>', 'the config of a database that is on the server: its id or name')
    .argument('[database...]', 'names, as `db-manager databases --config` lists them')
    .option('--all', 'all that no config backs up yet')
    .action((config: string, names: string[], { all }: { all?: boolean }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), (session) => protect(session, config, names, all === true)),
    );
}

async function protect({ app, actor, print, stop }: Session, config: string, names: string[], all: boolean) {
  if (all === names.length > 0) {
    throw badInput('all', all ? 'cannot be combined with names.' : 'is missing, and so are names of databases.');
  }
  const { id: configId } = await configOf(app, config);
  const open = async () => {
    const found = await app.servers.discover({ configId }, stop);
    return found.filter((database) => database.configId === null).map(({ name }) => name);
  };
  const wanted = all ? await open() : names;
  const made = wanted.length === 0 ? [] : await app.servers.protect({ configId, names: wanted, actor }, stop);
  const configs = made.map((row) => configDocument(row, app.configs.maskedUrl(row)));
  print.result({ configs }, () =>
    configs.length === 0
      ? 'All databases of the server are backed up already.'
      : configs.map(({ id, name, databaseUrl }) => `Config ${id} "${name}" backs up ${databaseUrl}.`).join('\n'),
  );
}

async function serverOf({ app }: Session, url: string | undefined, { config, urlFile }: ServerOptions) {
  const given = [url, urlFile, config].filter((value) => value !== undefined);
  if (given.length !== 1) {
    const wrong = given.length === 0 ? 'is missing.' : 'cannot be combined with --url-file or --config.';
    throw badInput('url', wrong, 'Give one of them: the URL of the server, --url-file, or --config.');
  }
  if (config !== undefined) return { configId: (await configOf(app, config)).id };
  return { url: url ?? (await secretIn(urlFile ?? '-')).trim() };
}

const text = (databases: DatabaseOnServer[]): string =>
  table(databases, [
    { title: 'name', cell: ({ name }) => name },
    { title: 'size', cell: ({ size }) => (size === null ? null : humanSize(size)), right: true },
    { title: 'config', cell: ({ configId }) => configId, right: true },
  ]);
