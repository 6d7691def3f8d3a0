/* A PostgreSQL table: a backup against `pg_dump -Fc`, a restore into a new database against `pg_restore -j2`. */
import { execFileSync, spawn } from 'node:child_process';
import { chownSync, existsSync, readdirSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { compareInTurn, comparison, megabytes, runCommand } from './measure.mjs';
import { Product } from './product.mjs';

const ROOT = '/usr/lib/postgresql';
const PORT = 54_329;

export async function postgresSection(folder, { size, rounds }) {
  const version = existsSync(ROOT) ? readdirSync(ROOT).sort((one, other) => other - one)[0] : undefined;
  if (version === undefined) return [`PostgreSQL is not installed in ${ROOT}.`];
  const bin = join(ROOT, version, 'bin');
  const place = join(folder, 'postgres');
  await mkdir(place, { recursive: true });
  // Beside the others: the account of the server must be able to enter it.
  const home = await mkdtemp(join(tmpdir(), 'db-manager-bench-postgres-'));
  const server = await startServer(bin, home);
  try {
    const url = (name) => `postgres://postgres@127.0.0.1:${PORT}/${name}`;
    const env = { ...process.env, PGOPTIONS: '-c client_min_messages=warning' };
    const sql = (text, name = 'postgres') =>
      execFileSync(join(bin, 'psql'), ['-qAtX', '-c', text, url(name)], { env }).toString();
    sql('CREATE DATABASE app');
    // As the rows of the SQLite benchmark: names, texts that repeat in part, numbers.
    sql(
      `CREATE TABLE t (id bigserial PRIMARY KEY, a text, b text, c int);
       INSERT INTO t (a, b, c) SELECT 'guest ' || n || ' of the house at ' || (n % 997) || ' High Street',
         md5(n::text) || ' came by train and left on day ' || (n % 365), n % 5000
         FROM generate_series(1, ${Math.round((size * 1e6) / 175)}) n;
       CREATE INDEX ON t (b); ANALYZE t`,
      'app',
    );
    const bytes = Number(sql("SELECT pg_total_relation_size('t')", 'app'));
    const product = new Product(join(place, 'product'), { url: url('app') });
    await product.prepare();
    const dump = join(place, 'app.dump');
    const backups = await compareInTurn(
      [
        {
          name: 'pg_dump -Fc',
          run: () => runCommand(`"${bin}/pg_dump" -Fc -f "${dump}" "${url('app')}"`),
          size: () => statSync(dump).size,
        },
        { name: 'db-manager backup', run: product.backup, size: product.archiveSize },
      ],
      rounds,
    );
    const id = product.backupId();
    const restores = await compareInTurn(
      [
        {
          name: 'pg_restore -j2',
          before: () => sql('DROP DATABASE IF EXISTS hand') + sql('CREATE DATABASE hand'),
          run: () => runCommand(`"${bin}/pg_restore" -j2 -d "${url('hand')}" "${dump}"`),
        },
        {
          name: 'db-manager restore',
          before: () => sql('DROP DATABASE IF EXISTS own'),
          run: () => product.run(`restore ${id} --to "${url('own')}" --confirm`),
        },
      ],
      rounds,
    );
    return [
      `### PostgreSQL ${version}: a table of ${megabytes(bytes)} MB with its indexes`,
      comparison(backups, 'pg_dump -Fc'),
      comparison(restores, 'pg_restore -j2'),
    ];
  } finally {
    server.kill('SIGINT');
    await new Promise((resolve) => server.once('exit', resolve));
    for (const path of [place, home]) await rm(path, { recursive: true, force: true });
  }
}

/** A server of its own, with the settings that a new one has. */
async function startServer(bin, home) {
  const isRoot = process.getuid?.() === 0;
  const account = isRoot ? { uid: idOf('u'), gid: idOf('g') } : {};
  if (isRoot) chownSync(home, account.uid, account.gid);
  const options = { cwd: home, stdio: 'ignore', ...account };
  execFileSync(join(bin, 'initdb'), ['-D', join(home, 'data'), '-U', 'postgres', '-A', 'trust', '-E', 'UTF8'], options);
  const settings = ['listen_addresses=127.0.0.1', `port=${PORT}`, `unix_socket_directories=${home}`];
  const server = spawn(
    join(bin, 'postgres'),
    ['-D', join(home, 'data'), ...settings.flatMap((text) => ['-c', text])],
    options,
  );
  for (let tries = 0; tries < 100; tries++) {
    await sleep(200);
    try {
      execFileSync(join(bin, 'pg_isready'), ['-q', '-h', '127.0.0.1', '-p', String(PORT)]);
      return server;
    } catch {
      // Not yet.
    }
  }
  throw new Error('PostgreSQL did not start.');
}

const idOf = (which) => Number(execFileSync('id', [`-${which}`, 'postgres']).toString());
