import cors from 'cors';
import type { RequestHandler } from 'express';

/** How long a browser may remember the answer, in seconds. */
const MAX_AGE = 600;

/**
 * Lets the web pages of some other servers use the API: with a token that they send, never with cookies.
 * @param origins as browsers name them, such as https://admin.example.org
 */
export function crossOrigin(origins: string[]): RequestHandler {
  return cors({
    origin: origins,
    methods: ['GET', 'HEAD', 'POST'],
    allowedHeaders: [
      'Authorization',
      'Content-Type',
      'Apollo-Require-Preflight',
      'X-Confirmation',
      // Of the download; see openapi.ts.
      'Range',
      'If-Range',
      'If-None-Match',
      'Encryption-Identity',
    ],
    exposedHeaders: ['Content-Disposition', 'Content-Length', 'Content-Range', 'ETag'],
    credentials: false,
    maxAge: MAX_AGE,
  });
}
