import { resolve } from 'node:path';
import type { Command } from 'commander';
import { writeNewFile } from './new-file.js';
import type { GlobalOptions } from './print.js';
import { inSession } from './session.js';

export function addRecoveryKit(program: Command): void {
  program
    .command('recovery-kit')
    .description(
      'Write the recovery kit: instructions, where each backup lies, and programs that need nothing of db-manager. ' +
        'Keep it away from this machine. JSON: {file, bytes}',
    )
    .requiredOption('--out <file>', 'a new file, such as kit.zip')
    .action(({ out }: { out: string }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, actor, print }) => {
        const file = resolve(out);
        const kit = await app.recoveryKits.make(actor);
        await writeNewFile(file, kit, 'out');
        print.result({ file, bytes: kit.length }, () =>
          [
            `The recovery kit is ${file}. Keep it away from this machine, printed too if you like.`,
            'It holds no key: keep the identities and passphrases that keys.txt names in another place.',
          ].join('\n'),
        );
      }),
    );
}
