import { Command, CommanderError } from 'commander';
import { VERSION } from '../app.js';
import { AppError } from '../errors.js';
import { addAutoBackup } from './auto-backup.js';
import { addBackup } from './backup.js';
import { addCancel } from './cancel.js';
import { addCleanupBackups } from './cleanup-backups.js';
import { addConfigs } from './configs.js';
import { addDelete } from './delete.js';
import { EXIT_CODES } from './exit-codes.js';
import { addExtract } from './extract.js';
import { addList, addRestores } from './list.js';
import { addPassword } from './password.js';
import { addPin } from './pin.js';
import { Printer } from './print.js';
import { addServe, addWorker } from './processes.js';
import { addReconcile } from './reconcile.js';
import { addRestore, addUndo } from './restore.js';
import { addSetupSchedule } from './setup-schedule.js';
import { addShow } from './show.js';
import { addStatus } from './status.js';
import { addToken } from './token.js';
import { addVerify } from './verify.js';

const COMMANDS = [
  addBackup,
  addAutoBackup,
  addList,
  addShow,
  addVerify,
  addPin,
  addDelete,
  addCancel,
  addCleanupBackups,
  addRestore,
  addRestores,
  addUndo,
  addExtract,
  addConfigs,
  addStatus,
  addReconcile,
  addSetupSchedule,
  addToken,
  addPassword,
  addServe,
  addWorker,
];

const HINT = '`db-manager --help` and `db-manager help <command>` show what there is.';

/** Does what the arguments ask for and sets the process's exit code. @param args without node and the script */
export async function runProgram(args: string[]): Promise<void> {
  const json = args.includes('--json');
  const program = new Command('db-manager')
    .description('Back up databases with their media, and restore them. Works whether the server runs or not.')
    .version(VERSION)
    .option('--json', 'print exactly one JSON document on standard output, also for an error')
    .configureHelp({
      showGlobalOptions: true,
      subcommandDescription: (command) => command.description().replace(/ JSON: .*/s, ''),
    })
    .configureOutput({ outputError: (text, write) => (json ? undefined : write(`${text}${HINT}\n`)) })
    .addHelpText('after', epilogue())
    .exitOverride();
  for (const add of COMMANDS) add(program);
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_CODES.BAD_USER_INPUT;
    if (!json || error.exitCode === 0) return;
    const message = error.message.replace(/^error: /, '');
    new Printer(true).error(new AppError('BAD_USER_INPUT', message, { hint: HINT }));
  }
}

function epilogue(): string {
  const codes = Object.entries(EXIT_CODES)
    .sort(([, one], [, other]) => one - other)
    .map(([code, number]) => `  ${String(number).padStart(3)}  ${code}`)
    .join('\n');
  return `
Output: results on standard output; notes, progress and errors on standard error. With --json standard output
holds exactly one document, also for an error: {"error": {"code", "message", "hint", "field"?}, …}. Sizes are
bytes, times ISO 8601 in UTC. Logs go to standard error, from LOG_LEVEL (default here: warn) on.

Settings: the same environment variables and .env in the working folder as the server's.

Exit codes:
    0  success; auto-backup also when nothing was due; status whatever it tells, but with --check 1 for WARNING
       and 2 for CRITICAL
${codes}
  129  stopped by SIGHUP: the terminal was closed
  130  stopped by SIGINT
  143  stopped by SIGTERM`;
}
