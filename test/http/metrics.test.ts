import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { createTestApp, type TestApp } from '../support/app.js';

const METRICS_TOKEN = 'a-token-for-metrics-alone';

let app: TestApp;
beforeAll(async () => {
  app = await createTestApp({ work: false, env: { METRICS_TOKEN } });
});
afterAll(() => app.close());

const ask = (token: string | null) =>
  fetch(`${app.url}/metrics`, token === null ? {} : { headers: { Authorization: `Bearer ${token}` } });

/** The values by their name with labels, as they are written. */
async function read(): Promise<Map<string, number>> {
  const response = await ask(METRICS_TOKEN);
  expect(response.status).toBe(200);
  const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

it.each([
  ['no token', null, 401],
  ['a wrong token', 'another-token-for-metrics', 401],
  ['the beginning of the token', METRICS_TOKEN.slice(0, -1), 401],
])('With %s metrics are refused, and nothing is told', async (_what, token, status) => {
  const response = await ask(token);
  expect(response.status).toBe(status);
  expect(Object.keys((await response.json()) as object)).toEqual(expect.arrayContaining(['code', 'message', 'hint']));
});

it('The token for metrics opens nothing else, and an admin may read metrics', async () => {
  expect((await ask(app.token)).status).toBe(200);
  const response = await fetch(`${app.url}/graphql`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${METRICS_TOKEN}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ query: '{ me { email } }' }),
  });
  expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] });
});

it('Without METRICS_TOKEN an empty bearer token is refused', async () => {
  const other = await createTestApp({ work: false });
  try {
    for (const header of ['Bearer ', 'Bearer null', 'Bearer undefined']) {
      const response = await fetch(`${other.url}/metrics`, { headers: { Authorization: header } });
      expect([header, response.status]).toEqual([header, 401]);
    }
  } finally {
    await other.close();
  }
});

it('Messages that wait are counted for each channel', async () => {
  const { Channel, Delivery } = app.app.models;
  const values = { kind: 'WEBHOOK' as const, target: 'x', sealed: 'x', events: [], configIds: [] };
  const [one, two] = [
    await Channel.create({ ...values, name: 'one', createdAt: new Date() }),
    await Channel.create({ ...values, name: 'two', createdAt: new Date() }),
  ];
  const beat = { state: 'DONE' as const, runId: 'x' };
  const delivery = { channelId: two.id, content: { beat }, nextTryAt: new Date(), createdAt: new Date() };
  await Delivery.bulkCreate([delivery, delivery]);
  const found = await read();
  expect(found.get(`db_manager_messages_waiting{channel="${one.id}"}`)).toBe(0);
  expect(found.get(`db_manager_messages_waiting{channel="${two.id}"}`)).toBe(2);
});

it('Before the first backup its times are 0, and its size is left out', async () => {
  const values = await read();
  expect(values.get('db_manager_backup_last_success_timestamp_seconds{config="1"}')).toBe(0);
  expect(values.get('db_manager_problems{code="NEVER_BACKED_UP"}')).toBe(1);
  expect(values.get('db_manager_problems{code="ARCHIVE_MISSING"}')).toBe(0);
  expect(values.has('db_manager_backup_last_size_bytes{config="1"}')).toBe(false);
});

it('After a backup, a restore and a loss the numbers are those of the records', async () => {
  const row = await app.backup();
  await app.restore({ backupId: row.id });
  const values = await read();
  const at = row.createdAt.getTime() / 1000;
  expect(values.get('db_manager_backup_last_success_timestamp_seconds{config="1"}')).toBe(at);
  expect(values.get('db_manager_backup_last_proven_timestamp_seconds{config="1"}')).toBe(at);
  expect(values.get('db_manager_backup_last_size_bytes{config="1"}')).toBe(row.fileSize);
  const took = (row.completedAt!.getTime() - row.startedAt!.getTime()) / 1000;
  expect(values.get('db_manager_backup_last_duration_seconds{config="1"}')).toBeCloseTo(took, 3);
  expect(values.get('db_manager_verification_timestamp_seconds{config="1",level="ARCHIVE"}')).toBe(
    row.verifiedAt!.getTime() / 1000,
  );
  expect(values.get('db_manager_restore_last_duration_seconds{config="1"}')).toBeGreaterThan(0);
  // The restore made a safety backup.
  expect(values.get('db_manager_backups{state="COMPLETED"}')).toBe(2);
  expect(values.get('db_manager_restores{state="COMPLETED"}')).toBe(1);
  const place = `{destination="${row.copy.destinationId}",type="${row.storageType}",path="${row.copy.destination.storagePath}"}`;
  expect(values.get(`db_manager_storage_archives${place}`)).toBe(2);
  expect(values.get(`db_manager_storage_up${place}`)).toBe(1);
  expect(values.get(`db_manager_storage_free_bytes${place}`)).toBeGreaterThan(0);
  expect(values.get('db_manager_health')).not.toBe(2);

  await rm(row.filePath);
  const after = await read();
  expect(after.get('db_manager_problems{code="ARCHIVE_MISSING"}')).toBe(1);
  expect(after.get('db_manager_health')).toBe(2);
});

it('A name that would end its line or its label is escaped', async () => {
  await app.app.configs.update(1, { name: 'a "shop"\\ of mine' }, 'test');
  const text = await (await ask(METRICS_TOKEN)).text();
  expect(text).toContain('db_manager_config_info{config="1",name="a \\"shop\\"\\\\ of mine",engine="SQLITE"} 1');
});

it('Rules, dashboard and documentation name exactly the metrics that there are', async () => {
  const text = await (await ask(METRICS_TOKEN)).text();
  const real = new Set(Array.from(text.matchAll(/^# TYPE (\w+) gauge$/gm), ([, name]) => name));
  const namedIn = (path: string) => new Set(readFileSync(path, 'utf8').match(/db_manager_\w+/g));
  expect([...namedIn('docs/monitoring.md')].sort()).toEqual([...real].sort());
  const used = [...namedIn('docs/monitoring/alerts.yml'), ...namedIn('docs/monitoring/grafana.json')];
  expect(used.filter((name) => !real.has(name))).toEqual([]);
  const { panels } = JSON.parse(readFileSync('docs/monitoring/grafana.json', 'utf8')) as {
    panels: { targets: { expr: string }[] }[];
  };
  expect(panels.length).toBeGreaterThan(5);
});
