import { Arg, Args, Ctx, ID, Query, Resolver } from 'type-graphql';
import { listMedia } from '../core/media-list.js';
import { Admin } from './admin.directive.js';
import type { GraphqlContext } from './context.js';
import { runId } from './ids.js';
import { MediaArgs, MediaFile, MediaFileConnection } from './media.type.js';
import { type Connection, pageRequest, toConnection } from './page.type.js';

@Resolver()
export class MediaResolver {
  @Admin()
  @Query(() => MediaFileConnection, {
    description: 'A page of the media files in the archive of a backup, in the order of the archive.',
  })
  async backupMedia(
    @Ctx() { services, signal }: GraphqlContext,
    @Arg('id', () => ID, { description: 'A COMPLETED backup.' }) id: string,
    @Args(() => MediaArgs) { search, ...page }: MediaArgs,
  ): Promise<Connection<MediaFile>> {
    return toConnection(await listMedia(services.backups, runId(id), { search, ...pageRequest(page) }, signal));
  }
}
