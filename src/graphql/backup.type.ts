import { Field, Float, ID, Int, ObjectType } from 'type-graphql';
import type { DatabaseEngine as Engine, ExcludedTable as Excluded, StorageType as Storage } from '../core/ports.js';
import type {
  Anomaly as AnomalyValue,
  BackupStatus as Status,
  BackupType as Type,
  Origin,
  VerificationLevel as Level,
} from '../models/index.js';
import { ANOMALY_CODES } from '../models/index.js';
import { InvariantResult } from './invariant.type.js';
import {
  BackupMode,
  BackupStatus,
  BackupType,
  DatabaseEngine,
  ExcludedPart,
  StorageType,
  VerificationLevel,
} from './enums.js';
import { connectionOf } from './page.type.js';
import { ByteSize, DateTime } from './scalars.js';

@ObjectType({ description: 'A table of a backup.' })
export class BackupTable {
  @Field(() => String, { description: 'Name of the table, such as `auth_user`.' })
  name!: string;

  @Field(() => Int, { description: 'How many rows it has in the backup.' })
  rowCount!: number;
}

@ObjectType({ description: 'A table that was left out of a backup on request.' })
export class ExcludedTable implements Excluded {
  @Field(() => String, { description: 'Name of the table.' })
  table!: string;

  @Field(() => ExcludedPart, { description: 'What of it was left out.' })
  what!: Excluded['what'];
}

@ObjectType({
  description: 'Whose data an archive holds, as it says itself. What an older format does not say is null.',
})
export class BackupOrigin implements Origin {
  @Field(() => String, { nullable: true, description: 'Name of the config that made it.' })
  config!: string | null;

  @Field(() => String, { nullable: true, description: 'Name of the machine.' })
  host!: string | null;

  @Field(() => String, { nullable: true, description: 'Address of the database, without a password.' })
  database!: string | null;

  @Field(() => [String], { description: 'The media folders on that machine.' })
  mediaPaths!: string[];
}

