import { createHash } from 'node:crypto';
import { z } from 'zod';
import {
  BackupDocument,
  BackupsDocument,
  CompareBackupsDocument,
  DeleteBackupsDocument,
  QueryBackupDocument,
  RestoreBackupDocument,
  RestoreDocument,
  RestorePlanDocument,
  RowHistoryDocument,
  StatusDocument,
} from '../client/generated/graphql.js';
import { AppError, ERRORS, type ErrorCode } from '../errors.js';
import type { Answer, Question } from '../graphql/server.js';

/** Asks the API, as the caller. */
export type Ask = (question: Question) => Promise<Answer>;

type Values = Record<string, unknown>;

/** What an assistant may call. */
export interface Tool {
  name: string;
  title: string;
  description: string;
  input: z.ZodObject;
  /** False: it only reads. */
  changes: boolean;
  /** @throws AppError with what the API says */
  run(given: Values, ask: Ask): Promise<unknown>;
}

/** Most backups in one deletion. */
const MOST = 50;

const backupId = z.string().describe('Id of a backup, such as backup_20250724_143022_a1b2c3d4');
const planHash = z.string().describe('planHash of the plan that a person has agreed to');

/** What a restore takes: of the config's own database and media, and nothing that steps over a refusal. */
const restoreInput = z.strictObject({
  backupId,
  restoreDatabase: z.boolean().optional().describe('False: leave the database alone'),
  restoreMedia: z.boolean().optional().describe('False: leave the media alone'),
  tables: z.array(z.string()).optional().describe('Only these tables'),
  rows: z
    .enum(['REPLACE', 'MISSING', 'CHANGED'])
    .optional()
    .describe('With tables: replace them, or bring back rows that are missing, or also those that were changed'),
  where: z.string().optional().describe('With rows: only rows of the backup that meet this SQL condition'),
  withParents: z.boolean().optional().describe('With rows: also missing rows that these refer to'),
  media: z.array(z.string()).optional().describe("Only these media files or folders, by the archive's paths"),
  mediaMode: z.enum(['MERGE', 'MIRROR']).optional().describe('MERGE keeps files that the backup does not have'),
});

const deletionInput = z.strictObject({ ids: z.array(backupId).min(1).max(MOST) });

export const TOOLS: Tool[] = [
  reader({
    name: 'status',
    title: 'Status',
    description: 'How the installation is doing: health with reasons, running backups and restores, storages.',
    input: z.strictObject({}),
    query: StatusDocument,
  }),
  reader({
    name: 'list_backups',
    title: 'List backups',
    description: 'Backups, the newest first, 20 at a time. `after` is pageInfo.endCursor of the page before.',
    input: z.strictObject({
      configId: z.string().optional().describe('Only of this config'),
      after: z.string().optional(),
    }),
    query: BackupsDocument,
    variables: ({ configId, after }) => ({ filter: { configId }, first: 20, after }),
  }),
  reader({
    name: 'show_backup',
    title: 'Show a backup',
    description: 'Everything about one backup: tables, copies, verification, warnings.',
    input: z.strictObject({ id: backupId }),
    query: BackupDocument,
  }),
  reader({
    name: 'show_restore',
    title: 'Show a restore',
    description: 'How a restore goes, or went: status, progress, safety backup, error.',
    input: z.strictObject({ id: z.string().describe('Id of a restore, such as restore_20250724_150000_a1b2c3d4') }),
    query: RestoreDocument,
  }),
  reader({
    name: 'compare',
    title: 'Compare',
    description: 'What changed between a backup and another one, or the present database: tables, rows, media.',
    input: z.strictObject({
      from: backupId,
      to: backupId.optional().describe('Left out: the database as it is now'),
      tables: z.array(z.string()).optional(),
      samples: z.number().int().min(0).max(20).optional().describe('Rows to show for each kind of change'),
    }),
    query: CompareBackupsDocument,
  }),
  reader({
    name: 'query',
    title: 'Query a backup',
    description: 'Answers one SELECT from the database in a backup. Nothing is changed anywhere.',
    input: z.strictObject({
      id: backupId,
      sql: z.string().describe('One SELECT'),
      limit: z.number().int().min(1).max(1_000).optional(),
    }),
    query: QueryBackupDocument,
  }),
  reader({
    name: 'row_history',
    title: 'History of a row',
    description: 'One row through all backups of a config: when it came, changed and went.',
    input: z.strictObject({
      configId: z.string(),
      table: z.string(),
      key: z.record(z.string(), z.unknown()).describe('The primary key, such as {"id": 17}'),
    }),
    query: RowHistoryDocument,
  }),
  {
    name: 'plan_restore',
    title: 'Plan a restore',
    description: 'What a restore would change and what stands in its way, with the planHash that `restore` asks for.',
    input: restoreInput,
    changes: false,
    run: planRestore,
  },
  {
    name: 'restore',
    title: 'Restore',
    description:
      'Restores exactly what plan_restore has shown, with a safety backup first; refused if the plan has changed. Returns at ' +
      'once: follow it with show_restore.',
    input: restoreInput.extend({ planHash }),
    changes: true,
    async run({ planHash: shown, ...input }, ask) {
      assertSame(shown, (await planRestore(input, ask)).planHash);
      return answer(ask, RestoreBackupDocument, { input: { ...input, confirm: true } });
    },
  },
  {
    name: 'plan_deletion',
    title: 'Plan a deletion',
    description: 'The backups that would be deleted, with the planHash that `delete_backups` asks for.',
    input: deletionInput,
    changes: false,
    run: planDeletion,
  },
  {
    name: 'delete_backups',
    title: 'Delete backups',
    description:
      'Deletes exactly the backups that plan_deletion has shown, or, with DELETION_DELAY_HOURS, plans that; refused if one has changed.',
    input: deletionInput.extend({ planHash }),
    changes: true,
    async run({ planHash: shown, ...input }, ask) {
      assertSame(shown, (await planDeletion(input, ask)).planHash);
      return answer(ask, DeleteBackupsDocument, input);
    },
  },
];

