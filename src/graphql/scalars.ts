import { GraphQLError, GraphQLScalarType, type ValueNode } from 'graphql';
import GraphQLUpload from 'graphql-upload/GraphQLUpload.mjs';

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/;

function parseDate(value: unknown): Date {
  const date = typeof value === 'string' && ISO.test(value) ? new Date(value) : null;
  const year = date?.getUTCFullYear() ?? NaN;
  // A year 0, or one of five digits that a zone makes, is beyond what PostgreSQL reads.
  if (date === null || !(year >= 1 && year <= 9_999)) {
    throw new GraphQLError('is not a time such as "2025-07-24T14:30:22Z" (ISO 8601 with its zone).');
  }
  return date;
}

/** Moments go in with any zone and come out in UTC. */
export const DateTime = new GraphQLScalarType<Date, string>({
  name: 'DateTime',
  description: 'A time in ISO 8601, always in UTC in answers, such as `2025-07-24T14:30:22.000Z`.',
  specifiedByURL: 'https://scalars.graphql.org/andimarek/date-time.html',
  serialize(value) {
    if (value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString();
    throw new GraphQLError('is not a Date');
  },
  parseValue: parseDate,
  parseLiteral: (node: ValueNode) => parseDate('value' in node ? node.value : undefined),
});

/** Bytes beyond Int's 2 GiB. */
export const ByteSize = new GraphQLScalarType<number, number>({
  name: 'ByteSize',
  description: 'A whole number of bytes, exact up to 2^53, such as `524288000`.',
  serialize(value) {
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    throw new GraphQLError('is not a number of bytes');
  },
});

/** Values of rows, whose types only the database knows. What comes in is judged where it is used. */
export const JsonValue = new GraphQLScalarType<unknown, unknown>({
  name: 'JSON',
  description: 'Any value that JSON can hold: a text, a number, true, false, null, a list or an object.',
  specifiedByURL: 'https://www.rfc-editor.org/rfc/rfc8259',
});

/** A file of a multipart request. */
export const Upload = new GraphQLScalarType({
  ...GraphQLUpload.toConfig(),
  description:
    'A file, sent as the GraphQL multipart request specification says, with the header `apollo-require-preflight: true`.',
  specifiedByURL: 'https://github.com/jaydenseric/graphql-multipart-request-spec',
});
