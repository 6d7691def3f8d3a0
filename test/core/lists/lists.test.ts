import { addBackups } from '../../support/records.js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { listAuditEvents, listBackups, listRestores } from '../../../src/core/lists/lists.js';
import { type Models, openModels } from '../../../src/models/index.js';
import { controlDatabases } from '../../support/control-databases.js';

const { databases, stop } = await controlDatabases();
afterAll(stop);

const NOTES = [
  'Vor dem Umzug nach ÜBERLINGEN',
  'Перед обновлением',
  'πριν από ΑΘΗΝΑ',
  'a*b?c[d]e^f$g.h\\i(j)k|l{m}n+o',
  "it's 100% done_now!",
  '***=(?i) not a rule',
];

const cursor = (...position: unknown[]) => Buffer.from(JSON.stringify(position)).toString('base64url');

describe.each(databases)('The lists on %s', (_title, missing, url) => {
  const itThere = missing === null ? it : it.skip;
  let models: Models;
  beforeAll(async () => {
    if (missing !== null) return;
    models = await openModels(url);
    for (const [i, note] of NOTES.entries()) {
      await addBackups(models, [
        {
          id: `backup_${i}`,
          backupType: 'MANUAL',
          mode: 'FULL',
          status: 'COMPLETED',
          createdBy: 'test',
          createdAt: new Date(Date.UTC(2025, 0, 1 + i)),
          engine: 'SQLITE',
          databaseName: 'db.sqlite3',
          storageType: 'LOCAL',
          storagePath: '/backups',
          fileName: `okpuja_${i}.zip`,
          filePath: `/backups/okpuja_${i}.zip`,
          note,
          configId: null,
        },
      ]);
    }
    for (const action of ['backup.create', 'backup.delete', 'bac_up.x', 'config.create']) {
      await models.AuditEvent.create({ at: new Date(), actor: 'test', action, subject: null });
    }
  });
  afterAll(async () => {
    if (missing === null) await models.sequelize.close();
  });

  const found = async (search: string) => {
    const { nodes } = await listBackups(models, { search }, 'CREATED_AT_ASC', { first: 50 });
    return nodes.map(({ note }) => note);
  };

  itThere.each([
    ['überlingen', 0],
    ['ÜBERLINGEN', 0],
    ['обновлением', 1],
    ['ПЕРЕД', 1],
    ['αθηνα', 2],
    ['B?C[D]', 3],
    ['[d]e^F', 3],
    ['$g.H\\I(j)K|l{M}n+', 3],
    ["IT'S 100%", 4],
    ['DONE_now!', 4],
    ['***=(?I)', 5],
  ])('are searched in any case, of any language, and each sign stands for itself: %s', async (search, index) => {
    expect(await found(search)).toEqual([NOTES[index]]);
  });

  itThere.each(['a.b', '*', '100_', 'done.now', '[xyz]', 'uberlingen', '\\w', '^', '.'])(
    'find nothing more than what is written: %s',
    async (search) => {
      expect(await found(search)).toEqual(NOTES.filter((note) => `${note}`.includes(search) || search === '.'));
    },
  );

  itThere('find what each column holds, and nothing across two of them', async () => {
    expect(await found('backup_3')).toEqual([NOTES[3]]);
    expect(await found('OKPUJA_2.ZIP')).toEqual([NOTES[2]]);
    expect(await found('db.SQLite3')).toEqual(NOTES);
    for (const across of ['backup_3okpuja', 'backup_3\x1fokpuja_3', 'backup_3 okpuja'])
      expect(await found(across)).toEqual([]);
  });

  itThere('of kinds of storage are those with a copy in one', async () => {
    await models.Destination.create({ storageType: 'SYSTEM', storagePath: '/mnt' });
    const of = async (...storageType: ('LOCAL' | 'SYSTEM')[]) =>
      (await listBackups(models, { storageType }, 'CREATED_AT_ASC', { first: 50 })).nodes.length;
    expect([await of('LOCAL'), await of('SYSTEM'), await of('LOCAL', 'SYSTEM')]).toEqual([
      NOTES.length,
      0,
      NOTES.length,
    ]);
  });

  itThere('find the actions of a noun', async () => {
    const actions = async (action: string) =>
      (await listAuditEvents(models, { action }, { first: 50 })).nodes.map((event) => event.action).sort();
    expect(await actions('backup')).toEqual(['backup.create', 'backup.delete']);
    expect(await actions('bac_up')).toEqual(['bac_up.x']);
    expect(await actions('%')).toEqual([]);
  });

  itThere.each([
    ['an id of another kind', cursor(1_735_689_600_000, 7)],
    ['an id that none has', cursor(1_735_689_600_000, 'a\0')],
    ['a time beyond all calendars', cursor(9e15, 'backup_1')],
    ['a time beyond the year 9999', cursor(253_402_300_800_000, 'backup_1')],
    ['a time before 1970', cursor(-1, 'backup_1')],
    ['a time in pieces', cursor(0.5, 'backup_1')],
    ['no time', cursor(null, 'backup_1')],
    ['nothing', 'AAAA'],
  ])('refuse a cursor with %s', async (_name, after) => {
    const refused = { code: 'BAD_USER_INPUT', field: 'after' };
    const page = { first: 5, after };
    await expect(listBackups(models, {}, 'CREATED_AT_DESC', page)).rejects.toMatchObject(refused);
    await expect(listRestores(models, {}, page)).rejects.toMatchObject(refused);
  });

  itThere('refuse cursors of other lists', async () => {
    const refused = { code: 'BAD_USER_INPUT', field: 'after' };
    const [backup] = (await listBackups(models, {}, 'CREATED_AT_DESC', { first: 1 })).cursors;
    const [event] = (await listAuditEvents(models, {}, { first: 1 })).cursors;
    const after = (position: string | undefined) => ({ first: 5, after: position ?? null });
    await expect(listAuditEvents(models, {}, after(backup))).rejects.toMatchObject(refused);
    await expect(listBackups(models, {}, 'FILE_SIZE_ASC', after(event))).rejects.toMatchObject(refused);
    const sizes = cursor(1e300, 'backup_1');
    await expect(listBackups(models, {}, 'FILE_SIZE_ASC', after(sizes))).rejects.toMatchObject(refused);
  });
});
