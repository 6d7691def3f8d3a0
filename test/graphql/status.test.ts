import { rename } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as api from '../../src/client/index.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { clientOf, collect, send, socketOf } from '../support/operations.js';

let app: TestApp;
let client: api.Client;
beforeAll(async () => {
  app = await createTestApp({ work: false });
  client = clientOf(app);
});
afterAll(() => app.close());

describe('The history of backups over the API', () => {
  it('is that of the last year in UTC where nothing else is said', async () => {
    const { id, fileSize } = await app.backup();
    const day = {
      date: new Date().toISOString().slice(0, 10),
      completed: 1,
      failed: 0,
      size: fileSize,
      newestId: id,
      fullSize: fileSize,
    };
    expect((await client.request(api.BackupHistoryDocument)).backupHistory).toEqual([day]);
    const nulls = await send(
      app,
      '{ backupHistory(configId: null, days: null, timezone: null) { date completed failed size newestId fullSize } }',
    );
    expect(nulls.data).toEqual({ backupHistory: [day] });
    const other = await client.request(api.BackupHistoryDocument, { configId: '99' });
    expect(other.backupHistory).toEqual([]);
  });

  it.each<[string, api.BackupHistoryQueryVariables]>([
    ['days', { days: 0 }],
    ['timezone', { timezone: 'Nowhere' }],
  ])('names the field that is wrong: %s', async (field, variables) => {
    const asked = client.request(api.BackupHistoryDocument, variables);
    await expect(asked).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field });
  });
});

describe('A run under way', () => {
  it('reports its bytes, its speed and the time left, and each change of its bytes', async () => {
    const row = await app.app.backups.create({ backupType: 'MANUAL' }, 'test');
    const began = Date.now() - 10_000;
    await row.update({
      status: 'RUNNING',
      leaseHolder: 'elsewhere',
      progress: 0.5,
      startedAt: new Date(began),
      phase: 'archive',
      phases: [{ phase: 'archive', at: new Date(began).toISOString() }],
      bytesDone: 5_000_000_000,
      bytesTotal: 10_000_000_000,
    });
    const { backup } = await client.request(api.BackupDocument, { id: row.id });
    expect(backup).toMatchObject({ bytesDone: 5_000_000_000, bytesTotal: 10_000_000_000 });
    expect((backup?.bytesPerSecond ?? 0) / 500_000_000).toBeCloseTo(1, 0);
    expect(backup?.secondsLeft).toBeGreaterThanOrEqual(9);
    expect(backup?.secondsLeft).toBeLessThan(15);
    const { status } = await client.request(api.StatusDocument);
    expect(status.runningBackups).toMatchObject([
      { id: row.id, status: 'RUNNING', bytesDone: 5_000_000_000, config: { name: 'App' } },
    ]);

    const { client: socket } = socketOf(app, { token: app.token });
    const events = collect(socket, api.BackupProgressDocument, row.id);
    setTimeout(() => void row.update({ bytesDone: 6_000_000_000 }), 400);
    setTimeout(() => void row.update({ status: 'FAILED', errorCode: 'INTERRUPTED' }), 1_200);
    const seen = (await events).map(({ backupProgress: { status, bytesDone, secondsLeft } }) => [
      status,
      bytesDone,
      secondsLeft === null,
    ]);
    await socket.dispose();
    expect(seen).toEqual([
      ['RUNNING', 5_000_000_000, false],
      ['RUNNING', 6_000_000_000, false],
      ['FAILED', null, true],
    ]);
  });
});

it('shows a storage that cannot be reached in the status, without failing its answer', async () => {
  await rename(app.backups, `${app.backups}-away`);
  const { status } = await client.request(api.StatusDocument);
  await rename(`${app.backups}-away`, app.backups);
  expect(status).toMatchObject({
    health: 'CRITICAL',
    storages: [{ free: null, error: { code: 'STORAGE_UNAVAILABLE', hint: expect.any(String) } }],
  });
});
