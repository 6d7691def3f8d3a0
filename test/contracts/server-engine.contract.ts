import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import type { RestorePlan } from '../../src/core/restores/plan.js';
import type { Run, runsOf, Tested } from '../support/runs.js';
import { filesIn, NEVER } from '../support/world.js';

/** A database with all that its kind can hold. */
export interface Zoo {
  url: string;
  /** Tables that are written to while the backup is made: their rows are the writer's. */
  busy: string[];
  write(isOver: () => boolean): Promise<unknown>;
  /** Changes and removes of all kinds. */
  damage(): Promise<unknown>;
  /** What else is true of the backup, of the plan of a restore, once it is restored, and once that is undone. */
  checkBackup(backup: Run): Promise<unknown>;
  checkPlan(plan: RestorePlan): void;
  checkRestored(restored: Run): Promise<unknown>;
  checkUndone(): Promise<unknown>;
  /** The archive is read without this product. */
  opensWithout(backupId: string, whole: string[]): Promise<unknown>;
}

/** Something that holds a run up. */
export interface Stall {
  /** Waits until the run is held up. */
  reached(id: string): Promise<unknown>;
  /** Lets go, where a run does not end by itself. */
  release(): Promise<unknown>;
}

/** A database of a server that can be stopped. */
export interface Fragile {
  url: string;
  stallBackup(): Promise<Stall>;
  stallRestore(): Promise<Stall>;
  /** Ends the server at once. It is there again when this returns, or when `mend` has. */
  stop(during: 'backup' | 'restore'): Promise<unknown>;
  mend(): Promise<unknown>;
  close(): Promise<unknown>;
}

/** A database whose user lacks rights, one after the other. */
export interface Rights {
  url: string;
  /** What the hints say, one after the other: until the database can be backed up, and for a restore. */
  hints: (string | RegExp)[];
  /** Gives a right, as a hint says how to. */
  grant(hint: string): Promise<unknown>;
  /** False if rights do not suffice for a restore. */
  mayRestore: boolean;
}

/** A database of a server that speaks nothing but TLS. */
export interface TlsDatabase {
  /** URLs that are let in: the last one asks most of the certificate. */
  accepted: string[];
  /** URLs that cannot be used, each with what the error says. */
  refused: [url: string, message: RegExp][];
  close(): Promise<unknown>;
}

/** How a suite makes and reads databases of its server. */
export interface ServerAdapter {
  runs: ReturnType<typeof runsOf>;
  /** Makes a database with these tables, each with so many rows. @returns its URL */
  make(name: string, tables: Record<string, number>): Promise<string>;
  /** The rows of each table of a database. */
  rowsOf(url: string): Promise<Record<string, number>>;
  /** Makes a table, or adds a row to it. */
  addTo(url: string, table: string): Promise<unknown>;
  removeRows(url: string, table: string): Promise<unknown>;
  /** The URL of a database of this name that is not there. */
  absent(name: string): string;
  /** All that a database holds, as this product has no part in telling it. */
  stateOf(url: string, except?: string[]): Promise<string[]>;
  /** What restores and drills have left on the server of a database, or in it. */
  leftovers(url: string): Promise<unknown[]>;
  /** True if single tables can be restored. */
  singleTables: boolean;
  /** What a backup of a database without any table comes to. */
  emptyError: string | null;
  zoo(): Promise<Zoo>;
  /** URLs that cannot be used, each with the code of the error and what its text says. None may be repeated with its password. */
  unusable(): Promise<[url: string, code: string, told?: RegExp][]>;
  /** Null where the server knows no users. */
  rights: (() => Promise<Rights>) | null;
  fragile(): Promise<Fragile>;
  /** Null where no such server can be had. */
  tls: (() => Promise<TlsDatabase>) | null;
  /** A database for a restore whose process is killed, and the moments of its switch: waits for one of them. */
  killed: {
    make(): Promise<string>;
    moments: number;
    until(moment: number, isOver: () => boolean): Promise<unknown>;
  };
}

const MADE = /^(COMPLETED|FAILED)$/;
/** The password of no one. */
export const WRONG = 'wr:ong';

