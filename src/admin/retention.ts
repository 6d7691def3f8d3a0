import type { ConfigPartsFragment } from '../client/generated/graphql.js';
import { plural, size } from './format.js';

type Rules = Pick<
  ConfigPartsFragment,
  | 'backupRetentionDays'
  | 'maxBackupFiles'
  | 'maxTotalSize'
  | 'keepLast'
  | 'keepHourly'
  | 'keepDaily'
  | 'keepWeekly'
  | 'keepMonthly'
  | 'keepYearly'
  | 'keepWithin'
>;

/** How long backups stay, in a few words: `30 days, 30 backups; also 7 daily and 4 weekly`. */
export function retentionInWords(rules: Rules): string {
  const limits = [
    plural(rules.backupRetentionDays, 'day'),
    plural(rules.maxBackupFiles, 'backup'),
    ...(rules.maxTotalSize ? [size(rules.maxTotalSize)] : []),
  ];
  const keep: [number | null | undefined, string][] = [
    [rules.keepLast, 'last'],
    [rules.keepHourly, 'hourly'],
    [rules.keepDaily, 'daily'],
    [rules.keepWeekly, 'weekly'],
    [rules.keepMonthly, 'monthly'],
    [rules.keepYearly, 'yearly'],
  ];
  const kept = keep.flatMap(([count, word]) => (count ? [`${count} ${word}`] : []));
  if (rules.keepWithin) kept.push(`all within ${rules.keepWithin}`);
  return `${limits.join(', ')}${kept.length === 0 ? '' : `; also ${kept.join(', ')}`}`;
}
