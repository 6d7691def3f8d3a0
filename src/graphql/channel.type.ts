import { Field, ID, ObjectType } from 'type-graphql';
import type { ChannelKind as Kind, NotificationEvent as Event } from '../models/index.js';
import { ChannelKind, NotificationEvent } from './enums.js';
import { Refusal } from './refusal.type.js';
import { DateTime } from './scalars.js';

@ObjectType({ description: 'A place that messages go to. Its secrets are never returned.' })
export class Channel {
  @Field(() => ID, { description: 'Number of the channel.' })
  id!: number;

  @Field(() => String, { description: 'What it is called.' })
  name!: string;

  @Field(() => ChannelKind, { description: 'The kind of service.' })
  kind!: Kind;

  @Field(() => String, {
    description: 'Addresses or the id of a chat; of a URL only the host, because the rest may be a secret.',
  })
  target!: string;

  @Field(() => String, {
    nullable: true,
    description: 'Of a WEBHOOK: the JSON that it sends in place of the message; null if it has no template.',
  })
  template!: string | null;

  @Field(() => [NotificationEvent], {
    description: 'What it is told of; a heartbeat without any gets signs of life of backups.',
  })
  events!: Event[];

  @Field(() => DateTime, { nullable: true, description: 'When it last took a message; null if never.' })
  lastDeliveryAt!: Date | null;

  @Field(() => String, {
    nullable: true,
    description: 'Why the last message did not reach everyone, or one was given up; else null.',
  })
  lastError!: string | null;
}

@ObjectType({ description: 'Result of testing a channel.' })
export class ChannelTest {
  @Field(() => Boolean, { description: 'Whether it took the message.' })
  ok!: boolean;

  @Field(() => Refusal, { nullable: true, description: 'Why it did not.' })
  error!: Refusal | null;
}
