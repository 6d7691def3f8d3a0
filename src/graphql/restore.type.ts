import { Field, Float, ID, Int, ObjectType } from 'type-graphql';
import type { MediaPlan } from '../core/restores/media/plan.js';
import type { TablePlan } from '../core/restores/plan.js';
import type { RelatedTable as Related } from '../core/restores/tables.js';
import type { SpacePlan } from '../core/restores/space.js';
import type { RepairConflict, RowSample as Sample, TableRepair } from '../core/ports.js';
import type { RestoreRow, RunStatus } from '../models/index.js';
import { MediaMode, RestoreStatus, TableChange, TableRelation } from './enums.js';
import { RowSample } from './insight.type.js';
import { connectionOf } from './page.type.js';
import { ByteSize, DateTime } from './scalars.js';

@ObjectType({ description: 'One run of a backup into a database: an entry of the restore log.' })
export class Restore {
  @Field(() => ID, { description: 'Such as `restore_20250724_150000_a1b2c3d4`: date and time are UTC.' })
  id!: string;

  @Field(() => RestoreStatus, { description: 'Its state.' })
  status!: RunStatus;

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

  @Field(() => [String], { description: 'Warnings although the restore succeeded.' })
  warnings!: string[];

  @Field(() => Boolean, { description: 'Whether the database is restored.' })
  restoreDatabase!: boolean;

  @Field(() => Boolean, { description: 'Whether media are restored.' })
  restoreMedia!: boolean;

  @Field(() => [String], { nullable: true, description: 'Only these tables; null for all.' })
  tables!: string[] | null;

  @Field(() => [String], { nullable: true, description: 'Only these media files or folders; null for all.' })
  media!: string[] | null;

  @Field(() => MediaMode, { description: 'What happens to media files that are not in the backup.' })
  mediaMode!: RestoreRow['mediaMode'];

  @Field(() => Boolean, { description: 'Whether indexes that are out of step are rebuilt.' })
  rebuildIndexes!: boolean;

  @Field(() => ID, { nullable: true, description: 'The restore that this one undoes.' })
  undoOf!: string | null;

  @Field(() => String, { nullable: true, description: 'Who requested it: an e-mail, `cli:<system user>` or `system`.' })
  createdBy!: string | null;

  @Field(() => DateTime, { description: 'When it was requested.' })
  createdAt!: Date;

  @Field(() => DateTime, { nullable: true, description: 'When the run began.' })
  startedAt!: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'When the run ended, successfully or not.' })
  completedAt!: Date | null;
}

export const RestoreConnection = connectionOf('Restore', 'restores', Restore);

@ObjectType({ description: 'A table before and after the restore.' })
export class PlannedTable {
  @Field(() => String, { description: 'Name of the table.' })
  name!: string;

  @Field(() => Int, {
    nullable: true,
    description: 'Rows in the backup; null if it does not have the table, or if they could not be counted.',
  })
  backupRows!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Rows in the target; null if it does not have the table, or if they could not be counted.',
  })
  targetRows!: number | null;

  @Field(() => TableChange, { description: 'What happens to it.' })
  change!: TablePlan['change'];

  @Field(() => Boolean, { description: 'Its columns, constraints or indexes differ.' })
  schemaDiffers!: boolean;
}

@ObjectType({ description: 'Rows that stand in the way of bringing rows back.' })
export class RowConflict implements RepairConflict {
  @Field(() => String, { description: 'What they break, in words.' })
  reason!: string;

  @Field(() => Int, { description: 'How many rows of the backup.' })
  rows!: number;

  @Field(() => [RowSample], { description: 'Up to 10 of them, with their values in the backup as `after`.' })
  samples!: Sample[];
}

@ObjectType({ description: 'What happens to the rows of one table where only rows are brought back.' })
export class PlannedRepair implements TableRepair {
  @Field(() => String, { description: 'Name of the table.' })
  name!: string;

  @Field(() => Boolean, { description: 'Whether it was not selected, and gets only rows that selected ones refer to.' })
  parents!: boolean;

