import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import compression from 'compression';
import express, { type Request, type Response, Router } from 'express';
import { AppError } from '../errors.js';

/** Where the build puts the admin page: beside the compiled server, and reached alike from the sources. */
const BUILT = fileURLToPath(new URL('../../dist/admin/', import.meta.url));

/** The addresses that the page itself routes: each answers with the same document. */
const PAGES = ['/', '/backups{/*rest}', '/restores{/*rest}', '/configs{/*rest}', '/upload', '/activity'];

/** Stands in the built document wherever a nonce belongs; see src/admin/vite.config.ts. */
const PLACEHOLDER = /__CSP_NONCE__/g;

/**
 * The admin page: one document for all its addresses, with a policy that lets it load from this server only, and its
 * files, whose names change with their content. The document holds no data, so it needs no token.
 */
export function admin(folder = BUILT): Router {
  const router = Router();
  router.use(
    '/assets',
    compression(),
    express.static(join(folder, 'assets'), { immutable: true, maxAge: '1y', fallthrough: true, index: false }),
  );
  router.get('/favicon.svg', express.static(folder, { index: false, maxAge: '1d' }));
  router.get(PAGES, (_request: Request, response: Response) => sendPage(folder, response));
  return router;
}

async function sendPage(folder: string, response: Response): Promise<void> {
  const nonce = randomBytes(16).toString('base64');
  const page = await readFile(join(folder, 'index.html'), 'utf8').catch((cause: unknown) => {
    const hint = 'Run `npm run build`, then load the page again.';
    throw new AppError('NOT_FOUND', 'The admin page is not built.', { hint, cause });
  });
  response.set({
    'Content-Security-Policy': policy(nonce),
    // The document names the files of one build, and its nonce counts once.
    'Cache-Control': 'no-store',
  });
  response.type('html').send(page.replace(PLACEHOLDER, nonce));
}

/** Scripts, styles and data of this server alone; styles that the page makes itself carry the nonce. */
function policy(nonce: string): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    `style-src 'self' 'nonce-${nonce}'`,
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}
