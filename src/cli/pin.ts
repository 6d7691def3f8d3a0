import type { Command } from 'commander';
import { backupId, ID_HELP } from './ids.js';
import { type GlobalOptions } from './print.js';
import { inSession } from './session.js';
import { backupDocument } from './views.js';

export function addPin(program: Command): void {
  add(program, 'pin', true, 'Pin a backup: no policy deletes it, nor `delete`. JSON: {backup}');
  add(program, 'unpin', false, 'Unpin a backup. JSON: {backup}');
}

function add(program: Command, name: string, pinned: boolean, description: string): void {
  program
    .command(name)
    .description(description)
    .argument('<id>', `a backup: ${ID_HELP}`)
    .action((given: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print }) => {
        const row = await app.backups.pin(await backupId(app.models, given), pinned, actor);
        print.result({ backup: backupDocument(row) }, () => `${row.id} is ${pinned ? 'pinned' : 'no longer pinned'}.`);
      }),
    );
}
