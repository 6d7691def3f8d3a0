import { Field, Float, ID, Int, ObjectType } from 'type-graphql';
import type { Services } from './context.js';
import type { BackupStatus as Status, RunStatus } from '../models/index.js';
import { BackupStatus, ControlDatabaseKind, Health, JobStoreKind, RestoreStatus, StorageType } from './enums.js';
import type { BackupDay as Day } from '../core/status/history.js';
import type { DrillState as State, Health as Word } from '../core/status/health.js';
import type { StorageType as Storage } from '../core/ports.js';
import type { BackupConfigRow } from '../models/index.js';
import { Refusal } from './refusal.type.js';
import { ByteSize, DateTime } from './scalars.js';

@ObjectType({ description: 'How many backups are in a state.' })
export class BackupCount {
  @Field(() => BackupStatus, { description: 'The state.' })
  status!: Status;

  @Field(() => Int, { description: 'How many.' })
  count!: number;
}

@ObjectType({ description: 'The MANUAL and AUTO backups of one day.' })
export class BackupDay implements Day {
  @Field(() => String, { description: 'The day in the requested time zone, such as `2025-07-24`.' })
  date!: string;

  @Field(() => Int, { description: 'Backups that completed, whether their archive is still there or not.' })
  completed!: number;

  @Field(() => Int, { description: 'Backups that failed.' })
  failed!: number;

  @Field(() => ByteSize, {
    nullable: true,
    description: "Bytes of the archive of the day's newest completed backup; null if there was none.",
  })
  size!: number | null;

  @Field(() => ID, { nullable: true, description: 'That backup.' })
  newestId!: string | null;

  @Field(() => ByteSize, {
    nullable: true,
    description:
      "Bytes of the archive of the day's newest full backup; null if there was none. Comparable from day to day, as those of incremental ones are not.",
  })
  fullSize!: number | null;
}

@ObjectType({ description: 'How many restores are in a state.' })
export class RestoreCount {
  @Field(() => RestoreStatus, { description: 'The state.' })
  status!: RunStatus;

  @Field(() => Int, { description: 'How many.' })
  count!: number;
}

@ObjectType({ description: 'A reason why the health is not OK.' })
export class HealthReason {
  @Field(() => Health, { description: 'Severity.' })
  level!: Word;

  @Field(() => String, {
    description: 'Such as `OVERDUE`, `LAST_BACKUP_FAILED`, `NO_WORKER`: see docs/troubleshooting.md.',
  })
  code!: string;

  @Field(() => String, { description: 'What is wrong.' })
  message!: string;

  @Field(() => String, { description: 'What to do.' })
  hint!: string;

  @Field(() => ID, { nullable: true, description: 'The config that it is about, if it is about one.' })
  configId!: number | null;
}

@ObjectType({ description: 'What the newest drill that passed has shown of a config.' })
export class DrillState implements State {
  @Field(() => DateTime, { description: 'When it ended.' })
  passedAt!: Date;

  @Field(() => DateTime, {
    description: 'When the backup was made that it restored: what was written since is not known to come back.',
  })
  stateAt!: Date;

  @Field(() => Float, { description: 'How long its restore took.' })
  restoreSeconds!: number;

  @Field(() => Float, { description: 'How long a restore of the newest good backup would take, by the bytes of both.' })
  forecastSeconds!: number;
}

@ObjectType({ description: 'How one config is doing.' })
export class ConfigHealth {
  config!: Pick<BackupConfigRow, 'id'>;

  /** The id of its newest completed backup. */
  lastBackupId!: string | null;

  @Field(() => DateTime, { nullable: true, description: 'When its newest completed backup was made, verified or not.' })
  lastSuccessAt!: Date | null;

  @Field(() => DateTime, {
    nullable: true,
    description:
      'When its newest verified backup was made: earlier than `lastSuccessAt` if the newest is not verified.',
  })
  lastProvenAt!: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'When its newest failed backup was made.' })
  lastFailureAt!: Date | null;

  @Field(() => String, { nullable: true, description: 'Why the last backup failed, if it did.' })
  lastErrorCode!: string | null;

  @Field(() => Boolean, { description: 'Whether its automatic backup is more than two hours late.' })
  overdue!: boolean;

  @Field(() => DrillState, { nullable: true, description: 'What drills have shown; null if none has passed.' })
  drill!: DrillState | null;
}

@ObjectType({ description: 'A storage that has archives.' })
export class StorageHealth {
  @Field(() => StorageType, { description: 'Its type.' })
  storageType!: Storage;

  @Field(() => String, { description: 'Its folder.' })
  storagePath!: string;

  destinationId!: number;

  @Field(() => ByteSize, { nullable: true, description: 'Free bytes; null if unknown.' })
  free!: number | null;

  @Field(() => ByteSize, { nullable: true, description: 'All bytes; null if unknown.' })
  total!: number | null;

  @Field(() => Refusal, { nullable: true, description: 'Why the storage cannot be reached, if it cannot.' })
  error!: Refusal | null;
}

@ObjectType({ description: 'How this installation is doing.' })
export class SystemStatus {
  @Field(() => Health, { description: 'In one word.' })
  health!: Word;

  @Field(() => [HealthReason], { description: 'Why it is not OK; empty if it is.' })
  reasons!: HealthReason[];

  @Field(() => [HealthReason], {
    description: 'What to know although nothing is wrong, such as `NO_COPY_AWAY`; their level is OK.',
  })
  notices!: HealthReason[];

  @Field(() => [String], { description: 'Processes that run jobs now, as host:process.' })
  nodes!: string[];

  @Field(() => Int, { description: 'Runs that wait for a worker.' })
  pending!: number;

  @Field(() => Int, { description: 'Runs in progress.' })
  running!: number;

  @Field(() => Int, { description: 'How many configs there are.' })
  configCount!: number;

  @Field(() => [StorageHealth], { description: 'Each storage that has archives.' })
  storages!: StorageHealth[];

  @Field(() => String, { description: 'Version of db-manager, such as `0.1.0`.' })
  version!: string;

  @Field(() => String, { description: 'Version of Node.js, such as `v22.11.0`.' })
  nodeVersion!: string;

  @Field(() => DateTime, { description: 'When the process that answers has started.' })
  startedAt!: Date;

  @Field(() => ControlDatabaseKind, { description: "Where the product's own records are stored." })
  controlDatabase!: Services['about']['controlDatabase'];

  @Field(() => JobStoreKind, { description: 'Where waiting jobs are stored.' })
  jobStore!: Services['about']['jobStore'];
}
