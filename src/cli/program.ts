import { Command, CommanderError } from 'commander';
import { AppError } from '../errors.js';
import { VERSION } from '../version.js';
import { EXIT_CODES } from '../exit-codes.js';
import { Printer } from './print.js';

type Add = (program: Command) => void;

/** The commands in the order in which the help lists them. Each is loaded only when it is asked for. */
const COMMANDS: Record<string, () => Promise<Add>> = {
  backup: async () => (await import('./backup.js')).addBackup,
  'auto-backup': async () => (await import('./auto-backup.js')).addAutoBackup,
  list: async () => (await import('./list.js')).addList,
  show: async () => (await import('./show.js')).addShow,
  copies: async () => (await import('./copies.js')).addCopies,
  copy: async () => (await import('./copies.js')).addCopy,
  diff: async () => (await import('./diff.js')).addDiff,
  orphans: async () => (await import('./orphans.js')).addOrphans,
  query: async () => (await import('./query.js')).addQuery,
  'row-history': async () => (await import('./history.js')).addRowHistory,
  'find-change': async () => (await import('./history.js')).addFindChange,
  verify: async () => (await import('./verify.js')).addVerify,
  verifications: async () => (await import('./verifications.js')).addVerifications,
  'drill-report': async () => (await import('./drill-report.js')).addDrillReport,
  consolidate: async () => (await import('./consolidate.js')).addConsolidate,
  keep: async () => (await import('./keep.js')).addKeep,
  pin: async () => (await import('./pin.js')).addPin,
  unpin: async () => (await import('./pin.js')).addPin,
  acknowledge: async () => (await import('./acknowledge.js')).addAcknowledge,
  delete: async () => (await import('./delete.js')).addDelete,
  cancel: async () => (await import('./cancel.js')).addCancel,
  'cleanup-backups': async () => (await import('./cleanup-backups.js')).addCleanupBackups,
  import: async () => (await import('./import.js')).addImport,
  restore: async () => (await import('./restore.js')).addRestore,
  restores: async () => (await import('./restores.js')).addRestores,
  undo: async () => (await import('./restore.js')).addUndo,
  guard: async () => (await import('./guard.js')).addGuard,
  extract: async () => (await import('./extract.js')).addExtract,
  configs: async () => (await import('./configs.js')).addConfigs,
  config: async () => (await import('./config.js')).addConfig,
  'suggest-invariants': async () => (await import('./suggest-invariants.js')).addSuggestInvariants,
  databases: async () => (await import('./databases.js')).addDatabases,
  protect: async () => (await import('./databases.js')).addProtect,
  destinations: async () => (await import('./destinations.js')).addDestinations,
  'gdrive-login': async () => (await import('./gdrive-login.js')).addGdriveLogin,
  channels: async () => (await import('./channels.js')).addChannels,
  keys: async () => (await import('./keys.js')).addKeys,
  rewrap: async () => (await import('./keys.js')).addRewrap,
  'recovery-kit': async () => (await import('./recovery-kit.js')).addRecoveryKit,
  recover: async () => (await import('./recover.js')).addRecover,
  'rotate-secrets-key': async () => (await import('./destinations.js')).addRotateSecretsKey,
  status: async () => (await import('./status.js')).addStatus,
  health: async () => (await import('./health.js')).addHealth,
  doctor: async () => (await import('./doctor.js')).addDoctor,
  reconcile: async () => (await import('./reconcile.js')).addReconcile,
  audit: async () => (await import('./audit.js')).addAudit,
  'setup-schedule': async () => (await import('./setup-schedule.js')).addSetupSchedule,
  'install-service': async () => (await import('./install-service.js')).addInstallService,
  mcp: async () => (await import('./mcp.js')).addMcp,
  token: async () => (await import('./token.js')).addToken,
  tokens: async () => (await import('./tokens.js')).addTokens,
  password: async () => (await import('./password.js')).addPassword,
  users: async () => (await import('./users.js')).addUsers,
  serve: async () => (await import('./processes.js')).addServe,
  worker: async () => (await import('./processes.js')).addWorker,
};

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
  for (const add of await commandsFor(args)) add(program);
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

/** The command that the arguments name, or all of them where they name none: for the help. */
async function commandsFor(args: string[]): Promise<Set<Add>> {
  if (args.includes('--version') || args.includes('-V')) return new Set();
  const named = COMMANDS[args.find((arg) => !arg.startsWith('-')) ?? ''];
  const wanted = named === undefined ? Object.values(COMMANDS) : [named];
  return new Set(await Promise.all(wanted.map((load) => load())));
}

function epilogue(): string {
  const codes = Object.entries(EXIT_CODES)
    .sort(([, one], [, other]) => one - other)
    .map(([code, number]) => `  ${String(number).padStart(3)}  ${code}`)
    .join('\n');
  return `
Output: results on standard output; notes, progress and errors on standard error. With --json standard output
holds exactly one document, also for an error: {"error": {"code", "message", "hint", "field"?}, …}. Sizes are
bytes, times ISO 8601 in UTC. Each command's help says which members the document has. Logs go to standard error where
LOG_LEVEL is set.

Ids: a backup or restore can be named by a unique beginning of its id (20250724, or 20250724_1430), or as latest.

Settings: the same environment variables and .env in the working folder as the server's.

Exit codes:
    0  success; auto-backup also when nothing was due; status whatever it reports, but with --check 1 for WARNING
       and 2 for CRITICAL; health 1 where the server is not ready or does not answer
${codes}
  129  stopped by SIGHUP: the terminal was closed
  130  stopped by SIGINT
  143  stopped by SIGTERM`;
}
