import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { AppError } from '../../src/errors.js';
import { fileSource, openArchive, type Archive } from '../../src/archive/read.js';
import { writeArchive } from '../../src/archive/write.js';
import { archiveBytes, bufferSource, sourceFile, writeOptions } from '../support/archives.js';

let folder: string;
let media: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'archive-')));
  media = join(folder, 'media');
  mkdirSync(media);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function put(path: string, content: string | Buffer = path): void {
  mkdirSync(dirname(join(media, path)), { recursive: true });
  writeFileSync(join(media, path), content);
}

/** All files below a folder with their content; empty folders with null. */
function tree(root: string): Record<string, string | null> {
  const found: Record<string, string | null> = {};
  for (const entry of readdirSync(root, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(root.length + 1);
    if (entry.isFile()) found[name] = readFileSync(path, 'latin1');
    else if (entry.isDirectory() && readdirSync(path).length === 0) found[name] = null;
  }
  return found;
}

/** Descriptors of this process that are open on something in the test's folder. */
function openDescriptors(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(folder) ? [path] : [];
    } catch {
      return [];
    }
  });
}

const hasTool = (tool: string, ...args: string[]) => spawnSync(tool, args).error === undefined;
const needs = (tool: string, ...args: string[]) => (hasTool(tool, ...args) ? it : it.skip);
const titled = (tool: string, title: string, ...args: string[]) =>
  hasTool(tool, ...args) ? title : `${title} (skipped: ${tool} is not installed)`;

const STRANGE = [
  'with space.txt',
  `it's "quoted".txt`,
  'Größe.txt',
  'снимок/файл.txt',
  '画像/写真.jpg',
  '🎉/🎂.png',
  '-rf',
  'a:b',
  '%2e%2e',
  '.hidden',
  'C:/x',
];

