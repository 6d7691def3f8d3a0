import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ROOT, start } from '../cli/command.js';
import { S3_CREDENTIALS, startS3 } from '../support/s3.js';
import { createWorld, NEVER, type World } from '../support/world.js';

/** Bytes of the archive. */
const SIZE = Number(process.env.LARGE_S3_BYTES ?? 2 * 1024 ** 3);
const MIB = 1024 ** 2;

const server = await startS3();
const missing = 'missing' in server ? server.missing : null;
const program = join(ROOT, 'dist/cli.js');
let world: World;
beforeAll(async () => {
  world = await createWorld();
  const file = await open(join(world.media, 'large.bin'), 'w');
  await file.truncate(SIZE);
  await file.close();
});
afterAll(async () => {
  await world?.close();
  if (!('missing' in server)) await server.stop();
});

/** The most memory that a process has taken so far, in bytes; 0 once it is gone. */
async function peakOf(id: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${id}/status`, 'utf8').catch(() => '');
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}

(missing === null ? describe : describe.skip)(`A large archive${missing ? ` (skipped: ${missing})` : ''}`, () => {
  it.each([
    ['in the clear', 200],
    ['encrypted', 220],
  ])('%s goes to S3 and is read back in at most %i MiB of memory', async (how, most) => {
    if ('missing' in server) return;
    const { keys, destinations, configs, models } = world.app;
    const values = { bucket: await server.bucket(), endpoint: server.url, forcePathStyle: true, ...S3_CREDENTIALS };
    const { id } = await destinations.create({ storageType: 'S3', values }, 'test', NEVER);
    const { key } = await keys.create({ name: how, generate: true }, 'test');
    const encryptionKeyIds = how === 'encrypted' ? [key.id] : [];
    await configs.update(1, { destinationIds: [id], compression: 'NONE', encryptionKeyIds }, 'test');
    const env = { DATA_DIR: join(world.folder, 'data'), DB_BACKUP_PATH: world.backups };
    const { child, ended } = start([program, 'backup'], { cwd: world.folder, env });
    let peak = 0;
    const looking = setInterval(() => void peakOf(child.pid).then((bytes) => (peak = Math.max(peak, bytes))), 50);
    const { code, stderr } = await ended;
    clearInterval(looking);
    expect([code, stderr.includes('FAILED')]).toEqual([0, false]);
    const row = await models.Backup.findOne({ order: [['createdAt', 'DESC']], rejectOnEmpty: true });
    expect(row).toMatchObject({ status: 'COMPLETED', verificationLevel: 'ARCHIVE' });
    expect(row.fileSize).toBeGreaterThan(SIZE);
    process.stdout.write(
      `${Math.round((row.fileSize ?? 0) / MIB)} MiB ${how}: ${Math.round(peak / MIB)} MiB of memory\n`,
    );
    expect(peak).toBeGreaterThan(0);
    expect(peak / MIB).toBeLessThan(most);
    await world.app.backups.remove([row.id], 'test');
  });
});
