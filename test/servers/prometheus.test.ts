import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTestApp, type TestApp } from '../support/app.js';
import { freePort } from '../support/servers.js';

const METRICS_TOKEN = 'a-token-for-metrics-alone';
const RULES = resolve('docs/monitoring/alerts.yml');
const hasPrometheus = ['prometheus', 'promtool'].every((tool) => spawnSync(tool, ['--version']).status === 0);
const describePrometheus = hasPrometheus ? describe : describe.skip;

let app: TestApp;
let folder: string;
beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'db-manager-prometheus-')));
  app = await createTestApp({ work: false, env: { METRICS_TOKEN } });
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

const metricsOf = async () =>
  (await fetch(`${app.url}/metrics`, { headers: { Authorization: `Bearer ${METRICS_TOKEN}` } })).text();

describePrometheus('with the Debian package prometheus', () => {
  it('its linter finds nothing wrong with names and units', async () => {
    const input = await metricsOf();
    expect(() => execFileSync('promtool', ['check', 'metrics'], { input })).not.toThrow();
  });

  it('the rules alarm when they should, and not before', () => {
    const series = (name: string, values: string) => `      - series: '${name}'\n        values: '${values}'`;
    const test = `
rule_files: ['${RULES}']
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
${[
  series('db_manager_build_info{version="1",node="20"}', '1x400'),
  series('db_manager_health', '0x199 2x200'),
  series('db_manager_problems{code="LAST_BACKUP_FAILED"}', '0x199 1x200'),
  series('db_manager_backup_next_run_timestamp_seconds{config="1"}', '3600x400'),
  series('db_manager_backup_last_success_timestamp_seconds{config="1"}', '100x400'),
  series('db_manager_backup_last_proven_timestamp_seconds{config="1"}', '100x400'),
  series('db_manager_backup_last_size_bytes{config="1"}', '1000x199 400x200'),
  series('db_manager_storage_up{destination="1",path="/b"}', '1x199 0x200'),
].join('\n')}
    alert_rule_test:
${['BackupOverdue', 'BackupFailed', 'BackupMuchSmaller', 'BackupStorageDown', 'BackupHealth', 'DbManagerDown']
  .map((name) => `      - { eval_time: 150m, alertname: ${name}, exp_alerts: [] }`)
  .join('\n')}
    promql_expr_test:
      - expr: count by (alertname) (ALERTS{alertstate="firing"})
        eval_time: 300m
        exp_samples:
${['BackupFailed', 'BackupHealth', 'BackupMuchSmaller', 'BackupOverdue', 'BackupStorageDown']
  .map((name) => `          - { labels: '{alertname="${name}"}', value: 1 }`)
  .join('\n')}
`;
    const file = join(folder, 'rules.test.yml');
    writeFileSync(file, test);
    const { status, stdout, stderr } = spawnSync('promtool', ['test', 'rules', file], { encoding: 'utf8' });
    expect({ status, output: status === 0 ? '' : stdout + stderr }).toEqual({ status: 0, output: '' });
  });

  it('a server that is set up as documented reads the metrics, and the rules find what is wrong', async () => {
    const port = await freePort();
    const documented = /```yaml\n([\s\S]*?)```/.exec(readFileSync('docs/monitoring.md', 'utf8'))?.[1] ?? '';
    const config = documented
      .replace('/etc/prometheus/db-manager-token', join(folder, 'token'))
      .replace('127.0.0.1:4000', new URL(app.url).host)
      .replace('db-manager-alerts.yml', RULES)
      .replace('scrape_interval: 1m', 'scrape_interval: 1s');
    writeFileSync(join(folder, 'token'), METRICS_TOKEN);
    writeFileSync(join(folder, 'prometheus.yml'), `global: { evaluation_interval: 1s }\n${config}`);
    const server = spawn(
      'prometheus',
      [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { stdio: 'ignore' },
    );
    try {
      const query = async (text: string) => {
        const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(text)}`;
        const answer = await fetch(url).then(
          // Before it is ready, it says so in words.
          (response) => (response.ok ? response.json() : null),
          () => null,
        );
        return ((answer as { data?: { result: { value: [number, string] }[] } } | null)?.data?.result ?? []).map(
          ({ value }) => Number(value[1]),
        );
      };
      const wait = async (text: string, wanted: number[]) => {
        for (let tries = 0; tries < 300; tries++) {
          if (JSON.stringify(await query(text)) === JSON.stringify(wanted)) return;
          await sleep(200);
        }
        expect([text, await query(text)]).toEqual([text, wanted]);
      };
      await wait('db_manager_problems{code="NEVER_BACKED_UP"}', [1]);
      const row = await app.backup();
      await wait('db_manager_backup_last_success_timestamp_seconds{config="1"}', [row.createdAt.getTime() / 1000]);
      await app.app.models.Backup.create({
        ...(row.get() as object),
        id: 'backup_20300101_000000_00000000',
        fileName: 'failed.zip',
        createdAt: new Date(row.createdAt.getTime() + 1000),
        status: 'FAILED',
        verifiedAt: null,
      } as never);
      await wait('ALERTS{alertname="BackupFailed",alertstate="firing"}', [1]);
    } finally {
      server.kill('SIGKILL');
    }
  });
});
