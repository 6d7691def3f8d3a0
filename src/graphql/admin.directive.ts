import { getDirective, mapSchema, MapperKind } from '@graphql-tools/utils';
import {
  defaultFieldResolver,
  DirectiveLocation,
  GraphQLDirective,
  type GraphQLFieldConfig,
  type GraphQLSchema,
} from 'graphql';
import { Directive } from 'type-graphql';
import { requireAdmin, type Scope } from '../auth/index.js';
import { isConfirmed } from './confirmed.js';
import type { GraphqlContext } from './context.js';
import { scopeOf } from './scopes.js';

const NAME = 'admin';

/** The one root field that needs no token. */
const PUBLIC_FIELDS = ['login'];

/** Marks a field or an object type: only an admin gets an answer. */
export const Admin = () => Directive(`@${NAME}`);

export const adminDirective = new GraphQLDirective({
  name: NAME,
  description:
    'Only for admins: without a valid token the answer is UNAUTHENTICATED, without the role, or the scope of an API token, FORBIDDEN.',
  locations: [DirectiveLocation.OBJECT, DirectiveLocation.FIELD_DEFINITION],
});

/** The same schema, in which every field that `@admin` stands on (or on whose type it stands) asks for an admin first. */
export function guardAdmin(schema: GraphQLSchema): GraphQLSchema {
  return mapSchema(schema, {
    [MapperKind.OBJECT_FIELD]: (field, fieldName, typeName) => {
      const type = schema.getType(typeName);
      const guarded = has(schema, field) || (type !== undefined && has(schema, type));
      const needs = { scope: scopeOf(typeName, fieldName), confirmed: isConfirmed(typeName, fieldName) };
      return guarded ? guardField(field as GraphQLFieldConfig<unknown, GraphqlContext>, needs) : undefined;
    },
  });
}

/**
 * Fails when a root field is open by oversight: called at start, so that such a server never listens.
 * @throws Error naming the fields
 */
export function assertGuarded(schema: GraphQLSchema): void {
  const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];
  const open = roots.flatMap((type) =>
    type === null || type === undefined || has(schema, type)
      ? []
      : Object.values(type.getFields()).filter((field) => !has(schema, field) && !PUBLIC_FIELDS.includes(field.name)),
  );
  if (open.length > 0) throw new Error(`These fields lack @admin: ${open.map((field) => field.name).join(', ')}.`);
}

function has(schema: GraphQLSchema, node: Parameters<typeof getDirective>[1]): boolean {
  return (getDirective(schema, node, NAME)?.length ?? 0) > 0;
}

/** @param needs `scope`: what an API token needs; null: whatever led here */
function guardField(
  field: GraphQLFieldConfig<unknown, GraphqlContext>,
  { scope, confirmed }: { scope: Scope | null; confirmed: boolean },
): GraphQLFieldConfig<unknown, GraphqlContext> {
  const { resolve = defaultFieldResolver, subscribe } = field;
  return {
    ...field,
    resolve: async (source, args, context, info) => {
      requireAdmin(await context.admin(), scope);
      if (confirmed) await context.confirmed();
      return resolve(source, args, context, info);
    },
    ...(subscribe && {
      subscribe: async (source, args, context, info) => {
        requireAdmin(await context.admin(), scope);
        return subscribe(source, args, context, info) as unknown;
      },
    }),
  };
}
