import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createReadStream } from 'node:fs';

import { all } from '../../support/sqlite.js';
import { createWorld, NEVER, readTree, type World } from '../../support/world.js';

/** Made from a project of a real Django 5.2 (`migrate`, `createsuperuser`) in the older system's layout. */
const FIXTURE = new URL('../../fixtures/django-1.0.zip', import.meta.url).pathname;

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

describe('An archive of the older Django system (format 1.0)', () => {
  it('is uploaded, verified by a drill for lack of hashes, planned with a warning, and restored', async () => {
    const body = createReadStream(FIXTURE);
    const row = await world.app.backups.upload(body, 'okpuja_backup_20250724_143022.zip', 1, 'boss', NEVER);
    expect(row).toMatchObject({ status: 'COMPLETED', verificationLevel: 'CONTENT', mediaFileCount: 2 });
    expect(row.fileName).toBe('okpuja_backup_20250724_143022.zip');
    const plan = await world.app.restores.plan({ backupId: row.id, confirm: false, allowForeign: true });
    expect(plan.allowed).toBe(true);
    expect(plan.warnings.join(' ')).toContain('no hashes');
    const restore = await world.restore({ backupId: row.id, mediaMode: 'MIRROR', allowForeign: true });
    expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    expect(await all(world.database, 'SELECT username, email FROM auth_user')).toEqual([
      { username: 'admin', email: 'admin@example.com' },
    ]);
    expect(await all(world.database, `SELECT count(*) AS n FROM django_migrations`)).toEqual([{ n: 18 }]);
    expect(await readTree(world.media)).toEqual({
      'images/दीपक.txt': 'दीपक\n',
      'uploads/puja list.txt': 'Ganesh Puja, Lakshmi Puja\n',
    });
  });

  it('cannot give single tables, and says so', async () => {
    const row = await world.app.backups.upload(createReadStream(FIXTURE), 'x.zip', 1, 'boss', NEVER);
    await expect(world.restore({ backupId: row.id, tables: ['auth_user'] })).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      field: 'tables',
    });
  });
});
