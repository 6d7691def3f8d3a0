import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import compression from 'compression';
import express, { type Request, type RequestHandler, type Response, Router } from 'express';
import { AppError } from '../errors.js';

/** Where the build puts the admin page: beside the compiled server, and reached alike from the sources. */
const BUILT = fileURLToPath(new URL('../../dist/admin/', import.meta.url));

/** The addresses that the page itself routes, as in src/admin/app.tsx: each answers with the same document. */
const PAGES = [
  '/',
  '/backups',
  '/backups/:id',
  '/backups/:id/restore',
  '/backups/:id/compare',
  '/backups/:id/query',
  '/restores',
  '/restores/:id',
  '/configs',
  '/configs/new',
  '/configs/:id',
  '/protect',
  '/recover',
  '/recover/:id',
  '/upload',
  '/activity',
  '/destinations',
  '/keys',
  '/notifications',
  '/users',
];

/** Stands in the built document wherever a nonce belongs; see src/admin/vite.config.ts. */
const NONCE = /__CSP_NONCE__/g;
/** Stands in the built document for whether this server has an API explorer: `on` or `off`. */
const EXPLORER = /__API_EXPLORER__/g;
/** Stands in the built document for the sub-path of this server, and before the addresses of its files. */
const BASE = /__BASE_PATH__/g;
const OWN_FILES = /(?<=(?:src|href)=")\.(?=\/)/g;

/** What the documents are made with. */
export interface AdminSettings {
  /** What a browser gets at the API's address: the page links to it unless it is off. */
  explorer: 'local' | 'apollo' | 'off';
  /** As `Environment.basePath`. */
  basePath: string;
  /** The folder of the build. */
  folder?: string;
}

/**
 * The admin page: one document for all its addresses, with a policy that lets it load from this server only, and its
 * files, whose names change with their content. The document holds no data, so it needs no token.
 */
export function admin({ folder = BUILT, ...settings }: AdminSettings): Router {
  const router = Router();
  router.use(
    '/assets',
    compression(),
    express.static(join(folder, 'assets'), { immutable: true, maxAge: '1y', fallthrough: true, index: false }),
  );
  router.get('/favicon.svg', express.static(folder, { index: false, maxAge: '1d' }));
  const page = (response: Response) => sendDocument(join(folder, 'index.html'), settings, PAGE_POLICY, response);
  router.get(PAGES, (_request: Request, response: Response) => page(response));
  router.use((request, response, next) => {
    if (!isNavigation(request) || /^\/(api|assets)(\/|$)/.test(request.path)) return next();
    // The page says that there is nothing at this address, with a way back.
    return page(response.status(404));
  });
  return router;
}

/**
 * The explorer of the API on this server itself. With `?explorer=apollo` the request goes on, to Apollo Sandbox.
 * @param path of the API
 */
export function localExplorer({ folder = BUILT, ...settings }: AdminSettings): RequestHandler {
  return (request, response, next) => {
    if (!isNavigation(request) || asksForApollo(request)) return next();
    return sendDocument(join(folder, 'graphql.html'), settings, EXPLORER_POLICY, response);
  };
}

/** Whether a link of the local explorer asks for Apollo Sandbox instead. */
export const asksForApollo = ({ query }: Request) => query.explorer === 'apollo';

/** A browser that opens an address; programs that accept anything get JSON. */
function isNavigation(request: Request): boolean {
  return (request.method === 'GET' || request.method === 'HEAD') && request.accepts(['json', 'html']) === 'html';
}

async function sendDocument(
  file: string,
  { explorer, basePath }: AdminSettings,
  policy: (nonce: string) => string,
  response: Response,
): Promise<void> {
  const nonce = randomBytes(16).toString('base64');
  const document = await readFile(file, 'utf8').catch((cause: unknown) => {
    const hint = 'Run `npm run build`, then load the page again.';
    throw new AppError('NOT_FOUND', 'The admin page is not built.', { hint, cause });
  });
  response.set({
    'Content-Security-Policy': policy(nonce),
    // The document names the files of one build, and its nonce counts once.
    'Cache-Control': 'no-store',
  });
  const filled = document
    .replace(NONCE, nonce)
    .replace(EXPLORER, explorer === 'off' ? 'off' : 'on')
    .replace(BASE, basePath)
    .replace(OWN_FILES, basePath);
  response.type('html').send(filled);
}

/** Scripts, styles and data of this server alone; styles that the page makes itself carry the nonce. */
const PAGE_POLICY = (nonce: string) => policyOf(nonce, {});

/**
 * As the page's, for the explorer's code editor: it works in workers of this server, and places each line by a `style`
 * attribute, which has no nonce. Style elements still need one, and nothing may run but scripts of this server.
 */
const EXPLORER_POLICY = (nonce: string) =>
  policyOf(nonce, { 'worker-src': "'self'", 'style-src-attr': "'unsafe-inline'" });

function policyOf(nonce: string, more: Record<string, string>): string {
  return Object.entries({
    'default-src': "'none'",
    'script-src': "'self'",
    'style-src': `'self' 'nonce-${nonce}'`,
    'img-src': "'self' data:",
    'font-src': "'self'",
    'connect-src': "'self'",
    'manifest-src': "'self'",
    'base-uri': "'none'",
    'form-action': "'none'",
    'frame-ancestors': "'none'",
    ...more,
  })
    .map(([directive, sources]) => `${directive} ${sources}`)
    .join('; ');
}
