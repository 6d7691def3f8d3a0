import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as secureRequest } from 'node:https';
import { stalled } from './stream.js';

export interface Transfer {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  headers: Record<string, string>;
  body?: Uint8Array;
  signal?: AbortSignal | undefined;
  /** How long the connection may pass no bytes, in milliseconds. */
  stalledAfter: number;
}

/** Longest answer that is read as text, in bytes. */
const MAX_TEXT = 1024 * 1024;

/**
 * One request whose body, or whose answer's body, may be large: google's own client has no resumable uploads, and takes a
 * connection that passes nothing for one that works.
 * @throws what Node.js throws; an AppError if the connection stalls
 */
export function transfer(
  url: string,
  { method, headers, body, signal, stalledAfter }: Transfer,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith('https:') ? secureRequest : plainRequest;
    const length = body === undefined ? {} : { 'content-length': String(body.length) };
    const request = send(url, { method, headers: { ...headers, ...length }, ...(signal && { signal }) }, resolve);
    request.setTimeout(stalledAfter, () => request.destroy(stalled(new URL(url).host, stalledAfter)));
    request.on('error', reject);
    request.end(body);
  });
}

/** The body of an answer as JSON; an empty object if it is none, or longer than any answer is. */
export async function jsonOf(response: IncomingMessage): Promise<object> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    if ((bytes += chunk.length) > MAX_TEXT) return {};
    chunks.push(chunk);
  }
  try {
    const value = JSON.parse(Buffer.concat(chunks).toString()) as unknown;
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
