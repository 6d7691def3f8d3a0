import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import jwt from 'jsonwebtoken';

const FOLDER_TYPE = 'application/vnd.google-apps.folder';

interface Item {
  id: string;
  name: string;
  parents: string[];
  mimeType: string;
  content: Buffer;
  appProperties: Record<string, string>;
  createdTime: string;
  modifiedTime: string;
  trashed: boolean;
}

interface Session {
  item: Partial<Item>;
  parts: Buffer[];
  /** The file, once it is complete. */
  done: Item | null;
}

/** An answer in place of the server's own. */
export interface DriveRefusal {
  status: number;
  reason?: string;
}

/** A server that speaks as much of Drive's protocol, version 3, as a storage needs; it keeps everything in memory. */
export interface DriveServer {
  url: string;
  items: Map<string, Item>;
  /** The grants that tokens were asked with. */
  grants: URLSearchParams[];
  /** The requests, as `METHOD /path`. */
  seen: string[];
  /** Asked for each request; undefined lets it through. */
  refuse: (request: { method: string; path: string; url: URL }) => DriveRefusal | undefined;
  /** Makes every token worthless. */
  endTokens(): void;
  /** Forgets every upload that is under way. */
  endSessions(): void;
  /** Takes no more than so many bytes of each piece from now on. */
  takeAtMost(bytes: number): void;
  /** What the next upload is stored as, in place of what was sent. */
  damage(bytes: Buffer): void;
  quota: { limit?: string; usage: string };
  close(): Promise<void>;
}

/** @param publicKey checks the assertions of service accounts */
export async function startDrive(publicKey?: string): Promise<DriveServer> {
  const tokens = new Set<string>();
  const sessions = new Map<string, Session>();
  let most = Infinity;
  let damaged: Buffer | null = null;
  let clock = Date.parse('2026-01-01T00:00:00Z');
  const server = createServer((request, response) => {
    handle(request, response).catch(() => request.socket.destroy());
  });
  const drive: DriveServer = {
    url: '',
    items: new Map(),
    grants: [],
    seen: [],
    refuse: () => undefined,
    endTokens: () => tokens.clear(),
    endSessions: () => sessions.clear(),
    takeAtMost: (bytes) => (most = bytes),
    damage: (bytes) => (damaged = bytes),
    quota: { usage: '0' },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  drive.url = `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  return drive;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', `http://${request.headers.host}`);
    const [method, path] = [request.method ?? '', url.pathname];
    drive.seen.push(`${method} ${path}`);
    const body = await buffer(request);
    const refusal = drive.refuse({ method, path, url });
    if (refusal !== undefined) return refused(response, refusal.status, refusal.reason ?? 'backendError');
    if (path === '/token') return answerToken(response, new URLSearchParams(body.toString()));
    if (path.startsWith('/session/')) return answerPiece(request, response, path.slice(9), body);
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    if (!tokens.has(token)) return refused(response, 401, 'authError');
    if (path === '/drive/v3/about') return answered(response, { storageQuota: drive.quota });
    if (path === '/upload/drive/v3/files') return begin(response, url, JSON.parse(body.toString()) as Partial<Item>);
    if (path === '/drive/v3/files' && method === 'GET') return answerList(response, url.searchParams);
    if (path === '/drive/v3/files') return answered(response, fields(make(JSON.parse(body.toString()) as object)));
    const item = drive.items.get(/^\/drive\/v3\/files\/([^/]+)$/.exec(path)?.[1] ?? '');
    if (item === undefined) return refused(response, 404, 'notFound');
    if (method === 'DELETE') drive.items.delete(item.id);
    if (method === 'PATCH') Object.assign(item, JSON.parse(body.toString()));
    if (method === 'DELETE') return void response.writeHead(204).end();
    if (url.searchParams.get('alt') === 'media') return answerBytes(request, response, item.content);
    answered(response, { ...fields(item), capabilities: { canAddChildren: true } });
  }

  function answerToken(response: ServerResponse, grant: URLSearchParams): void {
    drive.grants.push(grant);
    const assertion = grant.get('assertion');
    try {
      if (assertion !== null && publicKey !== undefined) jwt.verify(assertion, publicKey, { algorithms: ['RS256'] });
    } catch {
      return answered(response, { error: 'invalid_grant', error_description: 'Invalid JWT Signature.' }, 400);
    }
    if (grant.get('refresh_token') === 'withdrawn') {
      return answered(
        response,
        { error: 'invalid_grant', error_description: 'Token has been expired or revoked.' },
        400,
      );
    }
    const access_token = randomUUID();
    tokens.add(access_token);
    const refresh_token = grant.get('grant_type') === 'authorization_code' ? { refresh_token: 'a refresh token' } : {};
    answered(response, { access_token, expires_in: 3_600, token_type: 'Bearer', ...refresh_token });
  }

  function begin(response: ServerResponse, url: URL, item: Partial<Item>): void {
    const id = randomUUID();
    sessions.set(id, { item, parts: [], done: null });
    response.writeHead(200, { location: `${url.origin}/session/${id}` }).end();
  }

  function answerPiece(request: IncomingMessage, response: ServerResponse, id: string, body: Buffer): void {
    const session = sessions.get(id);
    if (session === undefined) return refused(response, 404, 'notFound');
    if (request.method === 'DELETE') {
      sessions.delete(id);
      return void response.writeHead(499).end();
    }
    const held = () => session.parts.reduce((sum, part) => sum + part.length, 0);
    const [, start, total] = /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(request.headers['content-range'] ?? '') ?? [];
    if (session.done === null) {
      if (start !== undefined && Number(start) !== held()) return refused(response, 400, 'badRequest');
      session.parts.push(body.subarray(0, most));
      if (total !== '*' && held() === Number(total)) {
        session.done = make({ ...session.item, content: damaged ?? Buffer.concat(session.parts) });
        damaged = null;
      }
    }
    if (session.done !== null) return answered(response, fields(session.done));
    response.writeHead(308, held() === 0 ? {} : { range: `bytes=0-${held() - 1}` }).end();
  }

  function make(from: Partial<Item>): Item {
    const at = new Date((clock += 1_000)).toISOString();
    const item: Item = {
      id: `file-${randomUUID()}`,
      name: 'Untitled',
      parents: ['root'],
      mimeType: 'application/octet-stream',
      content: Buffer.alloc(0),
      appProperties: {},
      createdTime: at,
      modifiedTime: at,
      trashed: false,
      ...from,
    };
    drive.items.set(item.id, item);
    return item;
  }

  function answerList(response: ServerResponse, query: URLSearchParams): void {
    const conditions = (query.get('q') ?? '').split(' and ').map(conditionOf);
    const found = [...drive.items.values()]
      .filter((item) => conditions.every((holds) => holds(item)))
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.createdTime < b.createdTime ? -1 : 1));
    const from = Number(query.get('pageToken') ?? 0);
    // Smaller pages than were asked for: a client has to follow the token.
    const end = from + Math.min(2, Number(query.get('pageSize') ?? 100));
    const next = end < found.length ? { nextPageToken: String(end) } : {};
    answered(response, { files: found.slice(from, end).map(fields), ...next });
  }
}

