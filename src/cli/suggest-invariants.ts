import type { Command } from 'commander';
import { configOf } from './config.js';
import { identityOf, type IdentityOptions, withIdentity } from './identity.js';
import type { GlobalOptions } from './print.js';
import { inSession } from './session.js';

export function addSuggestInvariants(program: Command): void {
  withIdentity(
    program
      .command('suggest-invariants')
      .description(
        'Suggest invariants from the backups of a config (SQLite, PostgreSQL), as a list for `config edit --invariants-file`. JSON: {invariants}',
      )
      .argument('[config]', 'its id or name (default: the first)'),
  ).action((given: string | undefined, options: IdentityOptions, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const { app, print, stop } = session;
      const identity = await identityOf(session, options);
      const { id, invariants: present } = await configOf(app, given);
      const suggested = await app.insight.suggestInvariants(id, stop, identity);
      // Saving replaces the whole list.
      print.result({ invariants: suggested }, () => JSON.stringify([...present, ...suggested], null, 2));
      if (suggested.length === 0) print.note('Nothing more to suggest.');
      else print.note('Choose from them: saving replaces the whole list, so those that are set are in it.');
    }),
  );
}
