import { MaxLength } from 'class-validator';
import { Field, ID, InputType } from 'type-graphql';
import type { StorageType as Storage } from '../core/ports.js';
import type { BackupMode as Mode, BackupStatus as Status, BackupType as Type } from '../models/index.js';
import { BackupMode, BackupStatus, BackupType, StorageType } from './enums.js';
import { DateTime } from './scalars.js';

@InputType({
  description: 'Filter for backups. All conditions apply; fields that are left out, null or empty do not restrict.',
})
export class BackupFilter {
  @Field(() => ID, { nullable: true, description: 'Of this config, such as `1`.' })
  configId?: string | null;

  @Field(() => [BackupStatus], { nullable: true, description: 'In one of these states.' })
  status?: Status[] | null;

  @Field(() => [BackupType], { nullable: true, description: 'Made for one of these reasons.' })
  backupType?: Type[] | null;

  @Field(() => [StorageType], { nullable: true, description: 'Stored in one of these ways.' })
  storageType?: Storage[] | null;

  @Field(() => [BackupMode], { nullable: true, description: 'Full or incremental.' })
  mode?: Mode[] | null;

  @Field(() => Boolean, {
    nullable: true,
    description:
      'True: of each chain only the full backup and the newest incremental one. Those that another one builds on are left out, unless they failed or run.',
  })
  newestOfChain?: boolean | null;

  @Field(() => DateTime, { nullable: true, description: 'Requested at this time or later.' })
  createdAfter?: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'Requested before this time.' })
  createdBefore?: Date | null;

  @MaxLength(200)
  @Field(() => String, {
    nullable: true,
    description: 'Part of the id, file name, note, database name or error message, in any case, such as `2025072`.',
  })
  search?: string | null;
}

@InputType({ description: 'A request for a backup. `{}` backs up the first config with its own settings.' })
export class CreateBackupInput {
  @Field(() => ID, { nullable: true, description: 'What to back up; the first config if left out.' })
  configId?: string | null;

  @Field(() => BackupType, {
    nullable: true,
    defaultValue: 'MANUAL',
    description: 'MANUAL or AUTO; the others are made by uploads and restores only.',
  })
  backupType?: Type | null;

  @Field(() => StorageType, { nullable: true, description: 'Where to store it; as the config says if left out.' })
  storageType?: Storage | null;

  @MaxLength(4_000)
  @Field(() => String, {
    nullable: true,
    description:
      'Another folder: inside the backups folder for LOCAL (`before-update`), absolute for SYSTEM (`/mnt/disk`).',
  })
  customPath?: string | null;

  @MaxLength(2_000)
  @Field(() => String, { nullable: true, description: 'A note, such as `before the 4.2 update`.' })
  note?: string | null;

  @Field(() => Boolean, {
    nullable: true,
    defaultValue: false,
    description:
      'Keeps a database with damaged pages as it is, instead of failing with DATABASE_CORRUPT: see `Backup.damaged`.',
  })
  allowDamaged?: boolean | null;

  @Field(() => BackupMode, {
    nullable: true,
    description:
      'INCREMENTAL stores only what changed since the last one; where there is nothing to build on, a full backup is made and says why. As the config says if left out.',
  })
  mode?: Mode | null;
}
