import { Field, ID, Int, ObjectType } from 'type-graphql';
import type { DatabaseEngine as Engine, StorageType as Storage } from '../core/ports.js';
import { DatabaseEngine, StorageType } from './enums.js';
import { ByteSize, DateTime } from './scalars.js';

@ObjectType({
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

  @Field(() => StorageType, { description: 'Where archives lie.' })
  storageType!: Storage;

  @Field(() => String, { description: 'Folder (or bucket and prefix) that archives lie in.' })
  storagePath!: string;

  @Field(() => Boolean, { description: 'Whether the schedule makes backups.' })
  autoBackupEnabled!: boolean;

  @Field(() => String, { description: 'Five-field cron, such as `0 2 * * *` for 02:00 each day.' })
  schedule!: string;

  @Field(() => String, { description: 'Time zone of the schedule, such as `Asia/Kolkata`.' })
  timezone!: string;

  @Field(() => Int, { description: 'Backups older than so many days may be deleted.' })
  backupRetentionDays!: number;

  @Field(() => Int, { description: 'More backups than so many may be deleted, oldest first.' })
  maxBackupFiles!: number;

  @Field(() => Int, { description: "How long a restore waits for another program's lock, in seconds." })
  restoreLockTimeout!: number;

  @Field(() => Int, { description: 'How long safety backups stay pinned, in days.' })
  safetyRetentionDays!: number;

  @Field(() => Int, { nullable: true, description: 'The newest so many stay.' })
  keepLast!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Of the last so many hours that have a backup, the newest of each stays.',
  })
  keepHourly!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Of the last so many days that have a backup, the newest of each stays.',
  })
  keepDaily!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Of the last so many ISO weeks that have a backup, the newest of each stays.',
  })
  keepWeekly!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Of the last so many months that have a backup, the newest of each stays.',
  })
  keepMonthly!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Of the last so many years that have a backup, the newest of each stays.',
  })
  keepYearly!: number | null;

  @Field(() => String, { nullable: true, description: 'Made within this time before the newest stay, such as `30d`.' })
  keepWithin!: string | null;

  @Field(() => ByteSize, {
    nullable: true,
    description: 'What does not fit into so many bytes may be deleted, oldest first.',
  })
  maxTotalSize!: number | null;

  @Field(() => Int, { description: 'Runs begin up to so many seconds later, always the same for a config.' })
  jitterSeconds!: number;

  @Field(() => DateTime, { description: 'When it was made.' })
  createdAt!: Date;

  @Field(() => DateTime, { description: 'When it was last changed.' })
  updatedAt!: Date;
}
