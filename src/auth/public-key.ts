import { createPublicKey, type KeyObject } from 'node:crypto';
import { AppError } from '../errors.js';

/** A key that checks tokens, and the one algorithm that goes with it. */
export interface HostKey {
  key: KeyObject;
  algorithm: 'RS256' | 'ES256';
}

/** @throws AppError CONFIG_INVALID for a text that is not a public key, and for a key that is neither RSA nor EC P-256 */
export function readPublicKey(pem: string): HostKey {
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch (error) {
    throw new AppError('CONFIG_INVALID', 'JWT_PUBLIC_KEY is not a public key in PEM form.', { cause: error });
  }
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'rsa' && (details?.modulusLength ?? 0) >= 2048) return { key, algorithm: 'RS256' };
  if (type === 'ec' && details?.namedCurve === 'prime256v1') return { key, algorithm: 'ES256' };
  throw new AppError(
    'CONFIG_INVALID',
    'JWT_PUBLIC_KEY is neither an RSA key of 2048 bits or more nor an EC P-256 key.',
  );
}
