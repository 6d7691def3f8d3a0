import { expect, it } from '@jest/globals';
import type { TestApp } from '../support/app.js';
import { runsOf } from '../support/runs.js';

/** How a suite makes and reads databases of its server. */
export interface ServerAdapter {
  app(): TestApp;
  /** Makes a database with these tables, each with so many rows. @returns its URL */
  make(name: string, tables: Record<string, number>): Promise<string>;
  /** The rows of each table of a database. */
  rowsOf(url: string): Promise<Record<string, number>>;
  /** The URL of a database of this name that is not there. */
  absent(name: string): string;
}

/** What every engine whose databases are on a server must do. */
export function describeServerEngine({ app, make, rowsOf, absent }: ServerAdapter): void {
  const { configure, test, backUp, startRestore, restore, undo, ask } = runsOf(app);

  it('leaves out tables and rows, says so, and takes none away without an explicit word', async () => {
    const odd = 'log_"x.y" `z` \'Ü\' 日本';
    const url = await make('excluded', { kept: 2, log_1: 3, [odd]: 4, session: 5, logs: 1 });
    const whole = await rowsOf(url);
    const settings = { excludeTables: ['log_*', 'none*'], excludeTableData: ['session', 'log_1'] };
    const tested = await test(url, settings);
    expect(tested).toMatchObject({ ok: true, warnings: expect.arrayContaining([expect.stringContaining('"none*"')]) });
    expect(tested.excluded.map(({ what }) => what).sort()).toEqual(['ROWS', 'TABLE', 'TABLE']);
    const config = await configure('Excluded', url, settings);
    const backup = await backUp(config);
    expect(backup.warnings).toEqual(expect.arrayContaining([expect.stringContaining('No table fits "none*"')]));
    const { backup: row } = await ask<{ backup: { tables: object[]; excluded: { table: string; what: string }[] } }>(
      'query($id: ID!) { backup(id: $id) { tables { name rowCount } excluded { table what } } }',
      { id: backup.id },
    );
    expect(row.tables).toEqual([
      { name: 'kept', rowCount: 2 },
      { name: 'logs', rowCount: 1 },
      { name: 'session', rowCount: 0 },
    ]);
    expect(row.excluded).toEqual(tested.excluded);
    expect(row.excluded).toEqual(expect.arrayContaining([{ table: 'session', what: 'ROWS' }]));

    const plan = await app().app.restores.plan({ backupId: backup.id, confirm: true });
    expect(plan.refusals).toEqual([
      expect.objectContaining({
        ...{ code: 'TABLES_EXCLUDED', field: 'allowExcluded' },
        message: expect.stringMatching(/log_1.* \(the table with its 3 rows\).*session.* \(its 5 rows\)/),
      }),
    ]);
    await expect(startRestore({ backupId: backup.id })).rejects.toThrow();
    expect(await rowsOf(url)).toEqual(whole);
    const copy = absent('copy_without');
    await restore({ backupId: backup.id, targetDatabaseUrl: copy });
    expect(await rowsOf(copy)).toEqual({ kept: 2, logs: 1, session: 0 });

    const allowed = await app().app.restores.plan({ backupId: backup.id, confirm: true, allowExcluded: true });
    expect(allowed.warnings).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/made without these tables, which will be missing: .*log_1/),
        expect.stringMatching(/made without the rows of these tables, which will be empty: .*session/),
      ]),
    );
    const done = await restore({ backupId: backup.id, allowExcluded: true });
    expect(await rowsOf(url)).toEqual({ kept: 2, logs: 1, session: 0 });
    await undo(done.id);
    expect(await rowsOf(url)).toEqual(whole);
    const { verifyBackup } = await ask<{ verifyBackup: object }>(
      'mutation($id: ID!) { verifyBackup(id: $id, level: DRILL) { verificationLevel errorMessage } }',
      { id: backup.id },
    );
    expect(verifyBackup).toEqual({ verificationLevel: 'DRILL', errorMessage: null });
  });

  it('takes in databases that appear with certain names, but none whose config was deleted', async () => {
    const { configs, databaseWatch, models } = app().app;
    await configure('Auto', await make('auto_1', { t: 1 }), { autoInclude: '*auto_*' });
    await make('auto_2', { t: 1 });
    await make('later', { t: 1 });
    await databaseWatch.look();
    const like = async (part: string) => (await configs.list()).filter(({ name }) => name.endsWith(part));
    const [made] = await like('auto_2');
    expect([made?.autoInclude, (await like('later')).length]).toEqual([null, 0]);
    await backUp(String(made?.id));
    const { status } = await ask<{ status: { notices: { code: string }[] } }>('{ status { notices { code } } }');
    expect(status.notices).toContainEqual({ code: 'DATABASES_UNPROTECTED' });
    const open = async () => (await models.ServerDatabase.findAll()).map(({ name }) => name);
    expect((await open()).filter((name) => name.endsWith('later'))).toHaveLength(1);
    await configs.remove(made?.id ?? 0, 'test');
    await databaseWatch.look();
    expect(await like('auto_2')).toEqual([]);
  });
}
