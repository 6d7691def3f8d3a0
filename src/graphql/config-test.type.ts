import { Field, ID, Int, ObjectType } from 'type-graphql';
import { ExcludedTable } from './backup.type.js';
import { InvariantResult } from './invariant.type.js';
import { Property } from './property.type.js';
import { Refusal } from './refusal.type.js';
import { ByteSize } from './scalars.js';

@ObjectType({ description: 'Result of testing one media folder.' })
export class MediaPathTest {
  @Field(() => String, { description: 'The folder.' })
  path!: string;

  @Field(() => Boolean, { description: 'Whether a backup could read it.' })
  ok!: boolean;

  @Field(() => Int, {
    nullable: true,
    description: 'Files in it and below, as far as they were counted; see `warnings`.',
  })
  files!: number | null;

  @Field(() => ByteSize, { nullable: true, description: 'Their bytes.' })
  bytes!: number | null;

  @Field(() => Refusal, { nullable: true, description: 'Why it cannot be read, if it cannot.' })
  error!: Refusal | null;
}

@ObjectType({ description: 'Result of testing a database and its media folders.' })
export class ConnectionTest {
  @Field(() => Boolean, { description: 'Whether a backup could read everything.' })
  ok!: boolean;

  @Field(() => Refusal, { nullable: true, description: 'What is wrong with the database, if something is.' })
  error!: Refusal | null;

  @Field(() => String, {
    nullable: true,
    description: 'Name of the database, such as `db.sqlite3`; null if it cannot be read.',
  })
  databaseName!: string | null;

  @Field(() => ByteSize, { nullable: true, description: 'Its bytes.' })
  size!: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'How many tables it has; null if they could not be counted in time.',
  })
  tables!: number | null;

  @Field(() => [Property], { description: 'Page size, journal mode, versions, …' })
  facts!: Property[];

  @Field(() => [ExcludedTable], { description: 'What `excludeTables` and `excludeTableData` leave out now.' })
  excluded!: ExcludedTable[];

  @Field(() => [InvariantResult], { description: 'What `invariants` come to now; empty if that took too long.' })
  invariants!: InvariantResult[];

  @Field(() => [MediaPathTest], { description: 'Each media path, in the order of `mediaPaths`.' })
  media!: MediaPathTest[];

  @Field(() => [String], { description: 'Warnings although the test passed.' })
  warnings!: string[];
}

@ObjectType({ description: 'Result of testing a storage.' })
export class StorageTest {
  @Field(() => Boolean, { description: 'Whether all of it worked.' })
  ok!: boolean;

  @Field(() => Refusal, { nullable: true, description: 'What failed, if anything.' })
  error!: Refusal | null;

  @Field(() => String, { nullable: true, description: 'Where archives would be stored.' })
  location!: string | null;

  @Field(() => ByteSize, { nullable: true, description: 'Free bytes there; null if unknown.' })
  free!: number | null;

  @Field(() => ByteSize, { nullable: true, description: 'All bytes there; null if unknown.' })
  total!: number | null;

  @Field(() => [String], {
    description: 'Warnings although the test passed, such as a folder that did not exist: is a disk not mounted?',
  })
  warnings!: string[];
}

@ObjectType({ description: 'A database of a server.' })
export class ServerDatabase {
  @Field(() => String, { description: 'Its name.' })
  name!: string;

  @Field(() => String, { description: 'Its address, a password in it replaced by `***`.' })
  databaseUrl!: string;

  @Field(() => ByteSize, { nullable: true, description: 'Its bytes; null where the user may not know.' })
  size!: number | null;

  @Field(() => ID, { nullable: true, description: 'The config that backs it up; null if none does.' })
  configId!: string | null;
}
