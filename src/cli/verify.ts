import type { Command } from 'commander';
import { Op } from 'sequelize';
import { copyWarnings } from '../core/archives/copies.js';
import { humanSize } from '../core/text/format.js';
import { badInput } from '../errors.js';
import type { BackupRow, VerificationLevel, VerificationRow } from '../models/index.js';
import { destinationOf } from './destinations.js';
import { identityOf, type IdentityOptions, withIdentity } from './identity.js';
import { backupId, ID_HELP } from './ids.js';
import { oneOf } from './options.js';
import { configNames } from './paging.js';
import { CommandError, type GlobalOptions } from './print.js';
import { carryOut, errorOf } from './runs.js';
import { inSession, type Session } from './session.js';
import { backupDocument, verificationDocument, verificationTable } from './views.js';

const LEVELS = ['CHECKSUM', 'ARCHIVE', 'CONTENT', 'DRILL'] satisfies VerificationLevel[];

interface Options extends IdentityOptions {
  level: VerificationLevel;
  destination?: string;
  due?: boolean;
}

export function addVerify(program: Command): void {
  withIdentity(
    program
      .command('verify')
      .description(
        'Verify a stored backup again by reading every copy of it back. JSON: {backup, verification}; with --due {verifications: […]}',
      )
      .argument('[id]', `a COMPLETED backup: ${ID_HELP}`)
      .option(
        '--level <level>',
        'CHECKSUM: the stored bytes; ARCHIVE: every file in it; CONTENT: the database too; DRILL: restore it into a scratch database',
        oneOf(LEVELS),
        'ARCHIVE' as const,
      )
      .option('--destination <name>', 'only the copy there: id or name of a destination')
      .option(
        '--due',
        'instead of one backup, every copy whose last verification is four weeks old, and the drills that are due',
      ),
  ).action((given: string | undefined, options: Options, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      if (options.due === true) return verifyDue(session, given);
      if (given === undefined) throw badInput('id', 'is missing.', 'Name a backup, or give --due.');
      return verifyOne(session, given, options);
    }),
  );
}

async function verifyOne(session: Session, given: string, options: Options): Promise<void> {
  const { app, actor, print } = session;
  const { level, destination } = options;
  const identity = await identityOf(session, options);
  const id = await backupId(app.models, given);
  const destinationId = destination === undefined ? undefined : (await destinationOf(app, destination)).id;
  const { verifications } = app;
  const pending = await verifications.create({ backupId: id, level, destinationId }, actor);
  print.note(`Verifying ${id} (${level}) …`);
  const runs = {
    run: (run: string, stop: AbortSignal) => verifications.run(run, stop, identity),
    get: (run: string) => verifications.get(run),
    cancel: (run: string, by: string) => verifications.cancel(run, by),
    recover: () => verifications.recover(),
  };
  const row = await carryOut(session, runs, pending.id, null);
  const backup = await app.backups.get(id);
  const document = { backup: backupDocument(backup), verification: verificationDocument(row) };
  if (row.status !== 'COMPLETED') throw new CommandError(errorOf(row), document);
  print.result(document, () => verifiedText(backup, row));
}

/** What the schedule of a server or worker does, for an installation that has none. */
async function verifyDue({ app, print, stop }: Session, given: string | undefined): Promise<void> {
  if (given !== undefined) throw badInput('id', 'is given together with --due.', 'Leave one of the two out.');
  const rows: VerificationRow[] = [];
  for (const drill of await app.scheduler.takeDrills(false)) rows.push(await app.verifications.runOrEnd(drill, stop));
  rows.push(...(await app.reverification.runDue(stop)));
  stop.throwIfAborted();
  const due = { nextDrillAt: { [Op.lte]: app.now() } };
  for (const { name } of await app.models.BackupConfig.findAll({ attributes: ['name'], where: due })) {
    print.note(`The drill of "${name}" stays due: it has no good backup, or a drill of it has not ended.`);
  }
  const document = { verifications: rows.map(verificationDocument) };
  const failed = rows.find(({ status }) => status !== 'COMPLETED');
  if (failed !== undefined) throw new CommandError(errorOf(failed), document);
  const names = await configNames(app.models);
  print.result(document, () =>
    rows.length === 0
      ? 'No copy and no drill is due, or REVERIFY_MB_PER_DAY allows no more today.'
      : verificationTable(rows, names),
  );
}

/** Where it was verified, and what was found wrong with other copies. */
function verifiedText(backup: BackupRow, { level, warnings, drill, restoreSeconds }: VerificationRow): string {
  const stored = backup.copies.filter(({ status }) => status === 'COMPLETED').map(({ location }) => location);
  const told = [...new Set([...warnings, ...copyWarnings(backup)])].map((warning) => `\nWarning: ${warning}`);
  const seen = backup.damaged ? level : (backup.verificationLevel ?? level);
  const state = backup.damaged ? 'stored as it was; its database is damaged' : 'verified';
  if (drill !== null && restoreSeconds !== null) {
    const command = drill.command === null ? '' : ` ${drill.command.name} ended with ${drill.command.exitCode}.`;
    const what = `${humanSize(drill.bytes)} in ${restoreSeconds.toFixed(1)} seconds, from ${drill.location}`;
    return `${backup.id} was restored: ${what}.${command}${told.join('')}`;
  }
  return `${backup.id} is ${state} (${seen}): ${stored.join(', ')}${told.join('')}`;
}
