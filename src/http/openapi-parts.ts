import { type ErrorCode, ERRORS } from '../errors.js';
import { HTTP_STATUS } from './error-handler.js';

/*
 * The part of OpenAPI 3.1 that this server's description uses. A test checks the description against the whole of it.
 */

/** A JSON Schema. */
export type Schema = Record<string, unknown>;
export type Content = Record<
  string,
  { schema?: Schema; example?: unknown; examples?: Record<string, { value: unknown }> }
>;
export type Header = { description: string; schema: Schema; example: string };
export interface Answer {
  description: string;
  headers?: Record<string, Header>;
  content?: Content;
}
/** By status. */
export type Answers = Record<string, Answer>;
export interface Parameter {
  name: string;
  in: 'path' | 'header' | 'query';
  required?: boolean;
  description: string;
  schema: Schema;
  example?: string;
}
export interface Operation {
  operationId: string;
  summary: string;
  description?: string;
  /** Names of security schemes, of which one is enough; `{}` for none. */
  security: Record<string, string[]>[];
  parameters?: Parameter[];
  requestBody?: { required: boolean; content: Content };
  responses: Answers;
}
export interface Document {
  openapi: '3.1.0';
  info: { title: string; version: string; description: string; license: { name: string; identifier: string } };
  servers: { url: string }[];
  paths: Record<string, { parameters?: Parameter[]; get?: Operation; head?: Operation; post?: Operation }>;
  components: { schemas: Record<string, Schema>; securitySchemes: Record<string, Record<string, string>> };
}

/** A header of an answer. */
export function text(description: string, example: string): Header {
  return { description, schema: { type: 'string' }, example };
}

export const NOT_KEPT = text('Never kept by caches.', 'no-store');

/** A header of a request. */
export function header(name: string, description: string, example?: string): Parameter {
  return { name, in: 'header', description, schema: { type: 'string' }, ...(example === undefined ? {} : { example }) };
}

/** An answer of fixed words. */
export function state(description: string, example: Record<string, string>): Answer {
  const properties = Object.fromEntries(Object.keys(example).map((name) => [name, { type: 'string' }]));
  const schema = { type: 'object', required: Object.keys(example), properties, additionalProperties: false };
  return { description, content: { 'application/json': { schema, example } } };
}

/** The answers with these codes of the catalogue, each under the status that the code has. */
export function refusals(codes: ErrorCode[]): Answers {
  const responses: Answers = {};
  for (const status of new Set(codes.map((code) => HTTP_STATUS[code]))) {
    const ofStatus = codes.filter((code) => HTTP_STATUS[code] === status);
    responses[status] = {
      description: ofStatus.map((code) => `${code}: ${ERRORS[code].meaning}`).join(' '),
      headers: { 'Cache-Control': NOT_KEPT },
      content: errorContent(ofStatus),
    };
  }
  return responses;
}

/** The body of errors with these codes, with an example of each. */
export function errorContent(codes: ErrorCode[]): Content {
  const example = (code: ErrorCode) => ({ value: { code, message: ERRORS[code].meaning, hint: ERRORS[code].hint } });
  const examples = Object.fromEntries(codes.map((code) => [code, example(code)]));
  return { 'application/json': { schema: { $ref: '#/components/schemas/Error' }, examples } };
}

/** HEAD answers as GET does, but never with a part and never with a body. */
export function withoutBodies({ responses, ...operation }: Operation): Operation {
  const whole = Object.entries(responses).filter(([status]) => status !== '206' && status !== '416');
  return {
    ...operation,
    operationId: 'describeArchive',
    summary: 'Size, hash and name of the archive, without its bytes.',
    parameters: operation.parameters?.filter(({ name }) => !/range/i.test(name)) ?? [],
    responses: Object.fromEntries(whole.map(([status, { content: _, ...answer }]) => [status, answer])),
  };
}
