import { ArgsType, Field, Int, ObjectType } from 'type-graphql';
import type { ClassType } from 'type-graphql';
import type { Page } from '../core/lists/page.js';

@ObjectType({ description: 'Where a page lies in its list.' })
export class PageInfo {
  @Field(() => Boolean, {
    description: 'Whether there are items after this page: request them with `after: endCursor`.',
  })
  hasNextPage!: boolean;

  @Field(() => Boolean, { description: 'Whether this page was requested with `after`, so there are items before it.' })
  hasPreviousPage!: boolean;

  @Field(() => String, { nullable: true, description: 'Position of the first item; null if the page is empty.' })
  startCursor!: string | null;

  @Field(() => String, { nullable: true, description: 'Position of the last item; null if the page is empty.' })
  endCursor!: string | null;
}

@ArgsType()
export class PageArgs {
  @Field(() => Int, {
    nullable: true,
    defaultValue: 50,
    description: 'How many items at most, 1 to 500.',
  })
  first!: number | null;

  @Field(() => String, { nullable: true, description: '`pageInfo.endCursor` of the page before; null for the first.' })
  after?: string | null;
}

/** The page that the arguments ask for; an explicit null means the default. */
export function pageRequest({ first, after }: PageArgs): { first: number; after: string | null } {
  return { first: first ?? 50, after: after ?? null };
}

/** A page of a list as the API shows it. `totalCount` runs only where it is asked for. */
export interface Connection<Row> {
  edges: { cursor: string; node: Row }[];
  nodes: Row[];
  pageInfo: PageInfo;
  readonly totalCount: Promise<number>;
}

export function toConnection<Row>({ nodes, cursors, totalCount, ...page }: Page<Row>): Connection<Row> {
  return {
    nodes,
    edges: nodes.map((node, index) => ({ node, cursor: cursors[index] as string })),
    get totalCount() {
      return totalCount();
    },
    pageInfo: { ...page, startCursor: cursors[0] ?? null, endCursor: cursors.at(-1) ?? null },
  };
}

/** The two types of a list of `nodeType`: `<Name>Edge` and `<Name>Connection`. */
export function connectionOf<Node extends object>(
  name: string,
  plural: string,
  nodeType: ClassType<Node>,
): ClassType<Connection<Node>> {
  @ObjectType(`${name}Edge`, { description: `One of a page of ${plural}, with its position.` })
  class Edge {
    @Field(() => String, { description: 'Opaque position, for `after`.' })
    cursor!: string;

    @Field(() => nodeType, { description: 'The item.' })
    node!: Node;
  }

  @ObjectType(`${name}Connection`, { description: `A page of ${plural}.` })
  class PagedList implements Connection<Node> {
    @Field(() => [Edge], { description: 'The items with their positions.' })
    edges!: Edge[];

    @Field(() => [nodeType], { description: 'The items alone.' })
    nodes!: Node[];

    @Field(() => PageInfo, { description: 'Where the page lies in the list.' })
    pageInfo!: PageInfo;

    @Field(() => Int, { description: 'All items that meet the filter; counted only when asked for.' })
    readonly totalCount!: Promise<number>;
  }
  return PagedList;
}
