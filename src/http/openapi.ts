import { ARCHIVE_TYPE, SEALED_TYPE } from '../archive/format.js';
import { Router } from 'express';
import { ERRORS } from '../errors.js';
import {
  type Document,
  errorContent,
  header,
  NOT_KEPT,
  type Operation,
  type Parameter,
  refusals,
  type Schema,
  state,
  text,
  withoutBodies,
} from './openapi-parts.js';

/** GET /api/openapi.json — what this server offers beside GraphQL; holds no data, so it needs no token. */
export function openApi(version: string, basePath: string): Router {
  const router = Router();
  const document = openApiDocument(version, basePath);
  router.get('/openapi.json', (_request, response) => {
    response.set('Cache-Control', 'no-store').json(document);
  });
  return router;
}

/** The description of every REST route, as OpenAPI 3.1. @param version of the product @param basePath where it is served */
export function openApiDocument(version: string, basePath = ''): Document {
  return {
    openapi: '3.1.0',
    info: {
      title: 'db-manager',
      version,
      license: { name: 'MIT', identifier: 'MIT' },
      description:
        'Downloads, metrics, health and this description. Everything else is GraphQL at `/graphql`, which describes itself: ' +
        'see schema/schema.graphql, or Apollo Sandbox at the same address.',
    },
    servers: [{ url: basePath || '/' }],
    paths: {
      '/api/db-manager/recovery-kit/': { parameters: [], get: KIT },
      '/api/db-manager/verifications/{id}/report/': { parameters: [DRILL_ID], get: REPORT },
      '/api/db-manager/drill-key.pem': { get: REPORT_KEY },
      '/api/db-manager/backups/{id}/download/': { parameters: [ID], get: DOWNLOAD, head: withoutBodies(DOWNLOAD) },
      '/graphql': { post: GRAPHQL },
      '/api/mcp': { post: ASSISTANT },
      '/healthz': { get: HEALTH },
      '/readyz': { get: READINESS },
      '/metrics': { get: METRICS },
      '/api/openapi.json': { get: DESCRIPTION },
    },
    components: {
      schemas: { Error: ERROR, GraphqlAnswer: GRAPHQL_ANSWER },
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'Of an admin: from the mutation `login`, from `db-manager token`, or of the host application.',
        },
        ticket: {
          type: 'apiKey',
          in: 'query',
          name: 'ticket',
          description: 'For one backup and five minutes: part of the address that `createDownloadLink` answers with.',
        },
      },
    },
  };
}

const ERROR: Schema = {
  type: 'object',
  description: 'What is wrong, and what to do about it.',
  required: ['code', 'message', 'hint'],
  additionalProperties: false,
  properties: {
    code: { type: 'string', description: 'For programs.', enum: Object.keys(ERRORS) },
    message: { type: 'string', description: 'For people.' },
    hint: { type: 'string', description: 'What to do.' },
    field: { type: 'string', description: 'The part of the request that it is about, if it is about one.' },
  },
};

const GRAPHQL_ANSWER: Schema = {
  type: 'object',
  description: 'An answer as the GraphQL specification says; errors carry code, hint and field as extensions.',
  additionalProperties: false,
  properties: {
    data: { type: ['object', 'null'] },
    errors: {
      type: 'array',
      minItems: 1,
      items: {
        type: 'object',
        required: ['message', 'extensions'],
        properties: {
          message: { type: 'string' },
          path: { type: 'array', items: { type: ['string', 'integer'] } },
          extensions: {
            type: 'object',
            required: ['code', 'hint'],
            properties: { code: { type: 'string' }, hint: { type: 'string' }, field: { type: 'string' } },
          },
        },
      },
    },
  },
};

const ID: Parameter = {
  name: 'id',
  in: 'path',
  required: true,
  description: 'A COMPLETED backup.',
  schema: { type: 'string', pattern: '^\\w{1,64}$' },
  example: 'backup_20250724_143022_a1b2c3d4',
};

const ETAG = text('SHA-256 of the archive.', '"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"');
const ARCHIVE_HEADERS = {
  ETag: ETAG,
  'Content-Length': text('Bytes of the body.', '162400'),
  'Content-Disposition': text('Name of the archive.', 'attachment; filename=okpuja_backup_20250724_143022.zip'),
  'Accept-Ranges': text('Parts can be asked for.', 'bytes'),
  'Last-Modified': text('When the backup was completed.', 'Thu, 24 Jul 2025 14:30:25 GMT'),
  'Cache-Control': NOT_KEPT,
};

const ARCHIVE_CONTENT = { [ARCHIVE_TYPE]: {}, [SEALED_TYPE]: {} };

