import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Files of a server that speaks TLS: its key, its certificate for `localhost`, and the authority's that signed it. */
export interface Certificates {
  key: string;
  certificate: string;
  authority: string;
  /** Of another authority, which signed nothing. */
  stranger: string;
}

/** Makes them with openssl. */
export function makeCertificates(folder: string): Certificates {
  const at = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' });
  const newKey = (file: string) => [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-keyout',
    at(file),
  ];
  for (const name of ['authority', 'stranger']) {
    openssl('req', '-x509', ...newKey(`${name}.key`), '-out', at(`${name}.pem`), '-days', '2', '-subj', `/CN=${name}`);
  }
  openssl('req', ...newKey('server.key'), '-out', at('server.csr'), '-subj', '/CN=localhost');
  writeFileSync(at('names'), 'subjectAltName=DNS:localhost');
  const signedBy = [
    '-CA',
    at('authority.pem'),
    '-CAkey',
    at('authority.key'),
    '-CAcreateserial',
    '-extfile',
    at('names'),
  ];
  openssl('x509', '-req', '-in', at('server.csr'), ...signedBy, '-days', '2', '-out', at('server.pem'));
  return {
    key: at('server.key'),
    certificate: at('server.pem'),
    authority: at('authority.pem'),
    stranger: at('stranger.pem'),
  };
}
