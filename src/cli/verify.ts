import { type Command, Option } from 'commander';
import type { VerificationLevel } from '../models/index.js';
import { backupId, ID_HELP } from './ids.js';
import { CommandError, type GlobalOptions } from './print.js';
import { errorOf } from './runs.js';
import { inSession } from './session.js';
import { backupDocument } from './views.js';

const LEVELS = ['CHECKSUM', 'ARCHIVE', 'DRILL'] satisfies VerificationLevel[];

export function addVerify(program: Command): void {
  program
    .command('verify')
    .description('Verify a stored backup again by reading it back. JSON: {backup}')
    .argument('<id>', `a COMPLETED backup: ${ID_HELP}`)
    .addOption(
      new Option('--level <level>', 'CHECKSUM: the stored bytes; ARCHIVE: every file in it; DRILL: the database too')
        .choices(LEVELS)
        .default('ARCHIVE')
        .argParser((value: string) => value.toUpperCase()),
    )
    .action((given: string, { level }: { level: VerificationLevel }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print, stop }) => {
        const id = await backupId(app.models, given);
        print.note(`Verifying ${id} (${level}) …`);
        const row = await app.backups.verify(id, level, actor, stop);
        if (row.verifiedAt === null) throw new CommandError(errorOf(row), { backup: backupDocument(row) });
        print.result({ backup: backupDocument(row) }, () => `${row.id} is verified (${level}): ${row.filePath}`);
      }),
    );
}