/** The conditions that a storage uses, of Drive's language. */
function conditionOf(text: string): (item: Item) => boolean {
  const value = /'((?:[^'\\]|\\.)*)'/.exec(text)?.[1]?.replace(/\\(.)/g, '$1') ?? '';
  if (text.endsWith(' in parents')) return ({ parents }) => parents.includes(value);
  if (text === 'trashed = false') return ({ trashed }) => !trashed;
  if (text.startsWith('name = ')) return ({ name }) => name === value;
  if (text.startsWith('mimeType = ')) return ({ mimeType }) => mimeType === value;
  if (text.startsWith('mimeType != ')) return ({ mimeType }) => mimeType !== value;
  throw new Error(`The server does not know the condition ${text}.`);
}

function fields({ content, ...item }: Item): object {
  if (item.mimeType === FOLDER_TYPE) return item;
  const sum = (kind: string) => createHash(kind).update(content).digest('hex');
  return { ...item, size: String(content.length), md5Checksum: sum('md5'), sha256Checksum: sum('sha256') };
}

function answerBytes(request: IncomingMessage, response: ServerResponse, content: Buffer): void {
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  if (range === null) return void response.writeHead(200, { 'content-length': content.length }).end(content);
  const start = Number(range[1]);
  const end = range[2] === '' ? content.length - 1 : Math.min(Number(range[2]), content.length - 1);
  const bytes = content.subarray(start, end + 1);
  response.writeHead(206, {
    'content-length': bytes.length,
    'content-range': `bytes ${start}-${end}/${content.length}`,
  });
  response.end(bytes);
}

function answered(response: ServerResponse, body: object, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

const refused = (response: ServerResponse, code: number, reason: string): void =>
  answered(response, { error: { code, message: `injected ${reason}`, errors: [{ reason }] } }, code);
