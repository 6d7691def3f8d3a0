import type { Command } from 'commander';
import type { UserRow } from '../models/index.js';
import { moment, table, type GlobalOptions } from './print.js';
import { inSession } from './session.js';
import { noUser } from './token.js';

export function addUsers(program: Command): void {
  const users = program
    .command('users')
    .description('List everyone who can log in. JSON: {users: [{id, email, role, createdAt}]}')
    .action((_options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, print }) => {
        const found = (await app.auth.users.list()).map(document);
        print.result({ users: found }, () => (found.length === 0 ? 'No users.' : text(found)));
      }),
    );
  users
    .command('remove')
    .description(
      'Remove a user, whose tokens stop working at once; the last admin cannot be removed. JSON: {email, removed}',
    )
    .argument('<email>', 'the e-mail of a user')
    .action((email: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print }) => {
        const user = await app.auth.users.findByEmail(email);
        if (user === null) throw noUser(email, 'List them: db-manager users.');
        await app.auth.removeUser(user.id, actor);
        print.result({ email: user.email, removed: true }, () => `${user.email} is removed.`);
      }),
    );
}

const document = ({ id, email, role, createdAt }: UserRow) => ({ id, email, role, createdAt });

function text(users: ReturnType<typeof document>[]): string {
  return table(users, [
    { title: 'id', cell: (user) => user.id, right: true },
    { title: 'e-mail', cell: (user) => user.email },
    { title: 'role', cell: (user) => user.role },
    { title: 'since', cell: (user) => moment(user.createdAt) },
  ]);
}
