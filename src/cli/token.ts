import type { Command } from 'commander';
import { AppError } from '../errors.js';
import { whole } from './options.js';
import { fields, moment, type GlobalOptions } from './print.js';
import { inSession } from './session.js';

export function addToken(program: Command): void {
  program
    .command('token')
    .description('Print a bearer token for the API, for an admin. JSON: {token, expiresAt, email}')
    .option('--email <email>', 'the admin (default: the one of ADMIN_EMAIL, or the first)')
    .option('--ttl <minutes>', 'how long it is valid (default: TOKEN_TTL_MINUTES)', whole)
    .action(({ email, ttl }: { email?: string; ttl?: number }, command: Command) =>
      inSession(
        command.optsWithGlobals<GlobalOptions>(),
        async ({ app, actor, print }) => {
          const { users } = app.auth;
          const wanted = email ?? app.environment.auth.adminEmail;
          const user = wanted === undefined ? await users.firstAdmin() : await users.findByEmail(wanted);
          if (user === null) throw noUser(wanted, 'Name another one with --email.');
          if (user.role !== 'ADMIN') throw new AppError('FORBIDDEN', `${user.email} is not an admin.`);
          const { token, expiresAt } = app.auth.sessionOf(user);
          await app.audit.record(actor, 'token.create', user.id, { email: user.email, expiresAt });
          print.result({ token, expiresAt, email: user.email }, () => token);
          print.note(fields([['Valid until', moment(expiresAt)]]));
        },
        (config) => ({ ...config, auth: { ...config.auth, ttlMinutes: ttl ?? config.auth.ttlMinutes } }),
      ),
    );
}

/** The error for an e-mail address that no user has. @param remedy what the command offers */
export function noUser(email: string | undefined, remedy: string): AppError {
  const message = email === undefined ? 'There is no admin yet.' : `There is no user ${email}.`;
  return new AppError('NOT_FOUND', message, {
    hint: `${remedy} The start of the server makes the admin that ADMIN_EMAIL names, or admin@localhost.`,
  });
}
