import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from './servers.js';

/** The kind for a title, why it cannot be had here (null if it can), and the URL for `openModels`. */
type ControlDatabase = [kind: string, missing: string | null, url: string];

/** An empty control database of each kind that there may be. `stop` takes them away. */
export async function controlDatabases(): Promise<{ databases: ControlDatabase[]; stop: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'control-'));
  const postgres = await startPostgres();
  return {
    databases: [
      ['SQLite', null, `sqlite:${join(folder, 'control.sqlite3')}`],
      'missing' in postgres
        ? [`PostgreSQL (skipped: ${postgres.missing})`, postgres.missing, '']
        : ['PostgreSQL', null, postgres.url],
    ],
    async stop() {
      if (!('missing' in postgres)) await postgres.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
