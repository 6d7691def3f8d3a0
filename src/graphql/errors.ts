import { GraphQLError, type GraphQLFormattedError } from 'graphql';
import { ArgumentValidationError } from 'type-graphql';
import { AppError, badInput, isOurs, maskSecrets, toAppError } from '../errors.js';
import type { Log } from '../log.js';

/** Codes that GraphQL itself has for a document that does not fit the schema; they stay as they are. */
const DOCUMENT_CODES: Record<string, string> = {
  GRAPHQL_PARSE_FAILED: 'Correct the syntax at the named line.',
  GRAPHQL_VALIDATION_FAILED: 'Compare the document with schema/schema.graphql, or write it in the Sandbox.',
};

/** Apollo's codes for requests that are wrong in another way. */
const REQUEST_CODES = [
  'BAD_USER_INPUT',
  'BAD_REQUEST',
  'OPERATION_RESOLUTION_FAILURE',
  'PERSISTED_QUERY_NOT_FOUND',
  'PERSISTED_QUERY_NOT_SUPPORTED',
];

/** What graphql-js says, without a code, of values that do not fit the schema. Apollo gives some of it a code, only over HTTP. */
const WRONG_VALUE = /^((Argument|Variable) "|Too many errors processing variables)/;

type ErrorFormatter = (formatted: GraphQLFormattedError, error: unknown) => GraphQLFormattedError;

/**
 * Shows every error as `{ message, extensions: { code, hint, field? } }`. What is not the user's doing is logged once,
 * masked, and shown as INTERNAL_ERROR without its words; nothing ever shows a stack.
 */
export function errorFormatter(log: Log): ErrorFormatter {
  return ({ locations, path, ...given }, thrown) => {
    const formatted =
      thrown instanceof GraphQLError && thrown.originalError instanceof AppError ? given : withoutValues(given);
    const place = { ...(locations && { locations }), ...(path && { path }) };
    const code = String(formatted.extensions?.code);
    if (code in DOCUMENT_CODES && !/more (that|than) \d+ tokens/.test(formatted.message)) {
      return { message: formatted.message, ...place, extensions: { code, hint: DOCUMENT_CODES[code] } };
    }
    const error = explain(formatted, code, originOf(thrown));
    if (isOurs(error)) log.error({ err: error.cause ?? thrown, path }, 'a request failed');
    return { message: error.message, ...place, extensions: extensionsOf(error) };
  };
}

/** What graphql-js quotes of the request, each with what stands in its place: a value in the wrong place may be a password. */
const QUOTED: [RegExp, string][] = [
  [/got invalid value [\s\S]*?( at "[^"]+")?; /g, 'got an invalid value$1; '],
  [/has invalid value [\s\S]*?\.(?= |$)/g, 'has an invalid value.'],
  [/(cannot represent [^:]*|is not a valid [^:]*|[Vv]alue is not [^:]*|[Ii]nvalid [^:]*): [\s\S]*$/g, '$1.'],
  [/, found [\s\S]*$/g, '.'],
  [/Value "[\s\S]*?" does not exist/g, 'The value does not exist'],
  [/Did you mean the enum value[\s\S]*$/g, ''],
  [/(String|BlockString|Int|Float) "(?:[^"\\]|\\[\s\S])*"/g, '$1'],
];

/** The same error without the values that the request held; names of fields, types and variables stay. */
function withoutValues({ message, ...error }: GraphQLFormattedError): GraphQLFormattedError {
  const shown = QUOTED.reduce((text, [pattern, instead]) => text.replace(pattern, instead), message);
  return { ...error, message: maskSecrets(shown.trim()) };
}

/** The error in the form in which graphql-js carries it, for places that must throw one of its own. */
export function toGraphqlError(error: AppError, status?: number): GraphQLError {
  const extensions = { ...extensionsOf(error), ...(status && { http: { status } }) };
  return new GraphQLError(error.message, { originalError: error, extensions });
}

function extensionsOf({ code, hint, field }: AppError) {
  return { code, hint, ...(field === undefined ? {} : { field }) };
}

function explain({ message }: GraphQLFormattedError, code: string, cause: unknown): AppError {
  if (cause instanceof AppError) return cause;
  if (cause instanceof ArgumentValidationError) return fromValidation(cause);
  if (/more (that|than) \d+ tokens/.test(message)) return new AppError('QUERY_TOO_COMPLEX', message);
  if (isTooLarge(cause)) return new AppError('PAYLOAD_TOO_LARGE', message);
  if (REQUEST_CODES.includes(code) || (cause instanceof GraphQLError && WRONG_VALUE.test(message))) {
    return fromRequest(message);
  }
  return toAppError(cause);
}

/** A variable that does not fit its type: `Variable "$input" got invalid value 0 at "input.first"; …`. */
function fromRequest(message: string): AppError {
  const path =
    /^Variable "\$(\w+)".*? at "([^"]+)"/.exec(message)?.[2] ?? /^(?:Variable|Argument) "\$?(\w+)"/.exec(message)?.[1];
  const field = path
    ?.split('.')
    .filter((part) => !/^\d+$/.test(part))
    .at(-1)
    ?.replace(/\[\d+\]$/, '');
  return field === undefined ? new AppError('BAD_USER_INPUT', message) : badInput(field, message);
}

function fromValidation(error: ArgumentValidationError): AppError {
  const errors: unknown = error.extensions.validationErrors;
  // What has no class cannot be validated, and is no list of errors then.
  if (!Array.isArray(errors)) return toAppError(errors);
  const [first] = errors as typeof error.extensions.validationErrors;
  const reasons = Object.values(first?.constraints ?? {});
  return badInput(first?.property ?? 'input', `${reasons.join(', ') || 'is not valid'}.`);
}

/** What was thrown, out of what graphql-js wraps around it. */
function originOf(thrown: unknown): unknown {
  return thrown instanceof GraphQLError && thrown.originalError ? thrown.originalError : thrown;
}

function isTooLarge(cause: unknown): boolean {
  return typeof cause === 'object' && cause !== null && 'status' in cause && cause.status === 413;
}
