import { pino, type Logger } from 'pino';
import { maskSecrets } from './errors.js';

/** The logger that is handed through the composition root; nothing logs on its own. */
export type Log = Logger;

const SECRET_KEYS = ['password', 'token', 'ticket', 'secret', 'authorization', 'jwtSecret', 'adminPassword'];

/**
 * A logger that writes JSON lines to the given stream (default: standard error).
 * Secrets are masked: known keys, and passwords inside URLs in messages and errors.
 */
export function createLog(level: string, destination: NodeJS.WritableStream = process.stderr): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: SECRET_KEYS.flatMap((key) => [key, `*.${key}`]), censor: '***' },
      formatters: { level: (label) => ({ level: label }) },
      hooks: {
        logMethod(args, method) {
          method.apply(this, args.map((arg) => (typeof arg === 'string' ? maskSecrets(arg) : arg)) as typeof args);
        },
      },
      serializers: { err: serializeError },
    },
    destination,
  );
}

function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return maskSecrets(String(error));
  const { cause } = error;
  return {
    type: error.name,
    message: maskSecrets(error.message),
    ...('code' in error ? { code: error.code } : {}),
    stack: maskSecrets(error.stack ?? ''),
    ...(cause === undefined ? {} : { cause: serializeError(cause) }),
  };
}
