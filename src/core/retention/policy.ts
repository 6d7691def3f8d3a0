import { badInput } from '../../errors.js';
import type { BackupConfigRow } from '../../models/index.js';

/** What to keep. A rule that is absent or null does not apply. */
export interface RetentionPolicy {
  retentionDays?: number | null;
  maxFiles?: number | null;
  /** Bytes. */
  maxTotalSize?: number | null;
  keepLast?: number | null;
  keepHourly?: number | null;
  keepDaily?: number | null;
  keepWeekly?: number | null;
  keepMonthly?: number | null;
  keepYearly?: number | null;
  /** A time before the newest backup: `12h`, `30d`, `2w`, `6m`, `1y`, or several, the largest first: `1y6m`. */
  keepWithin?: string | null;
  safetyRetentionDays?: number | null;
}

/** The settings of a config that are keep-rules. */
export const KEEP_RULES = [
  'keepLast',
  'keepHourly',
  'keepDaily',
  'keepWeekly',
  'keepMonthly',
  'keepYearly',
  'keepWithin',
  'maxTotalSize',
] as const;

type PolicyField = (typeof KEEP_RULES)[number] | 'backupRetentionDays' | 'maxBackupFiles' | 'safetyRetentionDays';

/** The retention policy of a config. */
export function policyOf(config: Pick<BackupConfigRow, PolicyField>): RetentionPolicy {
  const rules = Object.fromEntries(KEEP_RULES.map((rule) => [rule, config[rule]]));
  return {
    ...rules,
    retentionDays: config.backupRetentionDays,
    maxFiles: config.maxBackupFiles,
    safetyRetentionDays: config.safetyRetentionDays,
  };
}

/** Counts of a policy, under the names that they have in a config. */
const COUNTS = {
  retentionDays: 'backupRetentionDays',
  maxFiles: 'maxBackupFiles',
  keepLast: 'keepLast',
  keepHourly: 'keepHourly',
  keepDaily: 'keepDaily',
  keepWeekly: 'keepWeekly',
  keepMonthly: 'keepMonthly',
  keepYearly: 'keepYearly',
  safetyRetentionDays: 'safetyRetentionDays',
} as const satisfies Partial<Record<keyof RetentionPolicy, string>>;

const MAX_COUNT = 100_000;
const DURATION = /^(?:(\d{1,4})y)?(?:(\d{1,5})m)?(?:(\d{1,5})w)?(?:(\d{1,5})d)?(?:(\d{1,6})h)?$/;

/**
 * Refuses a policy that could not work or would keep nothing.
 * @throws AppError BAD_USER_INPUT naming the config's field
 */
export function assertPolicy(policy: RetentionPolicy): void {
  for (const [key, field] of Object.entries(COUNTS) as [keyof typeof COUNTS, string][]) {
    const value = policy[key] ?? null;
    if (value !== null && !(Number.isInteger(value) && value >= 1 && value <= MAX_COUNT)) {
      throw badInput(field, `${value} is not a whole number from 1 to ${MAX_COUNT}.`, 'Leave it out to do without it.');
    }
  }
  const { maxTotalSize, keepWithin } = policy;
  if ((maxTotalSize ?? null) !== null && !(Number.isSafeInteger(maxTotalSize) && Number(maxTotalSize) >= 1)) {
    throw badInput(
      'maxTotalSize',
      `${maxTotalSize} is not a number of bytes above 0.`,
      'A size of 0 would keep nothing.',
    );
  }
  if ((keepWithin ?? null) !== null && durationOf(keepWithin ?? '').every((part) => part === 0)) {
    throw badInput('keepWithin', `"${keepWithin}" is not a time such as 12h, 30d, 2w, 6m or 1y.`);
  }
  const { safetyRetentionDays: _aside, ...rules } = policy;
  if (Object.values(rules).every((value) => (value ?? null) === null)) {
    throw badInput(
      'backupRetentionDays',
      'the policy has no rule at all.',
      'Set a number of days, of files, or another rule.',
    );
  }
}

/** Years, months, weeks, days and hours; all 0 if the text is no duration. */
export function durationOf(text: string): number[] {
  const match = DURATION.exec(text);
  return [1, 2, 3, 4, 5].map((group) => Number(match?.[group] ?? 0));
}
