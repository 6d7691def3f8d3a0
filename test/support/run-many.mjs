// Does many incremental backups in one process, from the compiled product, with a change before each:
//   node run-many.mjs RUNS DATABASE
// Says after each tenth of them how much memory and how many open files the process has, as a line of JSON.
import { readdirSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import sqlite3 from 'sqlite3';
import { createApp } from '../../dist/app.js';
import { loadEnvironment } from '../../dist/environment.js';

const [runs, database] = [Number(process.argv[2]), process.argv[3]];
const app = await createApp(loadEnvironment());
const never = new AbortController().signal;
const writer = new sqlite3.Database(database);
const write = (sql) =>
  new Promise((resolve, reject) => writer.run(sql, (error) => (error ? reject(error) : resolve())));
let since = performance.now();
for (let run = 1; run <= runs; run++) {
  // Each tenth finds nothing changed.
  if (run % 10 !== 0) await write(`UPDATE account SET balance = balance + 1 WHERE id = ${run % 50}`);
  const row = await app.backups.create({ backupType: 'MANUAL' }, 'test');
  await app.backups.run(row.id, never);
  const { status, errorMessage } = await row.reload();
  if (status !== 'COMPLETED') throw new Error(`Run ${run} is ${status}: ${errorMessage}`);
  if (run % Math.ceil(runs / 10) !== 0) continue;
  globalThis.gc?.();
  const files = readdirSync('/proc/self/fd').length;
  const { rss, heapUsed } = process.memoryUsage();
  const now = performance.now();
  const each = (now - since) / Math.ceil(runs / 10);
  since = now;
  process.stdout.write(`${JSON.stringify({ run, rss, heapUsed, files, ms: Math.round(each) })}\n`);
}
await new Promise((resolve) => writer.close(resolve));
await app.close();
