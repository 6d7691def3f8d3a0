import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { ErrorCode } from '../../src/errors.js';
import { openArchive } from '../../src/archive/read.js';
import { bufferSource, djangoArchive, metadataEntry, rawArchive, rawZip, type RawEntry } from '../support/archives.js';

const sqlite: RawEntry = { name: 'database.sqlite3', data: 'SQLite format 3\0', deflate: true };
const text = 'a text that is long enough to be compressed, compressed, compressed, compressed';
const zeros = Buffer.alloc(5000);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'archive-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Opens and extracts; an archive that is refused only while extracting must not leave anything outside its folder. */
async function restore(bytes: Buffer): Promise<void> {
  const archive = await openArchive(bufferSource(bytes));
  await archive.extract(join(folder, 'inside'));
}

async function expectRefused(bytes: Buffer, code: ErrorCode, message: RegExp): Promise<void> {
  await expect(restore(bytes)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  expect(readdirSync(folder).filter((name) => name !== 'inside')).toEqual([]);
}

/** The ZIP64 extra field with these values. */
function zip64Extra(...values: bigint[]): Buffer {
  const field = Buffer.alloc(4 + values.length * 8);
  field.writeUInt16LE(1, 0);
  field.writeUInt16LE(values.length * 8, 2);
  values.forEach((value, index) => field.writeBigUInt64LE(value, 4 + index * 8));
  return field;
}

function secondName(name: string): Buffer {
  const field = Buffer.alloc(9 + name.length);
  field.writeUInt16LE(0x7075, 0);
  field.writeUInt16LE(5 + name.length, 2);
  field.write(name, 9);
  return field;
}

describe('An archive made by hand that is correct', () => {
  it('is restored, so that the refusals below are for the lie alone', async () => {
    await restore(
      rawArchive([
        sqlite,
        { name: 'media/empty/', mode: 0o040755 },
        { name: 'media/a.txt', data: text, deflate: true },
      ]),
    );
    expect(existsSync(join(folder, 'inside/media/a.txt'))).toBe(true);
    expect(existsSync(join(folder, 'inside/media/empty'))).toBe(true);
  });

  it('is restored with a ZIP64 end record too', async () => {
    await restore(rawArchive([sqlite], { zip64: {} }));
    expect(existsSync(join(folder, 'inside/database.sqlite3'))).toBe(true);
  });

  it('may hold names that differ in case only, because Linux distinguishes them', async () => {
    await restore(rawArchive([sqlite, { name: 'media/A', data: '1' }, { name: 'media/a', data: '2' }]));
    expect(readdirSync(join(folder, 'inside/media'))).toHaveLength(2);
  });
});

describe('An entry whose name leads elsewhere is refused before anything is written', () => {
  it.each<[string, string, RegExp]>([
    ['to the folder above', '../evil', /leads out of the folder/],
    ['to the folder above from within', 'media/../../evil', /leads out of the folder/],
    ['out by its last segment', 'media/..', /leads out of the folder/],
    ['to an absolute path', '/etc/evil', /absolute/],
    ['to a drive', 'C:evil', /drive letter/],
    ['to a network share', '\\\\host\\evil', /backslash/],
    ['up by backslashes', '..\\evil', /backslash/],
    ['to a name that ends at a NUL', 'media/a\0.jpg', /control character/],
    ['to a terminal escape', 'media/\u001b[2J', /control character/],
    ['through an empty segment', 'media//a', /empty segment/],
    ['through a dot', 'media/./a', /empty segment/],
    ['nowhere', '', /is empty/],
    ['to a name that is too long', `media/${'x'.repeat(4100)}`, /longer than 4096/],
  ])('%s', async (_what, name, message) => {
    await expectRefused(rawArchive([sqlite, { name, data: 'evil' }]), 'ARCHIVE_HOSTILE', message);
    expect(existsSync(join(folder, 'inside'))).toBe(false);
  });

  it('a name that says it is UTF-8 and is not is damage', async () => {
    const bytes = rawArchive([sqlite, { name: Buffer.from([0x6d, 0xff, 0xfe]), data: 'x', flags: 0x800 }]);
    await expectRefused(bytes, 'ARCHIVE_CORRUPT', /not valid UTF-8/);
  });

  it('a name in an old code page is of another tool, and the hint says how to pack again', async () => {
    const bytes = rawArchive([sqlite, { name: Buffer.from('media/caf\u00e9', 'latin1'), data: 'x', flags: 0 }]);
    await expectRefused(bytes, 'ARCHIVE_FOREIGN', /is not UTF-8/);
    await expect(restore(bytes)).rejects.toMatchObject({ hint: expect.stringContaining('-mcu=on') });
  });
});

describe('An archive that means different things to different tools is refused as hostile', () => {
  it.each<[string, () => Buffer, RegExp]>([
    [
      'a symbolic link',
      () => rawArchive([sqlite, { name: 'media/l', data: '/etc/passwd', mode: 0o120777 }]),
      /not a plain file/,
    ],
    ['a device', () => rawArchive([sqlite, { name: 'media/d', mode: 0o060666 }]), /not a plain file/],
    [
      'a file that claims to be a folder',
      () => rawArchive([sqlite, { name: 'media/d', mode: 0o040755 }]),
      /not a plain file/,
    ],
    [
      'a folder that holds data',
      () => rawArchive([sqlite, { name: 'media/d/', data: 'hidden', mode: 0 }]),
      /holds data/,
    ],
    [
      'two entries of one name',
      () => rawArchive([sqlite, { name: 'media/a', data: '1' }, { name: 'media/a', data: '2' }]),
      /occurs twice/,
    ],
    [
      'two names that differ in the form of an accent',
      () => rawArchive([sqlite, { name: 'media/\u00e9', data: '1' }, { name: 'media/e\u0301', data: '2' }]),
      /occurs twice/,
    ],
    [
      'a name that is a file and a folder',
      () => rawArchive([sqlite, { name: 'media/a', data: '1' }, { name: 'media/a/b', data: '2' }]),
      /both a file and a folder/,
    ],
    [
      'a name that is a file and an empty folder',
      () => rawArchive([sqlite, { name: 'media/a', data: '1' }, { name: 'media/a/', mode: 0o040755 }]),
      /both a file and a folder/,
    ],
    [
      'two entries that share their bytes',
      () => rawArchive([sqlite, { ...sqlite, name: 'media/again', offset: 0, stored: false }]),
      /overlaps/,
    ],
    ['a size that deflate cannot reach', () => rawArchive([{ ...sqlite, size: 2 ** 31 }]), /impossible/],
    [
      'another name in the local header',
      () => rawArchive([{ ...sqlite, local: { name: 'database.sqlite4' } }]),
      /another name/,
    ],
    [
      'a second name in an extra field',
      () => rawArchive([{ ...sqlite, extra: secondName('../evil') }]),
      /second, different name/,
    ],
    [
      'a second name in the local extra field',
      () => rawArchive([{ ...sqlite, local: { extra: secondName('../evil') } }]),
      /second, different name/,
    ],
    ['two end records', () => rawArchive([sqlite], { comment: rawZip([]) }), /two end records/],
    [
      'ZIP64 and plain end records that differ',
      () => rawArchive([sqlite], { zip64: {}, count: 1, countOnDisk: 1 }),
      /contradict/,
    ],
  ])('%s', async (_what, make, message) => {
    await expectRefused(make(), 'ARCHIVE_HOSTILE', message);
    expect(existsSync(join(folder, 'inside'))).toBe(false);
  });
});

describe('A damaged archive is refused, and the message says what is wrong', () => {
  it.each<[string, () => Buffer, RegExp]>([
    ['a wrong CRC-32', () => rawArchive([{ ...sqlite, crc: 1 }]), /CRC-32 differs/],
    [
      'a size that is too small',
      () => rawArchive([{ name: 'media/a', data: zeros, deflate: true, size: 4000 }]),
      /more than the 4000 bytes/,
    ],
    [
      'a size that is too large',
      () => rawArchive([{ name: 'media/a', data: zeros, deflate: true, size: 6000 }]),
      /5000 bytes instead of 6000/,
    ],
    [
      'two sizes for one stored file',
      () => rawArchive([{ name: 'media/a', data: 'abc', size: 2 }]),
      /two sizes differ/,
    ],
    [
      'data that are not deflated',
      () => rawArchive([{ name: 'media/a', data: text, method: 8 }]),
      /cannot be decompressed/,
    ],
    [
      'compressed data that end early',
      () => rawArchive([{ name: 'media/a', data: text, deflate: true, compressedSize: 20 }]),
      /cannot be decompressed|belong to nothing/,
    ],
    [
      'another method in the local header',
      () => rawArchive([{ ...sqlite, local: { method: 0 } }]),
      /differs from the directory/,
    ],
    [
      'other flags in the local header',
      () => rawArchive([{ ...sqlite, local: { flags: 0 } }]),
      /differs from the directory/,
    ],
    [
      'another CRC in the local header',
      () => rawArchive([{ ...sqlite, local: { crc: 5 } }]),
      /differs from the directory/,
    ],
    [
      'another size in the local header',
      () => rawArchive([{ ...sqlite, local: { size: 5 } }]),
      /differs from the directory/,
    ],
    ['no local header', () => rawArchive([{ ...sqlite, local: { signature: 0 } }]), /no local header/],
    ['an entry beyond the directory', () => rawArchive([{ ...sqlite, offset: 0x7fffffff }]), /reaches beyond/],
    ['unused flags', () => rawArchive([{ ...sqlite, flags: 0x0820 }]), /flags/],
    [
      'bytes between the entries',
      () => rawArchive([{ ...sqlite, descriptor: Buffer.from('hidden') }]),
      /belong to nothing/,
    ],
    [
      'a data descriptor that lies',
      () => rawArchive([{ ...sqlite, flags: 0x0808, descriptor: Buffer.alloc(16) }]),
      /descriptor is damaged/,
    ],
    [
      'an extra field that is too long',
      () => rawArchive([{ ...sqlite, extra: Buffer.from([9, 9, 200, 0]) }]),
      /extra field/,
    ],
    [
      'a ZIP64 size that is missing',
      () => rawArchive([{ ...sqlite, size: 0xffffffff, compressedSize: 0xffffffff, extra: zip64Extra(1n) }]),
      /lacks its ZIP64/,
    ],
    [
      'a ZIP64 size beyond all numbers',
      () => rawArchive([{ ...sqlite, size: 0xffffffff, extra: zip64Extra(2n ** 60n) }]),
      /impossible size/,
    ],
    [
      'bytes before the first entry',
      () => rawArchive([sqlite], { prefix: Buffer.from('#!/bin/sh\n') }),
      /before its first entry/,
    ],
    ['bytes behind the end', () => rawArchive([sqlite], { trailing: Buffer.from('junk') }), /does not end where/],
    ['too few records declared', () => rawArchive([sqlite], { count: 1 }), /more records/],
    ['too many records declared', () => rawArchive([sqlite], { count: 3 }), /directory is damaged|too small/],
    ['far too many records declared', () => rawArchive([sqlite], { count: 60_000 }), /too small/],
    ['billions of records declared by ZIP64', () => rawArchive([sqlite], { zip64: { count: 2n ** 40n } }), /too small/],
    ['a directory somewhere else', () => rawArchive([sqlite], { directoryStart: 3 }), /does not lie before/],
    ['a directory outside the file', () => rawArchive([sqlite], { directoryStart: 0xfffffff0 }), /does not lie before/],
    [
      'a ZIP64 directory outside the file',
      () => rawArchive([sqlite], { zip64: { directoryStart: 2n ** 62n } }),
      /does not lie before/,
    ],
    [
      'a ZIP64 directory of endless size',
      () => rawArchive([sqlite], { zip64: { directorySize: 2n ** 63n } }),
      /does not lie before/,
    ],
    [
      'a ZIP64 end record outside the file',
      () => rawArchive([sqlite], { zip64: { recordStart: 2n ** 50n } }),
      /outside the file/,
    ],
    [
      'a ZIP64 end record that is none',
      () => rawArchive([sqlite], { zip64: { signature: 7 } }),
      /ZIP64 end record is damaged/,
    ],
    [
      'a file that the metadata do not list',
      () => rawZip([sqlite, { name: 'media/x', data: 'x' }, metadataEntry([sqlite])]),
      /not in the archive's own list/,
    ],
    ['a listed file that is not there', () => rawZip([metadataEntry([sqlite])]), /but not in the archive/],
    [
      'a file whose content was exchanged, CRC and all',
      () => rawZip([{ ...sqlite, data: 'SQLite format 4\0' }, metadataEntry([sqlite])]),
      /SHA-256 differs/,
    ],
    ['a file listed twice', () => rawZip([sqlite, metadataEntry([sqlite, sqlite])]), /lists a file twice/],
  ])('%s', async (_what, make, message) => {
    await expectRefused(make(), 'ARCHIVE_CORRUPT', message);
  });

  it('cut off at every single byte, it is never taken for whole and never waited for', async () => {
    const bytes = rawArchive([sqlite, { name: 'media/a.txt', data: text, deflate: true }]);
    for (let length = 0; length < bytes.length; length++) {
      const error = await restore(bytes.subarray(0, length)).then(
        () => undefined,
        (reason: { code: string }) => reason.code,
      );
      expect([length, error]).toEqual([length, length < 22 ? 'ARCHIVE_FOREIGN' : 'ARCHIVE_CORRUPT']);
    }
  });

  it('of which the storage gives fewer bytes than it promised, it is truncated', async () => {
    const bytes = rawArchive([sqlite]);
    const source = {
      size: bytes.length,
      read: async () => Readable.from([bytes.subarray(0, 5)], { objectMode: false }),
    };
    await expect(openArchive(source)).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' });
  });
});

describe('A file that is not an archive of this product is refused as foreign', () => {
  it.each<[string, () => Buffer, RegExp]>([
    ['an empty file', () => Buffer.alloc(0), /not a ZIP/],
    ['a text', () => Buffer.from(text), /not a ZIP/],
    ['an empty ZIP', () => rawZip([]), /no backup_metadata.json/],
    ['a ZIP of something else', () => rawZip([{ name: 'a.txt', data: 'a' }]), /no backup_metadata.json/],
    ['metadata two folders down', () => rawZip([{ name: 'x/y/backup_metadata.json' }]), /no backup_metadata.json/],
    [
      'metadata in a folder beside others',
      () =>
        rawZip([
          { name: 'x/backup_metadata.json', data: '{}' },
          { name: 'y/a', data: 'a' },
        ]),
      /no backup_metadata.json/,
    ],
    [
      'metadata in two folders',
      () => rawZip([{ name: 'x/backup_metadata.json' }, { name: 'y/backup_metadata.json' }]),
      /no backup_metadata.json/,
    ],
    ['metadata that are no JSON', () => rawZip([{ name: 'backup_metadata.json', data: 'x' }]), /not JSON/],
    ['an encrypted entry', () => rawArchive([{ ...sqlite, flags: 0x0801 }]), /encrypted/],
    ['an unknown method', () => rawArchive([{ ...sqlite, method: 14 }]), /method 14/],
    ['a part of a divided ZIP', () => rawArchive([{ ...sqlite, disk: 1 }]), /another part/],
    ['the end of a divided ZIP', () => rawArchive([sqlite], { disk: 1 }), /one part of several/],
    ['counts that differ', () => rawArchive([sqlite], { countOnDisk: 1 }), /contradicts itself/],
  ])('%s', async (_what, make, message) => {
    await expectRefused(make(), 'ARCHIVE_FOREIGN', message);
  });

  it('metadata of a later version ask for an update', async () => {
    const bytes = rawZip([sqlite, metadataEntry([sqlite], { backup_version: '4.0' })]);
    await expectRefused(bytes, 'ARCHIVE_TOO_NEW', /version 4.0/);
  });
});

describe('An archive of the older Django system can be restored as far as it can be checked', () => {
  it.each([false, true])('metadata first: %s', async (first) => {
    const archive = await openArchive(bufferSource(djangoArchive({}, first)));
    expect(archive.metadata).toMatchObject({
      backup_version: '1.0',
      backup_id: null,
      backup_date: '2025-01-02T03:04:05.678901Z',
      database_engine: 'SQLITE',
      django_version: '5.2.1',
      apps: [
        { app: 'auth', latest_migration: '' },
        { app: 'sessions', latest_migration: '' },
      ],
      entries: [],
    });
    await archive.verify();
    await archive.extract(join(folder, 'inside'));
    expect(existsSync(join(folder, 'inside/media/uploads/a.txt'))).toBe(true);
  });

  it('a changed byte is still found by its CRC-32', async () => {
    const bytes = djangoArchive();
    bytes.write('b', bytes.indexOf('a.txt') + 5);
    const archive = await openArchive(bufferSource(bytes));
    await expect(archive.verify()).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' });
  });
});

describe('Whatever the storage does, reading ends', () => {
  const bytes = rawArchive([sqlite, { name: 'media/a.txt', data: 'y'.repeat(300_000) }]);

  it('a storage that fails half-way is reported as such, and no error is left unhandled', async () => {
    for (const at of [0, 10, 1000, 100_000, 290_000]) {
      const archive = await openArchive(bufferSource(bytes));
      const broken = {
        size: bytes.length,
        read: async (start: number) => {
          if (start > 0) return Readable.from([bytes.subarray(start)], { objectMode: false });
          const stream = new PassThrough();
          stream.write(bytes.subarray(0, at), () => stream.destroy(new Error('connection reset')));
          return stream;
        },
      };
      await expect(archive.verify()).resolves.toBeUndefined();
      const reopened = await openArchive(broken).catch((error: unknown) => error);
      const verified =
        'verify' in (reopened as object) ? (reopened as typeof archive).verify() : Promise.reject(reopened);
      await expect(verified).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    }
  });

  it('a storage that never answers is left when the run is cancelled', async () => {
    const silent = { size: bytes.length, read: async () => new PassThrough() };
    await expect(openArchive(silent, { signal: AbortSignal.timeout(30) })).rejects.toMatchObject({ code: 'CANCELLED' });
    const never = { size: bytes.length, read: () => new Promise<Readable>(() => undefined) };
    await expect(openArchive(never, { signal: AbortSignal.timeout(30) })).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});
