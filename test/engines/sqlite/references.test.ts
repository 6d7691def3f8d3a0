import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { referencesIn } from '../../../src/engines/sqlite/references.js';
import { exec } from '../../support/sqlite.js';

let folder: string;
let path: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'references-'));
  path = join(folder, 'database.sqlite3');
  await exec(
    path,
    `CREATE TABLE service (id INTEGER PRIMARY KEY, image varchar(100) NOT NULL, name TEXT, size INT);
     INSERT INTO service VALUES (1, 'services/a.jpg', 'A', 1), (2, '/media/services/b.jpg', 'B', 2), (3, '', 'C', 3),
       (4, 'services/gone.jpg', 'services/a.jpg', 4), (5, '/services/a.jpg', 'E', 5);
     CREATE TABLE "odd.one" (a, b, photo VARCHAR, PRIMARY KEY (b, a)) WITHOUT ROWID;
     INSERT INTO "odd.one" VALUES (1, 'x', 'q "1".png'), (2, 'y', NULL), (3, 'z', 'portraits/q "1".png');
     CREATE VIEW service_view AS SELECT * FROM service;`,
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const FILES = ['media/services/a.jpg', 'media/services/b.jpg', 'media/services/c.jpg', 'media/portraits/q "1".png'];

const look = (columns: string[] | null, files = FILES) =>
  referencesIn({
    path,
    files: files.map((file) => JSON.stringify([file])),
    prefixes: ['media/services/', 'media/portraits/'],
    columns,
    samples: 2,
  });

describe('Rows and files of a backup', () => {
  it('are compared by the columns whose values are mostly paths, however they are written', async () => {
    expect(await look(null)).toEqual({
      columns: [
        {
          ...{ table: 'odd.one', column: 'photo', rows: 2, missing: 0, samples: [] },
        },
        {
          ...{ table: 'service', column: 'image', rows: 4, missing: 1 },
          samples: [{ key: { id: 4 }, path: 'services/gone.jpg' }],
        },
      ],
      unreferenced: 1,
      unreferencedSamples: ['media/services/c.jpg'],
    });
  });

  it('are compared by the columns that are named, and every file that none names is counted', async () => {
    const found = await look(['Odd.One.PHOTO', 'service.size']);
    expect(found.columns).toMatchObject([
      { column: 'photo', missing: 0 },
      { column: 'size', rows: 5, missing: 5, samples: [{ path: 1 }, { path: 2 }] },
    ]);
    expect(found).toMatchObject({
      unreferenced: 3,
      unreferencedSamples: ['media/services/a.jpg', 'media/services/b.jpg'],
    });
  });

  it.each([
    ['an unknown column', ['service.photo'], FILES],
    ['a column of a view', ['service_view.image'], FILES],
    ['no column', [], FILES],
    ['no column that holds paths of them', null, ['media/other.jpg']],
  ])('are not compared by %s', async (_what, columns, files) => {
    await expect(look(columns, files)).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field: 'columns' });
  });
});
