import type { Command } from 'commander';
import type { AnswerChange, RowVersion } from '../core/insight/insight.js';
import type { Cell } from '../core/ports.js';
import { columnValue } from '../core/text/row-key.js';
import { badInput } from '../errors.js';
import type { BackupRow } from '../models/index.js';
import { configOf } from './config.js';
import { identityOf, type IdentityOptions, withIdentity } from './identity.js';
import { type GlobalOptions, type Printer } from './print.js';
import { inSession } from './session.js';

interface Options extends IdentityOptions {
  config?: string;
  every?: boolean;
}

const CONFIG = 'id or name of the config (default: the first)';

export function addRowHistory(program: Command): void {
  withIdentity(
    program
      .command('row-history')
      .description('Show one row through all backups (SQLite, PostgreSQL). JSON: {versions}')
      .argument('<table>', 'name of the table')
      .argument('<key...>', 'values of its primary key, such as id=17')
      .option('--config <config>', CONFIG)
      .option('--every', 'read every backup, not only those that it takes to find where two that differ meet'),
  ).action((table: string, keys: string[], options: Options, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const { app, actor, print, stop } = session;
      const identity = await identityOf(session, options);
      const { id: configId } = await configOf(app, options.config);
      const question = { configId, table, key: keyOf(keys), every: options.every === true, identity };
      const versions = await app.insight.rowHistory(question, actor, stop, reading(print));
      print.result({ versions: versions.map(versionDocument) }, () => versions.map(versionText).join('\n'));
      unread(
        print,
        versions.flatMap(({ unreadable }) => unreadable),
      );
    }),
  );
}

export function addFindChange(program: Command): void {
  withIdentity(
    program
      .command('find-change')
      .description(
        'Find between which backups the answer to a SELECT last changed (SQLite, PostgreSQL). JSON: {change}',
      )
      .argument('<sql>', 'one SELECT that gives one value, such as "SELECT count(*) FROM booking WHERE id = 17"')
      .option('--config <config>', CONFIG),
  ).action((sql: string, options: Options, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const { app, actor, print, stop } = session;
      const identity = await identityOf(session, options);
      const { id: configId } = await configOf(app, options.config);
      const change = await app.insight.findChange({ configId, sql, identity }, actor, stop, reading(print));
      print.result({ change: change && changeDocument(change) }, () => changeText(change));
      unread(print, change?.unreadable ?? []);
    }),
  );
}

/** @throws AppError BAD_USER_INPUT naming `key` */
function keyOf(given: readonly string[]): Record<string, Cell> {
  return Object.fromEntries(
    given.map((text) => {
      const pair = columnValue(text);
      if (pair === null) throw badInput('key', `"${text}" is not written as column=value.`, 'Write it such as id=17.');
      return pair;
    }),
  );
}

const reading =
  (print: Printer) =>
  ({ id }: BackupRow) =>
    print.note(`Reading ${id} …`);

function unread(print: Printer, ids: readonly string[]): void {
  if (ids.length > 0) print.note(`Could not be read: ${ids.join(', ')}`);
}

const versionDocument = ({ backup, lastBackup, ...version }: RowVersion) => ({
  backup: backup.id,
  lastBackup: lastBackup.id,
  ...version,
});

function versionText({ backup, lastBackup, row, changed }: RowVersion): string {
  const from = backup.id === lastBackup.id ? backup.id : `${backup.id} to ${lastBackup.id}`;
  if (row === null) return `${from}: not there`;
  const shown = changed.length === 0 ? row : Object.fromEntries(changed.map((name) => [name, row[name] ?? null]));
  return `${from}: ${changed.length === 0 ? '' : '~ '}${JSON.stringify(shown)}`;
}

const changeDocument = ({ before, after, ...change }: AnswerChange) => ({
  before: before.id,
  after: after.id,
  ...change,
});

function changeText(change: AnswerChange | null): string {
  if (change === null) return 'The oldest backup gives the same answer as the newest.';
  const { before, after, answerBefore, answerAfter, read } = change;
  const [then, now] = [JSON.stringify(answerBefore), JSON.stringify(answerAfter)];
  return `${before.id}: ${then}\n${after.id}: ${now}\nBackups read: ${read}`;
}
