import type { IncomingMessage } from 'node:http';
import proxyaddr from 'proxy-addr';

/**
 * Says where requests come from, for the limits on logins and the audit trail.
 * @param trusted TRUST_PROXY: what `X-Forwarded-For` says is taken from these addresses alone, from right to left, up to the
 * first that is none of them
 */
export function addressOf(trusted: string[]): (request: IncomingMessage) => string {
  const isTrusted = proxyaddr.compile(trusted);
  return (request) =>
    request.socket.remoteAddress === undefined ? 'unknown' : proxyaddr(request, isTrusted) || 'unknown';
}