function reader(tool: {
  name: string;
  title: string;
  description: string;
  input: z.ZodObject;
  query: { toString(): string };
  /** What the operation is asked with; left out: what was given. */
  variables?: (given: Values) => Values;
}): Tool {
  const { query, variables = (given) => given, ...rest } = tool;
  return { ...rest, changes: false, run: (given, ask) => answer(ask, query, variables(given)) };
}

/** With the hash of all that does not move on by itself: not the space left, open programs, and a new verification. */
async function planRestore(input: Values, ask: Ask): Promise<{ planHash: string; plan: Values }> {
  const { restorePlan } = await answer(ask, RestorePlanDocument, { input: { ...input, confirm: false } });
  const { space: _space, holders: _holders, backup, ...rest } = restorePlan as Values;
  const { verifiedAt: _at, verificationLevel: _level, ...source } = backup as Values;
  return { planHash: hashOf('restore', input, source, rest), plan: restorePlan as Values };
}

async function planDeletion(input: Values, ask: Ask): Promise<{ planHash: string; backups: Values[] }> {
  const backups: Values[] = [];
  for (const id of input.ids as string[]) {
    const { backup } = await answer(ask, BackupDocument, { id });
    if (backup === null) {
      throw new AppError('NOT_FOUND', `There is no backup ${id}.`, { hint: 'Take an id of list_backups.' });
    }
    const { fileName, createdAt, backupType, status, fileSize, checksum, pinned } = backup as Values;
    backups.push({ id, fileName, createdAt, backupType, status, fileSize, checksum, pinned });
  }
  return { planHash: hashOf('deletion', input, backups), backups };
}

const hashOf = (...parts: unknown[]) => createHash('sha256').update(JSON.stringify(parts)).digest('hex');

function assertSame(shown: unknown, now: string): void {
  if (shown !== now) throw new AppError('PLAN_CHANGED', 'The plan is not, or no longer, the one with this planHash.');
}

/** @throws AppError the first error of the API's */
async function answer(ask: Ask, query: { toString(): string }, variables: Values): Promise<Values> {
  const { data, errors = [] } = await ask({ query: query.toString(), variables });
  const [error] = errors;
  if (error === undefined) return data ?? {};
  const { code, hint, field } = (error.extensions ?? {}) as { code?: string; hint?: string; field?: string };
  const known = code !== undefined && code in ERRORS ? (code as ErrorCode) : 'BAD_USER_INPUT';
  throw new AppError(known, error.message, { ...(hint && { hint }), ...(field && { field }) });
}
