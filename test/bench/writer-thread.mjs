/* Commits one small transaction after the other and notes how long each took. */
import { performance } from 'node:perf_hooks';
import { parentPort, workerData } from 'node:worker_threads';
import sqlite3 from 'sqlite3';

const database = new sqlite3.Database(workerData.database);
database.configure('busyTimeout', 60_000);
const run = (sql) =>
  new Promise((resolve, reject) => database.run(sql, (error) => (error ? reject(error) : resolve())));
let stopped = false;
parentPort.once('message', () => (stopped = true));
await run('CREATE TABLE IF NOT EXISTS ledger (id INTEGER PRIMARY KEY, note TEXT)');
parentPort.postMessage('started');
const latencies = [];
while (!stopped) {
  const start = performance.now();
  // A restore puts back a database that has no such table yet.
  await run(`INSERT INTO ledger (note) VALUES ('paid')`).catch((error) => {
    if (!/no such table/.test(error.message)) throw error;
    return run('CREATE TABLE IF NOT EXISTS ledger (id INTEGER PRIMARY KEY, note TEXT)');
  });
  latencies.push(performance.now() - start);
  await new Promise((resolve) => setTimeout(resolve, 2));
}
parentPort.postMessage(latencies);
