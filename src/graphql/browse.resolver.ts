import { Arg, Args, Ctx, Query, Resolver } from 'type-graphql';
import { Admin } from './admin.directive.js';
import { FolderListing } from './browse.type.js';
import type { GraphqlContext } from './context.js';
import { withExample } from './example.js';
import { PageArgs, pageRequest } from './page.type.js';

@Resolver()
export class BrowseResolver {
  @Admin()
  @Query(() => FolderListing, {
    description: withExample(
      'A page of a folder of the server, within ALLOWED_PATHS, to choose a database and its media folders.',
      '{ browseFolder(path: "/srv/shop") { path parent entries { name kind size } project { databases mediaFolders } } }',
    ),
  })
  async browseFolder(
    @Ctx() { services }: GraphqlContext,
    @Args(() => PageArgs) page: PageArgs,
    @Arg('path', () => String, {
      nullable: true,
      description:
        'Absolute. If left out: the folders in ALLOWED_PATHS, or the home folder of the user that runs the server.',
    })
    path?: string | null,
  ): Promise<FolderListing> {
    const { cursors, hasNextPage, hasPreviousPage, ...listing } = await services.browser.list(
      path ?? null,
      pageRequest(page),
    );
    const pageInfo = {
      hasNextPage,
      hasPreviousPage,
      startCursor: cursors[0] ?? null,
      endCursor: cursors.at(-1) ?? null,
    };
    return { ...listing, pageInfo };
  }
}