const KIT: Operation = {
  operationId: 'downloadRecoveryKit',
  summary: 'A new recovery kit: instructions, where each backup lies, and programs that need nothing of db-manager.',
  description: 'It holds no key, and secrets of destinations only encrypted for the keys on record.',
  security: [{ token: [] }],
  parameters: [],
  responses: {
    200: { description: 'The kit, as a ZIP.', headers: { 'Cache-Control': NOT_KEPT }, content: { [ARCHIVE_TYPE]: {} } },
    ...refusals(['UNAUTHENTICATED', 'FORBIDDEN', 'CONFIG_INVALID', 'INTERNAL_ERROR']),
  },
};

const DRILL_ID: Parameter = {
  ...ID,
  description: 'A drill that has ended.',
  example: 'verify_20250724_150000_a1b2c3d4',
};

const REPORT: Operation = {
  operationId: 'drillReport',
  summary: 'The signed report of a drill: JSON, or a page to print where `Accept` asks for HTML.',
  description: 'The signature is Ed25519, of the bytes of the JSON: see docs/drills.md for how openssl verifies it.',
  security: [{ token: [] }],
  parameters: [
    {
      name: 'part',
      in: 'query',
      description: 'For the signature alone, 64 bytes.',
      schema: { type: 'string', enum: ['signature'] },
    },
  ],
  responses: {
    200: {
      description: 'The report, or its signature.',
      headers: { 'Cache-Control': NOT_KEPT },
      content: {
        'application/json': { schema: { type: 'object', required: ['format', 'id', 'result', 'backup', 'tables'] } },
        'text/html': {},
        'application/octet-stream': {},
      },
    },
    ...refusals(['BAD_USER_INPUT', 'UNAUTHENTICATED', 'FORBIDDEN', 'NOT_FOUND', 'INTERNAL_ERROR']),
  },
};

const REPORT_KEY: Operation = {
  operationId: 'drillReportKey',
  summary: 'The public key that verifies reports of drills, as PEM.',
  security: [],
  parameters: [
    {
      name: 'key',
      in: 'query',
      required: false,
      description:
        'The `key` of a report: the SHA-256 of the key that it was signed with. Left out: the key that is used now.',
      schema: { type: 'string', pattern: '^[0-9a-f]{64}$' },
    },
  ],
  responses: {
    200: {
      description: 'The key.',
      headers: { 'Cache-Control': NOT_KEPT },
      content: { 'application/x-pem-file': {} },
    },
    ...refusals(['BAD_USER_INPUT', 'NOT_FOUND', 'INTERNAL_ERROR']),
  },
};

const DOWNLOAD: Operation = {
  operationId: 'downloadBackup',
  summary: 'The archive of a backup, as it is stored, or decrypted on the way.',
  description:
    'Whole or in one part, so that a download that broke off can go on. A browser, which cannot send a token with a ' +
    'download, takes the address of `createDownloadLink`. Each download is noted in the audit trail.',
  security: [{ token: [] }, { ticket: [] }],
  parameters: [
    {
      name: 'as',
      in: 'query',
      description:
        'Of an incremental backup: `full` (default), one full archive of its state, written on the way, so without a ' +
        'length and without parts; or `stored`, its own piece. Makes no difference for a full backup.',
      schema: { type: 'string', enum: ['full', 'stored'] },
    },
    {
      name: 'decrypt',
      in: 'query',
      description:
        'Of an encrypted archive, the ZIP in it. Without `Encryption-Identity`, the keys that are held here open it.',
      schema: { type: 'string', enum: ['true', 'false'] },
    },
    header('Encryption-Identity', 'With `decrypt=true`: an age identity or a passphrase, percent-encoded. Never kept.'),
    header('Range', 'One part; several, or another unit than bytes, mean the whole.', 'bytes=1048576-'),
    header('If-Range', 'The `ETag` of the part that is there already: if it is another one now, all is sent.'),
    header('If-None-Match', 'The `ETag` of a copy: if it still is the same, nothing is sent.'),
  ],
  responses: {
    200: { description: 'The whole archive.', headers: ARCHIVE_HEADERS, content: ARCHIVE_CONTENT },
    206: {
      description: 'The part that was asked for.',
      headers: { ...ARCHIVE_HEADERS, 'Content-Range': text('Which part, of how many bytes.', 'bytes 0-99/162400') },
      content: ARCHIVE_CONTENT,
    },
    304: { description: 'The copy is still right.', headers: { ETag: ETAG, 'Cache-Control': NOT_KEPT } },
    ...refusals([
      'BAD_USER_INPUT',
      'UNAUTHENTICATED',
      'FORBIDDEN',
      'NOT_FOUND',
      'BACKUP_NOT_COMPLETED',
      'CHAIN_BROKEN',
      'BACKUP_DELETED',
      'ARCHIVE_MISSING',
      'ARCHIVE_CORRUPT',
      'ENCRYPTION_KEY_MISSING',
      'ENCRYPTION_KEY_WRONG',
      'STORAGE_NOT_WRITABLE',
      'STORAGE_UNAVAILABLE',
      'INTERNAL_ERROR',
    ]),
    416: {
      description: 'The range lies outside the archive.',
      headers: { 'Content-Range': text('How many bytes there are.', 'bytes */162400'), 'Cache-Control': NOT_KEPT },
      content: errorContent(['BAD_USER_INPUT']),
    },
  },
};

