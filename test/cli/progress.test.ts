import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from '@jest/globals';
import { Printer } from '../../src/cli/print.js';
import { Progress } from '../../src/cli/progress.js';
import type { PacedRun } from '../../src/core/runs/progress.js';

/** A terminal of so many columns, and what was written to it. */
function terminal(columns: number) {
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns });
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  return { printer: new Printer(false, undefined, stream as unknown as NodeJS.WriteStream), text: () => text };
}

/** Half done after a hundred seconds, in a phase of the last ten. */
function run(): PacedRun & { id: string; phase: string } {
  const began = Date.now() - 100_000;
  return {
    id: 'backup_1',
    status: 'RUNNING',
    progress: 0.5,
    phase: 'archive',
    phases: [{ phase: 'archive', at: new Date(Date.now() - 10_000).toISOString() }],
    startedAt: new Date(began),
    bytesDone: 50 * 1024 ** 2,
    bytesTotal: 200 * 1024 ** 2,
  };
}

it('A terminal shows bytes, speed and the time that is left, on one line that goes away again', async () => {
  const { printer, text } = terminal(120);
  const progress = new Progress(printer, async () => run());
  await progress.during(sleep(300));
  await progress.close();
  const line = /\[#{10}\.{10}\] {2}50 % {2}archive {2}50\.0 MiB of 200\.0 MiB {2}(4\.9|5\.0)\d MiB\/s {2}1:4[0-2] left/;
  expect(text()).toMatch(line);
  expect(text().endsWith('\r\u001B[K')).toBe(true);
});

it('A line never wraps, because it could not be erased then', async () => {
  const { printer, text } = terminal(40);
  const progress = new Progress(printer, async () => run());
  await progress.during(sleep(300));
  await progress.close();
  for (const line of text().split('\r\u001B[K')) expect(line.length).toBeLessThan(40);
});
