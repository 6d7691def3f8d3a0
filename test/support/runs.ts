import { expect } from '@jest/globals';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Running, start, translate } from '../cli/command.js';
import type { TestApp } from './app.js';
import { send } from './operations.js';

/** A backup or a restore, as the API tells of it. */
export interface Run {
  id: string;
  status: string;
  phase: string | null;
  errorCode: string | null;
  errorMessage: string | null;
  errorHint: string | null;
  warnings: string[];
}

const RUN = 'id status phase errorCode errorMessage errorHint warnings';

/** What is found at a database. */
export interface Tested {
  ok: boolean;
  error: { code: string; message: string; hint: string; field: string | null } | null;
  excluded: { table: string; what: string }[];
  warnings: string[];
}

/** Backups and restores through the API. @param app the application, once it runs */
export function runsOf(app: () => TestApp) {
  /** Sends an operation; its errors fail the test. */
  async function ask<Data>(operation: string, variables: object = {}): Promise<Data> {
    const { data, errors } = await send(app(), operation, variables);
    expect(errors).toEqual([]);
    return data as Data;
  }

  /** Makes a config that backs up only when it is asked to. @param untested true if it need not work @returns its id */
  async function configure(
    name: string,
    databaseUrl: string,
    settings: object = {},
    untested = false,
  ): Promise<string> {
    const { createConfig } = await ask<{ createConfig: { id: string } }>(
      'mutation($input: BackupConfigInput!, $untested: Boolean) { createConfig(input: $input, saveUntested: $untested) { id } }',
      { untested, input: { name, databaseUrl, mediaPaths: [], autoBackupEnabled: false, ...settings } },
    );
    return createConfig.id;
  }

  /** Tests settings that are not saved. */
  async function test(databaseUrl: string, settings: object = {}): Promise<Tested> {
    const { testConnection } = await ask<{ testConnection: Tested }>(
      `mutation($input: BackupConfigInput!) { testConnection(input: $input) {
         ok error { code message hint field } excluded { table what } warnings } }`,
      { input: { databaseUrl, mediaPaths: [], ...settings } },
    );
    return testConnection;
  }

  /** Waits for the end of a run, or for a phase of it. */
  async function follow(kind: 'backup' | 'restore', id: string, phase?: string): Promise<Run> {
    for (;;) {
      const { [kind]: run } = await ask<Record<string, Run>>(`query($id: ID!) { ${kind}(id: $id) { ${RUN} } }`, { id });
      if (run === undefined) throw new Error(`There is no ${kind} ${id}.`);
      const hasEnded = ['COMPLETED', 'FAILED'].includes(run.status);
      if (phase === undefined ? hasEnded : run.phase === phase) return run;
      if (hasEnded) throw new Error(JSON.stringify(run));
      await sleep(20);
    }
  }

  async function startBackup(configId: string): Promise<string> {
    const { createBackup } = await ask<{ createBackup: Run }>(
      'mutation($input: CreateBackupInput!) { createBackup(input: $input) { id } }',
      { input: { configId } },
    );
    return createBackup.id;
  }

  async function backUp(configId: string): Promise<Run> {
    const run = await follow('backup', await startBackup(configId));
    expect(run).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    return run;
  }

  async function startRestore(input: object): Promise<string> {
    const { restoreBackup } = await ask<{ restoreBackup: Run }>(
      'mutation($input: RestoreBackupInput!) { restoreBackup(input: $input) { id } }',
      { input: { confirm: true, ...input } },
    );
    return restoreBackup.id;
  }

  async function restore(input: object): Promise<Run> {
    const run = await follow('restore', await startRestore(input));
    expect(run).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    return run;
  }

  async function undo(id: string): Promise<Run> {
    const { undoRestore } = await ask<{ undoRestore: Run }>('mutation($id: ID!) { undoRestore(id: $id) { id } }', {
      id,
    });
    const run = await follow('restore', undoRestore.id);
    expect(run).toMatchObject({ status: 'COMPLETED', errorMessage: null });
    return run;
  }

  let translated: Promise<string> | null = null;
  /** Starts the command line, on the same records. */
  async function command(...args: string[]): Promise<Running> {
    const { folder, backups } = app();
    const program = await (translated ??= translate(join(folder, 'program')));
    const env = { DATA_DIR: join(folder, 'data'), DB_BACKUP_PATH: backups, LOG_LEVEL: 'silent', LEASE_SECONDS: '5' };
    return start([join(program, 'src/cli.js'), ...args], { cwd: folder, env });
  }

  return { app, command, ask, configure, test, follow, startBackup, backUp, startRestore, restore, undo };
}
