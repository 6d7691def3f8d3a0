import { ArrayMaxSize, MaxLength } from 'class-validator';
import { Field, ID, InputType } from 'type-graphql';
import type { RestoreRow, RunStatus } from '../models/index.js';
import type { RowsMode } from '../core/ports.js';
import { MediaMode, RestoreStatus, RowsModeEnum } from './enums.js';
import { DateTime } from './scalars.js';
import { IDENTITY } from './identity.js';

@InputType({
  description:
    'What to restore, and where to. `{backupId, confirm: true}` restores everything to its original location.',
})
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
    description:
      'Only these tables, such as `["bookings"]`. Media files are then kept unchanged, unless `media` is given too.',
  })
  tables?: string[] | null;

  @Field(() => Boolean, {
    nullable: true,
    defaultValue: false,
    description: 'Include tables linked to the selected ones by foreign keys or triggers.',
  })
  includeRelated?: boolean | null;

  @Field(() => RowsModeEnum, {
    nullable: true,
    defaultValue: 'REPLACE',
    description:
      'Which rows of `tables` come back. MISSING and CHANGED need `tables`; all that is newer stays (SQLite, PostgreSQL).',
  })
  rows?: RowsMode | null;

  @MaxLength(10_000)
  @Field(() => String, {
    nullable: true,
    description:
      'Only rows of the backup that meet this SQL condition, such as `tenant_id = 5`. Needs `rows` other than REPLACE and ' +
      'exactly one table.',
  })
  where?: string | null;

  @Field(() => Boolean, {
    nullable: true,
    defaultValue: false,
    description:
      'Also bring back the rows that the chosen ones refer to by foreign keys, where the target lost them, and those that ' +
      'these refer to. Without it, rows that would refer to nothing are refused (RESTORE_CONFLICT).',
  })
  withParents?: boolean | null;

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
    description: 'What happens to media files that are not in the backup.',
  })
  mediaMode?: RestoreRow['mediaMode'] | null;

  @MaxLength(4_000)
  @Field(() => String, {
    nullable: true,
    description:
      "Another target than the config's own database, such as `sqlite:/srv/test/db.sqlite3`, `postgres://user:password@host/test`, `mysql://user:password@host/test` or `mongodb://user:password@host/test`.",
  })
  targetDatabaseUrl?: string | null;

  @MaxLength(4_000)
  @Field(() => String, { nullable: true, description: 'Media folder when the target is another database.' })
  targetMediaPath?: string | null;

  @Field(() => Boolean, {
    nullable: true,
    defaultValue: false,
    description: 'Allows a target that already contains data.',
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

  @Field(() => Boolean, {
    nullable: true,
    defaultValue: false,
    description:
      'Allows a backup that was made without tables or rows that the target has, which the restore takes away ' +
      '(TABLES_EXCLUDED).',
  })
  allowExcluded?: boolean | null;

  @Field(() => Boolean, {
    nullable: true,
    defaultValue: false,
    description: 'Allows a backup that is `damaged`: the files of its database are put in place as they are.',
  })
  allowDamaged?: boolean | null;

  @Field(() => Boolean, {
    nullable: true,
    defaultValue: false,
    description:
      'Rebuild indexes and full-text indexes that are out of step with their tables in the backup (REINDEX), before the ' +
      'database is switched. Those that cannot be rebuilt are named in `warnings`.',
  })
  rebuildIndexes?: boolean | null;

  @MaxLength(16_384)
  @Field(() => String, IDENTITY)
  identity?: string | null;
}

@InputType({
  description: 'Filter for restores. All conditions apply; fields that are left out, null or empty do not restrict.',
})
export class RestoreFilter {
  @Field(() => ID, { nullable: true, description: 'Of this config.' })
  configId?: string | null;

  @Field(() => ID, { nullable: true, description: 'Of this backup.' })
  backupId?: string | null;

  @Field(() => [RestoreStatus], { nullable: true, description: 'In one of these states.' })
  status?: RunStatus[] | null;

  @Field(() => DateTime, { nullable: true, description: 'Requested at this time or later.' })
  createdAfter?: Date | null;

  @Field(() => DateTime, { nullable: true, description: 'Requested before this time.' })
  createdBefore?: Date | null;

  @MaxLength(200)
  @Field(() => String, { nullable: true, description: "Part of the id, the backup's id or the error message." })
  search?: string | null;
}
