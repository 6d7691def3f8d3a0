import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { badInput, errnoOf, fromErrno } from '../errors.js';
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
        await write(file, kit);
        print.result({ file, bytes: kit.length }, () =>
          [
            `The recovery kit is ${file}. Keep it away from this machine, printed too if you like.`,
            'It holds no key: keep the identities and passphrases that keys.txt names in another place.',
          ].join('\n'),
        );
      }),
    );
}

async function write(file: string, kit: Buffer): Promise<void> {
  try {
    await writeFile(file, kit, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') throw badInput('out', `${file} is already there.`, 'Name a new file.');
    throw fromErrno(error, `write ${file}`, 'BAD_USER_INPUT', 'BAD_USER_INPUT') ?? error;
  }
}
