import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { type Archive, type ArchiveSource, openArchive } from '../../src/archive/read.js';
import { compareWithUnzipper } from '../../src/archive/second-reader.js';
import { createWorld, NEVER, type World } from '../support/world.js';

let world: World;
let bytes: Buffer;
let archive: Archive;
beforeAll(async () => {
  world = await createWorld();
  bytes = await readFile((await world.backup()).filePath);
  archive = await openArchive(sourceOf(bytes));
});
afterAll(() => world.close());

function sourceOf(data: Buffer): ArchiveSource {
  return { size: data.length, read: async (start, end) => Readable.from([data.subarray(start, end + 1)]) };
}

describe('An archive that unzipper opens too', () => {
  it('passes if both readers see the same', async () => {
    await expect(compareWithUnzipper(sourceOf(bytes), archive, NEVER)).resolves.toBeUndefined();
  });

  it('is corrupt if unzipper sees another number of bytes', async () => {
    const other = Object.create(archive, { totalBytes: { value: archive.totalBytes + 1 } }) as Archive;
    await expect(compareWithUnzipper(sourceOf(bytes), other, NEVER)).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' });
  });

  it('fails with the error of its source instead of waiting for ever', async () => {
    const gone: ArchiveSource = { size: bytes.length, read: () => Promise.reject(new Error('the disk is gone')) };
    await expect(compareWithUnzipper(gone, archive, NEVER)).rejects.toThrow('the disk is gone');
    const halfWay: ArchiveSource = {
      size: bytes.length,
      read: async () => new Readable({ read() {}, construct: (done) => done(new Error('the disk is gone')) }),
    };
    await expect(compareWithUnzipper(halfWay, archive, NEVER)).rejects.toThrow('the disk is gone');
  });

  it('is given up when the signal aborts', async () => {
    const silent: ArchiveSource = { size: bytes.length, read: async () => new Readable({ read() {} }) };
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error('stop')), 50);
    await expect(compareWithUnzipper(silent, archive, stop.signal)).rejects.toThrow('stop');
  });
});
