import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Request, type Response, Router } from 'express';
import { type Actor, type Auth, requireAdmin } from '../auth/index.js';
import type { Audit } from '../core/audit.js';
import type { Backups } from '../core/backups/backups.js';
import { mediaTypeOf } from '../archive/format.js';
import { AppError, badInput } from '../errors.js';
import type { Log } from '../log.js';

export interface DownloadParts {
  auth: Auth;
  backups: Backups;
  audit: Audit;
  log: Log;
}

/**
 * GET and HEAD /backups/:id/download/ — the archive, as it is stored, or with `?decrypt=true` the ZIP in an encrypted one. An
 * incremental backup becomes one full archive with what it builds on, unless `?as=stored` asks for its own piece.
 */
export function downloads(parts: DownloadParts): Router {
  const router = Router();
  router.get('/backups/:id/download', (request, response) => download(parts, request, response));
  return router;
}

async function download(
  { auth, backups, audit, log }: DownloadParts,
  request: Request<{ id: string }>,
  response: Response,
): Promise<void> {
  const { id } = request.params;
  const { email } = requireAdmin(await callerOf(auth, request), 'READ');
  if (!/^\w{1,64}$/.test(id)) throw new AppError('NOT_FOUND', 'There is no such backup.');
  const opened = await backups.open(id, identityIn(request));
  const isFull = opened.row.mode === 'INCREMENTAL' && wantsFull(request);
  const form = isFull ? await fullForm(opened, request) : await storedForm(opened, request);
  const { fileName, etag, size } = form;
  const { completedAt } = opened.row;
  response.set({
    'Cache-Control': 'no-store',
    ...(size === null ? {} : { 'Accept-Ranges': 'bytes' }),
    ETag: etag,
    ...(completedAt ? { 'Last-Modified': completedAt.toUTCString() } : {}),
  });
  if (request.fresh) {
    response.status(304).end();
    return;
  }
  const range = request.method === 'HEAD' || size === null ? null : wantedRange(request, response, size);
  if (range === 'unsatisfiable') {
    const message = `Range: the archive has ${size} bytes, and the range lies outside.`;
    response.status(416).set('Content-Range', `bytes */${size}`);
    response.json({ code: 'BAD_USER_INPUT', message, hint: 'Request a range inside it.', field: 'Range' });
    return;
  }
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const body = request.method === 'HEAD' ? null : await form.read(range, gone.signal);
  try {
    const details = { file: fileName, ...(isFull && { as: 'full' }), ...range };
    if (body !== null) await audit.record(email, 'backup.download', id, details);
    if (range !== null) response.status(206).set('Content-Range', `bytes ${range.start}-${range.end}/${size}`);
    response.attachment(fileName).set('Content-Type', mediaTypeOf(fileName));
    if (size !== null) {
      response.set('Content-Length', String(range === null ? size : range.end - range.start + 1));
    }
    if (body === null) response.end();
    else await pipeline(body, response);
  } catch (error) {
    body?.destroy();
    if (!response.headersSent) throw error;
    // The connection is broken, by the client or by the storage: the client notices by the promised length, or by the end.
    log.warn({ err: error, backup: id }, 'a download broke off');
  }
}

type Opened = Awaited<ReturnType<Backups['open']>>;

/** What of a backup is sent. */
interface Form {
  fileName: string;
  etag: string;
  /** Bytes; null where that is known only at the end, so that there are no parts. */
  size: number | null;
  read(range: { start: number; end: number } | null, signal: AbortSignal): Promise<Readable>;
}

/** The archive as it is stored, or the ZIP in an encrypted one. */
async function storedForm({ row, stored }: Opened, request: Request<{ id: string }>): Promise<Form> {
  const decrypts = stored.isSealed && wantsDecryption(request);
  const content = decrypts ? await stored.content(AbortSignal.timeout(PATIENCE)) : stored.stored;
  const { size } = content;
  return {
    fileName: decrypts ? withoutAge(row.fileName) : row.fileName,
    etag: `"${row.checksum ?? `${row.id}-${size}`}${decrypts ? '-zip' : ''}"`,
    size,
    read: (range) => content.read(range?.start ?? 0, range?.end ?? size - 1),
  };
}

/** A chain as one archive. */
async function fullForm({ row, stored }: Opened, request: Request<{ id: string }>): Promise<Form> {
  if (stored.isSealed && !wantsDecryption(request)) {
    throw badInput(
      'as',
      'an encrypted incremental backup becomes a full archive only in the clear.',
      'Add decrypt=true; or as=stored for the encrypted piece, which needs those that it builds on.',
    );
  }
  // What is missing or damaged is told while it can be.
  await stored.archive(AbortSignal.timeout(PATIENCE));
  return {
    fileName: stored.isSealed ? withoutAge(row.fileName) : row.fileName,
    etag: `"${row.checksum ?? row.id}-full"`,
    size: null,
    read: (_range, signal) => stored.full(signal),
  };
}

/** How long opening an archive may take, in milliseconds. */
const PATIENCE = 60_000;
const AGE = '.age';
const withoutAge = (name: string) => name.slice(0, -AGE.length);

/** By default. */
function wantsFull({ query: { as } }: Request<{ id: string }>): boolean {
  if (as === undefined || as === 'full') return true;
  if (as === 'stored') return false;
  throw badInput('as', 'must be full or stored.');
}

/** What opens an encrypted archive. Never a part of the address, which proxies and browsers keep. */
export const IDENTITY_HEADER = 'Encryption-Identity';

function wantsDecryption({ query: { decrypt } }: Request<{ id: string }>): boolean {
  if (decrypt === undefined || decrypt === 'false') return false;
  if (decrypt === 'true') return true;
  throw badInput('decrypt', 'must be true or false.');
}

/** Percent-encoded, since a header holds nothing but ASCII. @throws AppError BAD_USER_INPUT */
function identityIn(request: Request<{ id: string }>): string | undefined {
  const text = request.get(IDENTITY_HEADER);
  if (text === undefined) return undefined;
  if (!wantsDecryption(request)) throw badInput(IDENTITY_HEADER, 'is of use only with decrypt=true.');
  try {
    return decodeURIComponent(text);
  } catch {
    throw badInput(IDENTITY_HEADER, 'is not percent-encoded as it must be.');
  }
}

/** A browser that streams a download to the disk cannot send a header: its link carries a ticket for this one backup. */
function callerOf(auth: Auth, request: Request<{ id: string }>): Promise<Actor> {
  const { ticket } = request.query;
  const header = request.get('authorization');
  if (header !== undefined || typeof ticket !== 'string') return auth.authenticate(header);
  return auth.authenticateTicket(ticket, request.params.id);
}

/**
 * The one range that is requested; null, meaning the whole, for several ranges, another unit, a reversed range or an If-Range
 * that does not hold. Express's own parser answers 416 to a reversed range and to a suffix longer than the file, against
 * RFC 9110 (14.1.1 and 14.1.2).
 */
function wantedRange(
  request: Request<{ id: string }>,
  response: Response,
  size: number,
): { start: number; end: number } | null | 'unsatisfiable' {
  const condition = request.get('if-range');
  if (condition !== undefined && condition !== response.get('ETag')) return null;
  const match = /^bytes=\s*(\d*)-(\d*)\s*$/.exec(request.get('range') ?? '');
  const [first, last] = [match?.[1] ?? '', match?.[2] ?? ''];
  if (first === '' && last === '') return null;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (start >= size) return 'unsatisfiable';
  return end < start ? null : { start, end };
}
