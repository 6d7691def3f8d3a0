import { rm, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BackupRow } from '../../src/models/index.js';
import { contentHash, exec } from './sqlite.js';
import { readTree, type World, writeTree } from './world.js';

/** What was backed up: a hash of the database's content, and the media. */
type State = [content: string, media: Awaited<ReturnType<typeof readTree>>];

/** A full backup and three incremental ones: the database changes, grows and shrinks, files come, go and become folders. */
export async function makeChain(world: World): Promise<{ rows: BackupRow[]; states: State[] }> {
  const { database, media } = world;
  await exec(
    database,
    `CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
     SELECT i, hex(randomblob(200)) AS text FROM n; CREATE TABLE more (text)`,
  );
  await writeTree(media, { 'gone "soon".txt': 'gone', 'folder/a.txt': 'a', swapped: 'a file' });
  await world.app.configs.update(1, { incremental: true }, 'test');
  const changes = [
    async () => undefined,
    async () => {
      await exec(database, `UPDATE filler SET text = 'changed' WHERE i % 500 = 0`);
      await exec(database, `INSERT INTO more SELECT text FROM filler LIMIT 300`);
      await rm(join(media, 'gone "soon".txt'));
      await writeFile(join(media, 'new.txt'), 'new');
    },
    async () => {
      await rm(join(media, 'swapped'));
      await rename(join(media, 'folder'), join(media, 'swapped'));
    },
    async () => {
      await exec(database, `DELETE FROM filler WHERE i > 2600; DROP TABLE more; VACUUM`);
      await rm(join(media, 'swapped'), { recursive: true });
      await writeFile(join(media, 'swapped'), 'a file again');
    },
  ];
  const rows: BackupRow[] = [];
  const states: State[] = [];
  for (const change of changes) {
    await change();
    states.push([await contentHash(database), await readTree(media)]);
    rows.push(await world.backup());
  }
  return { rows, states };
}
