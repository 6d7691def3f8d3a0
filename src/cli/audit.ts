import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { compareArchiveHeads, type HeadsState } from '../core/archives/audit-heads.js';
import { trailEvents, type TrailState, verifyTrail } from '../core/audit-trail.js';
import { AppError, badInput } from '../errors.js';
import { writeNewFile } from './new-file.js';
import { CommandError, type GlobalOptions } from './print.js';
import { inSession, type Session } from './session.js';

export function addAudit(program: Command): void {
  const audit = program.command('audit').description('Check and export the audit trail: who did what, and when');
  audit
    .command('verify')
    .description(
      'Follow the chain of all audit events, and compare it with what the newest archive of each config knew of it. ' +
        'JSON: {events, head: {event, sha256}, breaks: [{event, message}], archives: {compared, unread}}',
    )
    .option('--no-archives', 'look at the records alone')
    .action((options: { archives: boolean }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), (session) => verify(session, options)),
    );
  audit
    .command('export')
    .description('Write all audit events as JSON lines, oldest first. JSON: {events, file}')
    .option('--out <file>', 'a new file (default: standard output)')
    .action((options: { out?: string }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), (session) => exportTrail(session, options)),
    );
}

async function verify({ app, print, stop }: Session, { archives }: { archives: boolean }): Promise<void> {
  const trail = await verifyTrail(app.models, stop);
  const heads = archives ? await compareArchiveHeads(app, stop) : { compared: 0, breaks: [], unread: [] };
  const breaks = [...trail.breaks, ...heads.breaks];
  const unread = heads.unread.map(({ backupId, error: { code, message } }) => ({ backupId, code, message }));
  const document = { ...trail, breaks, archives: { compared: heads.compared, unread } };
  if (breaks.length === 0) return print.result(document, () => goodText(trail, heads));
  const some = breaks.slice(0, 5).map(({ message }) => message);
  const more = breaks.length > some.length ? ` And ${breaks.length - some.length} more.` : '';
  throw new CommandError(new AppError('AUDIT_BROKEN', `${some.join(' ')}${more}`), document);
}

function goodText({ events, head }: TrailState, { compared, unread }: HeadsState): string {
  const lines = [
    `${events} events, each linked to the one before. The newest: ${head === null ? 'none' : `${head.event} ${head.sha256}`}`,
    `${compared} archives agree with them.`,
    ...unread.map(({ backupId, error }) => `Not compared: ${backupId}: ${error.message}`),
  ];
  return lines.join('\n');
}

async function exportTrail({ app, print, stop }: Session, { out }: { out?: string }): Promise<void> {
  let events = 0;
  async function* lines() {
    for await (const event of trailEvents(app.models)) {
      events += 1;
      yield `${JSON.stringify(event)}\n`;
    }
  }
  if (out === undefined) {
    if (print.json) throw badInput('out', 'is needed with --json: the events are a document each.');
    return pipeline(Readable.from(lines()), process.stdout, { end: false, signal: stop });
  }
  const file = resolve(out);
  await writeNewFile(file, lines(), 'out');
  print.result({ events, file }, () => `${events} events are in ${file}.`);
}
