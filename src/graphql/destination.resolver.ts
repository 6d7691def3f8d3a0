import { Arg, Ctx, FieldResolver, ID, Int, Mutation, Query, Resolver, Root } from 'type-graphql';
import type { DestinationRow } from '../models/index.js';
import { Admin } from './admin.directive.js';
import type { GraphqlContext } from './context.js';
import { DestinationInput, destinationInput } from './destination.input.js';
import { Destination, DestinationTest } from './destination.type.js';
import { withExample } from './example.js';
import { destinationId } from './ids.js';
import { Property, toProperties } from './property.type.js';
import { Refusal, toRefusal } from './refusal.type.js';
import { ByteSize } from './scalars.js';

const ID_ARG = { description: 'The destination.' };

@Resolver(() => Destination)
export class DestinationResolver {
  @Admin()
  @Query(() => [Destination], {
    description: withExample(
      'All destinations, the oldest first.',
      '{ destinations { id name storageType location backupCount used free lastCheckedAt error { message hint } } }',
    ),
  })
  async destinations(@Ctx() { services }: GraphqlContext): Promise<Destination[]> {
    return services.destinations.list();
  }

  @Admin()
  @Query(() => Destination, {
    nullable: true,
    description: withExample(
      'One destination; null if none has this id.',
      '{ destination(id: "1") { name location settings { name value } } }',
    ),
  })
  async destination(
    @Ctx() { services }: GraphqlContext,
    @Arg('id', () => ID, { description: 'Such as `1`.' }) id: string,
  ): Promise<Destination | null> {
    return /^[1-9]\d{0,8}$/.test(id) ? services.destinations.find(Number(id)) : null;
  }

  @Admin()
  @Mutation(() => Destination, {
    description: withExample(
      'Adds a destination and tests it; what does not work is its `error`. For a bucket: `s3: {bucket: "okpuja-backups", region: "eu-central-1", accessKeyId: "…", secretAccessKey: "…"}`.',
      'mutation { createDestination(input: {name: "Second disk", directory: {storageType: SYSTEM, path: "/mnt/second-disk"}}) { id location error { message hint } } }',
    ),
  })
  async createDestination(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('input', () => DestinationInput, { description: 'Its settings.' }) input: DestinationInput,
  ): Promise<Destination> {
    return services.destinations.create(destinationInput(input), (await admin()).email, signal);
  }

  @Admin()
  @Mutation(() => Destination, {
    description: withExample(
      'Changes a destination and tests it; what is left out stays as it is, secrets too. Its place changes only where all its archives lie at the new one.',
      'mutation { updateDestination(id: "9", input: {name: "Off-site", bandwidthLimit: 1000000}) { name error { message hint } } }',
    ),
  })
  async updateDestination(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('id', () => ID, ID_ARG) id: string,
    @Arg('input', () => DestinationInput, { description: 'What to change.' }) input: DestinationInput,
  ): Promise<Destination> {
    return services.destinations.update(destinationId(id), destinationInput(input), (await admin()).email, signal);
  }

  @Admin()
  @Mutation(() => Destination, {
    description: withExample(
      'Deletes a destination and returns it; refused while backups lie there or configs name it. Nothing in the place itself is deleted.',
      'mutation { deleteDestination(id: "9") { id location } }',
    ),
  })
  async deleteDestination(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, ID_ARG) id: string,
  ): Promise<Destination> {
    return services.destinations.remove(destinationId(id), (await admin()).email);
  }

  @Admin()
  @Mutation(() => DestinationTest, {
    description: withExample(
      'Tests a destination, a change of one, or settings that are not saved yet: writes, reads, lists and deletes a few bytes. Problems are part of the answer.',
      'mutation { testDestination(input: {directory: {storageType: LOCAL, path: "second"}}) { ok error { message hint } location free warnings } }',
    ),
  })
  async testDestination(
    @Ctx() { services, signal }: GraphqlContext,
    @Arg('id', () => ID, { nullable: true, description: 'A saved destination.' }) id?: string | null,
    @Arg('input', () => DestinationInput, { nullable: true, description: 'Settings, or changes of the saved ones.' })
    input?: DestinationInput | null,
  ): Promise<DestinationTest> {
    const given = input ? destinationInput(input) : undefined;
    const test = await services.destinations.test(id ? destinationId(id) : undefined, given, signal);
    return { ...test, error: toRefusal(test.error) };
  }

  @FieldResolver(() => String, { description: 'Name to show: its location if it was given none.' })
  name(@Root() row: DestinationRow): string {
    return row.name ?? row.storagePath;
  }

  @FieldResolver(() => String, {
    description: 'Where it is: the path of its folder, or an address such as `s3://bucket/prefix`.',
  })
  location(@Root() row: DestinationRow): string {
    return row.storagePath;
  }

  @FieldResolver(() => [Property], { description: 'Its settings, without secrets. Empty for a folder.' })
  settings(@Root() row: DestinationRow): Property[] {
    return toProperties(row.settings ?? {});
  }

  @FieldResolver(() => Int, { description: 'How many backups lie there.' })
  async backupCount(@Root() { id }: DestinationRow, @Ctx() { load }: GraphqlContext): Promise<number> {
    return (await load.usage(id))?.count ?? 0;
  }

  @FieldResolver(() => ByteSize, { description: 'Bytes of those backups.' })
  async used(@Root() { id }: DestinationRow, @Ctx() { load }: GraphqlContext): Promise<number> {
    return (await load.usage(id))?.used ?? 0;
  }

  @FieldResolver(() => Refusal, { nullable: true, description: 'What did not work when it was last tested.' })
  error(@Root() { checkError }: DestinationRow): Refusal | null {
    return checkError;
  }
}
