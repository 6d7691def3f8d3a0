/* A backup and a restore against public tools, on databases of three kinds. */
import { statSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { KINDS, makeDatabase } from './data.mjs';
import { compareInTurn, comparison, megabytes, runCommand } from './measure.mjs';
import { Product } from './product.mjs';

export async function backupSection(folder, { size, rounds, kinds = KINDS }) {
  const parts = [];
  for (const kind of kinds) {
    const place = join(folder, kind);
    await mkdir(place, { recursive: true });
    const database = join(place, 'db.sqlite3');
    const bytes = await makeDatabase(database, kind, size);
    const product = new Product(join(place, 'product'), { database });
    await product.prepare();
    parts.push(
      `### Backup: ${kind}, ${megabytes(bytes)} MB`,
      comparison(await backups(place, database, product, rounds), 'zip -1'),
    );
    parts.push(
      `### Restore: ${kind}, ${megabytes(bytes)} MB`,
      comparison(await restores(place, product, rounds), 'unzip -p'),
    );
    await rm(place, { recursive: true, force: true });
  }
  return parts;
}

function backups(place, database, product, rounds) {
  const tool = (name, tools, output, command) => ({
    name,
    tools,
    before: () => rm(join(place, output), { recursive: true, force: true }),
    run: () => runCommand(command(join(place, output))),
    size: () => statSync(join(place, output)).size,
  });
  const restic = (target) => `RESTIC_PASSWORD=x restic -q -r "${target}"`;
  const candidates = [
    { name: 'db-manager backup, verified', run: product.backup, size: product.archiveSize },
    tool('zip -1', ['zip'], 'one.zip', (to) => `zip -q -1 -j "${to}" "${database}"`),
    tool(
      'zip -1, unzip -t',
      ['zip', 'unzip'],
      'two.zip',
      (to) => `zip -q -1 -j "${to}" "${database}" && unzip -qq -t "${to}"`,
    ),
    tool('pigz -1', ['pigz'], 'db.gz', (to) => `pigz -1 -c "${database}" > "${to}"`),
    tool('zstd -3', ['zstd'], 'db.zst', (to) => `zstd -q -3 "${database}" -o "${to}"`),
    {
      ...tool(
        'restic, first backup',
        ['restic'],
        'restic',
        (to) => `${restic(to)} init && ${restic(to)} backup "${database}"`,
      ),
      size: null,
    },
    tool('sqlite3 .backup', ['sqlite3'], 'copy.sqlite3', (to) => `sqlite3 "${database}" ".backup '${to}'"`),
  ];
  return compareInTurn(candidates, rounds);
}

function restores(place, product, rounds) {
  const id = product.backupId();
  const archive = product.newestArchive();
  const restored = join(place, 'restored.sqlite3');
  const unzipped = join(place, 'unzipped.sqlite3');
  return compareInTurn(
    [
      {
        name: 'db-manager restore into a new file',
        before: () => Promise.all(['', '-wal', '-shm'].map((end) => rm(`${restored}${end}`, { force: true }))),
        run: () => product.run(`restore ${id} --to "${restored}" --confirm`),
        size: () => statSync(restored).size,
      },
      { name: 'db-manager live restore, safety backup', run: () => product.run(`restore ${id} --confirm`) },
      {
        name: 'unzip -p',
        tools: ['unzip'],
        before: () => rm(unzipped, { force: true }),
        run: () => runCommand(`unzip -p "${archive}" database.sqlite3 > "${unzipped}"`),
        size: () => statSync(unzipped).size,
      },
    ],
    rounds,
  );
}
