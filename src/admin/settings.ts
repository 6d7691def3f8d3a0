import type {
  BackupConfigInput,
  Compression,
  ConfigPartsFragment,
  InvariantInput,
  StorageType,
} from '../client/generated/graphql.js';
import type { Problem } from './api.js';
import { ownZone } from './format.js';
import { sizeProblem, type Typed, type Whole } from './inputs.js';
import { onSignOut } from './session.js';
import { createStore, useStore } from './store.js';

/** An invariant as the form holds it; a value that is empty is none. */
export type TypedInvariant = Pick<InvariantInput, 'name' | 'sql' | 'expect'> & { value: string };

/** The settings of a config as its form holds them. */
export interface Settings {
  name: string;
  databaseUrl: string;
  mediaPaths: string[];
  excludeTables: string[];
  excludeTableData: string[];
  autoInclude: string;
  invariants: TypedInvariant[];
  drillCommand: string;
  drillSchedule: string;
  storageType: StorageType;
  storagePath: string;
  encryptionKeyIds: string[];
  copyTo: string[];
  minimumCopies: Whole;
  autoBackupEnabled: boolean;
  schedule: string;
  timezone: string;
  backupRetentionDays: Whole;
  maxBackupFiles: Whole;
  keepLast: Whole;
  keepHourly: Whole;
  keepDaily: Whole;
  keepWeekly: Whole;
  keepMonthly: Whole;
  keepYearly: Whole;
  keepWithin: string;
  maxTotalSize: Typed;
  incremental: boolean;
  fullEveryDays: Whole;
  compression: Compression;
  compressionLevel: Whole;
  jitterSeconds: Whole;
  restoreLockTimeout: Whole;
  safetyRetentionDays: Whole;
  archivePrefix: string;
}

export type Field = keyof Settings;

/** The fields that hold numbers. */
export type WholeField = { [Name in Field]: Settings[Name] extends Whole ? Name : never }[Field];

/** The fields' names for people. */
export const LABEL: Record<Field, string> = {
  name: 'Name',
  databaseUrl: 'Database',
  mediaPaths: 'Media folders',
  excludeTables: 'Exclude tables',
  excludeTableData: 'Exclude the rows of tables',
  autoInclude: 'Include new databases',
  invariants: 'Invariants',
  drillCommand: 'Drill command',
  drillSchedule: 'Drill schedule',
  storageType: 'Location',
  storagePath: 'Folder',
  encryptionKeyIds: 'Encryption keys',
  copyTo: 'Copies in',
  minimumCopies: 'Minimum copies',
  autoBackupEnabled: 'Automatic backup',
  schedule: 'Frequency',
  timezone: 'Time zone',
  backupRetentionDays: 'Maximum age (days)',
  maxBackupFiles: 'Maximum number of backups',
  maxTotalSize: 'Maximum total size',
  keepLast: 'Keep last',
  keepHourly: 'Keep hourly',
  keepDaily: 'Keep daily',
  keepWeekly: 'Keep weekly',
  keepMonthly: 'Keep monthly',
  keepYearly: 'Keep yearly',
  keepWithin: 'Keep all within',
  incremental: 'Incremental backups',
  fullEveryDays: 'Full backup every (days)',
  compression: 'Compression',
  compressionLevel: 'Compression level',
  jitterSeconds: 'Maximum start delay (seconds)',
  restoreLockTimeout: 'Lock timeout for restores (seconds)',
  safetyRetentionDays: 'Keep safety backups (days)',
  archivePrefix: 'Archive name prefix',
};

/** Rules that may be absent: empty takes the rule away. */
const OPTIONAL: readonly Field[] = [
  'keepLast',
  'keepHourly',
  'keepDaily',
  'keepWeekly',
  'keepMonthly',
  'keepYearly',
  'keepWithin',
  'maxTotalSize',
];

/** What is none where it is left empty. */
const NULLABLE: readonly Field[] = ['archivePrefix', 'autoInclude', 'drillCommand', 'drillSchedule'];
const mayBeEmpty = (field: Field) => NULLABLE.includes(field) || OPTIONAL.includes(field);

/** The settings that decide what is deleted. */
export const RETENTION: readonly Field[] = [
  'backupRetentionDays',
  'maxBackupFiles',
  ...OPTIONAL,
  'safetyRetentionDays',
  'timezone',
];

/** The settings that few people ever change. */
export const ADVANCED: readonly Field[] = [
  'incremental',
  'fullEveryDays',
  'compression',
  'compressionLevel',
  'jitterSeconds',
  'restoreLockTimeout',
  'safetyRetentionDays',
  'archivePrefix',
];

