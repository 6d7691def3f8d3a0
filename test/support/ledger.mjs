// A small application whose content after k commits is known by k alone. As a process of its own it keeps committing:
//   node ledger.mjs FILE [pause-ms]      prints {"commits":…,"busy":…} when it is told to stop by SIGTERM
import { createHash } from 'node:crypto';
import sqlite3 from 'sqlite3';

const ACCOUNTS = 50;
const KEPT = 400;

export const SCHEMA = `
  CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
  CREATE TABLE entry (
    id INTEGER PRIMARY KEY, account INTEGER NOT NULL REFERENCES account (id), amount INTEGER NOT NULL, memo TEXT NOT NULL);
  CREATE INDEX entry_account ON entry (account);
  CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 1), k INTEGER NOT NULL);
  INSERT INTO head VALUES (1, 0);
  WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${ACCOUNTS - 1})
    INSERT INTO account SELECT i, 0 FROM n;`;

const entryOf = (k) => ({
  account: (k * 7919) % ACCOUNTS,
  amount: ((k * 104729) % 1000) - 500,
  memo: createHash('sha256').update(`memo ${k}`).digest('hex').repeat(3),
});

/** The statements of commit number k, inside its transaction. */
export function commitSql(k) {
  const { account, amount, memo } = entryOf(k);
  return `INSERT INTO entry VALUES (${k}, ${account}, ${amount}, '${memo}');
    UPDATE account SET balance = balance + ${amount} WHERE id = ${account};
    DELETE FROM entry WHERE id = ${k - KEPT};
    UPDATE head SET k = ${k};`;
}

/** What the tables hold after k commits, as rows in the order of their ids. */
export function expectedRows(k) {
  const balances = new Array(ACCOUNTS).fill(0);
  for (let i = 1; i <= k; i++) balances[entryOf(i).account] += entryOf(i).amount;
  const entries = [];
  for (let i = Math.max(1, k - KEPT + 1); i <= k; i++) entries.push({ id: i, ...entryOf(i) });
  return { account: balances.map((balance, id) => ({ id, balance })), entry: entries, head: [{ id: 1, k }] };
}

async function main(file, pause) {
  const db = await new Promise((resolve, reject) => {
    const opened = new sqlite3.Database(file, (error) => (error ? reject(error) : resolve(opened)));
  });
  const run = (sql) => new Promise((resolve, reject) => db.exec(sql, (error) => (error ? reject(error) : resolve())));
  const head = () =>
    new Promise((resolve, reject) =>
      db.get('SELECT k FROM head', (error, row) => (error ? reject(error) : resolve(row.k))),
    );
  const count = { commits: 0, busy: 0, errors: [] };
  let stopped = false;
  process.on('SIGTERM', () => (stopped = true));
  process.stdout.write('ready\n');
  while (!stopped) {
    try {
      await run('BEGIN IMMEDIATE');
      // Anew each time, and inside the transaction: a restore may have changed it.
      await run(`${commitSql((await head()) + 1)} COMMIT;`);
      count.commits += 1;
    } catch (error) {
      if (error.code === 'SQLITE_BUSY') count.busy += 1;
      else count.errors.push(String(error.message));
      await run('ROLLBACK').catch(() => undefined);
    }
    if (pause > 0) await new Promise((wake) => setTimeout(wake, pause));
  }
  process.stdout.write(`${JSON.stringify(count)}\n`);
  db.close();
}

if (process.argv[1] === new URL(import.meta.url).pathname) await main(process.argv[2], Number(process.argv[3] ?? 0));
