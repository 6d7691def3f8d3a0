import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import busboy from 'busboy';
import type { Request, RequestHandler, Response } from 'express';
import graphqlUploadExpress from 'graphql-upload/graphqlUploadExpress.mjs';
import type { FileUpload, ProcessRequestFunction } from 'graphql-upload/processRequest.mjs';
import Upload from 'graphql-upload/Upload.mjs';
import { type Auth, requireAdmin } from '../auth/index.js';
import { AppError, badInput } from '../errors.js';

const SPEC = 'https://github.com/jaydenseric/graphql-multipart-request-spec';

/** How large the parts of a multipart request may be, in bytes. */
export interface MultipartLimits {
  /** The file. */
  maxUploadBytes: number;
  /** Everything else. */
  maxBodyBytes: number;
}

/** A request whose file part is on its way. */
type UploadRequest = Request & { incoming?: PassThrough };

/**
 * Middleware for multipart requests, which other requests pass. Only an admin gets as far as the body. The file goes
 * straight to the reader, as fast as it reads: graphql-upload's own way would first lay all of it into the
 * system's temporary folder.
 */
export function multipart(auth: Auth, limits: MultipartLimits): RequestHandler[] {
  return [
    admit(auth, limits),
    graphqlUploadExpress({ processRequest: receive(limits) }) as RequestHandler,
    releaseUnread,
  ];
}

function admit(auth: Auth, { maxUploadBytes, maxBodyBytes }: MultipartLimits): RequestHandler {
  return async (request, response, next) => {
    if (!request.is('multipart/form-data')) return next();
    try {
      requireAdmin(await auth.authenticate(request.get('authorization')), 'BACKUP');
      if (!request.get('apollo-require-preflight') && !request.get('x-apollo-operation-name')) {
        throw badInput('apollo-require-preflight', 'the header is missing.', 'Send `apollo-require-preflight: true`.');
      }
      if (Number(request.get('content-length') ?? 0) > maxUploadBytes + 2 * maxBodyBytes) {
        throw new AppError('PAYLOAD_TOO_LARGE', `file: it is larger than ${maxUploadBytes} bytes.`, { field: 'file' });
      }
      next();
    } catch (error) {
      // The rest of the body is not read: the connection ends with the answer.
      response.set('Connection', 'close');
      next(error);
    }
  };
}

/** An answer that comes before the file was read through gives the rest of it up, so that it can be sent. */
const releaseUnread: RequestHandler = (request: UploadRequest, response: Response, next) => {
  const { incoming } = request;
  if (incoming !== undefined) {
    const { send } = response;
    response.send = (body) => {
      incoming.destroy();
      return send.call(response, body);
    };
  }
  next();
};

function receive({ maxBodyBytes }: MultipartLimits): ProcessRequestFunction {
  return (request: IncomingMessage & { incoming?: PassThrough }) =>
    new Promise((resolve, reject) => {
      const parser = busboy({
        headers: request.headers,
        defParamCharset: 'utf8',
        limits: { fieldSize: maxBodyBytes, fields: PARTS.length + 1, files: 1 },
      });
      const fail = (error: AppError) => {
        request.unpipe(parser);
        request.resume();
        request.incoming?.destroy(error);
        reject(error);
      };
      const fields = new Map<string, unknown>();
      parser.on('field', (name, text, { valueTruncated }) => {
        if (!PARTS.includes(name)) return fail(notAFile(name));
        if (valueTruncated)
          return fail(new AppError('PAYLOAD_TOO_LARGE', `${name}: it is larger than ${maxBodyBytes} bytes.`));
        try {
          fields.set(name, JSON.parse(text));
        } catch {
          fail(malformed(name, 'is not JSON'));
        }
      });
      parser.on('file', (name, stream, { filename, encoding, mimeType }) => {
        const body = (request.incoming = new PassThrough());
        stream.on('data', (chunk) => {
          if (!body.destroyed && !body.write(chunk)) stream.pause();
        });
        body.on('drain', () => stream.resume()).on('close', () => stream.resume());
        body.on('error', () => undefined);
        stream.on('error', (error) => body.destroy(error)).on('end', () => body.end());
        const upload = new Upload();
        upload.resolve({
          // Without one it is a file all the same: what it holds decides.
          filename: filename ?? '',
          encoding,
          mimetype: mimeType,
          createReadStream: once(body),
        } as unknown as FileUpload);
        try {
          resolve(place(upload, name, fields.get('operations'), fields.get('map')));
        } catch (error) {
          fail(error as AppError);
        }
      });
      parser.on('finish', () => reject(malformed('file', 'is missing')));
      parser.on('error', (error) => fail(malformed('file', `cannot be read: ${(error as Error).message}`)));
      request.on('close', () => {
        if (!request.readableEnded) fail(new AppError('INTERRUPTED', 'file: the upload broke off.', { field: 'file' }));
      });
      request.pipe(parser);
    });
}

/** The parts that are text. */
const PARTS = ['operations', 'map'];

/** Hands the file out to the first who asks: its bytes pass by once. */
function once(body: PassThrough): () => PassThrough {
  let given = false;
  return () => {
    if (given) throw badInput('file', 'is used twice in one request.', 'Send one request for each upload.');
    given = true;
    return body;
  };
}

function notAFile(name: string): AppError {
  return badInput(
    name,
    'is a part without a file name and type, so it is a text and no file.',
    'Send the file as one, with curl as `-F 0=@backup.zip`.',
  );
}

/** Lays the file where the map says: `{"0": ["variables.file"]}`. */
function place(upload: Upload, name: string, operations: unknown, map: unknown): Record<string, unknown> {
  if (!isRecord(operations)) throw malformed('operations', 'is not one operation');
  if (!isRecord(map)) throw malformed('map', 'is missing or comes after the file');
  const paths = Object.hasOwn(map, name) ? map[name] : undefined;
  const path: unknown =
    Array.isArray(paths) && paths.length === 1 && Object.keys(map).length === 1 ? paths[0] : undefined;
  if (typeof path !== 'string') throw malformed('map', 'does not name one place for one file');
  const steps = path.split('.');
  const last = steps.pop() as string;
  let target: unknown = operations;
  for (const step of steps) target = isRecord(target) && Object.hasOwn(target, step) ? target[step] : undefined;
  if (!isRecord(target) || !Object.hasOwn(target, last)) throw malformed('map', `"${path}" is not in operations`);
  target[last] = upload;
  return operations;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function malformed(field: string, problem: string): AppError {
  return badInput(field, `${problem}.`, `Send the parts operations, map and file, as ${SPEC} says.`);
}
