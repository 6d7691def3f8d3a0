/* Two databases of which one row in a hundred differs: a comparison of a backup with what is live, against `sqldiff`. */
import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDatabase } from './data.mjs';
import { compareInTurn, comparison, megabytes, runCommand } from './measure.mjs';
import { Product } from './product.mjs';

export async function compareSection(folder, { size, rounds }) {
  const place = join(folder, 'compare');
  await mkdir(place, { recursive: true });
  const [live, before] = [join(place, 'live.sqlite3'), join(place, 'before.sqlite3')];
  const bytes = await makeDatabase(live, 'text', size);
  await copyFile(live, before);
  const product = new Product(join(place, 'product'), { database: live });
  await product.prepare();
  await product.backup();
  execFileSync('sqlite3', [live, "UPDATE t SET b = b || '!' WHERE id % 100 = 7; PRAGMA wal_checkpoint(TRUNCATE);"]);
  const id = product.backupId();
  const results = await compareInTurn(
    [
      {
        name: 'sqldiff --summary',
        tools: ['sqldiff'],
        run: () => runCommand(`sqldiff --summary "${before}" "${live}"`),
      },
      { name: 'db-manager diff', run: () => product.run(`diff ${id}`) },
    ],
    rounds,
  );
  await rm(place, { recursive: true, force: true });
  return [
    `### A comparison: databases of ${megabytes(bytes)} MB, one row in a hundred changed`,
    comparison(results, 'sqldiff --summary'),
  ];
}
