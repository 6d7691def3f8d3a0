import { mapSchema, MapperKind } from '@graphql-tools/utils';
import {
  defaultFieldResolver,
  getNamedType,
  GraphQLInt,
  GraphQLList,
  GraphQLNonNull,
  type GraphQLOutputType,
  type GraphQLSchema,
  isNonNullType,
} from 'graphql';
import { QueryResult } from './insight.type.js';
import { ByteSize, DateTime, JsonValue } from './scalars.js';

/** The rows of a query: TypeGraphQL cannot say that of a list of lists only the values may be null. */
const ROWS = new GraphQLNonNull(new GraphQLList(new GraphQLNonNull(new GraphQLList(JsonValue))));

/** The same schema, with the types of fields that TypeGraphQL cannot express. */
export function withRows(schema: GraphQLSchema): GraphQLSchema {
  return mapSchema(schema, {
    [MapperKind.OBJECT_FIELD]: (field, name, type) =>
      type === QueryResult.name && name === 'rows' ? { ...field, type: ROWS } : undefined,
  });
}

const MAX_INT = 2_147_483_647;

/**
 * The same schema, in which a stored value that its type cannot show, such as a table of three billion rows for `Int`, is
 * answered with the nearest that it can. Otherwise one such row would fail every list that it is in, for ever.
 */
export function fitOutput(schema: GraphQLSchema): GraphQLSchema {
  return mapSchema(schema, {
    [MapperKind.OBJECT_FIELD]: (field) => {
      const fit = fitting(field.type);
      if (fit === null) return undefined;
      const { resolve = defaultFieldResolver } = field;
      const whole = (value: unknown): unknown => (Array.isArray(value) ? value.map(whole) : fit(value));
      return {
        ...field,
        resolve: (source, args, context, info) => {
          const value: unknown = resolve(source, args, context, info);
          return value instanceof Promise ? value.then(whole) : whole(value);
        },
      };
    },
  });
}

/** Brings a value within what the field's type can show; null for a type that needs none. */
function fitting(type: GraphQLOutputType): ((value: unknown) => unknown) | null {
  const named = getNamedType(type);
  if (named === GraphQLInt) return (value) => bounded(value, -MAX_INT, MAX_INT);
  if (named.name === ByteSize.name) return (value) => bounded(value, 0, Number.MAX_SAFE_INTEGER);
  if (named.name !== DateTime.name) return null;
  const unreadable = isNonNullType(type) ? new Date(0) : null;
  return (value) => (value instanceof Date && Number.isNaN(value.getTime()) ? unreadable : value);
}

function bounded(value: unknown, min: number, max: number): unknown {
  if (typeof value !== 'number') return value;
  return Number.isNaN(value) ? 0 : Math.min(Math.max(Math.trunc(value), min), max);
}
