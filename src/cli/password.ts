import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { readHidden } from './prompt.js';
import { noUser } from './token.js';
import { type GlobalOptions } from './print.js';
import { inSession, type Session } from './session.js';

export function addPassword(program: Command): void {
  program
    .command('password')
    .description(
      'Set a new password, read from standard input; tokens given out before stop working. JSON: {email, changed}',
    )
    .argument('<email>', 'the e-mail of a user')
    .action((email: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
        const { app, actor, print } = session;
        const user = await app.auth.users.findByEmail(email);
        if (user === null) throw noUser(email, 'Give the e-mail address of a user: db-manager password <email>.');
        await app.auth.users.changePassword(user.id, await readPassword(session));
        await app.audit.record(actor, 'user.password', user.id, { email: user.email });
        print.result({ email: user.email, changed: true }, () => `The password of ${user.email} is changed.`);
        const { adminEmail, adminPassword } = app.environment.auth;
        if (adminPassword !== undefined && adminEmail?.toLowerCase() === user.email) {
          print.note(
            'ADMIN_PASSWORD is set: the next start of the server sets that password again. Change it there too.',
          );
        }
      }),
    );
}

/** One line from standard input; on a terminal without showing what is typed. */
async function readPassword({ print, stop }: Session): Promise<string> {
  if (!print.interactive) return (await text(process.stdin)).replace(/\r?\n$/, '');
  return readHidden('New password: ', print.err, stop);
}
