import { Arg, Args, Ctx, ID, Query, Resolver } from 'type-graphql';
import { listMedia } from '../core/archives/contents.js';
import { Admin } from './admin.directive.js';
import type { GraphqlContext } from './context.js';
import { withExample } from './example.js';
import { runId } from './ids.js';
import { MediaArgs, MediaFile, MediaFileConnection } from './media.type.js';
import { type Connection, pageRequest, toConnection } from './page.type.js';

@Resolver()
export class MediaResolver {
  @Admin()
  @Query(() => MediaFileConnection, {
    description: withExample(
      'A page of the media files in the archive of a backup, in the order of the archive.',
      '{ backupMedia(id: "backup_20250724_143022_a1b2c3d4", search: "uploads/2025", first: 50) { totalCount nodes { path size } } }',
    ),
  })
  async backupMedia(
    @Ctx() { services, signal }: GraphqlContext,
    @Arg('id', () => ID, { description: 'A COMPLETED backup.' }) id: string,
    @Args(() => MediaArgs) { search, identity, ...page }: MediaArgs,
  ): Promise<Connection<MediaFile>> {
    const { stored } = await services.backups.open(runId(id), identity ?? undefined);
    return toConnection(await listMedia(stored, { search, ...pageRequest(page) }, signal));
  }
}
