import { ArrayMaxSize, MaxLength } from 'class-validator';
import { Field, ID, InputType } from 'type-graphql';
import type { RestoreRow, RunStatus } from '../models/index.js';
import { MediaMode, RestoreStatus } from './enums.js';
import { DateTime } from './scalars.js';

@InputType({ description: 'What to restore, and where to. `{backupId, confirm: true}` restores all in place.' })
export class RestoreBackupInput {
  @Field(() => ID, { description: 'A COMPLETED backup.' })
  backupId!: string;

  @Field(() => Boolean, { description: 'Must be true for `restoreBackup`: a restore replaces data.' })
  confirm!: boolean;

  @Field(() => Boolean, { nullable: true, defaultValue: true, description: 'Restore the database.' })
  restoreDatabase?: boolean | null;

  @Field(() => Boolean, { nullable: true, defaultValue: true, description: 'Restore the media files.' })
  restoreMedia?: boolean | null;

  @ArrayMaxSize(10_000)
  @MaxLength(1_000, { each: true })
  @Field(() => [String], {
    nullable: true,
    description: 'Only these tables, such as `["bookings"]`. Media stay then, unless `media` is given too.',
  })
  tables?: string[] | null;

  @Field(() => Boolean, {
    nullable: true,
    defaultValue: false,
    description: 'Also the tables that belong to the chosen ones by foreign keys.',
  })
  includeRelated?: boolean | null;

  @ArrayMaxSize(10_000)
  @MaxLength(4_000, { each: true })
  @Field(() => [String], {
    nullable: true,
    description: 'Only these media files or folders, as paths in the archive, such as `["media/uploads/2025"]`.',
  })
  media?: string[] | null;

  @Field(() => MediaMode, {
    nullable: true,
    defaultValue: 'MERGE',
    description: 'What becomes of media files that the backup does not hold.',
  })
  mediaMode?: RestoreRow['mediaMode'] | null;

  @MaxLength(4_000)
  @Field(() => String, {
    nullable: true,
    description: "Another place than the config's own database, such as `sqlite:/srv/test/db.sqlite3`.",
  })
  targetDatabaseUrl?: string | null;

  @MaxLength(4_000)
  @Field(() => String, { nullable: true, description: 'Folder for the media when the target is another place.' })
  targetMediaPath?: string | null;

  @Field(() => Boolean, {
    nullable: true,
    defaultValue: false,
    description: 'Allows another place that already holds something.',
  })
  overwrite?: boolean | null;

  @Field(() => Boolean, {
    nullable: true,
    defaultValue: false,
    description:
      "Allows a backup of another application, or of an unknown one, to replace the config's own data (BACKUP_FOREIGN, " +
      'TABLES_DIFFER).',
  })
  allowForeign?: boolean | null;
}

@InputType({
  description: 'Which restores. All parts must be met; what is left out, null or an empty list restricts nothing.',
})
export class RestoreFilter {
  @Field(() => ID, { nullable: true, description: 'Of this config.' })
  configId?: string | null;

  @Field(() => ID, { nullable: true, description: 'Of this backup.' })
  backupId?: string | null;

  @Field(() => [RestoreStatus], { nullable: true, description: 'In one of these states.' })
  status?: RunStatus[] | null;

  @Field(() => DateTime, { nullable: true, description: 'Asked for at this moment or later.' })
  createdAfter?: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'Asked for before this moment.' })
  createdBefore?: Date | null;

  @MaxLength(200)
  @Field(() => String, { nullable: true, description: "Part of the id, the backup's id or the error message." })
  search?: string | null;
}
