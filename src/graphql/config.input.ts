import { ArrayMaxSize, MaxLength } from 'class-validator';
import { Field, InputType, Int } from 'type-graphql';
import type { StorageType as Storage } from '../core/ports.js';
import { StorageType } from './enums.js';
import { ByteSize } from './scalars.js';

@InputType({
  description: 'The settings of a config. What is left out stays as it is, or gets its default in a new one.',
})
export class BackupConfigInput {
  @Field(() => String, { nullable: true, description: 'Unique, 1 to 200 characters. Needed for a new one.' })
  name?: string;

  @MaxLength(4_000)
  @Field(() => String, {
    nullable: true,
    description: 'Such as `sqlite:/srv/okpuja/db.sqlite3`. Needed for a new one.',
  })
  databaseUrl?: string;

  @ArrayMaxSize(100)
  @MaxLength(4_000, { each: true })
  @Field(() => [String], { nullable: true, description: 'Absolute folders, such as `["/srv/okpuja/media"]`.' })
  mediaPaths?: string[];

  @Field(() => StorageType, { nullable: true, description: 'Default: LOCAL.' })
  storageType?: Storage;

  @MaxLength(4_000)
  @Field(() => String, { nullable: true, description: 'Inside the backups folder for LOCAL; absolute for SYSTEM.' })
  storagePath?: string;

  @Field(() => Boolean, { nullable: true, description: 'Default: true.' })
  autoBackupEnabled?: boolean;

  @MaxLength(200)
  @Field(() => String, {
    nullable: true,
    description: 'Five-field cron, or `hourly`, `daily`, `weekly`, `monthly`. Default: `0 2 * * *`.',
  })
  schedule?: string;

  @MaxLength(64)
  @Field(() => String, { nullable: true, description: 'Default: `UTC`.' })
  timezone?: string;

  @Field(() => Int, { nullable: true, description: '1 or more. Default: 30.' })
  backupRetentionDays?: number;

  @Field(() => Int, { nullable: true, description: '1 or more. Default: 30.' })
  maxBackupFiles?: number;

  @Field(() => Int, { nullable: true, description: 'Seconds, 1 or more. Default: 30.' })
  restoreLockTimeout?: number;

  @Field(() => Int, { nullable: true, description: 'Days, 1 or more. Default: 7.' })
  safetyRetentionDays?: number;

  @Field(() => Int, { nullable: true, description: 'The newest so many stay. 1 or more; null takes the rule away.' })
  keepLast?: number | null;

  @Field(() => Int, {
    nullable: true,
    description:
      'Of the last so many hours that have a backup, the newest of each stays. 1 or more; null takes the rule away.',
  })
  keepHourly?: number | null;

  @Field(() => Int, {
    nullable: true,
    description:
      'Of the last so many days that have a backup, the newest of each stays. 1 or more; null takes the rule away.',
  })
  keepDaily?: number | null;

  @Field(() => Int, {
    nullable: true,
    description:
      'Of the last so many ISO weeks that have a backup, the newest of each stays. 1 or more; null takes the rule away.',
  })
  keepWeekly?: number | null;

  @Field(() => Int, {
    nullable: true,
    description:
      'Of the last so many months that have a backup, the newest of each stays. 1 or more; null takes the rule away.',
  })
  keepMonthly?: number | null;

  @Field(() => Int, {
    nullable: true,
    description:
      'Of the last so many years that have a backup, the newest of each stays. 1 or more; null takes the rule away.',
  })
  keepYearly?: number | null;

  @MaxLength(32)
  @Field(() => String, {
    nullable: true,
    description: 'A time such as `12h`, `30d`, `2w`, `6m`, `1y`; null takes the rule away.',
  })
  keepWithin?: string | null;

  @Field(() => ByteSize, { nullable: true, description: 'Bytes, 1 or more; null takes the limit away.' })
  maxTotalSize?: number | null;

  @MaxLength(40)
  @Field(() => String, {
    nullable: true,
    description:
      'How names of its archives begin: letters, digits, hyphens. Default: made of the name; null and for the first config: DB_BACKUP_PREFIX.',
  })
  archivePrefix?: string | null;

  @Field(() => Int, { nullable: true, description: 'Seconds, 0 to 3600. Default: 0.' })
  jitterSeconds?: number;
}
