import { Field, ID, Int, ObjectType } from 'type-graphql';
import type { DatabaseEngine as Engine, StorageType as Storage } from '../core/ports.js';
import type { CompressionMethod } from '../models/index.js';
import { Invariant } from './invariant.type.js';
import { Compression, DatabaseEngine, StorageType } from './enums.js';
import { connectionOf } from './page.type.js';
import { Refusal } from './refusal.type.js';
import { ByteSize, DateTime } from './scalars.js';

@ObjectType({
  simpleResolvers: true,
  description: 'What to protect and how: one database with its media, its storage, schedule and retention.',
})
export class BackupConfig {
  @Field(() => ID, { description: 'Such as `1`, which is made from the environment at first start.' })
  id!: string | number;

  @Field(() => String, { description: 'Name to show, unique.' })
  name!: string;

  @Field(() => DatabaseEngine, { description: 'Kind of the database, by its URL.' })
  engine!: Engine;

  @Field(() => ID, {
    description: 'Names the application: every archive of it carries this id, whatever name and paths become.',
  })
  applicationId!: string;

  @Field(() => String, {
    nullable: true,
    description: 'How names of its archives begin; null: as DB_BACKUP_PREFIX says.',
  })
  archivePrefix!: string | null;

  @Field(() => [String], { description: 'Folders with media, absolute.' })
  mediaPaths!: string[];

  @Field(() => [String], { description: 'Patterns of tables that its backups leave out, as a whole.' })
  excludeTables!: string[];

  @Field(() => [String], { description: 'Patterns of tables whose rows its backups leave out.' })
  excludeTableData!: string[];

  @Field(() => String, {
    nullable: true,
    description:
      'Databases of its server with such names get a config like this one when they appear; null: none does.',
  })
  autoInclude!: string | null;

  @Field(() => [Invariant], { description: 'Queries with the answers that its database must give.' })
  invariants!: Invariant[];

  @Field(() => String, {
    nullable: true,
    description: 'The file name of the command that each drill runs on what it restored; null: none.',
  })
  drillCommand!: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'When its newest good backup is drilled: cron in `timezone`; null: never by itself.',
  })
  drillSchedule!: string | null;

  @Field(() => DateTime, { nullable: true, description: 'When the next such drill is due; null where none is.' })
  nextDrillAt!: Date | null;

  @Field(() => StorageType, { description: 'Where archives are stored.' })
  storageType!: Storage;

  @Field(() => String, { description: 'Folder (or bucket and prefix) of the archives.' })
  storagePath!: string;

  @Field(() => [ID], { description: 'Ids of the destinations that get copies: all but the first.' })
  copyTo!: (string | number)[];

  @Field(() => Int, { description: 'How many copies a backup needs to count for the retention of others.' })
  minimumCopies!: number;

  @Field(() => Boolean, { description: 'Whether automatic backups are on.' })
  autoBackupEnabled!: boolean;

  @Field(() => String, { description: 'Five-field cron, such as `0 2 * * *` for 02:00 each day.' })
  schedule!: string;

  @Field(() => String, { description: 'Time zone of the schedule, such as `Asia/Kolkata`.' })
  timezone!: string;

  @Field(() => Int, { description: 'Maximum age of backups in days; older ones may be deleted.' })
  backupRetentionDays!: number;

  @Field(() => Int, { description: 'Maximum number of backups; beyond it, the oldest may be deleted.' })
  maxBackupFiles!: number;

  @Field(() => Boolean, {
    description: 'Whether its backups hold only what changed since the one before: see `fullEveryDays`.',
  })
  incremental!: boolean;

  @Field(() => Int, { description: 'After so many days the next backup is a full one; only with `incremental`.' })
  fullEveryDays!: number;

  @Field(() => Compression, { description: 'How archives are compressed.' })
  compression!: CompressionMethod;

  @Field(() => Int, { description: 'From 0, the fastest, to 9, the smallest.' })
  compressionLevel!: number;

  @Field(() => Int, { description: "How long a restore waits for another program's lock, in seconds." })
  restoreLockTimeout!: number;

  @Field(() => Int, { description: 'How long safety backups stay pinned, in days.' })
  safetyRetentionDays!: number;

  @Field(() => Int, { nullable: true, description: 'How many of the newest backups are kept.' })
  keepLast!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'For how many hours the newest backup of each is kept.',
  })
  keepHourly!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'For how many days the newest backup of each is kept.',
  })
  keepDaily!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'For how many ISO weeks the newest backup of each is kept.',
  })
  keepWeekly!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'For how many months the newest backup of each is kept.',
  })
  keepMonthly!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'For how many years the newest backup of each is kept.',
  })
  keepYearly!: number | null;

  @Field(() => String, {
    nullable: true,
    description: 'Every backup made within this time before the newest is kept, such as `30d`.',
  })
  keepWithin!: string | null;

  @Field(() => ByteSize, {
    nullable: true,
    description: 'Maximum total bytes; beyond it, the oldest backups may be deleted.',
  })
  maxTotalSize!: number | null;

  @Field(() => Int, { description: 'Maximum start delay in seconds; fixed per config.' })
  jitterSeconds!: number;

  @Field(() => Refusal, {
    nullable: true,
    description: 'What did not work when it was saved all the same; null once a test or a backup has succeeded.',
  })
  testError!: Refusal | null;

  @Field(() => DateTime, { description: 'When it was created.' })
  createdAt!: Date;

  @Field(() => DateTime, { description: 'When it was last changed.' })
  updatedAt!: Date;
}

export const BackupConfigConnection = connectionOf('BackupConfig', 'configs', BackupConfig);
