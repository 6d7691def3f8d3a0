import { realpathSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { EXIT_CODES } from './exit-codes.js';
import { toAppError } from './errors.js';
import { createLog } from './log.js';
import { keepHeapSmall } from './memory.js';

type Close = () => Promise<unknown>;

/**
 * Does the work of a process that runs until a signal ends it. The first SIGTERM or SIGINT closes it and ends it with
 * exit code 0, a second one ends it at once. A start that fails prints code, message and hint, and ends with the code's
 * own exit code.
 * @param start gets a function by which it says, as often as that changes, how to close what it has opened so far
 */
export async function runProcess(start: (opened: (close: Close) => void) => Promise<void>): Promise<void> {
  keepHeapSmall();
  let close: Close = async () => undefined;
  let ending = false;
  const end = async () => {
    if (ending) process.exit(1);
    ending = true;
    try {
      await close();
      process.exit(0);
    } catch (error) {
      fail(error);
    }
  };
  process.on('SIGTERM', () => void end());
  process.on('SIGINT', () => void end());
  try {
    await start((next) => (close = next));
  } catch (error) {
    // Stopping the process closes what the start still uses: that error is expected.
    if (ending) return;
    ending = true;
    await close().catch(() => undefined);
    fail(error);
  }
}

function fail(thrown: unknown): never {
  const error = toAppError(thrown);
  if (error.code === 'INTERNAL_ERROR') createLog('error').fatal({ err: thrown }, 'the process cannot go on');
  process.stderr.write(`${error.code}: ${error.message}\n${error.hint}\n`);
  process.exit(EXIT_CODES[error.code]);
}

/** True for the module that node was started with. @param url its import.meta.url */
export function isMain(url: string): boolean {
  const script = process.argv[1];
  return script !== undefined && pathToFileURL(realpathSync(script)).href === url;
}
