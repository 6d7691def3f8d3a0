import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { giveOriginalNames } from '../../src/archive/original-names.js';
import { escapedName, isPlainName, rawBytes, rawName } from '../../src/archive/raw-names.js';
import { openArchive } from '../../src/archive/read.js';
import { archiveBytes, buildMetadata, bufferSource, rawZip } from '../support/archives.js';

let folder: string;
let media: Buffer;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'names-')));
  media = Buffer.from(join(folder, 'media'));
  mkdirSync(media);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const within = (parent: Buffer, name: Buffer) => Buffer.concat([parent, Buffer.from('/'), name]);

/** Every file below a folder: the bytes of its path, in hex, and its text. */
function tree(top: Buffer, inside: Buffer = Buffer.alloc(0)): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(top, { withFileTypes: true, encoding: 'buffer' })) {
    const name = entry.name as unknown as Buffer;
    const path = inside.length === 0 ? name : within(inside, name);
    if (entry.isDirectory()) Object.assign(found, tree(within(top, name), path));
    else found[path.toString('hex')] = readFileSync(within(top, name), 'utf8');
  }
  return found;
}

async function roundTrip(): Promise<{ paths: string[]; out: Buffer }> {
  const archive = await openArchive(bufferSource(await archiveBytes({ mediaPaths: [media.toString()] })));
  await archive.verify();
  const out = join(folder, 'out');
  await archive.extract(out);
  await giveOriginalNames(out, '', archive.metadata.renamed);
  return { paths: archive.entries.map(({ path }) => path), out: Buffer.from(join(out, 'media')) };
}

describe('A name that a ZIP cannot hold', () => {
  it.each<[string, Buffer, string]>([
    ['a backslash', Buffer.from('a\\b'), 'media/a%5Cb'],
    ['a line break', Buffer.from('a\nb'), 'media/a%0Ab'],
    ['bytes that are not UTF-8', Buffer.from([0x61, 0xff, 0x62]), 'media/a%FFb'],
    ['a percent sign besides', Buffer.from('50%\t'), 'media/50%25%09'],
    ['letters that a ZIP can hold besides', Buffer.from('दीपक\\'), 'media/दीपक%5C'],
  ])('is escaped and comes back: %s', async (_what, name, stored) => {
    writeFileSync(within(media, name), 'text');
    const before = tree(media);
    const { paths, out } = await roundTrip();
    expect(paths).toContain(stored);
    expect(tree(out)).toEqual(before);
  });

  it('comes back from any folder of such a name, and keeps its neighbours apart', async () => {
    const odd = within(media, Buffer.from([0x64, 0xfe, 0x5c]));
    mkdirSync(odd);
    for (const name of ['a\\b', 'a%5Cb', 'a%5Cb%~2', 'cafe\u0301', 'caf\u00e9', 'plain']) {
      writeFileSync(within(odd, Buffer.from(name)), name);
      writeFileSync(within(media, Buffer.from(name)), name);
    }
    writeFileSync(within(media, Buffer.from(`${'x'.repeat(240)}\\`)), 'long');
    const before = tree(media);
    const { paths, out } = await roundTrip();
    expect(tree(out)).toEqual(before);
    expect(Object.keys(before)).toHaveLength(13);
    expect(paths.every((path) => path.split('/').every((segment) => Buffer.byteLength(segment) <= 255))).toBe(true);
  });

  it('is any sequence of bytes, and becomes a string and bytes again without a change', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (bytes) => {
        const name = rawName(Buffer.from(bytes));
        expect(rawBytes(name).equals(bytes)).toBe(true);
        expect(JSON.parse(JSON.stringify(name))).toBe(name);
        for (const all of [true, false]) expect(isPlainName(escapedName(name, all))).toBe(true);
      }),
    );
  });

  it('is refused where two files would land in one place, or one is not media', async () => {
    const archive = (renamed: { path: string; name: string }[]) => {
      const entries = ['media/a', 'media/b'].map((path) => ({ path, size: 0, sha256: EMPTY, mode: 0o644 }));
      const text = JSON.stringify(
        buildMetadata({ entries, renamed, media: [{ path: '/m', prefix: 'media/', files: 2, bytes: 0 }] }),
      );
      const files = entries.map(({ path }) => ({ name: path, data: '' }));
      return rawZip([...files, { name: 'backup_metadata.json', data: text }]);
    };
    const open = (renamed: { path: string; name: string }[]) => openArchive(bufferSource(archive(renamed)));
    await expect(open([{ path: 'media/a', name: 'b' }])).rejects.toMatchObject({ code: 'ARCHIVE_HOSTILE' });
    await expect(open([{ path: 'media/', name: 'b' }])).rejects.toMatchObject({ code: 'ARCHIVE_HOSTILE' });
    await expect(open([{ path: 'database.sqlite3', name: 'b' }])).rejects.toMatchObject({ code: 'ARCHIVE_HOSTILE' });
    await expect(open([{ path: 'media/../../x', name: 'y' }])).rejects.toMatchObject({ code: 'ARCHIVE_HOSTILE' });
    for (const name of ['..', '.', '', 'x/y', '\0', '.db-manager-restore_1']) {
      await expect(open([{ path: 'media/a', name }])).rejects.toMatchObject({ code: 'ARCHIVE_FOREIGN' });
    }
    expect((await open([{ path: 'media/a', name: 'a\\' }])).entries[0]?.original).toBe('media/a\\');
  });
});

const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
