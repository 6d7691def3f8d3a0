import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { AppError, type ErrorCode } from '../errors.js';
import type { StoredObjectRow } from '../models/index.js';
import { destinationOf } from './destinations.js';
import { backupId, ID_HELP } from './ids.js';
import { CommandError, type GlobalOptions, moment, table } from './print.js';
import { inSession, type Session } from './session.js';
import { backupDocument, copyDocument } from './views.js';

/** How often a copy that another process works on is looked at, in milliseconds. */
const LOOK_MS = 500;

export function addCopies(program: Command): void {
  program
    .command('copies')
    .description('List the copies of a backup, the one that its run wrote first. JSON: {copies}')
    .argument('<id>', `a backup: ${ID_HELP}`)
    .action((given: string, _options: object, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, print }) => {
        const { copies } = await app.backups.get(await backupId(app.models, given));
        print.result({ copies: copies.map(copyDocument) }, () => copyTable(copies));
      }),
    );
}

export function addCopy(program: Command): void {
  program
    .command('copy')
    .description(
      'Copy a backup to another destination and verify the copy; also tries a failed one again. JSON: {backup}',
    )
    .argument('<id>', `a COMPLETED backup: ${ID_HELP}`)
    .requiredOption('--to <destination>', 'id or name of the destination')
    .action((given: string, { to }: { to: string }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
        const { app, actor, print } = session;
        const destination = await destinationOf(app, to);
        const id = await backupId(app.models, given);
        const copy = await follow(session, await app.copies.request(id, destination.id, actor));
        const row = await app.backups.get(id);
        if (copy.status !== 'COMPLETED') throw new CommandError(errorOf(copy), { backup: backupDocument(row) });
        print.result({ backup: backupDocument(row) }, () => `${id} is copied and verified: ${copy.location}`);
      }),
    );
}

/** Makes the copy, or waits for the process that does. @returns its row as it then is */
async function follow({ app, print, stop }: Session, copy: StoredObjectRow): Promise<StoredObjectRow> {
  print.note(`Copying to ${copy.location} …`);
  while ((await app.copies.run(copy.id, stop)) === 'busy') await sleep(LOOK_MS, undefined, { signal: stop });
  stop.throwIfAborted();
  return copy.reload();
}

/** Why a copy is not there. An offline destination that is away is the one reason that is on no row. */
function errorOf({ errorCode, errorMessage, errorHint, location }: StoredObjectRow): AppError {
  if ((errorCode ?? null) === null) {
    return new AppError('STORAGE_UNAVAILABLE', `${location} is away; the copy is made once it is there.`);
  }
  return new AppError(errorCode as ErrorCode, errorMessage ?? 'The copy failed.', {
    ...(errorHint === null ? {} : { hint: errorHint }),
  });
}

const copyTable = (copies: StoredObjectRow[]) =>
  table(copies, [
    { title: 'destination', cell: ({ destination: { name, storagePath } }) => name ?? storagePath },
    { title: 'status', cell: ({ status }) => status },
    { title: 'verified', cell: ({ verifiedAt }) => moment(verifiedAt) },
    { title: 'location', cell: ({ location }) => location },
    { title: 'next try', cell: ({ nextTryAt }) => moment(nextTryAt) },
    { title: 'error', cell: ({ errorMessage }) => errorMessage },
  ]);
