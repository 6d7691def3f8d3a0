import { afterEach, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Sequelize } from 'sequelize';
import { createHandlers, type Workers } from '../../src/jobs/handlers.js';
import { createBackend } from '../../src/jobs/backends.js';
import { createLog } from '../../src/log.js';

const sequelize = new Sequelize({ dialect: 'sqlite', storage: ':memory:', logging: false });
const options = { log: createLog('silent'), downloadFolder: '/nonexistent/mongodb' };

describe('the choice of the job store', () => {
  const download = process.env.MONGOMS_RUNTIME_DOWNLOAD;
  afterEach(() => {
    if (download === undefined) delete process.env.MONGOMS_RUNTIME_DOWNLOAD;
    else process.env.MONGOMS_RUNTIME_DOWNLOAD = download;
  });

  it('without JOBS_URL loads no driver of MongoDB or PostgreSQL', () => {
    const backends = fileURLToPath(new URL('../../src/jobs/index.ts', import.meta.url));
    const source = `await import(${JSON.stringify(backends)}); const { default: m } = await import('node:module');
      console.log(Object.keys(m._cache).filter((path) => /node_modules.(mongodb|pg|mongodb-memory-server)[/\\\\]/.test(path)).length)`;
    const answer = execFileSync(
      process.execPath,
      ['--import', new URL('../../dev/typescript.mjs', import.meta.url).href, '--input-type=module', '--eval', source],
      { env: { ...process.env, NODE_OPTIONS: '' }, encoding: 'utf8' },
    );
    expect(answer.trim()).toBe('0');
  });

  it.each([
    ['mongodb://admin:secret@127.0.0.1:1/jobs', 'MongoDB'],
    ['postgres://admin:secret@127.0.0.1:1/jobs', 'PostgreSQL'],
  ])('a server that does not answer is told within seconds, without its password: %s', async (url, server) => {
    const failure = createBackend(url, sequelize, options);
    await expect(failure).rejects.toMatchObject({ code: 'CONFIG_INVALID', hint: expect.stringContaining('address') });
    await expect(failure).rejects.toThrow(server);
    await expect(failure).rejects.not.toThrow('secret');
  });

  it('mongodb-memory: fails at once without a binary or a download, and says what to do', async () => {
    process.env.MONGOMS_RUNTIME_DOWNLOAD = 'false';
    await expect(createBackend('mongodb-memory:', sequelize, options)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      hint: expect.stringContaining('MONGOMS_SYSTEM_BINARY'),
    });
  });

  it('an unknown kind of address is refused', async () => {
    await expect(createBackend('redis://x:y@host', sequelize, options)).rejects.toThrow('redis://x:***@host');
  });
});

describe('the jobs of a run', () => {
  const added: unknown[] = [];
  const queue = { add: async (...job: unknown[]) => void added.push(job) };
  const others = {
    cleanup: { runScheduled: async () => undefined },
    controlBackups: { runDue: async () => undefined },
  };
  const all = async (runs: Workers['backups']) => {
    const handlers = createHandlers({ backups: runs, restores: runs, verifications: runs, ...others }, queue);
    await handlers['run-backup']({ name: 'run-backup', backupId: 'b' }, { signal });
    await handlers['run-restore']({ name: 'run-restore', restoreId: 'r' }, { signal });
    await handlers['run-verification']({ name: 'run-verification', verificationId: 'v' }, { signal });
  };
  const signal = new AbortController().signal;
  afterEach(() => void added.splice(0));

  it('a run that is done is not asked for again', async () => {
    const ids: string[] = [];
    const runs = { run: async (id: string) => (ids.push(id), 'done' as const) };
    await all(runs);
    expect(ids).toEqual(['b', 'r', 'v']);
    expect(added).toEqual([]);
  });

  it('one whose database is held by another run comes again in two seconds', async () => {
    const runs = { run: async () => 'busy' as const };
    await all(runs);
    expect(added).toEqual([
      [{ name: 'run-backup', backupId: 'b' }, { delayMs: 2_000 }],
      [{ name: 'run-restore', restoreId: 'r' }, { delayMs: 2_000 }],
      [{ name: 'run-verification', verificationId: 'v' }, { delayMs: 2_000 }],
    ]);
  });
});
