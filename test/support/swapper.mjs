/* Swaps a folder for a link to another one and back, without pause, until SIGTERM: a program that means harm. */
import { setImmediate } from 'node:timers';
import { renameSync, rmSync, symlinkSync } from 'node:fs';

const [folder, outside] = process.argv.slice(2);
let stopped = false;
process.on('SIGTERM', () => (stopped = true));

const attempt = (work) => {
  try {
    work();
  } catch {
    // The restore was faster.
  }
};

function turn() {
  for (let i = 0; i < 50; i++) {
    attempt(() => renameSync(folder, `${folder}.real`));
    attempt(() => symlinkSync(outside, folder));
    attempt(() => rmSync(folder));
    attempt(() => renameSync(`${folder}.real`, folder));
  }
  if (stopped) process.exit(0);
  setImmediate(turn);
}

turn();
process.send('ready');
