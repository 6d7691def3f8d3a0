// Does one run in a process of its own, from the compiled product, to be killed in the middle:
//   node run-once.mjs backup   or   restore BACKUP_ID   or   consolidate BACKUP_ID   or   cleanup
import { createApp } from '../../dist/app.js';
import { loadEnvironment } from '../../dist/environment.js';

const [kind, backupId] = process.argv.slice(2);
const app = await createApp(loadEnvironment());
const never = new AbortController().signal;
process.stdout.write('started\n');
if (kind === 'backup') {
  const row = await app.backups.create({ backupType: 'MANUAL' }, 'test');
  await app.backups.run(row.id, never);
} else if (kind === 'consolidate') {
  const row = await app.backups.createConsolidation(backupId, 'test', never);
  await app.backups.run(row.id, never);
} else if (kind === 'cleanup') {
  await app.cleanup.run(1, 'test');
} else {
  const row = await app.restores.create({ backupId, confirm: true, mediaMode: 'MIRROR' }, 'test');
  await app.restores.run(row.id, never);
}
process.stdout.write('ended\n');
await app.close();
