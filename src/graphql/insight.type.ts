import { Field, Float, ID, Int, ObjectType } from 'type-graphql';
import type { Cell } from '../core/ports.js';
import { Backup } from './backup.type.js';
import { ByteSize, JsonValue } from './scalars.js';

@ObjectType({ description: 'What a query of a backup gave.' })
export class QueryResult {
  @Field(() => [String], { description: 'Names of the columns.' })
  columns!: string[];

  @Field(() => [[JsonValue]], {
    description:
      "The rows, each with a value for every column. Whole numbers beyond 2^53 and BLOBs (`x'0102'`) are texts; what is long is cut and ends in `…`.",
  })
  rows!: Cell[][];

  @Field(() => Boolean, { description: 'Whether there are more rows than `limit`.' })
  truncated!: boolean;

  @Field(() => Float, { description: 'How many seconds the query took.' })
  seconds!: number;
}

@ObjectType({ description: 'A row that differs.' })
export class RowSample {
  @Field(() => JsonValue, {
    description: 'The values of its primary key, by column; an empty object where the table has none.',
  })
  key!: Record<string, Cell>;

  @Field(() => JsonValue, {
    nullable: true,
    description: 'Its values before, by column; of a changed row those that differ. Null for an added row.',
  })
  before!: Record<string, Cell> | null;

  @Field(() => JsonValue, { nullable: true, description: 'Its values after, alike. Null for a removed row.' })
  after!: Record<string, Cell> | null;
}

@ObjectType({ description: 'How a table differs between two states.' })
export class TableComparison {
  @Field(() => String, { description: 'Name of the table.' })
  name!: string;

  @Field(() => Int, { description: 'Rows that only the later state has.' })
  added!: number;

  @Field(() => Int, { description: 'Rows that only the earlier state has.' })
  removed!: number;

  @Field(() => Int, {
    description:
      'Rows of the same primary key with other values. Always 0 in a table without one: there a changed row counts as removed and added.',
  })
  changed!: number;

  @Field(() => Int, { description: 'Rows that are the same.' })
  unchanged!: number;

  @Field(() => [String], { description: 'What differs of its definition, in sentences; empty if nothing does.' })
  schemaChanges!: string[];

  @Field(() => [RowSample], { description: 'Some of the rows that were removed, changed and added, in that order.' })
  samples!: RowSample[];
}

@ObjectType({ description: 'A media file that differs.' })
export class MediaSample {
  @Field(() => String, { description: 'Its path in the archive, such as `media/uploads/a.jpg`.' })
  path!: string;

  @Field(() => ByteSize, { nullable: true, description: 'Bytes in the earlier state; null if it is not there.' })
  before!: number | null;

  @Field(() => ByteSize, { nullable: true, description: 'Bytes in the later state; null if it is not there.' })
  after!: number | null;
}

@ObjectType({ description: 'How the media of two states differ.' })
export class MediaComparison {
  @Field(() => Int, { description: 'Files that only the later state has.' })
  added!: number;

  @Field(() => Int, { description: 'Files that only the earlier state has.' })
  removed!: number;

  @Field(() => Int, { description: 'Files with other content.' })
  changed!: number;

  @Field(() => Int, { description: 'Files that are the same.' })
  unchanged!: number;

  @Field(() => [MediaSample], { description: 'Some of the files that were removed, changed and added, in that order.' })
  samples!: MediaSample[];
}

@ObjectType({ description: 'How two states of what a config protects differ.' })
export class BackupComparison {
  @Field(() => [TableComparison], {
    description:
      'Every table that either state has, by name; those in which full-text indexes keep their content are left out.',
  })
  tables!: TableComparison[];

  @Field(() => [String], { description: 'What differs of views and virtual tables, in sentences.' })
  schemaChanges!: string[];

  @Field(() => MediaComparison, { description: 'The media files.' })
  media!: MediaComparison;
}

@ObjectType({ description: 'A row that names a media file which is not in the backup.' })
export class MissingFile {
  @Field(() => JsonValue, { description: 'As in a sample of `compareBackups`.' })
  key!: Record<string, Cell>;

  @Field(() => JsonValue, { description: 'What the row has in place of a path.' })
  path!: Cell;
}

@ObjectType({ description: 'A column that names media files.' })
export class FileColumn {
  @Field(() => String, { description: 'Name of the table.' })
  table!: string;

  @Field(() => String, { description: 'Name of the column.' })
  column!: string;

  @Field(() => Int, { description: 'Rows that name a file.' })
  rows!: number;

  @Field(() => Int, { description: 'Those of them whose file is not in the backup.' })
  missing!: number;

  @Field(() => [MissingFile], { description: 'Some of those.' })
  samples!: MissingFile[];
}

@ObjectType({ description: 'How the rows of a backup and its media files agree.' })
export class FileReferences {
  @Field(() => [FileColumn], { description: 'The columns that were looked at.' })
  columns!: FileColumn[];

  @Field(() => Int, { description: 'Media files that no row of these columns names.' })
  unreferenced!: number;

  @Field(() => [String], { description: 'Some of them, by path in the archive.' })
  unreferencedSamples!: string[];
}

@ObjectType({ description: 'How a row was in a stretch of backups.' })
export class RowVersion {
  @Field(() => Backup, { description: 'The first backup that has it so.' })
  backup!: Backup;

  @Field(() => Backup, { description: 'The last backup that has it so.' })
  lastBackup!: Backup;

  @Field(() => JsonValue, {
    nullable: true,
    description: 'Its values by column, as a query gives them; null where the row is not there.',
  })
  row!: Record<string, Cell> | null;

  @Field(() => [String], {
    description:
      'The columns that differ from the version before, by all their bytes; empty where the row was not there before or is not there now.',
  })
  changed!: string[];

  @Field(() => [ID], {
    description: 'Backups of this stretch, or before the first version, that could not be read.',
  })
  unreadable!: string[];
}

@ObjectType({ description: 'Where the answer to a query last changed.' })
export class AnswerChange {
  @Field(() => Backup, { description: 'The last backup with another answer.' })
  before!: Backup;

  @Field(() => Backup, { description: 'The first backup that answers as the newest one does.' })
  after!: Backup;

  @Field(() => JsonValue, {
    nullable: true,
    description:
      'The answer of `before`. Null also where the query could not be asked, as of a table that is not there.',
  })
  answerBefore!: Cell;

  @Field(() => JsonValue, { nullable: true, description: 'The answer of `after`.' })
  answerAfter!: Cell;

  @Field(() => Int, { description: 'How many backups were read.' })
  read!: number;

  @Field(() => [ID], { description: 'Backups that could not be read; others stood in for them.' })
  unreadable!: string[];
}
