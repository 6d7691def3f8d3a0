import { Field, Int, ObjectType } from 'type-graphql';
import type { Services } from './context.js';
import type { BackupStatus as Status, RunStatus } from '../models/index.js';
import { BackupStatus, ControlDatabaseKind, JobStoreKind, RestoreStatus } from './enums.js';
import { DateTime } from './scalars.js';

@ObjectType({ description: 'How many backups are in a state.' })
export class BackupCount {
  @Field(() => BackupStatus, { description: 'The state.' })
  status!: Status;

  @Field(() => Int, { description: 'How many.' })
  count!: number;
}

@ObjectType({ description: 'How many restores are in a state.' })
export class RestoreCount {
  @Field(() => RestoreStatus, { description: 'The state.' })
  status!: RunStatus;

  @Field(() => Int, { description: 'How many.' })
  count!: number;
}

@ObjectType({ description: 'How this installation is doing.' })
export class SystemStatus {
  @Field(() => String, { description: 'Version of db-manager, such as `0.1.0`.' })
  version!: string;

  @Field(() => String, { description: 'Version of Node.js, such as `v22.11.0`.' })
  nodeVersion!: string;

  @Field(() => DateTime, { description: 'When the process that answers has started.' })
  startedAt!: Date;

  @Field(() => ControlDatabaseKind, { description: "Where the product's own records lie." })
  controlDatabase!: Services['about']['controlDatabase'];

  @Field(() => JobStoreKind, { description: 'Where waiting jobs lie.' })
  jobStore!: Services['about']['jobStore'];
}