const NEW: Settings = {
  name: '',
  databaseUrl: '',
  mediaPaths: [],
  excludeTables: [],
  excludeTableData: [],
  autoInclude: '',
  invariants: [],
  drillCommand: '',
  drillSchedule: '',
  storageType: 'LOCAL',
  storagePath: '',
  encryptionKeyIds: [],
  copyTo: [],
  minimumCopies: 1,
  autoBackupEnabled: true,
  schedule: '0 2 * * *',
  timezone: ownZone,
  backupRetentionDays: 30,
  maxBackupFiles: 30,
  keepLast: '',
  keepHourly: '',
  keepDaily: '',
  keepWeekly: '',
  keepMonthly: '',
  keepYearly: '',
  keepWithin: '',
  maxTotalSize: '',
  incremental: false,
  fullEveryDays: 7,
  compression: 'DEFLATE',
  compressionLevel: 1,
  jitterSeconds: 0,
  restoreLockTimeout: 30,
  safetyRetentionDays: 7,
  archivePrefix: '',
};

/** The settings of a saved config, or those that a new one begins with. */
export function settingsOf(config: ConfigPartsFragment | null): Settings {
  if (config === null) return NEW;
  const saved = {
    ...config,
    encryptionKeyIds: config.encryptionKeys.map(({ id }) => id),
    invariants: config.invariants.map(({ name, sql, expect, value }) => ({ name, sql, expect, value: value ?? '' })),
  };
  const fields = (Object.keys(NEW) as Field[]).map((field) => [field, saved[field] ?? '']);
  return Object.fromEntries(fields) as Settings;
}

/** What needs no value is sent none, whatever was typed before another expectation was chosen. */
function asInput({ expect, value, ...one }: TypedInvariant): InvariantInput {
  const isCompared = expect === 'EQUALS' || expect === 'AT_LEAST' || expect === 'AT_MOST';
  return { ...one, expect, value: isCompared ? value : null };
}

/** Settings as the API takes them. */
export function inputOf(settings: Partial<Settings>): BackupConfigInput {
  const value = (field: Field) => {
    const typed = settings[field];
    if (field === 'invariants') return settings.invariants?.map(asInput);
    if (Array.isArray(typed)) return (typed as string[]).map((path) => path.trim()).filter((path) => path !== '');
    const text = typeof typed === 'string' ? typed.trim() : typed;
    return text === '' && mayBeEmpty(field) ? null : text;
  };
  return Object.fromEntries((Object.keys(settings) as Field[]).map((field) => [field, value(field)]));
}

/** The settings of a new config as the API takes them: a prefix that is left empty is made of its name. */
export function newInputOf(settings: Settings): BackupConfigInput {
  const { archivePrefix, ...others } = inputOf(settings);
  return archivePrefix === null ? others : { ...others, archivePrefix };
}

/** Some of the settings. */
export const only = (settings: Settings, fields: readonly Field[]): Partial<Settings> =>
  Object.fromEntries(fields.map((field) => [field, settings[field]]));

export const same = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);

/** Those of them that are not the same as in `settings`. */
export const differing = (changes: Partial<Settings>, settings: Settings): Partial<Settings> =>
  Object.fromEntries(Object.entries(changes).filter(([field, value]) => !same(value, settings[field as Field])));

/** What cannot be sent: what the server could not distinguish from a missing field, or what means nothing. */
export function faultOf(settings: Partial<Settings>): Problem | null {
  const field = (Object.keys(settings) as Field[]).find(
    (each) => settings[each] === '' && each !== 'storagePath' && !mayBeEmpty(each),
  );
  if (field !== undefined) return { code: 'BAD_USER_INPUT', message: 'This field is required.', hint: '', field };
  const hint = sizeProblem(settings.maxTotalSize ?? '');
  if (hint === null) return null;
  return { code: 'BAD_USER_INPUT', message: 'This is not a size.', hint, field: 'maxTotalSize' };
}

/** What was changed and is not saved, by config. It outlives the form, so looking at another page loses nothing. */
const drafts = createStore<ReadonlyMap<string, Partial<Settings>>>(new Map());
const NONE: Partial<Settings> = {};

export const hasDraft = (config: string) => drafts.get().has(config);

/** Without any change there is no draft. */
export function setDraft(config: string, change: (present: Partial<Settings>) => Partial<Settings>): void {
  const next = new Map(drafts.get());
  const changes = change(next.get(config) ?? NONE);
  if (Object.keys(changes).length === 0) next.delete(config);
  else next.set(config, changes);
  drafts.set(next);
}

export function useDraft(config: string): Partial<Settings> {
  return useStore(drafts, (all) => all.get(config) ?? NONE);
}

onSignOut(() => drafts.set(new Map()));
window.addEventListener('beforeunload', (event) => {
  if (drafts.get().size > 0) event.preventDefault();
});
