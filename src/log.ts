import { pino, type Logger } from 'pino';

/** The logger that is handed through the composition root; nothing logs on its own. */
export type Log = Logger;

const SECRET_KEYS = ['password', 'token', 'ticket', 'secret', 'authorization', 'jwtSecret', 'adminPassword'];

/** The same text with the password and the ticket of every URL in it replaced by ***. */
export function maskUrls(text: string): string {
  return text
    .replace(/([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s@]*@/gi, '$1:***@')
    .replace(/([?&]ticket=)[^\s&#"']+/gi, '$1***');
}

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
          method.apply(this, args.map((arg) => (typeof arg === 'string' ? maskUrls(arg) : arg)) as typeof args);
        },
      },
      serializers: { err: serializeError },
    },
    destination,
  );
}

function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return maskUrls(String(error));
  const { cause } = error;
  return {
    type: error.name,
    message: maskUrls(error.message),
    ...('code' in error ? { code: error.code } : {}),
    stack: maskUrls(error.stack ?? ''),
    ...(cause === undefined ? {} : { cause: serializeError(cause) }),
  };
}
