import { humanSize } from '../core/text/format.js';
import type { RowSample } from '../core/ports.js';
import type { RestorePlan } from '../core/restores/plan.js';
import { rowText } from './row-text.js';
import { backupDocument } from './views.js';
import { type Document, fields, moment, table } from './print.js';

/** A restore's plan as --json shows it. */
export function planDocument({ backup, refusals, ...plan }: RestorePlan): Document {
  return {
    backup: backupDocument(backup),
    ...plan,
    refusals: refusals.map(({ code, message, hint, field }) => ({ code, message, hint, field: field ?? null })),
  };
}

/** A restore's plan as readable tables: what would change, and what stands in the way. */
export function planText(plan: RestorePlan): string {
  const parts = [head(plan)];
  if (plan.tables.length > 0) parts.push(tables(plan));
  if (plan.repairs.length > 0) parts.push(repairs(plan));
  if (plan.related.length > 0) parts.push(related(plan));
  parts.push(space(plan));
  if (plan.holders.length > 0) parts.push(holders(plan));
  if (plan.warnings.length > 0) parts.push(plan.warnings.map((warning) => `Warning: ${warning}`).join('\n'));
  parts.push(
    plan.allowed
      ? 'Nothing stands in the way of this restore.'
      : `This restore would be refused:\n${plan.refusals.map(({ code, message, hint }) => `- ${code}: ${message} ${hint}`).join('\n')}`,
  );
  return parts.join('\n\n');
}

function head({ backup, target, targetExists, media, backupSource, targetSource }: RestorePlan): string {
  const { add, replace, unchanged, keep, remove, bytes } = media;
  const proof = backup.verifiedAt === null ? 'not verified' : `verified ${moment(backup.verifiedAt)}`;
  return fields([
    ['Backup', `${backup.id} of ${moment(backup.createdAt)}, ${proof}`],
    ['File', backup.filePath],
    ['Target', `${target}${targetExists ? '' : ' (does not exist yet)'}`],
    ['Backup is', described(backupSource)],
    ['Target is', described(targetSource)],
    [
      'Media',
      `${add} to add, ${replace} to replace, ${unchanged} unchanged, ${keep} to keep, ${remove} to move away; ${humanSize(bytes)} to write`,
    ],
  ]);
}

const described = (source: Record<string, string | number>) =>
  Object.entries(source)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');

function tables(plan: RestorePlan): string {
  return table(plan.tables, [
    { title: 'table', cell: ({ name }) => name },
    { title: 'in backup', cell: ({ backupRows }) => backupRows, right: true },
    { title: 'in target', cell: ({ targetRows }) => targetRows, right: true },
    { title: 'change', cell: ({ change }) => change },
    { title: 'schema', cell: ({ schemaDiffers }) => (schemaDiffers ? 'differs' : 'same') },
  ]);
}

/** How many rows of each kind are shown for a table: the others are in the JSON. */
const SHOWN = 3;

function repairs({ repairs: all }: RestorePlan): string {
  const counts = table(all, [
    { title: 'rows of', cell: ({ name, parents }) => (parents ? `${name} (referred to)` : name) },
    { title: 'come back', cell: ({ add }) => add, right: true },
    { title: 'overwritten', cell: ({ overwrite }) => overwrite, right: true },
    { title: 'stay', cell: ({ keep }) => keep, right: true },
  ]);
  const line = (name: string, rows: RowSample[]) => rows.slice(0, SHOWN).map((row) => `${name}: ${rowText(row)}`);
  const samples = all.flatMap(({ name, samples: rows, conflicts }) =>
    conflicts.length > 0
      ? conflicts.flatMap((each) => [`${name}: ${each.rows} in the way: ${each.reason}`, ...line(name, each.samples)])
      : [false, true].flatMap((isThere) =>
          line(
            name,
            rows.filter(({ before }) => (before !== null) === isThere),
          ),
        ),
  );
  return [counts, ...samples].join('\n');
}

function related(plan: RestorePlan): string {
  return table(plan.related, [
    { title: 'related table', cell: (entry) => entry.table },
    { title: 'relation', cell: (entry) => entry.relation },
    { title: 'rows', cell: (entry) => entry.rowCount, right: true },
  ]);
}

function space(plan: RestorePlan): string {
  return table(plan.space, [
    { title: 'space at', cell: ({ paths }) => paths.join(', ') },
    { title: 'needed', cell: ({ needed }) => humanSize(needed), right: true },
    { title: 'free', cell: ({ free }) => humanSize(free), right: true },
  ]);
}

function holders(plan: RestorePlan): string {
  return table(plan.holders, [
    { title: 'opened by', cell: ({ command }) => command },
    { title: 'pid', cell: ({ pid }) => pid, right: true },
  ]);
}