@ObjectType({ description: 'A way in which a backup is unlike those before it.' })
export class Anomaly {
  @Field(() => String, { description: `For programs: ${ANOMALY_CODES.map((code) => `\`${code}\``).join(', ')}.` })
  code!: string;

  @Field(() => String, { description: 'For people: what, how much, and compared with which backup.' })
  message!: string;

  @Field(() => String, {
    nullable: true,
    description: 'The table that it is about; null if it is about no single one.',
  })
  table!: string | null;

  @Field(() => Float, {
    nullable: true,
    description: 'The number before: rows, files, bytes, findings, or a share from 0 to 1, as the code says.',
  })
  before!: number | null;

  @Field(() => Float, { nullable: true, description: 'The number in this backup; null where there is none.' })
  after!: number | null;
}

@ObjectType({ description: 'One run of a backup and, once COMPLETED, its archive.' })
export class Backup {
  @Field(() => ID, { description: 'Such as `backup_20250724_143022_a1b2c3d4`: date and time are UTC.' })
  id!: string;

  @Field(() => BackupType, { description: 'Why it was made.' })
  backupType!: Type;

  @Field(() => BackupMode, { description: 'What the archive holds.' })
  mode!: keyof typeof BackupMode;

  @Field(() => ID, {
    nullable: true,
    description:
      'The incremental backup of which this is the same state as a full one: see `consolidateBackup`. Null for any other.',
  })
  consolidates?: string | null;

  @Field(() => BackupStatus, { description: 'Its state.' })
  status!: Status;

  @Field(() => StorageType, { description: 'The kind of storage of the first copy.' })
  storageType!: Storage;

  @Field(() => DatabaseEngine, { description: 'Kind of the database that was backed up.' })
  engine!: Engine;

  @Field(() => String, { description: 'Name of the database that was backed up, such as `db.sqlite3`.' })
  databaseName!: string;

  @Field(() => ID, {
    nullable: true,
    description: 'The application whose data it holds: see `BackupConfig.applicationId`. Null if it does not say.',
  })
  applicationId!: string | null;

  @Field(() => BackupOrigin, { nullable: true, description: 'Whose data it holds; null if it does not say.' })
  origin!: Origin | null;

  @Field(() => String, { description: 'Name of the archive, such as `okpuja_backup_20250724_143022.zip`.' })
  fileName!: string;

  @Field(() => String, { description: 'Full path of the first copy, for people.' })
  filePath!: string;

  @Field(() => ByteSize, { nullable: true, description: 'Bytes of the stored archive; null until it is stored.' })
  fileSize!: number | null;

  @Field(() => String, { nullable: true, description: 'SHA-256 of the stored archive, in hex.' })
  checksum!: string | null;

  @Field(() => Float, { description: 'How much is done, 0 to 1.' })
  progress!: number;

  @Field(() => String, { nullable: true, description: 'The present phase; null when the run is not active.' })
  phase!: string | null;

  @Field(() => String, { nullable: true, description: 'Why it failed: a code of the error catalogue.' })
  errorCode!: string | null;

  @Field(() => String, { nullable: true, description: 'Why it failed, in words.' })
  errorMessage!: string | null;

  @Field(() => String, { nullable: true, description: 'What to do about the error.' })
  errorHint!: string | null;

  @Field(() => [String], { description: 'Warnings although the backup succeeded.' })
  warnings!: string[];

  @Field(() => Boolean, {
    description:
      'Whether its database has damaged pages and was kept as it is. Such a backup is never verified and never counts as a ' +
      'good one.',
  })
  damaged!: boolean;

  @Field(() => [InvariantResult], {
    description: 'What the invariants of its config came to in its state; empty where there were none.',
  })
  invariants!: InvariantResult[];

  @Field(() => [Anomaly], {
    description:
      'How it is unlike the backups before it, the gravest first. Until someone acknowledges them, it counts for nothing, ' +
      'and no backup of its config is deleted automatically: see `acknowledgeAnomalies`.',
  })
  anomalies!: AnomalyValue[];

  @Field(() => DateTime, {
    nullable: true,
    description: 'When its anomalies were acknowledged; null if they were not.',
  })
  anomaliesAcknowledgedAt!: Date | null;

  @Field(() => String, { nullable: true, description: 'Note given with the request.' })
  note!: string | null;

  @Field(() => Boolean, {
    description:
      "A pinned backup is not deleted, neither by a policy nor by hand. A person's pin stays until it is removed; " +
      "a safety backup's own pin (`pinnedBy` is null) ends after the config's `safetyRetentionDays`.",
  })
  pinned!: boolean;

  @Field(() => String, {
    nullable: true,
    description:
      'Who pinned it: an e-mail or `cli:<system user>`. Null if it is not pinned, and for the pin that a safety backup ' +
      'is made with.',
  })
  pinnedBy!: string | null;

  @Field(() => DateTime, { nullable: true, description: 'When it was last verified; null if it is not verified now.' })
  verifiedAt!: Date | null;

  @Field(() => VerificationLevel, { nullable: true, description: 'Level of that verification.' })
  verificationLevel!: Level | null;

  @Field(() => DateTime, { description: 'When it was requested; of an uploaded archive, when its data was backed up.' })
  createdAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When the run began.' })
  startedAt!: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'When the run ended, successfully or not.' })
  completedAt!: Date | null;

  @Field(() => String, { nullable: true, description: 'Who requested it: an e-mail, `cli:<system user>` or `system`.' })
  createdBy!: string | null;

  @Field(() => Int, { description: 'How many media files the archive holds.' })
  mediaFileCount!: number;

  @Field(() => DateTime, { nullable: true, description: 'When its archive was deleted.' })
  deletedAt!: Date | null;

  @Field(() => DateTime, {
    nullable: true,
    description:
      'Its deletion waits until then (`DELETION_DELAY_HOURS`), and `keepBackup` takes it back: until then it can be used ' +
      'like any other, but retention counts it as gone. Null if none waits.',
  })
  deleteAfter!: Date | null;

  @Field(() => String, { nullable: true, description: 'Who deleted it, or wants it deleted.' })
  deletedBy!: string | null;

  @Field(() => String, { nullable: true, description: 'Why it was deleted, or is to be.' })
  deleteReason!: string | null;
}

export const BackupConnection = connectionOf('Backup', 'backups', Backup);