const GRAPHQL_JSON = { 'application/json': { schema: { $ref: '#/components/schemas/GraphqlAnswer' } } };

const GRAPHQL: Operation = {
  operationId: 'graphql',
  summary: 'Every other operation.',
  description:
    'Send a document of the schema, with a token for all but `login`. Uploads follow the GraphQL multipart request ' +
    'specification. Subscriptions run over WebSocket at the same address (graphql-transport-ws).',
  security: [{ token: [] }, {}],
  parameters: [header('Apollo-Require-Preflight', 'Needed for uploads: no form of another page sends it.', 'true')],
  requestBody: {
    required: true,
    content: {
      'application/json': {
        schema: {
          type: 'object',
          required: ['query'],
          properties: {
            query: { type: 'string' },
            operationName: { type: ['string', 'null'] },
            variables: { type: ['object', 'null'] },
          },
        },
        example: {
          query: 'query($first: Int) { backups(first: $first) { nodes { id status } } }',
          variables: { first: 5 },
        },
      },
      'multipart/form-data': {
        schema: {
          type: 'object',
          required: ['operations', 'map', '0'],
          properties: { operations: { type: 'string' }, map: { type: 'string' }, 0: {} },
        },
        example: {
          operations:
            '{"query":"mutation($file: Upload!) { uploadBackup(file: $file) { id } }","variables":{"file":null}}',
          map: '{"0":["variables.file"]}',
        },
      },
    },
  },
  responses: {
    200: {
      description: 'The answer. What failed is in `errors`, also where the token is missing.',
      content: GRAPHQL_JSON,
    },
    400: { description: 'The request or the document is malformed, or asks for too much.', content: GRAPHQL_JSON },
    401: { description: 'An upload without a valid token, refused before its file is read.', content: GRAPHQL_JSON },
    403: { description: 'An upload by somebody who is not an admin.', content: GRAPHQL_JSON },
    413: { description: 'The request is larger than MAX_BODY_KB allows.', content: GRAPHQL_JSON },
  },
};

const HEALTH: Operation = {
  operationId: 'health',
  summary: 'Whether the process is alive.',
  security: [],
  responses: { 200: state('It is.', { status: 'ok' }) },
};

const READINESS: Operation = {
  operationId: 'readiness',
  summary: 'Whether requests can be served.',
  security: [],
  responses: {
    200: state('They can.', { status: 'ready' }),
    503: state('The control database does not answer, or the server is stopping.', {
      status: 'not ready',
      reason: 'stopping',
    }),
  },
};

const ASSISTANT: Operation = {
  operationId: 'assistant',
  summary: 'The Model Context Protocol over streamable HTTP, for assistants.',
  description:
    'Needs an API token, whose scopes say which tools work. Each request stands alone: there are no sessions.',
  security: [{ token: [] }],
  requestBody: {
    required: true,
    content: {
      'application/json': {
        schema: { type: 'object' },
        example: { jsonrpc: '2.0', id: 1, method: 'tools/list' },
      },
    },
  },
  responses: {
    200: {
      description: 'The answer, as JSON-RPC.',
      headers: { 'Cache-Control': NOT_KEPT },
      content: { 'application/json': { schema: { type: 'object' } } },
    },
    202: { description: 'To a message that asks for no answer.' },
    406: {
      description: '`Accept` must name application/json and text/event-stream.',
      content: { 'application/json': { schema: { type: 'object' } } },
    },
    ...refusals(['BAD_USER_INPUT', 'UNAUTHENTICATED', 'FORBIDDEN', 'PAYLOAD_TOO_LARGE']),
  },
};

const METRICS: Operation = {
  operationId: 'metrics',
  summary: 'How things are, in numbers, for Prometheus.',
  description: "Instead of an admin's token, `METRICS_TOKEN` will do.",
  security: [{ token: [] }],
  responses: {
    200: {
      description: 'In the text format of Prometheus.',
      headers: { 'Cache-Control': NOT_KEPT },
      content: { 'text/plain': {} },
    },
    ...refusals(['UNAUTHENTICATED', 'FORBIDDEN', 'INTERNAL_ERROR']),
  },
};

const DESCRIPTION: Operation = {
  operationId: 'openApi',
  summary: 'This description.',
  security: [],
  responses: { 200: { description: 'It.', content: { 'application/json': { schema: { type: 'object' } } } } },
};
