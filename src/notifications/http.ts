import { lookup as lookupHost } from 'node:dns';
import { type ClientRequest, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { AppError, badInput, errnoOf, MessageRefused } from '../errors.js';

/** What is sent over HTTP. */
export interface HttpRequest {
  method: 'GET' | 'POST';
  url: string;
  headers: Record<string, string>;
  /** Empty for GET. */
  body: string;
}

/** How much of an answer is read, in bytes: it is only looked at to explain a failure. */
const MAX_ANSWER = 16 * 1024;
/** Answers of services that refuse what a message says. */
const REFUSALS = [400, 413, 422];
/** How much of it a message quotes, in characters. */
const QUOTED = 200;

/** Addresses at which clouds hand out the credentials of their machines. Private networks are allowed: people host services there. */
const METADATA = new BlockList();
METADATA.addSubnet('169.254.0.0', 16, 'ipv4');
METADATA.addAddress('100.100.100.200', 'ipv4');
METADATA.addAddress('168.63.129.16', 'ipv4');
METADATA.addSubnet('fd00:ec2::', 32, 'ipv6');
METADATA.addAddress('fd20:ce::254', 'ipv6');
METADATA.addSubnet('fe80::', 10, 'ipv6');
METADATA.addSubnet('::ffff:169.254.0.0', 112, 'ipv6');
METADATA.addAddress('::ffff:100.100.100.200', 'ipv6');
METADATA.addAddress('::ffff:168.63.129.16', 'ipv6');
// The same through a gateway from IPv6 (NAT64).
METADATA.addSubnet('64:ff9b::a9fe:0', 112, 'ipv6');
METADATA.addAddress('64:ff9b::6464:64c8', 'ipv6');
METADATA.addAddress('64:ff9b::a83f:8110', 'ipv6');

const isMetadata = (address: string) => {
  const family = isIP(address);
  return family !== 0 && METADATA.check(address, family === 6 ? 'ipv6' : 'ipv4');
};

/** The URL that a text is. @throws AppError BAD_USER_INPUT naming `target`; the text may be a secret and is not quoted */
export function parsedUrl(text: string): URL {
  const example = 'Write it like https://host/path.';
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol))
    throw badInput('target', 'is not an http or https URL.', example);
  if (url.username !== '' || url.password !== '') throw badInput('target', 'holds a password.', example);
  if (isMetadata(hostOf(url))) throw badInput('target', 'leads to the metadata service of a cloud.', example);
  return url;
}

const hostOf = ({ hostname }: URL) => hostname.replace(/^\[|\]$/g, '');

/** As DNS answers, without the metadata services: a name may lead to one, and may change between a look and its use. */
const lookup: LookupFunction = (hostname, options, callback) =>
  lookupHost(hostname, { ...options, all: true }, (error, found) => {
    if (error) return callback(error, []);
    const allowed = found.filter(({ address }) => !isMetadata(address));
    if (allowed.length < found.length) return callback(new Error('it leads to the metadata service of a cloud'), []);
    if (options.all === true) return callback(null, allowed);
    const [first] = allowed;
    return callback(null, first?.address ?? '', first?.family);
  });

/** What limits a request. */
export interface Limits {
  signal: AbortSignal;
  /** How long the service has for its answer, in milliseconds. */
  patienceMs: number;
}

/**
 * Sends once. Redirects are not followed: they could carry a secret elsewhere.
 * @param secrets texts that no error may quote
 * @throws AppError NOTIFICATION_FAILED unless the answer is 2xx; the signal's reason
 */
export async function sendHttp(request: HttpRequest, secrets: string[], limits: Limits): Promise<void> {
  const { status, text } = await exchange(request, limits);
  if (status >= 200 && status < 300) return;
  const said = quoted(
    text,
    [...secrets, request.url].flatMap((secret) => [secret, ...partsOf(secret)]),
  );
  const what = status >= 300 && status < 400 ? `${status}, a redirect, which is not followed` : String(status);
  const words = `${hostAndPort(request)} answered ${what}${said === '' ? '.' : `: ${said}`}`;
  throw REFUSALS.includes(status) ? new MessageRefused(words) : new AppError('NOTIFICATION_FAILED', words);
}

/** Everything in a URL that may be a secret: all behind the host, whole and in its parts. */
function partsOf(url: string): string[] {
  if (!URL.canParse(url)) return [];
  const { href, pathname, search, searchParams } = new URL(url);
  const parts = [...pathname.split('/'), ...[...searchParams].flat()];
  return [href, pathname + search, ...parts, ...parts.map((part) => decoded(part))];
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const hostAndPort = ({ url }: HttpRequest) => new URL(url).host;

/** What a service said, as one line and without what it was sent in confidence. */
function quoted(text: string, secrets: string[]): string {
  const hidden = secrets.filter((secret) => secret.length > 3).sort((a, b) => b.length - a.length);
  const clean = hidden.reduce((rest, secret) => rest.replaceAll(secret, '***'), text);
  const line = clean.replace(/[\p{Cc}\s]+/gu, ' ').trim();
  return line.length > QUOTED ? `${line.slice(0, QUOTED)}…` : line;
}

function exchange(request: HttpRequest, { signal, patienceMs }: Limits): Promise<{ status: number; text: string }> {
  const url = new URL(request.url);
  const host = hostAndPort(request);
  if (isMetadata(hostOf(url))) throw badInput('target', 'leads to the metadata service of a cloud.');
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const patience = AbortSignal.timeout(patienceMs);
  const headers = { 'User-Agent': 'db-manager', 'Content-Length': Buffer.byteLength(request.body), ...request.headers };
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const why = patience.aborted ? `no answer within ${patienceMs / 1000} seconds` : reasonOf(error);
      reject(new AppError('NOTIFICATION_FAILED', `${host} could not be reached: ${why}.`, { cause: error }));
    };
    let isAnswered = false;
    const outgoing: ClientRequest = send(
      url,
      { method: request.method, headers, lookup, agent: false, signal: AbortSignal.any([signal, patience]) },
      (answer) => {
        isAnswered = true;
        const parts: Buffer[] = [];
        let size = 0;
        const done = () =>
          resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(parts).subarray(0, MAX_ANSWER).toString() });
        answer.on('data', (part: Buffer) => {
          parts.push(part);
          size += part.length;
          if (size < MAX_ANSWER) return;
          done();
          answer.destroy();
        });
        answer.on('end', done);
        answer.on('error', fail);
      },
    );
    outgoing.on('error', fail);
    // An answer that switches protocols is none, and no error either.
    outgoing.on('close', () => {
      if (!isAnswered) fail(new Error('the connection was closed without an answer'));
    });
    outgoing.end(request.body);
  });
}

/** In short, without the address that Node's own words repeat. */
function reasonOf(error: unknown): string {
  const code = errnoOf(error);
  if (code !== undefined) return code;
  return error instanceof Error ? error.message : 'unknown error';
}
