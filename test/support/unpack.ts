import { execFileSync } from 'node:child_process';
import unzipper from 'unzipper';

const hasUnzip = (() => {
  try {
    execFileSync('unzip', ['-v'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

/** Unpacks an archive with somebody else's program: the machine's unzip, or the unzipper package where there is none. */
export async function unpack(archive: string, to: string): Promise<void> {
  if (hasUnzip) execFileSync('unzip', ['-q', archive, '-d', to]);
  else await (await unzipper.Open.file(archive)).extract({ path: to });
}
