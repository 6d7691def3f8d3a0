import { pipeline } from 'node:stream/promises';
import { type Request, type Response, Router } from 'express';
import { type Actor, type Auth, requireAdmin } from '../auth/index.js';
import type { Audit } from '../core/audit.js';
import type { Backups } from '../core/backups/backups.js';
import { AppError } from '../errors.js';
import type { Log } from '../log.js';

export interface DownloadParts {
  auth: Auth;
  backups: Backups;
  audit: Audit;
  log: Log;
}

/** A part of the archive, both ends included; null for all of it. */
type Part = { start: number; end: number } | null;

/** GET and HEAD /backups/:id/download/ — the archive, as it is stored. */
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
  const { email } = requireAdmin(await callerOf(auth, request));
  if (!/^\w{1,64}$/.test(id)) throw new AppError('NOT_FOUND', 'There is no such backup.');
  const { row, storage, size } = await backups.open(id);
  const etag = `"${row.checksum ?? `${id}-${size}`}"`;
  if (matches(request.get('if-none-match'), etag)) {
    response.status(304).set({ ETag: etag, 'Cache-Control': 'no-store' }).end();
    return;
  }
  const part = request.method === 'HEAD' ? null : wantedPart(request, etag, size);
  if (part === 'unsatisfiable') {
    const message = `Range: the archive has ${size} bytes, and the range lies outside.`;
    response.status(416).set({ 'Content-Range': `bytes */${size}`, 'Cache-Control': 'no-store' });
    response.json({ code: 'BAD_USER_INPUT', message, hint: 'Ask for a range inside it.', field: 'Range' });
    return;
  }
  const body = request.method === 'HEAD' ? null : await storage.get(row.fileName, part ?? undefined);
  try {
    if (body !== null) await audit.record(email, 'backup.download', id, { file: row.fileName, ...(part ?? {}) });
    if (part !== null) response.status(206).set('Content-Range', `bytes ${part.start}-${part.end}/${size}`);
    response.attachment(row.fileName).set({
      'Content-Type': 'application/zip',
      'Content-Length': String(part === null ? size : part.end - part.start + 1),
      'Cache-Control': 'no-store',
      'Accept-Ranges': 'bytes',
      ETag: etag,
      ...(row.completedAt ? { 'Last-Modified': row.completedAt.toUTCString() } : {}),
    });
    if (body === null) response.end();
    else await pipeline(body, response);
  } catch (error) {
    body?.destroy();
    if (!response.headersSent) throw error;
    // The connection is broken, by the client or by the storage: the length that was promised tells the client.
    log.warn({ err: error, backup: id }, 'a download broke off');
  }
}

/** A browser that streams a download to the disk cannot send a header: its link carries a ticket for this one backup. */
function callerOf(auth: Auth, request: Request<{ id: string }>): Promise<Actor> {
  const { ticket } = request.query;
  const header = request.get('authorization');
  if (header !== undefined || typeof ticket !== 'string') return auth.authenticate(header);
  return auth.authenticateTicket(ticket, request.params.id);
}

/** The one range that is asked for; several, another unit, or a condition that does not hold, mean the whole. */
function wantedPart(request: Request<{ id: string }>, etag: string, size: number): Part | 'unsatisfiable' {
  const condition = request.get('if-range');
  if (condition !== undefined && condition !== etag) return null;
  const match = /^bytes=\s*(\d*)-(\d*)\s*$/.exec(request.get('range') ?? '');
  const [first, last] = [match?.[1] ?? '', match?.[2] ?? ''];
  if (first === '' && last === '') return null;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (start >= size) return 'unsatisfiable';
  return end < start ? null : { start, end };
}

function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(',').some((tag) => ['*', etag, `W/${etag}`].includes(tag.trim()));
}
