import type { Command } from 'commander';
import { AppError } from '../errors.js';
import { type ApiTokenRow, type Scope, SCOPES } from '../models/index.js';
import { date, someOf } from './options.js';
import { type GlobalOptions, moment, table } from './print.js';
import { inSession } from './session.js';

interface AddOptions {
  scope: Scope[];
  expires?: Date;
}

export function addTokens(program: Command): void {
  const tokens = program
    .command('tokens')
    .description('List the API tokens that programs use in place of a login. JSON: {tokens}')
    .action((_options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, print }) => {
        const found = (await app.auth.listApiTokens()).map(document);
        print.result({ tokens: found }, () => (found.length === 0 ? 'No API tokens.' : text(found)));
      }),
    );
  tokens
    .command('add')
    .description('Make an API token and print it: nobody can read it again. JSON: {token, apiToken}')
    .argument('<name>', 'such as Deployment')
    .requiredOption(
      '--scope <scope...>',
      'READ: look and download; BACKUP: make backups; RESTORE: restore; ADMIN: everything else',
      someOf(SCOPES),
    )
    .option('--expires <date>', 'from then on it is refused (default: never)', date)
    .action((name: string, { scope: scopes, expires }: AddOptions, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print }) => {
        const input = { name, scopes, expiresAt: expires ?? null };
        const { token, row } = await app.auth.addApiToken(input, { id: null, email: actor });
        print.result({ token, apiToken: document(row) }, () => token);
        print.note('Keep it now: it is not shown again.');
      }),
    );
  tokens
    .command('revoke')
    .description('Revoke an API token: it stops working at once. JSON: {name, revoked}')
    .argument('<name>', 'its name or id')
    .action((given: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print }) => {
        const all = await app.auth.listApiTokens();
        const found = all.find(({ name }) => name === given) ?? all.find(({ id }) => String(id) === given);
        if (found === undefined) {
          throw new AppError('NOT_FOUND', `There is no API token "${given}".`, {
            hint: 'List them: db-manager tokens.',
          });
        }
        await app.auth.revokeApiToken(found.id, actor);
        print.result({ name: found.name, revoked: true }, () => `${found.name} is revoked.`);
      }),
    );
}

const document = ({ id, name, scopes, createdBy, createdAt, expiresAt, lastUsedAt }: ApiTokenRow) => ({
  ...{ id, name, scopes, createdBy, createdAt, expiresAt },
  lastUsedAt: lastUsedAt ?? null,
});

function text(tokens: ReturnType<typeof document>[]): string {
  const time = (at: Date | null) => (at === null ? null : moment(at));
  return table(tokens, [
    { title: 'id', cell: ({ id }) => id, right: true },
    { title: 'name', cell: ({ name }) => name },
    { title: 'scopes', cell: ({ scopes }) => scopes.join(', ') },
    { title: 'by', cell: ({ createdBy }) => createdBy },
    { title: 'last used', cell: ({ lastUsedAt }) => time(lastUsedAt) },
    { title: 'expires', cell: ({ expiresAt }) => time(expiresAt) },
  ]);
}
