import { ArrayMaxSize, MaxLength } from 'class-validator';
import { Field, ID, InputType } from 'type-graphql';
import type { ChannelInput as Input } from '../core/notifications/channels.js';
import type { ChannelKind as Kind, NotificationEvent as Event } from '../models/index.js';
import { ChannelKind, NotificationEvent } from './enums.js';
import { configId } from './ids.js';

@InputType({ description: 'A channel. In a change, what is left out stays as it is.' })
export class ChannelInput {
  @MaxLength(200)
  @Field(() => String, {
    nullable: true,
    description: 'Unique, 1 to 200 characters. Default: made of kind and target.',
  })
  name?: string | null;

  @Field(() => ChannelKind, { nullable: true, description: 'Needed for a new one; cannot change.' })
  kind?: Kind | null;

  @MaxLength(4_000)
  @Field(() => String, {
    nullable: true,
    description: 'E-mail addresses separated by commas, a URL, or the id of a Telegram chat. Sealed.',
  })
  target?: string | null;

  @MaxLength(4_000)
  @Field(() => String, {
    nullable: true,
    description:
      'The key that requests of a WEBHOOK are signed with, a token, or the integration key of PagerDuty. Sealed, and never returned; empty takes it away.',
  })
  secret?: string | null;

  @MaxLength(4_000)
  @Field(() => String, {
    nullable: true,
    description:
      'Of a WEBHOOK: the JSON that it sends in place of the message, with `{{title}}` and the like within its strings: see docs/notifications.md. Empty takes it away.',
  })
  template?: string | null;

  @ArrayMaxSize(50)
  @Field(() => [NotificationEvent], {
    nullable: true,
    description:
      'What it is told of. Default: every problem and its end. Of a heartbeat: `BACKUP_DONE`, which is its default, or `DRILL_DONE`, for signs of life of either.',
  })
  events?: Event[] | null;

  @ArrayMaxSize(1_000)
  @Field(() => [ID], {
    nullable: true,
    description: 'Of which configs; empty: of all, which is the default. A heartbeat names exactly one.',
  })
  configIds?: string[] | null;
}

/** What the input means to the domain. @throws AppError NOT_FOUND */
export function channelInput({ name, kind, target, secret, template, events, configIds }: ChannelInput): Input {
  return {
    name: name ?? undefined,
    kind: kind ?? undefined,
    target: target ?? undefined,
    secret: secret ?? undefined,
    template: template ?? undefined,
    events: events ?? undefined,
    configIds: configIds?.map((id) => configId(id, 'configIds')),
  };
}
