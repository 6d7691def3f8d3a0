import type { Command } from 'commander';
import { readSettings } from '../environment.js';
import { badInput, errnoOf } from '../errors.js';
import { type GlobalOptions, Printer, reportFailure } from './print.js';

/** A server that takes longer for its answer is not healthy, in milliseconds. */
const PATIENCE = 5_000;
/** Addresses to listen on that are none to connect to. */
const EVERY_ADDRESS: Record<string, string> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

/** What a look at the server came to. */
interface Health {
  /** What was asked. */
  url: string;
  ok: boolean;
  /** Null if it is well. */
  reason: string | null;
}

export function addHealth(program: Command): void {
  program
    .command('health')
    .description(
      'Ask the server of this machine whether it is ready: for containers and whatever else supervises it. Ends with 0 if ' +
        'it is, with 1 if it is not or does not answer within 5 seconds. HOST and PORT say where it listens. JSON: {url, ok, reason}',
    )
    .option('--live', 'ask only whether it runs, not whether its control database and DATA_DIR can be used')
    .action(async ({ live }: { live?: boolean }, command: Command) => {
      const print = new Printer(command.optsWithGlobals<GlobalOptions>().json === true);
      try {
        const health = await ask(`${serverAddress()}${live === true ? '/healthz' : '/readyz'}`);
        print.result({ ...health }, () => (health.ok ? `${health.url} is well.` : `${health.url}: ${health.reason}.`));
        if (!health.ok) process.exitCode = 1;
      } catch (error) {
        reportFailure(print, error);
      }
    });
}

/** Where the server of this machine can be reached. @throws AppError CONFIG_INVALID, BAD_USER_INPUT */
export function serverAddress(): string {
  const { host, port } = readSettings();
  if (port === 0) throw badInput('PORT', 'is 0, so that the server listens on any port.', 'Set PORT to a port.');
  const name = EVERY_ADDRESS[host] ?? host;
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`;
}

async function ask(url: string): Promise<Health> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(PATIENCE), redirect: 'error' });
    const { reason } = (await answer.json().catch(() => ({}))) as { reason?: string };
    if (answer.ok) return { url, ok: true, reason: null };
    return { url, ok: false, reason: reason ?? `it answers with ${answer.status}` };
  } catch (error) {
    return { url, ok: false, reason: noAnswer(error) };
  }
}

function noAnswer(error: unknown): string {
  const { name, cause } = error as Error;
  if (name === 'TimeoutError') return `no answer within ${PATIENCE / 1_000} seconds`;
  return `no answer (${errnoOf(cause) ?? 'not HTTP'})`;
}
