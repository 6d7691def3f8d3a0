import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Readable } from 'node:stream';
import { rawZip } from '../../support/archives.js';
import { createWorld, NEVER, readTree, type World } from '../../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

const upload = (bytes: Buffer, configId?: number) =>
  world.app.backups.upload(Readable.from([bytes]), 'x.zip', configId, 'boss', NEVER);

describe('An archive of the older Django system (format 1.0)', () => {
  const metadata = {
    name: 'backup_metadata.json',
    data: JSON.stringify({
      backup_version: '1.0',
      backup_date: '2025-01-02T03:04:05.678901',
      django_version: '5.2.1',
      database_engine: 'django.db.backends.sqlite3',
      database_name: '/srv/app/db.sqlite3',
    }),
  };

  it('that holds only media is taken in and restored', async () => {
    const row = await upload(rawZip([{ name: 'media/old/photo.txt', data: 'old' }, metadata]), 1);
    expect(row).toMatchObject({ status: 'COMPLETED', mediaFileCount: 1, verificationLevel: 'ARCHIVE' });
    expect(await world.restore({ backupId: row.id, allowForeign: true })).toMatchObject({ status: 'COMPLETED' });
    expect(await readTree(world.media)).toMatchObject({ 'old/photo.txt': 'old', 'empty.txt': '' });
  });

  it('that holds neither a database nor media is refused', async () => {
    await expect(upload(rawZip([metadata]))).rejects.toMatchObject({ code: 'ARCHIVE_FOREIGN', field: 'file' });
  });
});
