import type { IncomingMessage } from 'node:http';

/**
 * The address that is asked for, without the sub-path that PUBLIC_URL names. One that comes without it stays as it is: from
 * this machine itself, or from a proxy that takes the sub-path away. If such a proxy says so by `X-Forwarded-Prefix`, as
 * Traefik does, then also a page of ours with the name of the sub-path.
 * @param base such as `/backups`; empty if there is none
 */
export function withoutBase({ url = '/', headers }: Pick<IncomingMessage, 'url' | 'headers'>, base: string): string {
  if (base === '' || !url.startsWith(base) || headers['x-forwarded-prefix'] === base) return url;
  const rest = url.slice(base.length);
  if (rest === '' || rest.startsWith('?')) return `/${rest}`;
  return rest.startsWith('/') ? rest : url;
}
