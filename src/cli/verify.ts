import { type Command, Option } from 'commander';
import { copyWarnings } from '../core/archives/copies.js';
import type { BackupRow, VerificationLevel } from '../models/index.js';
import { destinationOf } from './destinations.js';
import { identityOf, type IdentityOptions, withIdentity } from './identity.js';
import { backupId, ID_HELP } from './ids.js';
import { CommandError, type GlobalOptions } from './print.js';
import { errorOf } from './runs.js';
import { inSession } from './session.js';
import { backupDocument } from './views.js';

const LEVELS = ['CHECKSUM', 'ARCHIVE', 'DRILL'] satisfies VerificationLevel[];

interface Options extends IdentityOptions {
  level: VerificationLevel;
  destination?: string;
}

export function addVerify(program: Command): void {
  withIdentity(
    program
      .command('verify')
      .description('Verify a stored backup again by reading every copy of it back. JSON: {backup}')
      .argument('<id>', `a COMPLETED backup: ${ID_HELP}`)
      .addOption(
        new Option('--level <level>', 'CHECKSUM: the stored bytes; ARCHIVE: every file in it; DRILL: the database too')
          .choices(LEVELS)
          .default('ARCHIVE')
          .argParser((value: string) => value.toUpperCase()),
      )
      .option('--destination <name>', 'only the copy there: id or name of a destination'),
  ).action((given: string, options: Options, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const { app, actor, print, stop } = session;
      const { level, destination } = options;
      const identity = await identityOf(session, options);
      const id = await backupId(app.models, given);
      print.note(`Verifying ${id} (${level}) …`);
      const destinationId = destination === undefined ? undefined : (await destinationOf(app, destination)).id;
      const row = await app.backups.verify(id, level, actor, stop, { destinationId, identity });
      if (row.verifiedAt === null) throw new CommandError(errorOf(row), { backup: backupDocument(row) });
      print.result({ backup: backupDocument(row) }, () => verifiedText(row, level));
    }),
  );
}

/** Where it was verified, and what was found wrong with other copies. */
function verifiedText(row: BackupRow, level: VerificationLevel): string {
  const stored = row.copies.filter(({ status }) => status === 'COMPLETED').map(({ location }) => location);
  const warnings = copyWarnings(row).map((warning) => `\nWarning: ${warning}`);
  const seen = row.verificationLevel ?? level;
  const less = seen === level ? '' : '\nIts content is encrypted, and no key held here opens it.';
  return `${row.id} is verified (${seen}): ${stored.join(', ')}${less}${warnings.join('')}`;
}
