import { type Command, Option } from 'commander';
import type { VerificationLevel } from '../models/index.js';
import { identityOf, type IdentityOptions, withIdentity } from './identity.js';
import { backupId, ID_HELP } from './ids.js';
import { CommandError, type GlobalOptions } from './print.js';
import { errorOf } from './runs.js';
import { inSession } from './session.js';
import { backupDocument } from './views.js';

const LEVELS = ['CHECKSUM', 'ARCHIVE', 'DRILL'] satisfies VerificationLevel[];

export function addVerify(program: Command): void {
  withIdentity(
    program
      .command('verify')
      .description('Verify a stored backup again by reading it back. JSON: {backup}')
      .argument('<id>', `a COMPLETED backup: ${ID_HELP}`)
      .addOption(
        new Option('--level <level>', 'CHECKSUM: the stored bytes; ARCHIVE: every file in it; DRILL: the database too')
          .choices(LEVELS)
          .default('ARCHIVE')
          .argParser((value: string) => value.toUpperCase()),
      ),
  ).action((given: string, options: IdentityOptions & { level: VerificationLevel }, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const { app, actor, print, stop } = session;
      const { level } = options;
      const identity = await identityOf(session, options);
      const id = await backupId(app.models, given);
      print.note(`Verifying ${id} (${level}) …`);
      const row = await app.backups.verify(id, level, actor, stop, identity);
      if (row.verifiedAt === null) throw new CommandError(errorOf(row), { backup: backupDocument(row) });
      print.result({ backup: backupDocument(row) }, () => {
        const seen = row.verificationLevel ?? level;
        const less = seen === level ? '' : '\nIts content is encrypted, and no key held here opens it.';
        return `${row.id} is verified (${seen}): ${row.filePath}${less}`;
      });
    }),
  );
}