/** What every engine whose databases are on a server must do. */
export function describeServerEngine(adapter: ServerAdapter): void {
  const { make, rowsOf, addTo, removeRows, absent, stateOf, leftovers } = adapter;
  const { app, command, configure, test, follow, startBackup, backUp, startRestore, restore, undo, ask } = adapter.runs;
  let unusable: Promise<{ code: string; told: RegExp; found: Tested }[]>;
  beforeAll(() => {
    // A driver may look for a server for ten seconds.
    const looking = async () => {
      const all = await adapter.unusable();
      return Promise.all(all.map(async ([url, code, told = /./]) => ({ code, told, found: await test(url) })));
    };
    unusable = looking();
    unusable.catch(() => undefined);
  });
  afterAll(() => unusable.catch(() => undefined));
  const planOf = (input: object) => app().app.restores.plan({ backupId: '', confirm: true, ...input });

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

    const plan = await planOf({ backupId: backup.id });
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

    const allowed = await planOf({ backupId: backup.id, allowExcluded: true });
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

  it('comes back whole after a backup under a writer, and an undo takes that back', async () => {
    const zoo = await adapter.zoo();
    const { url, busy } = zoo;
    const config = await configure('Zoo', url);
    let isOver = false;
    const writer = zoo.write(() => isOver);
    const backup = await backUp(config);
    isOver = true;
    await writer;
    await zoo.checkBackup(backup);
    const whole = await stateOf(url, busy);
    await zoo.damage();
    const broken = await stateOf(url);
    const plan = await planOf({ backupId: backup.id });
    expect(plan.refusals).toEqual([]);
    zoo.checkPlan(plan);
    const done = await restore({ backupId: backup.id });
    expect(await stateOf(url, busy)).toEqual(whole);
    expect(await leftovers(url)).toEqual([]);
    await zoo.checkRestored(done);
    await undo(done.id);
    expect(await stateOf(url)).toEqual(broken);
    await zoo.checkUndone();
    const { verifyBackup } = await ask<{ verifyBackup: object }>(
      'mutation($id: ID!) { verifyBackup(id: $id, level: CONTENT) { verificationLevel errorMessage } }',
      { id: backup.id },
    );
    expect(verifyBackup).toEqual({ verificationLevel: 'CONTENT', errorMessage: null });
    expect(await stateOf(url)).toEqual(broken);
    expect(await leftovers(url)).toEqual([]);
    await zoo.opensWithout(backup.id, whole);
  });

  it('goes into a new database, and from an upload only when someone answers for it', async () => {
    const url = await make('source', { t: 1 });
    const config = await configure('Elsewhere', url);
    const { id } = await backUp(config);
    const copy = absent('target');
    await restore({ backupId: id, targetDatabaseUrl: copy });
    expect(await stateOf(copy)).toEqual(await stateOf(url));
    const { filePath, fileName } = await app().app.backups.get(id);
    const upload = await app().app.backups.upload(createReadStream(filePath), fileName, undefined, 'test', NEVER);
    expect(upload).toMatchObject({ backupType: 'UPLOADED', configId: Number(config), tables: [{ name: 't' }] });
    const verified = app().app.verifications.verify(upload.id, 'CONTENT', 'test', NEVER);
    await expect(verified).rejects.toThrow('Level CONTENT needs the server');
    expect(await app().app.backups.get(upload.id)).toMatchObject({ errorCode: null, verifiedAt: upload.verifiedAt });
    const { refusals } = await planOf({ backupId: upload.id });
    expect(refusals).toEqual([expect.objectContaining({ code: 'BACKUP_FOREIGN', field: 'allowForeign' })]);
    await removeRows(url, 't');
    await restore({ backupId: upload.id, allowForeign: true });
    expect(await rowsOf(url)).toEqual({ t: 1 });
  });

  it('is drilled in a database of its own, which goes again, also after the process was killed', async () => {
    const { verifications } = app().app;
    const url = await make('drilled', { kept: 2, logs: 3 });
    const { id: backupId } = await backUp(await configure('Drilled', url));
    const request = () => verifications.create({ backupId, level: 'DRILL' }, 'test');
    const { id } = await request();
    await verifications.run(id, NEVER);
    const drilled = await verifications.get(id);
    expect(drilled).toMatchObject({ status: 'COMPLETED', errorMessage: null, drill: { mediaFiles: 0 } });
    expect(drilled.drill?.tables).toEqual([
      { name: 'kept', rows: 2 },
      { name: 'logs', rows: 3 },
    ]);
    expect(drilled.drill?.target).toMatch(/dbm_drill_\d{8}_\d{6}_[0-9a-f]{8}/);
    expect(await leftovers(url)).toEqual([]);
    const dead = await request();
    const place = await app().app.engines.forUrl(url).scratch.urlFor(dead.id, '', url);
    await restore({ backupId, targetDatabaseUrl: place });
    await dead.update({ status: 'RUNNING', phase: 'load' });
    expect(await leftovers(url)).toHaveLength(1);
    await verifications.recover();
    expect(await verifications.get(dead.id)).toMatchObject({ status: 'FAILED', errorCode: 'INTERRUPTED' });
    expect(await leftovers(url)).toEqual([]);
    expect(await rowsOf(url)).toEqual({ kept: 2, logs: 3 });
  });

  it('of 200 tables comes back with all of them, also those that are empty', async () => {
    const tables = Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`t${n}`, n % 3]));
    const url = await make('crowd', tables);
    const { id } = await backUp(await configure('Crowd', url));
    await removeRows(url, 't1');
    await addTo(url, 't0');
    await addTo(url, 'later');
    await restore({ backupId: id });
    expect(await rowsOf(url)).toEqual(tables);
  });

  it('without any table is what its server says that it is', async () => {
    const url = await make('empty', {});
    const config = await configure('Empty', url, {}, true);
    if (adapter.emptyError !== null) {
      const none = await follow('backup', await startBackup(config));
      return expect(none).toMatchObject({ status: 'FAILED', errorCode: adapter.emptyError });
    }
    const { id } = await backUp(config);
    await addTo(url, 'later');
    await restore({ backupId: id });
    expect(await rowsOf(url)).toEqual({});
  });

  it('refuses a backup of another kind of database, and single tables where it restores none', async () => {
    const url = await make('single', { t: 1 });
    const { id } = await backUp(await configure('Single', url));
    const { refusals } = await planOf({ backupId: id, tables: ['t'] });
    const wholeOnly = expect.objectContaining({ code: 'BAD_USER_INPUT', field: 'tables' });
    expect(refusals).toEqual(adapter.singleTables ? [] : [wholeOnly]);
    const sqlite = await app().backup();
    const request = { backupId: sqlite.id, targetDatabaseUrl: url, overwrite: true };
    await expect(planOf(request)).rejects.toMatchObject({ field: 'targetDatabaseUrl' });
  });

  it('says why a URL cannot be used, and repeats no password', async () => {
    const all = await unusable;
    expect(all.map(({ found: { ok, error } }) => [ok, error?.code])).toEqual(all.map(({ code }) => [false, code]));
    expect(all.filter(({ found: { error } }) => !error?.hint)).toEqual([]);
    for (const { told, found } of all) expect(`${found.error?.message} ${found.error?.hint}`).toMatch(told);
    for (const secret of [WRONG, encodeURIComponent(WRONG)]) expect(JSON.stringify(all)).not.toContain(secret);
  });

  const { rights } = adapter;
  if (rights !== null) {
    it('names the statements that give missing rights, one after the other', async () => {
      const { url, hints, grant, mayRestore } = await rights();
      const given: string[] = [];
      const give = async ({ code, hint }: { code: string; hint: string }) => {
        expect(code).toBe('DATABASE_UNREADABLE');
        given.push(hint);
        await grant(hint);
      };
      const refusalOf = async () => (await test(url)).error;
      for (let refusal = await refusalOf(); refusal !== null; refusal = await refusalOf()) await give(refusal);
      const { id } = await backUp(await configure('Rights', url));
      const [refused] = (await planOf({ backupId: id })).refusals;
      await give({ code: refused?.code ?? '', hint: refused?.hint ?? '' });
      expect(given).toEqual(hints.map((hint) => (hint instanceof RegExp ? expect.stringMatching(hint) : hint)));
      if (mayRestore) await restore({ backupId: id });
    });
  }

  const { tls } = adapter;
  if (tls !== null) {
    it('is reached over TLS as its URL asks for it, and over nothing less', async () => {
      const { accepted, refused, close } = await tls();
      try {
        for (const url of accepted) expect([url, (await test(url)).error]).toEqual([url, null]);
        for (const [url, message] of refused) {
          const { ok, error } = await test(url);
          expect([url, ok, error?.hint]).toEqual([url, false, expect.stringMatching(/./)]);
          expect(error?.message).toMatch(message);
        }
        const url = accepted.at(-1) ?? '';
        const { id } = await backUp(await configure('TLS', url));
        const before = await app().app.backups.get(id);
        expect(before.tables).toMatchObject([{ name: 't', rows: 3 }]);
        await restore({ backupId: id });
      } finally {
        await close();
      }
    });
  }

  describe('That is being worked on', () => {
    let fragile: Fragile;
    let config: string;
    let backup: string;
    beforeAll(async () => {
      fragile = await adapter.fragile();
      config = await configure('Fragile', fragile.url);
      ({ id: backup } = await backUp(config));
      await addTo(fragile.url, 'extra');
    });
    afterAll(() => fragile?.close());

    const failed = { status: 'FAILED', errorHint: expect.stringMatching(/./) };

    it('leaves no archive of a backup that is cancelled, or whose server goes away', async () => {
      const archives = await filesIn(app().backups);
      for (const errorCode of ['CANCELLED', expect.stringMatching(/^DATABASE_/)]) {
        const stall = await fragile.stallBackup();
        const id = await startBackup(config);
        await stall.reached(id);
        if (errorCode === 'CANCELLED') await ask('mutation($id: ID!) { cancelBackup(id: $id) { id } }', { id });
        else await fragile.stop('backup');
        expect(await follow('backup', id)).toMatchObject({ ...failed, errorCode });
        await stall.release();
        await fragile.mend();
        expect(await filesIn(app().backups)).toEqual(archives);
      }
    });

    it('stays as it was when a restore is cancelled while it loads, or its server goes away', async () => {
      const before = await stateOf(fragile.url);
      for (const errorCode of ['CANCELLED', expect.stringMatching(/^DATABASE_/)]) {
        const stall = await fragile.stallRestore();
        const id = await startRestore({ backupId: backup });
        await stall.reached(id);
        if (errorCode === 'CANCELLED') await ask('mutation($id: ID!) { cancelRestore(id: $id) { id } }', { id });
        else await fragile.stop('restore');
        expect(await follow('restore', id)).toMatchObject({ ...failed, errorCode });
        await stall.release();
        await fragile.mend();
        expect(await stateOf(fragile.url)).toEqual(before);
        if (errorCode === 'CANCELLED') expect(await leftovers(fragile.url)).toEqual([]);
      }
    });
  });

  it('is old or new as a whole, and the server tidy, when the process is killed at the switch', async () => {
    const { make: makeKilled, moments, until } = adapter.killed;
    const url = await makeKilled();
    const { id } = await backUp(await configure('Killed', url));
    const whole = await stateOf(url);
    const seen = new Set<string>();
    for (let moment = 0; moment < moments; moment++) {
      await addTo(url, `extra${moment}`);
      const broken = await stateOf(url);
      const running = await command('restore', id, '--confirm');
      await until(moment, () => running.child.exitCode !== null);
      running.child.kill('SIGKILL');
      await running.ended;
      const { models, restores, backups } = app().app;
      await models.sequelize.query('DELETE FROM leases');
      await restores.recover();
      await backups.recover();
      expect(await filesIn(join(app().folder, 'data', 'tmp'))).toEqual([]);
      const row = await models.Restore.findOne({ order: [['createdAt', 'DESC']], rejectOnEmpty: true });
      seen.add(row.status);
      expect(row.status).toMatch(MADE);
      expect(await stateOf(url)).toEqual(row.status === 'COMPLETED' ? whole : broken);
      expect(await leftovers(url)).toEqual([]);
    }
    expect(seen).toEqual(new Set(['FAILED', 'COMPLETED']));
  });
}
