import { Field, Int, ObjectType } from 'type-graphql';
import { Property } from './property.type.js';
import { Refusal } from './refusal.type.js';
import { ByteSize } from './scalars.js';

@ObjectType({ description: 'What was found at one media path.' })
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

@ObjectType({ description: 'What was found at the database and the media of some settings.' })
export class ConnectionTest {
  @Field(() => Boolean, { description: 'Whether a backup would find everything that it reads.' })
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

  @Field(() => [MediaPathTest], { description: 'Each media path, in the order of `mediaPaths`.' })
  media!: MediaPathTest[];

  @Field(() => [String], { description: 'What to know although it works.' })
  warnings!: string[];
}

@ObjectType({ description: 'What came of writing, reading, listing and deleting at a storage.' })
export class StorageTest {
  @Field(() => Boolean, { description: 'Whether all of it worked.' })
  ok!: boolean;

  @Field(() => Refusal, { nullable: true, description: 'What did not work, if something did not.' })
  error!: Refusal | null;

  @Field(() => String, { nullable: true, description: 'Where archives would lie.' })
  location!: string | null;

  @Field(() => ByteSize, { nullable: true, description: 'Free bytes there; null where it cannot be told.' })
  free!: number | null;

  @Field(() => ByteSize, { nullable: true, description: 'All bytes there; null where it cannot be told.' })
  total!: number | null;

  @Field(() => [String], {
    description: 'What to know although it works, such as a folder that did not exist: is a disk not mounted?',
  })
  warnings!: string[];
}
