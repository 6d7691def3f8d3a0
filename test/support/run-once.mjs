// Does one backup or restore in a process of its own, from the compiled product, to be killed in the middle:
//   node run-once.mjs backup            or   node run-once.mjs restore BACKUP_ID
import { createApp } from '../../dist/app.js';
import { loadEnvironment } from '../../dist/environment.js';

const [kind, backupId] = process.argv.slice(2);
const app = await createApp(loadEnvironment());
const never = new AbortController().signal;
process.stdout.write('started\n');
if (kind === 'backup') {
  const row = await app.backups.create({ backupType: 'MANUAL' }, 'test');
  await app.backups.run(row.id, never);
} else {
  const row = await app.restores.create({ backupId, confirm: true, mediaMode: 'MIRROR' }, 'test');
  await app.restores.run(row.id, never);
}
process.stdout.write('ended\n');
await app.close();
