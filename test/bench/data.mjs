/* Databases and media of a given size, the same on every run but for their random bytes. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What fills a row of about a thousand bytes, by kind of database. */
const COLUMNS = {
  text: `printf('booking %d of guest %d, room %d, paid and confirmed on day %d. ', i, i % 977, i % 41, i % 365) ||
    substr(replace(hex(zeroblob(400)), '00', ' ' || (i % 7919)), 1, 400), hex(randomblob(16)), hex(randomblob(150))`,
  uuid: `hex(randomblob(16)), hex(randomblob(16)), hex(randomblob(16)) || ' ' || hex(randomblob(16)) || ' ' ||
    hex(randomblob(400))`,
  blob: `'picture ' || i || '.jpg', hex(randomblob(4)), randomblob(950)`,
};
export const KINDS = Object.keys(COLUMNS);
/** How many rows take a megabyte. */
const ROWS = { text: 1_150, uuid: 950, blob: 1_020 };

/** Makes a SQLite database in WAL mode of about so many megabytes. @returns its size in bytes */
export async function makeDatabase(path, kind, size) {
  execFileSync('sqlite3', [
    path,
    `PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT, c);
     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${Math.max(1, Math.round(size * ROWS[kind]))})
       INSERT INTO t SELECT i, ${COLUMNS[kind]} FROM n;
     CREATE INDEX t_b ON t (b); PRAGMA wal_checkpoint(TRUNCATE);`,
  ]);
  return (await stat(path)).size;
}

/** Makes a tree of files of 2 KB, half of them text, a thousand in each folder. */
export async function makeMedia(root, count) {
  for (let folder = 0; folder * 1_000 < count; folder++) {
    const path = join(root, `folder-${folder}`);
    await mkdir(path, { recursive: true });
    const files = Math.min(1_000, count - folder * 1_000);
    await Promise.all(
      Array.from({ length: files }, (_, i) => {
        const name = `file-${folder * 1_000 + i}.${i % 2 ? 'txt' : 'bin'}`;
        const text = `line of file ${i} of folder ${folder}, much like the others\n`.repeat(40).slice(0, 2_048);
        return writeFile(join(path, name), i % 2 ? text : randomBytes(2_048));
      }),
    );
  }
}