describe('What is backed up comes back byte for byte', () => {
  it('names with spaces, quotes, other scripts and emoji, empty files and empty folders included', async () => {
    for (const path of STRANGE) put(path);
    put('empty.txt', '');
    put('empty.jpg', '');
    put('large.bin', Buffer.alloc(1_000_003, 'large '));
    mkdirSync(join(media, 'nothing/in here'), { recursive: true });
    const file = join(folder, 'a.zip');
    const options = writeOptions({ mediaPaths: [media] });
    const { stream, done } = writeArchive(options);
    await pipeline(stream, async (chunks) => {
      for await (const chunk of chunks) appendFileSync(file, chunk as Buffer);
    });
    const metadata = await done;
    const archive = await openArchive(await fileSource(file));
    expect(archive.metadata).toEqual(JSON.parse(JSON.stringify(metadata)));
    let verified = 0;
    await archive.verify({ onProgress: (bytes) => (verified = bytes) });
    expect(verified).toBe(archive.totalBytes);
    await archive.extract(join(folder, 'out'));
    expect(tree(join(folder, 'out/media'))).toEqual(tree(media));
    expect(readFileSync(join(folder, 'out/database.sqlite3'), 'utf8')).toBe('SQLite format 3\0');
    expect(statSync(join(folder, 'out/media/empty.txt')).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'out/media')).mode & 0o777).toBe(0o700);
    expect(openDescriptors()).toEqual([]);
  });

  it('lists each entry with size, SHA-256, time and mode: database first, metadata last', async () => {
    put('b.txt', 'bbb');
    put('a/a.txt', 'aaa');
    const time = new Date('2024-02-29T12:34:56.789Z');
    utimesSync(join(media, 'b.txt'), time, time);
    const archive = await openArchive(bufferSource(await archiveBytes({ mediaPaths: [media] })));
    const paths = ['database.sqlite3', 'media/a/a.txt', 'media/b.txt', 'backup_metadata.json'];
    expect(archive.entries.filter(({ directory }) => !directory).map(({ path }) => path)).toEqual(paths);
    expect(archive.entries.filter(({ directory }) => directory).map(({ path }) => path)).toEqual([
      'media/',
      'media/a/',
    ]);
    expect(archive.metadata.entries.map(({ path }) => path)).toEqual(paths.slice(0, 3));
    expect(archive.metadata.entries[2]).toEqual({
      path: 'media/b.txt',
      size: 3,
      sha256: createHash('sha256').update('bbb').digest('hex'),
      mtime: time.toISOString(),
      mode: statSync(join(media, 'b.txt')).mode & 0o7777,
    });
    expect(archive.entries.find(({ path }) => path === 'media/b.txt')?.mtime).toEqual(time);
    expect(archive.metadata.media).toEqual([{ path: media, prefix: 'media/', files: 2, bytes: 6 }]);
  });

  it('a database without media is an archive too', async () => {
    const archive = await openArchive(
      bufferSource(await archiveBytes({ files: [sourceFile('database.sqlite3', '')] })),
    );
    await archive.verify();
    expect(archive.metadata.media).toEqual([]);
  });

  it('several media paths of the same name get a prefix each', async () => {
    const paths = ['x/media', 'y/media', 'z/Media'].map((path) => join(folder, path));
    for (const path of paths) {
      mkdirSync(path, { recursive: true });
      writeFileSync(join(path, 'f'), path);
    }
    const archive = await openArchive(bufferSource(await archiveBytes({ mediaPaths: paths })));
    expect(archive.metadata.media.map(({ prefix }) => prefix)).toEqual([
      'media/media/',
      'media/media-2/',
      'media/Media-3/',
    ]);
    await archive.extract(join(folder, 'out'), { filter: (path) => path.startsWith('media/media-2/') });
    expect(tree(join(folder, 'out'))).toEqual({ 'media/media-2/f': paths[1] });
  });

  it('one file can be read alone, and a missing one is named', async () => {
    const archive = await openArchive(bufferSource(await archiveBytes()));
    expect(Buffer.concat(await (await archive.read('database.sqlite3')).toArray()).toString()).toBe(
      'SQLite format 3\0',
    );
    await expect(archive.read('media/none')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('what cannot gain by deflating is stored as it is', async () => {
    put('photo.JPG', Buffer.alloc(1000));
    put('text.txt', Buffer.alloc(1000));
    const { entries } = await openArchive(bufferSource(await archiveBytes({ mediaPaths: [media] })));
    const sizes = Object.fromEntries(entries.map(({ path, compressedSize }) => [path, compressedSize]));
    expect(sizes['media/photo.JPG']).toBe(1000);
    expect(sizes['media/text.txt']).toBeLessThan(100);
  });

  it('nothing is written over a file that is already there', async () => {
    const archive = await openArchive(bufferSource(await archiveBytes()));
    await archive.extract(join(folder, 'out'));
    await expect(archive.extract(join(folder, 'out'))).rejects.toMatchObject({ code: 'STORAGE_NOT_WRITABLE' });
  });

  it('a cancelled restore ends with the reason and leaves no file open', async () => {
    put('large.bin', Buffer.alloc(3_000_000, 'x'));
    const archive = await openArchive(bufferSource(await archiveBytes({ mediaPaths: [media] })));
    const controller = new AbortController();
    const reason = new AppError('CANCELLED', 'Enough.');
    const stop = () => controller.abort(reason);
    const running = archive.extract(join(folder, 'out'), { signal: controller.signal, onProgress: stop });
    await expect(running).rejects.toBe(reason);
    expect(openDescriptors()).toEqual([]);
  });
});

describe('Standard tools open the archive without this product', () => {
  const python = `import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
print("\\n".join(z.namelist()))`;

  async function written(): Promise<string> {
    for (const path of STRANGE) put(path);
    put('empty.txt', '');
    put('large.txt', 'deflated '.repeat(50_000));
    mkdirSync(join(media, 'nothing'));
    const file = join(folder, 'a.zip');
    writeFileSync(file, await archiveBytes({ mediaPaths: [media] }));
    return file;
  }

  needs('unzip', '-v')(titled('unzip', 'unzip', '-v'), async () => {
    execFileSync('unzip', ['-q', await written(), '-d', join(folder, 'out')], {
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
    });
    expect(tree(join(folder, 'out/media'))).toEqual(tree(media));
  });

  needs('python3', '-V')(titled('python3', "Python's zipfile", '-V'), async () => {
    const names = execFileSync('python3', ['-c', python, await written()], {
      env: { ...process.env, PYTHONIOENCODING: 'utf8' },
    });
    expect(names.toString().split('\n')).toEqual(expect.arrayContaining(STRANGE.map((name) => `media/${name}`)));
  });

  needs('7z', 'i')(titled('7z', '7-Zip', 'i'), async () => {
    execFileSync('7z', ['x', `-o${join(folder, 'out')}`, await written()], {
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
    });
    expect(tree(join(folder, 'out/media'))).toEqual(tree(media));
  });

  needs('zip', '-v')(titled('zip', 'and what zip packs again can still be restored', '-v'), async () => {
    execFileSync('unzip', ['-q', await written(), '-d', join(folder, 'out')], {
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
    });
    const args = ['-q', '-r', '-X', join(folder, 'again.zip'), 'database.sqlite3', 'media', 'backup_metadata.json'];
    execFileSync('zip', args, { cwd: join(folder, 'out'), env: { ...process.env, LC_ALL: 'C.UTF-8' } });
    const archive = await openArchive(await fileSource(join(folder, 'again.zip')));
    await archive.verify();
  });
});

describe('Media that change while they are backed up do not spoil the backup', () => {
  /** Backs the media up, and changes them when the first bytes of the first file were read. */
  async function during(change: () => void): Promise<Archive> {
    let told = false;
    const bytes = await archiveBytes({
      mediaPaths: [media],
      files: [],
      onProgress: () => {
        if (!told) change();
        told = true;
      },
    });
    const archive = await openArchive(bufferSource(bytes));
    await archive.verify();
    return archive;
  }

  it('a file that grows is stored as far as it went when it was opened, and named', async () => {
    put('a.log', Buffer.alloc(600_000, 'x'));
    const archive = await during(() => appendFileSync(join(media, 'a.log'), 'more'));
    expect(archive.metadata.skipped).toEqual([{ path: 'media/a.log', reason: 'changed' }]);
    expect(archive.metadata.entries[0]?.size).toBe(600_000);
  });

  it('a file that shrinks is stored as far as it goes, and named', async () => {
    put('a.log', Buffer.alloc(600_000, 'x'));
    const archive = await during(() => truncateSync(join(media, 'a.log'), 10));
    expect(archive.metadata.skipped).toEqual([{ path: 'media/a.log', reason: 'changed' }]);
    expect(archive.metadata.entries[0]?.size).toBeLessThan(600_000);
  });

  it('a file and a folder that vanish after they were listed are named', async () => {
    put('a.txt');
    put('b.txt');
    put('c/d.txt');
    const archive = await during(() => {
      rmSync(join(media, 'b.txt'));
      rmSync(join(media, 'c'), { recursive: true });
    });
    expect(archive.metadata.skipped).toEqual([
      { path: 'media/b.txt', reason: 'vanished' },
      { path: 'media/c/d.txt', reason: 'vanished' },
    ]);
    expect(archive.metadata.entries.map(({ path }) => path)).toEqual(['media/a.txt']);
  });

  it('a file or folder that is exchanged for a link is not followed out of the media', async () => {
    put('a.txt');
    put('b.txt');
    put('c/passwd');
    const archive = await during(() => {
      rmSync(join(media, 'b.txt'));
      symlinkSync('/etc/passwd', join(media, 'b.txt'));
      rmSync(join(media, 'c'), { recursive: true });
      symlinkSync('/etc', join(media, 'c'));
    });
    expect(archive.metadata.entries.map(({ path }) => path)).toEqual(['media/a.txt']);
    expect(archive.metadata.skipped.map(({ path }) => path)).toEqual(['media/b.txt', 'media/c/passwd']);
  });

  it('links are noted and not followed, pipes are named', async () => {
    put('a.txt');
    symlinkSync('/etc', join(media, 'link'));
    execFileSync('mkfifo', [join(media, 'pipe')]);
    const archive = await openArchive(bufferSource(await archiveBytes({ mediaPaths: [media] })));
    expect(archive.metadata.symlinks).toEqual([{ path: 'media/link', target: '/etc' }]);
    expect(archive.metadata.skipped).toEqual([{ path: 'media/pipe', reason: 'special' }]);
  });

  it('what is excluded is passed over without a trace', async () => {
    put('a.txt');
    put('backups/old.zip');
    const excluded = (path: string) => path === join(media, 'backups');
    const bytes = await archiveBytes({ mediaPaths: [media], excluded });
    const { metadata } = await openArchive(bufferSource(bytes));
    expect(metadata.media[0]?.files).toBe(1);
    expect(metadata.skipped).toEqual([]);
  });
});

describe('A backup that cannot be complete fails, and says which file and why', () => {
  async function failure(overrides: Parameters<typeof archiveBytes>[0]): Promise<unknown> {
    const { stream, done } = writeArchive(writeOptions(overrides));
    const sink = new Writable({ write: (_chunk, _encoding, callback) => callback() });
    const piped = await pipeline(stream, sink).catch((error: unknown) => error);
    const error = await done.catch((reason: unknown) => reason);
    expect(piped).toBe(error);
    expect(sink.destroyed).toBe(true);
    return error;
  }

  it('a media path that is not there, or is a file', async () => {
    const missing = join(folder, 'missing');
    expect(await failure({ mediaPaths: [media, missing] })).toMatchObject({
      code: 'MEDIA_NOT_FOUND',
      message: expect.stringContaining(missing),
    });
    put('file');
    expect(await failure({ mediaPaths: [join(media, 'file')] })).toMatchObject({
      code: 'MEDIA_NOT_FOUND',
      message: expect.stringContaining('not a folder'),
    });
  });

  it.each(['a file', 'a folder'])('%s without the right to read', async (what) => {
    put('secrets/secret');
    const refused = join(media, what === 'a file' ? 'secrets/secret' : 'secrets');
    chmodSync(folder, 0o755);
    chmodSync(refused, 0o000);
    // Root may read everything, so the test becomes nobody for a moment.
    const root = process.geteuid?.() === 0;
    if (root) process.seteuid?.(65534);
    try {
      const error = await failure({ mediaPaths: [media] });
      expect(error).toMatchObject({ code: 'MEDIA_UNREADABLE', message: expect.stringContaining(refused) });
    } finally {
      if (root) process.seteuid?.(0);
      chmodSync(refused, 0o755);
    }
  });

  it('a snapshot whose stream breaks, or is shorter than it said', async () => {
    const broken = new AppError('DATABASE_FAILED', 'broken');
    const open = async () =>
      Readable.from(
        (function* () {
          yield Buffer.from('begin');
          throw broken;
        })(),
      );
    expect(await failure({ files: [{ path: 'database.sqlite3', open }] })).toBe(broken);
    const short = { ...sourceFile('database.sqlite3', 'abc'), size: 4 };
    expect(await failure({ files: [short] })).toMatchObject({ code: 'DATABASE_FAILED' });
  });

  it('a description that fails', async () => {
    const describe = () => {
      throw new Error('boom');
    };
    expect(await failure({ describe })).toMatchObject({ code: 'INTERNAL_ERROR' });
  });

  it('ends a cancelled run with its reason while the database stalls, and leaves nothing open', async () => {
    put('large.txt', Buffer.alloc(5_000_000, 'x'));
    const reason = new AppError('CANCELLED', 'Enough.');
    const inMedia = new AbortController();
    expect(
      await failure({
        mediaPaths: [media],
        signal: inMedia.signal,
        onProgress: (bytes) => bytes > 1e6 && inMedia.abort(reason),
      }),
    ).toBe(reason);
    expect(openDescriptors()).toEqual([]);
    const stalled = new AbortController();
    setTimeout(() => stalled.abort(reason), 20);
    const open = async () => new PassThrough();
    expect(await failure({ files: [{ path: 'database.dump', open }], signal: stalled.signal })).toBe(reason);
    expect(await failure({ signal: AbortSignal.abort(reason) })).toBe(reason);
  });

  it('a receiver that fails ends the run, and nothing stays open', async () => {
    put('large.mp4', Buffer.alloc(9_000_000, 'x'));
    const { stream, done } = writeArchive(writeOptions({ mediaPaths: [media] }));
    const full = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
    const disk = new Writable({ write: (_chunk, _encoding, callback) => callback(full) });
    await expect(pipeline(stream, disk)).rejects.toBe(full);
    await expect(done).rejects.toBeInstanceOf(AppError);
    expect(openDescriptors()).toEqual([]);
  });

  it('a failure that no one listens to does not end the process', async () => {
    writeArchive(writeOptions({ mediaPaths: [join(folder, 'missing')] }));
    await new Promise((resolve) => setTimeout(resolve, 50));
  });
});

describe('Reading back what was written', () => {
  const large = Buffer.concat([Buffer.alloc(3 * 1024 * 1024, 'rows of text '), Buffer.alloc(100, 'end')]);
  async function written() {
    put('a.txt', 'text '.repeat(500));
    put('b.jpg', 'stored as it is');
    const archive = writeArchive(writeOptions({ files: [sourceFile('database.sqlite3', large)], mediaPaths: [media] }));
    const bytes = await buffer(archive.stream);
    await archive.done;
    return { bytes, sums: archive.sums };
  }
  const readBack = async (bytes: Buffer, sums: readonly number[]) =>
    (await openArchive(bufferSource(bytes))).verifyWritten(sums);

  it('passes for the same bytes and gives out every one of them once', async () => {
    const { bytes, sums } = await written();
    const hash = createHash('sha256');
    const archive = await openArchive(bufferSource(bytes));
    await archive.verifyWritten(sums, { onBytes: (chunk) => hash.update(chunk) });
    expect(hash.digest('hex')).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  it('finds one flipped bit in any block, stored file or header', async () => {
    const { bytes, sums } = await written();
    const archive = await openArchive(bufferSource(bytes));
    const places = archive.entries.map(({ path }) => bytes.indexOf(path) + path.length + 3);
    for (const at of [...places, 8, 60, 5_000, bytes.indexOf('stored as it is') + 2]) {
      const flipped = Buffer.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ 4;
      await expect(readBack(flipped, sums)).rejects.toMatchObject({ code: expect.stringMatching(/^ARCHIVE_/) });
    }
  });

  it('finds an entry whose bytes are whole but not those that were made', async () => {
    const { bytes, sums } = await written();
    await expect(readBack(bytes, sums.with(0, (sums[0] ?? 0) ^ 1))).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' });
  });
});

describe('Many small files', () => {
  it('are read in threads, in their order, with the content, times and hashes that each has', async () => {
    const files = Array.from({ length: 300 }, (_, index) => `d${index % 7}/f${String(index).padStart(3, '0')}.txt`);
    for (const [index, file] of files.entries()) put(file, `${file} `.repeat(index));
    put('d0/large.bin', Buffer.alloc(200_000, 'large '));
    put('d1/photo.jpg', 'not looked at '.repeat(50));
    symlinkSync('f000.txt', join(media, 'd0', 'link'));
    const bytes = await archiveBytes({ mediaPaths: [media] });
    const archive = await openArchive(bufferSource(bytes));
    await archive.verify();
    const out = join(folder, 'out');
    await archive.extract(out, { filter: (path) => path.startsWith('media/') });
    rmSync(join(media, 'd0', 'link'));
    expect(tree(join(out, 'media'))).toEqual(tree(media));
    expect(archive.metadata.symlinks).toEqual([{ path: 'media/d0/link', target: 'f000.txt' }]);
    const paths = archive.entries.map(({ path }) => path).filter((path) => path.startsWith('media/'));
    expect(paths).toEqual([...paths].sort());
    for (const { path, mtime } of archive.metadata.entries) {
      if (path.startsWith('media/')) expect(mtime).toBe(statSync(join(folder, path)).mtime.toISOString());
    }
    expect(archive.entries.find(({ path }) => path === 'media/d1/photo.jpg')?.compressedSize).toBe(700);
  });

  it('whose receiver stops taking them end with the reason when the writing is broken off', async () => {
    for (let index = 0; index < 900; index++) put(`f${index}.bin`, randomBytes(4_000));
    const stop = new AbortController();
    const archive = writeArchive(writeOptions({ mediaPaths: [media], signal: stop.signal }));
    archive.stream.once('readable', () => setTimeout(() => stop.abort(new AppError('CANCELLED', 'enough')), 300));
    await expect(archive.done).rejects.toMatchObject({ code: 'CANCELLED' });
  });
});
