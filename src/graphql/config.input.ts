import { ArrayMaxSize, MaxLength } from 'class-validator';
import { ArgsType, Field, ID, InputType, Int } from 'type-graphql';
import type { ConfigInput } from '../core/configs/configs.js';
import type { StorageType as Storage } from '../core/ports.js';
import type { CompressionMethod } from '../models/index.js';
import { Compression, StorageType } from './enums.js';
import { InvariantInput } from './invariant.type.js';
import { destinationId, keyId } from './ids.js';
import { PageArgs } from './page.type.js';
import { ByteSize } from './scalars.js';

@InputType({
  description:
    'The settings of a config. Fields that are left out stay as they are, or get their default in a new config.',
})
export class BackupConfigInput {
  @Field(() => String, { nullable: true, description: 'Unique, 1 to 200 characters. Required for a new config.' })
  name?: string;

  @MaxLength(4_000)
  @Field(() => String, {
    nullable: true,
    description:
      'Such as `sqlite:/srv/okpuja/db.sqlite3`, `postgres://user:password@host:5432/okpuja`, `mysql://user:password@host:3306/okpuja` or `mongodb://user:password@host:27017/okpuja`. Required for a new config.',
  })
  databaseUrl?: string;

  @ArrayMaxSize(100)
  @MaxLength(4_000, { each: true })
  @Field(() => [String], { nullable: true, description: 'Absolute folders, such as `["/srv/okpuja/media"]`.' })
  mediaPaths?: string[];

  @ArrayMaxSize(100)
  @MaxLength(300, { each: true })
  @Field(() => [String], {
    nullable: true,
    description:
      'Tables that backups leave out, as a whole: names as in `tables` of a backup, in which `*` stands for any characters, such as `["log_*"]`. Not for SQLite.',
  })
  excludeTables?: string[];

  @ArrayMaxSize(100)
  @MaxLength(300, { each: true })
  @Field(() => [String], {
    nullable: true,
    description: 'Tables whose rows backups leave out, as `excludeTables`: a restore makes them empty.',
  })
  excludeTableData?: string[];

  @MaxLength(300)
  @Field(() => String, {
    nullable: true,
    description:
      'Databases of its server with such names get a config like this one when they appear, as by `protectDatabases`; `*` stands for any characters, such as `shop_*`. Not those whose config was deleted. Looked for once an hour; null: none does.',
  })
  autoInclude?: string | null;

  @ArrayMaxSize(50)
  @Field(() => [InvariantInput], {
    nullable: true,
    description:
      'Queries with the answers that the database must give, asked in each backup and tried out when they are saved. A ' +
      'broken one makes the backup suspicious. SQLite and PostgreSQL; `[]` removes all.',
  })
  invariants?: InvariantInput[];

  @MaxLength(100)
  @Field(() => String, {
    nullable: true,
    description:
      'The file name of an executable in the folder of DRILL_COMMANDS_DIR, run by each drill on what it restored: see docs/drills.md. Null: none.',
  })
  drillCommand?: string | null;

  @MaxLength(200)
  @Field(() => String, {
    nullable: true,
    description:
      'When its newest good backup is drilled: cron in `timezone`, as `schedule`, such as `weekly`. Null: never by itself.',
  })
  drillSchedule?: string | null;

  @Field(() => StorageType, { nullable: true, description: 'Default: LOCAL.' })
  storageType?: Storage;

  @MaxLength(4_000)
  @Field(() => String, {
    nullable: true,
    description: 'Inside the backups folder for LOCAL; absolute for SYSTEM; otherwise the location of a destination.',
  })
  storagePath?: string;

  @ArrayMaxSize(20)
  @Field(() => [ID], {
    nullable: true,
    description:
      'Where archives are stored, in place of `storageType` and `storagePath`: the run writes the first, the others get copies.',
  })
  destinationIds?: string[] | null;

  @ArrayMaxSize(256)
  @Field(() => [ID], {
    nullable: true,
    description:
      'The keys that its backups are encrypted for; any of them opens a backup. `[]`: they are not encrypted. A passphrase stands alone.',
  })
  encryptionKeyIds?: string[] | null;

  @ArrayMaxSize(20)
  @Field(() => [ID], {
    nullable: true,
    description: 'The destinations that get copies, beside `storageType` and `storagePath`.',
  })
  copyTo?: string[] | null;

  @Field(() => Int, {
    nullable: true,
    description: 'How many copies a backup needs to count for the retention of others. Default: 1.',
  })
  minimumCopies?: number;

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

  @Field(() => Boolean, {
    nullable: true,
    description: 'Store only what changed since the backup before. Default: false.',
  })
  incremental?: boolean;

  @Field(() => Int, {
    nullable: true,
    description: 'After so many days the next backup is a full one, 1 to 365. Default: 7.',
  })
  fullEveryDays?: number;

  @Field(() => Compression, { nullable: true, description: 'Default: DEFLATE.' })
  compression?: CompressionMethod;

  @Field(() => Int, { nullable: true, description: '0 (fastest) to 9 (smallest). Default: 1.' })
  compressionLevel?: number;

  @Field(() => Int, { nullable: true, description: 'Seconds, 1 or more. Default: 30.' })
  restoreLockTimeout?: number;

  @Field(() => Int, { nullable: true, description: 'Days, 1 or more. Default: 7.' })
  safetyRetentionDays?: number;

  @Field(() => Int, {
    nullable: true,
    description: 'How many of the newest backups are kept. 1 or more; null removes the rule.',
  })
  keepLast?: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'For how many hours the newest backup of each is kept. 1 or more; null removes the rule.',
  })
  keepHourly?: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'For how many days the newest backup of each is kept. 1 or more; null removes the rule.',
  })
  keepDaily?: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'For how many ISO weeks the newest backup of each is kept. 1 or more; null removes the rule.',
  })
  keepWeekly?: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'For how many months the newest backup of each is kept. 1 or more; null removes the rule.',
  })
  keepMonthly?: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'For how many years the newest backup of each is kept. 1 or more; null removes the rule.',
  })
  keepYearly?: number | null;

  @MaxLength(32)
  @Field(() => String, {
    nullable: true,
    description: 'A time such as `12h`, `30d`, `2w`, `6m`, `1y`; null removes the rule.',
  })
  keepWithin?: string | null;

  @Field(() => ByteSize, { nullable: true, description: 'Bytes, 1 or more; null removes the limit.' })
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

@ArgsType()
export class ConfigPageArgs extends PageArgs {
  @MaxLength(200)
  @Field(() => String, {
    nullable: true,
    description: 'Part of the name, the database, the storage path or a media folder, in any case, such as `shop`.',
  })
  search?: string | null;
}

/** What the input means to the domain. @throws AppError NOT_FOUND for what cannot be a destination's or key's id */
export function configInput(given: BackupConfigInput): ConfigInput {
  const { destinationIds, copyTo, encryptionKeyIds, invariants, ...input } = given;
  const idsOf = (ids: string[], field: string) => ids.map((id) => destinationId(id, field));
  return {
    ...input,
    ...(invariants && { invariants: invariants.map((one) => ({ ...one, value: one.value ?? null })) }),
    ...(destinationIds && { destinationIds: idsOf(destinationIds, 'destinationIds') }),
    ...(copyTo && { copyTo: idsOf(copyTo, 'copyTo') }),
    ...(encryptionKeyIds && { encryptionKeyIds: encryptionKeyIds.map((id) => keyId(id, 'encryptionKeyIds')) }),
  };
}
