import { resolve } from 'node:path';
import type { Command } from 'commander';
import { extractBackup } from '../core/archives/extract.js';
import { humanSize } from '../core/text/format.js';
import { shareOf } from '../core/runs/progress.js';
import { identityOf, type IdentityOptions, withIdentity } from './identity.js';
import { backupId, ID_HELP } from './ids.js';
import { Progress } from './progress.js';
import { type GlobalOptions } from './print.js';
import { inSession } from './session.js';

export function addExtract(program: Command): void {
  withIdentity(
    program
      .command('extract')
      .description(
        "Write a backup's files into a folder, each compared with its hash. JSON: {backupId, folder, files, bytes}",
      )
      .argument('<id>', `a COMPLETED backup: ${ID_HELP}`)
      .requiredOption('--to <dir>', 'a folder that is empty or does not exist yet'),
  ).action((given: string, options: IdentityOptions & { to: string }, command: Command) =>
    inSession(command.optsWithGlobals<GlobalOptions>(), async (session) => {
      const { app, actor, print, stop } = session;
      const id = await backupId(app.models, given);
      const identity = await identityOf(session, options);
      const folder = resolve(options.to);
      const startedAt = app.now();
      const begun = { id, status: 'RUNNING' as const, startedAt, phase: 'extract', phases: [] };
      let shown = { ...begun, progress: 0, bytesDone: 0, bytesTotal: 0 };
      const progress = new Progress(print, async () => shown);
      const onProgress = (done: number, total: number) =>
        (shown = { ...begun, progress: shareOf(done, total), bytesDone: Math.round(done), bytesTotal: total });
      const step = { signal: stop, onProgress };
      try {
        const open = (without: readonly number[]) => app.backups.open(id, identity, without);
        const { files, bytes } = await progress.during(extractBackup(app.audit, open, folder, actor, step));
        print.result(
          { backupId: id, folder, files, bytes },
          () => `${files} files (${humanSize(bytes)}) of ${id} are in ${folder}, each with its right hash.`,
        );
      } finally {
        await progress.close();
      }
    }),
  );
}
