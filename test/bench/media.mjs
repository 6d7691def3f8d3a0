/* Many small media files. */
import { statSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDatabase, makeMedia } from './data.mjs';
import { compareInTurn, comparison, runCommand } from './measure.mjs';
import { Product } from './product.mjs';

export async function mediaSection(folder, { files, rounds }) {
  const place = join(folder, 'media');
  const media = join(place, 'files');
  await makeMedia(media, files);
  const database = join(place, 'db.sqlite3');
  await makeDatabase(database, 'text', 0.1);
  const product = new Product(join(place, 'product'), { database, media });
  await product.prepare();
  const archive = join(place, 'files.zip');
  const backups = await compareInTurn(
    [
      { name: 'db-manager backup, verified', run: product.backup, size: product.archiveSize },
      {
        name: 'zip -1 -r',
        tools: ['zip'],
        before: () => rm(archive, { force: true }),
        run: () => runCommand(`zip -q -1 -r "${archive}" "${media}"`),
        size: () => statSync(archive).size,
      },
    ],
    rounds,
  );
  const id = product.backupId();
  const restored = join(place, 'restored');
  const unzipped = join(place, 'unzipped');
  const afresh = async (path) => {
    await rm(path, { recursive: true, force: true });
    await mkdir(path);
  };
  const restores = await compareInTurn(
    [
      {
        name: 'db-manager restore into a new folder',
        before: () => afresh(restored),
        run: () =>
          product.run(
            `restore ${id} --to "${join(restored, 'db.sqlite3')}" --to-media "${join(restored, 'files')}" --confirm`,
          ),
      },
      {
        name: 'unzip',
        tools: ['unzip'],
        before: () => afresh(unzipped),
        run: () => runCommand(`unzip -qq "${product.newestArchive()}" -d "${unzipped}"`),
      },
    ],
    rounds,
  );
  await rm(place, { recursive: true, force: true });
  return [
    `### Backup: ${files} media files of 2 KB`,
    comparison(backups, 'zip -1 -r'),
    `### Restore: ${files} media files of 2 KB`,
    comparison(restores, 'unzip'),
  ];
}
