/*
 * An incremental backup after scattered changes, and after none, against restic: by a server that is running, as a schedule
 * makes it, and by the command line; and the restore of a long chain.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { makeDatabase } from './data.mjs';
import { isInstalled, megabytes, quantile, runCommand } from './measure.mjs';
import { Product } from './product.mjs';
import { startServer } from './server.mjs';

const UPDATES = 5_000;
const INSERTS = 20_000;
const CHAIN = 10;

export async function incrementalSection(folder, { size, rounds }) {
  const place = join(folder, 'incremental');
  await mkdir(place, { recursive: true });
  const database = join(place, 'db.sqlite3');
  const bytes = await makeDatabase(database, 'text', size);
  const product = new Product(join(place, 'product'), { database });
  await product.prepare();
  product.ask('config', 'edit', '1', '--incremental');
  const repository = join(place, 'restic');
  const restic = isInstalled('restic') ? (args) => `RESTIC_PASSWORD=x restic -q -r "${repository}" ${args}` : null;
  await product.backup();
  const full = product.archiveSize();
  if (restic !== null) await runCommand(`${restic('init')} && ${restic(`backup "${database}"`)}`);
  const server = await startServer(product.folder, { DATABASE_URL: product.env.DATABASE_URL });
  const rows = [];
  try {
    for (let round = 0; round < rounds; round++) {
      for (const [by, backUp] of [
        ['server', () => backUpBy(server)],
        ['command', () => product.backup()],
      ]) {
        changeRows(database);
        for (const kind of ['changed', 'unchanged']) {
          const { seconds } = await backUp();
          const own = { kind, by, own: seconds, ownBytes: product.archiveSize() };
          rows.push({ ...own, ...(restic && (await measured(restic, { database, repository }))) });
        }
      }
    }
  } finally {
    await server.close();
  }
  while (product.ask('show', product.backupId()).backup.chainPosition < CHAIN) {
    changeRows(database);
    await product.backup();
  }
  const parts = [
    `### Incremental: ${UPDATES} updates and ${INSERTS} inserts in ${megabytes(bytes)} MB; a full backup has ${megabytes(full)} MB`,
    ['server', 'command']
      .flatMap((by) => ['changed', 'unchanged'].map((kind) => described(kind, by, rows, full)))
      .join('\n'),
    await restored(product, { place, rounds }),
  ];
  await rm(place, { recursive: true, force: true });
  return parts;
}

function changeRows(database) {
  const sql = `BEGIN;
    UPDATE t SET a = a || '.' WHERE id IN (SELECT abs(random()) % (SELECT max(id) FROM t) + 1 FROM t LIMIT ${UPDATES});
    INSERT INTO t (a, b, c) SELECT 'guest ' || id, printf('z%012d', (SELECT max(id) FROM t) + id), id FROM t LIMIT ${INSERTS};
    COMMIT; PRAGMA wal_checkpoint(TRUNCATE);`;
  execFileSync('sqlite3', [database, sql]);
}

/** A backup in a process that is running already. */
async function backUpBy({ app }) {
  const start = performance.now();
  const row = await app.backups.create({ backupType: 'MANUAL' }, 'bench');
  await app.backups.run(row.id, new AbortController().signal);
  const { status, errorMessage } = await row.reload();
  if (status !== 'COMPLETED') throw new Error(errorMessage);
  return { seconds: (performance.now() - start) / 1_000 };
}

/** What restic takes for the same, and adds. */
async function measured(restic, { database, repository }) {
  const before = bytesBelow(repository);
  const { seconds } = await runCommand(restic(`backup "${database}"`));
  return { restic: seconds, resticBytes: bytesBelow(repository) - before };
}

function described(kind, by, rows, full) {
  const values = (name) => rows.filter((row) => row.kind === kind && row.by === by).map((row) => row[name]);
  const [own, ownBytes] = [quantile(values('own'), 0.5), quantile(values('ownBytes'), 0.5)];
  const text = `- ${kind}, by the ${by}: ${own.toFixed(2)} s, ${((100 * ownBytes) / full).toFixed(3)} % of a full backup`;
  if (values('restic')[0] === undefined) return `${text}; restic is not installed`;
  const [restic, resticBytes] = [quantile(values('restic'), 0.5), quantile(values('resticBytes'), 0.5)];
  const bytes = `${(ownBytes / resticBytes).toFixed(3)} of its added bytes`;
  return `${text}; ${(own / restic).toFixed(2)} of restic's time (${restic.toFixed(2)} s), ${bytes}`;
}

/** Restores of the last member of a chain against those of its full backup, in turn. */
async function restored(product, { place, rounds }) {
  const { backups } = product.ask('list');
  const [last, first] = [backups[0].id, backups.at(-1).id];
  const seconds = { full: [], last: [] };
  for (let round = 0; round < rounds; round++) {
    for (const [name, id] of Object.entries({ full: first, last })) {
      const target = join(place, `${name}.sqlite3`);
      seconds[name].push((await product.run(`restore ${id} --to "${target}" --confirm`)).seconds);
      await rm(target);
    }
  }
  const { chainPosition } = product.ask('show', last).backup;
  const [own, full] = [quantile(seconds.last, 0.5), quantile(seconds.full, 0.5)];
  return `- restore of member ${chainPosition}: ${own.toFixed(2)} s, ${(own / full).toFixed(2)} of that of the full backup`;
}

const bytesBelow = (folder) =>
  readdirSync(folder, { recursive: true }).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
