import { pino, type Logger } from 'pino';
import { maskSecrets } from './errors.js';

/** The logger that is handed through the composition root; nothing logs on its own. */
export type Log = Logger;

const SECRET_KEYS = ['password', 'token', 'ticket', 'secret', 'authorization', 'jwtSecret', 'adminPassword'];

/**
 * A logger that writes to the given stream (default: standard error): plain lines on a terminal, JSON lines elsewhere.
 * Secrets are masked: known keys, and passwords inside URLs in messages and errors.
 */
export function createLog(level: string, stream: NodeJS.WritableStream = process.stderr): Log {
  const onTerminal = (stream as Partial<NodeJS.WriteStream>).isTTY === true;
  const destination = onTerminal ? { write: (line: string) => void stream.write(`${plainLine(line)}\n`) } : stream;
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

interface Logged {
  level: string;
  time: string;
  msg?: string;
  err?: { type?: string; message?: string; code?: string; stack?: string };
  [key: string]: unknown;
}

/** `14:30:22 WARN a lease could not be renewed (run=backup_1): Error: …`, with a stack only for unexpected errors. */
function plainLine(json: string): string {
  const { level, time, msg = '', err, ...more } = JSON.parse(json) as Logged;
  const details = Object.entries(more).map(([name, value]) => `${name}=${plainValue(value)}`);
  const code = err?.code === undefined ? (err?.type ?? 'Error') : err.code;
  const reason = err === undefined ? '' : `: ${code}: ${err.message ?? ''}`;
  const stack = err?.type === 'AppError' ? '' : (err?.stack ?? '').replace(/^.*?(?=\n\s+at )/s, '');
  const text = `${time.slice(11, 19)} ${level.toUpperCase()} ${msg}${details.length > 0 ? ` (${details.join(', ')})` : ''}${reason}`;
  // Text of others must not steer the terminal.
  return `${text.replace(/\p{Cc}/gu, ' ')}${stack}`;
}

const plainValue = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value));
