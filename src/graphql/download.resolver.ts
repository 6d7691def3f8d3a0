import { Arg, Ctx, Field, ID, Mutation, ObjectType, Resolver } from 'type-graphql';
import { Admin } from './admin.directive.js';
import type { GraphqlContext, Services } from './context.js';
import { withExample } from './example.js';
import { runId } from './ids.js';
import { DateTime } from './scalars.js';

@ObjectType({ description: 'A link to an archive that needs no token. Keep it as secret as one.' })
export class DownloadLink {
  @Field(() => String, {
    description:
      'Path on this server with its ticket: `/api/db-manager/backups/{id}/download/?ticket=…`, below the sub-path of PUBLIC_URL if that has one.',
  })
  url!: string;

  @Field(() => DateTime, { description: 'Until then a download can begin; one that has begun goes on to its end.' })
  expiresAt!: Date;
}

@Resolver()
export class DownloadResolver {
  @Admin()
  @Mutation(() => DownloadLink, {
    description: withExample(
      'A link for the download of one archive, good for five minutes: for a browser, which cannot send a token with a download. Each is noted in the audit trail.',
      'mutation { createDownloadLink(id: "backup_20250724_143022_a1b2c3d4") { url expiresAt } }',
    ),
  })
  async createDownloadLink(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'A COMPLETED backup.' }) id: string,
  ): Promise<DownloadLink> {
    const { row } = await services.backups.open(runId(id));
    const { ticket, expiresAt } = await services.auth.issueTicket(await admin(), row.id);
    return { url: `${downloadPath(services, row.id)}?ticket=${ticket}`, expiresAt };
  }
}

/** Where the archive of a backup is had over HTTP. */
export function downloadPath({ about }: Services, id: string): string {
  return `${about.basePath}/api/db-manager/backups/${id}/download/`;
}
