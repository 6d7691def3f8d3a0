import { Field, ID, ObjectType } from 'type-graphql';
import type { StorageType as Storage } from '../core/ports.js';
import { StorageType } from './enums.js';
import { ByteSize, DateTime } from './scalars.js';
import { StorageTest } from './config-test.type.js';

@ObjectType({ description: 'A place where archives lie; configs share it. Its secrets are never returned.' })
export class Destination {
  @Field(() => ID, { description: 'Number of the destination.' })
  id!: number;

  @Field(() => StorageType, { description: 'The kind of storage.' })
  storageType!: Storage;

  @Field(() => Boolean, {
    description: 'Whether it is away most of the time, such as a disk in a safe: being unreachable is then no error.',
  })
  offline!: boolean;

  @Field(() => DateTime, { nullable: true, description: 'When it was last tested; null if never.' })
  lastCheckedAt!: Date | null;

  @Field(() => ByteSize, { nullable: true, description: 'Free bytes at the last test; null if unknown.' })
  free!: number | null;
}

@ObjectType({ description: 'Result of testing a destination.' })
export class DestinationTest extends StorageTest {}
