import { describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { extraFields, zip64Field, zip64Values } from '../../src/archive/extra.js';
import { openArchive } from '../../src/archive/read.js';
import { bufferSource, rawArchive, rawZip } from '../support/archives.js';

/** The largest size that fits into a ZIP's own fields, where it is also the sign for "see ZIP64". */
const LIMIT = 0xffffffff;

describe('A file of exactly 4,294,967,295 bytes, for which archiver writes no ZIP64 field', () => {
  it('has its sizes and its place as they are written', () => {
    expect(zip64Values(undefined, [LIMIT, 5, LIMIT], 'a')).toEqual([LIMIT, 5, LIMIT]);
  });

  it('is distinguished from one whose ZIP64 field is there', () => {
    const field = extraFields(zip64Field([LIMIT, 5, LIMIT]), 'a').get(1);
    field?.writeBigUInt64LE(2n ** 33n, 0);
    expect(zip64Values(field, [LIMIT, 5, LIMIT], 'a')).toEqual([2 ** 33, 5, LIMIT]);
    expect(() => zip64Values(field?.subarray(0, 8), [LIMIT, 5, LIMIT], 'a')).toThrow(/lacks its ZIP64/);
  });

  it('is opened, and read as a file of that size', async () => {
    // As much as such a file has at least when compressed; what it really holds is counted when it is read.
    const data = randomBytes(4_200_000);
    const metadata = {
      backup_version: '1.0',
      backup_date: '2025-01-02T03:04:05.678901',
      django_version: '5.2.1',
      database_engine: 'django.db.backends.sqlite3',
      database_name: 'db.sqlite3',
    };
    const bytes = rawZip([
      { name: 'media/film.mp4', data, deflate: true, size: LIMIT },
      { name: 'backup_metadata.json', data: JSON.stringify(metadata) },
    ]);
    const archive = await openArchive(bufferSource(bytes));
    expect(archive.entries[0]).toMatchObject({ path: 'media/film.mp4', size: LIMIT });
    await expect(archive.verify()).rejects.toMatchObject({
      code: 'ARCHIVE_CORRUPT',
      message: expect.stringMatching(/film\.mp4" .*4294967295/),
    });
  });
});

describe('An archive of more than 65,535 files', () => {
  it('is read by its ZIP64 end record', async () => {
    const entries = Array.from({ length: 66_000 }, (_value, index) => ({ name: `media/${index}`, data: 'x' }));
    const archive = await openArchive(bufferSource(rawArchive(entries, { zip64: {} })));
    expect(archive.entries).toHaveLength(66_001);
  });
});
