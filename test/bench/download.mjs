/* How fast an archive is downloaded over loopback. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDatabase } from './data.mjs';
import { isInstalled, quantile, table } from './measure.mjs';
import { startServer } from './server.mjs';

export async function downloadSection(folder, { size, rounds }) {
  if (!isInstalled('curl')) return ['### Download over loopback', 'Missing: curl.'];
  const place = join(folder, 'download');
  await mkdir(place, { recursive: true });
  const database = join(place, 'db.sqlite3');
  await makeDatabase(database, 'blob', size);
  const server = await startServer(place);
  try {
    await server.app.configs.create({ name: 'Shop', databaseUrl: `sqlite:${database}` }, 'bench');
    const row = await server.app.backups.create({ backupType: 'MANUAL' }, 'bench');
    await server.app.backups.run(row.id, new AbortController().signal);
    const speeds = [];
    let bytes = 0;
    for (let round = 0; round < rounds; round++) {
      const download = await server.download(row.id);
      bytes = download.bytes;
      speeds.push(bytes / 1e6 / download.seconds);
    }
    const cells = [(bytes / 1e6).toFixed(1), quantile(speeds, 0.5).toFixed(0), Math.min(...speeds).toFixed(0)];
    return ['### Download over loopback', table(['MB', 'median MB/s', 'slowest MB/s'], [cells])];
  } finally {
    await server.close();
    await rm(place, { recursive: true, force: true });
  }
}
