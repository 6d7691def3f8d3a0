import { Arg, Args, Ctx, FieldResolver, Query, Resolver, Root } from 'type-graphql';
import { listAuditEvents } from '../core/lists/lists.js';
import type { AuditEventRow } from '../models/index.js';
import { Admin } from './admin.directive.js';
import { AuditFilter } from './audit.input.js';
import { AuditEvent, AuditEventConnection } from './audit.type.js';
import type { GraphqlContext } from './context.js';
import { withExample } from './example.js';
import { type Connection, PageArgs, pageRequest, toConnection } from './page.type.js';
import { Property, toProperties } from './property.type.js';

@Resolver(() => AuditEvent)
export class AuditResolver {
  @Admin()
  @Query(() => AuditEventConnection, {
    description: withExample(
      'A page of the audit trail, newest first.',
      '{ auditEvents(filter: {action: "backup.delete"}, first: 20) { nodes { at actor subject details { name value } } } }',
    ),
  })
  async auditEvents(
    @Ctx() { services }: GraphqlContext,
    @Args(() => PageArgs) page: PageArgs,
    @Arg('filter', () => AuditFilter, { nullable: true, description: 'Filter; all if left out.' })
    filter?: AuditFilter | null,
  ): Promise<Connection<AuditEvent>> {
    return toConnection(await listAuditEvents(services.models, filter ?? {}, pageRequest(page)));
  }

  @FieldResolver(() => [Property], { description: 'Further details; never secrets.' })
  details(@Root() { details }: AuditEventRow): Property[] {
    return toProperties(details);
  }
}
