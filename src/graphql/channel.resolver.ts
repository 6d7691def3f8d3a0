import { Arg, Ctx, FieldResolver, ID, Int, Mutation, Query, Resolver, Root } from 'type-graphql';
import type { ChannelRow } from '../models/index.js';
import { Admin } from './admin.directive.js';
import { ChannelInput, channelInput } from './channel.input.js';
import { Channel, ChannelTest } from './channel.type.js';
import type { GraphqlContext } from './context.js';
import { withExample } from './example.js';
import { channelId } from './ids.js';
import { toRefusal } from './refusal.type.js';

const ID_ARG = { description: 'The channel.' };

@Resolver(() => Channel)
export class ChannelResolver {
  @Admin()
  @Query(() => [Channel], {
    description: withExample(
      'All channels of notifications, the oldest first.',
      '{ channels { id name kind target events configIds waiting lastDeliveryAt lastError } }',
    ),
  })
  async channels(@Ctx() { services }: GraphqlContext): Promise<Channel[]> {
    return services.channels.list();
  }

  @Admin()
  @Mutation(() => Channel, {
    description: withExample(
      'Adds a channel; `testChannel` says whether it works.',
      'mutation { createChannel(input: {name: "On call", kind: NTFY, target: "https://ntfy.sh/okpuja-backups"}) { id target events } }',
    ),
  })
  async createChannel(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('input', () => ChannelInput, { description: 'Its settings.' }) input: ChannelInput,
  ): Promise<Channel> {
    return services.channels.create(channelInput(input), (await admin()).email);
  }

  @Admin()
  @Mutation(() => Channel, {
    description: withExample(
      'Changes a channel; what is left out stays as it is. With another server as its target, its secret must be given again.',
      'mutation { updateChannel(id: "9", input: {events: [BACKUP_FAILED, RECOVERED]}) { id events } }',
    ),
  })
  async updateChannel(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, ID_ARG) id: string,
    @Arg('input', () => ChannelInput, { description: 'What to change.' }) input: ChannelInput,
  ): Promise<Channel> {
    return services.channels.update(channelId(id), channelInput(input), (await admin()).email);
  }

  @Admin()
  @Mutation(() => Channel, {
    description: withExample(
      'Deletes a channel, with the messages that wait for it, and returns it.',
      'mutation { deleteChannel(id: "9") { id name } }',
    ),
  })
  async deleteChannel(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, ID_ARG) id: string,
  ): Promise<Channel> {
    return services.channels.remove(channelId(id), (await admin()).email);
  }

  @Admin()
  @Mutation(() => ChannelTest, {
    description: withExample(
      'Sends a test message now; to a heartbeat, a sign of success. Problems are part of the answer.',
      'mutation { testChannel(id: "9") { ok error { message hint } } }',
    ),
  })
  async testChannel(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('id', () => ID, ID_ARG) id: string,
  ): Promise<ChannelTest> {
    const error = await services.channels.test(channelId(id), (await admin()).email, signal);
    return { ok: error === null, error: toRefusal(error) };
  }

  @FieldResolver(() => [ID], { description: 'Of which configs it is told; empty: of all.' })
  configIds(@Root() { configIds }: ChannelRow): string[] {
    return configIds.map(String);
  }

  @FieldResolver(() => Int, { description: 'How many messages wait until it takes them.' })
  async waiting(@Root() { id }: ChannelRow, @Ctx() { services }: GraphqlContext): Promise<number> {
    return (await services.channels.waiting()).get(id) ?? 0;
  }
}
