import { Field, Int, ObjectType } from 'type-graphql';
import type { BackupConfigRow } from '../models/index.js';
import { BackupConfig } from './config.type.js';
import { ByteSize, DateTime } from './scalars.js';

@ObjectType({ description: 'Why a policy keeps or deletes a backup.' })
export class RetentionReason {
  @Field(() => String, { description: 'For programs, such as `NEWEST_VERIFIED`, `KEEP_DAILY`, `PINNED` or `TOO_OLD`.' })
  code!: string;

  @Field(() => String, { description: 'For people, such as `It is older than 30 days.`' })
  text!: string;
}

@ObjectType({ description: 'What a policy does to one backup.' })
export class RetentionItem {
  @Field(() => Boolean, { description: 'Whether it is kept.' })
  keep!: boolean;

  @Field(() => Boolean, {
    description:
      'Whether its pin is removed: a safety backup whose retention time has ended, or one whose pin a full backup has taken over.',
  })
  unpin!: boolean;

  @Field(() => Boolean, {
    description:
      'Whether a full backup is made of it first, as `consolidateBackup` does, so that the backups that it builds on can be deleted.',
  })
  consolidate!: boolean;

  @Field(() => [RetentionReason], { description: 'Never empty.' })
  reasons!: RetentionReason[];
}

@ObjectType({ description: 'What the policy of a config does to its backups at a moment, in each storage on its own.' })
export class RetentionPlan {
  @Field(() => BackupConfig, { description: 'The config.' })
  config!: BackupConfigRow;

  @Field(() => DateTime, { description: 'The moment that it is made for.' })
  at!: Date;

  @Field(() => [RetentionItem], { description: 'Every backup that has an archive, newest first.' })
  items!: RetentionItem[];

  @Field(() => Int, { description: 'How many would be deleted.' })
  deleteCount!: number;

  @Field(() => ByteSize, { description: 'Bytes that would be freed.' })
  deleteSize!: number;

  @Field(() => Int, { description: 'How many are kept.' })
  keepCount!: number;

  @Field(() => ByteSize, { description: 'Bytes that are kept.' })
  keepSize!: number;

  @Field(() => String, {
    description: 'Names what would be deleted: `cleanupBackups(hash:)` does just that or nothing.',
  })
  hash!: string;
}