  @Field(() => Int, { description: 'Rows that the target lost and that come back.' })
  add!: number;

  @Field(() => Int, { description: 'Rows that differ and get the values of the backup.' })
  overwrite!: number;

  @Field(() => Int, { description: 'Rows of the target that stay as they are.' })
  keep!: number;

  @Field(() => [RowSample], {
    description: 'Up to 10 rows that are added and 10 that are overwritten: `before` the restore and `after` it.',
  })
  samples!: Sample[];

  @Field(() => [RowConflict], { description: 'What does not fit; the restore is refused unless this is empty.' })
  conflicts!: RowConflict[];
}

@ObjectType({ description: 'A table linked to the selected ones by foreign keys or triggers that is not selected.' })
export class RelatedTable {
  @Field(() => String, { description: 'Name of the table.' })
  table!: string;

  @Field(() => TableRelation, { description: 'How it is linked to them.' })
  relation!: Related['relation'];

  @Field(() => Int, { nullable: true, description: 'Rows in the backup; null if they could not be counted.' })
  rowCount!: number | null;
}

@ObjectType({ description: 'What happens to media files.' })
export class PlannedMedia implements MediaPlan {
  @Field(() => Int, { description: 'New files.' })
  add!: number;

  @Field(() => Int, { description: 'Files that are replaced.' })
  replace!: number;

  @Field(() => Int, { description: 'Files that are left alone, because they are the same as in the backup.' })
  unchanged!: number;

  @Field(() => Int, { description: 'Files that the backup does not restore and that stay as they are.' })
  keep!: number;

  @Field(() => Int, { description: 'Files that are moved away.' })
  remove!: number;

  @Field(() => ByteSize, { description: 'Bytes to write.' })
  bytes!: number;
}

@ObjectType({ description: 'Space on a disk on which the restore needs some, for its safety backup as well.' })
export class PlannedSpace implements SpacePlan {
  @Field(() => String, { description: 'The folder on this disk that takes the most.' })
  path!: string;

  @Field(() => [String], { description: 'All folders on this disk that take some.' })
  paths!: string[];

  @Field(() => ByteSize, { description: 'Bytes that the restore needs on this disk at most.' })
  needed!: number;

  @Field(() => ByteSize, { description: 'Bytes that are free on this disk.' })
  free!: number;
}

@ObjectType({ description: 'A program that has the target open.' })
export class DatabaseHolder {
  @Field(() => Int, { description: 'Its process id.' })
  pid!: number;

  @Field(() => String, { description: 'Its command.' })
  command!: string;
}

@ObjectType({ description: 'A dry run: what would change, and every reason why it would be refused.' })
export class RestorePlan {
  @Field(() => Boolean, { description: 'Whether `restoreBackup` with the same input would begin.' })
  allowed!: boolean;

  @Field(() => String, { description: 'Where the copy lies that would be read: the nearest good one.' })
  archivePath!: string;

  @Field(() => [String], { description: 'What to consider before the restore.' })
  warnings!: string[];

  @Field(() => String, { description: 'The database that would be written, without a password.' })
  target!: string;

  @Field(() => Boolean, { description: 'Whether there is a database now.' })
  targetExists!: boolean;

  @Field(() => [PlannedTable], { description: 'Each table of either side.' })
  tables!: PlannedTable[];

  @Field(() => [PlannedRepair], {
    description: 'What happens to the rows of each table; empty where whole tables are restored.',
  })
  repairs!: PlannedRepair[];

  @Field(() => [RelatedTable], { description: 'Further tables to consider where only some are selected.' })
  related!: RelatedTable[];

  @Field(() => PlannedMedia, { description: 'What happens to media files.' })
  media!: PlannedMedia;

  @Field(() => [PlannedSpace], { description: 'Free space where some is needed.' })
  space!: PlannedSpace[];

  @Field(() => [DatabaseHolder], { description: 'Programs that have the target open, as far as known.' })
  holders!: DatabaseHolder[];
}
