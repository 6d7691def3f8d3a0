import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { openArchive } from '../../src/archive/read.js';
import { archiveBytes, bufferSource, rawZip } from '../support/archives.js';

let folder: string;
let unpacked: string;
let original: Record<string, string>;
beforeEach(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'repacked-')));
  const media = join(folder, 'media');
  mkdirSync(join(media, 'a folder'), { recursive: true });
  mkdirSync(join(media, 'empty'));
  writeFileSync(join(media, 'a folder/text.txt'), 'text '.repeat(500));
  writeFileSync(join(media, 'large.txt'), 'several blocks '.repeat(200_000));
  writeFileSync(join(media, 'ünïcode दीपक.txt'), 'letters');
  writeFileSync(join(media, '.DS_Store'), 'was backed up');
  const bytes = await archiveBytes({ mediaPaths: [media] });
  original = await contents(bytes);
  unpacked = join(folder, 'db-manager_backup_20250724_143022');
  mkdirSync(unpacked);
  await (await openArchive(bufferSource(bytes))).extract(unpacked);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What an archive holds by its own list: paths, hashes, permissions. All bytes are compared on the way. */
async function contents(bytes: Buffer): Promise<Record<string, string>> {
  const archive = await openArchive(bufferSource(bytes));
  await archive.verify();
  const files = archive.entries.filter(({ path, sha256 }) => sha256 !== undefined && path !== 'backup_metadata.json');
  return Object.fromEntries(
    files.map(({ path, sha256, mode, mtime }) => [path, `${sha256} ${mode} ${mtime?.toJSON()}`]),
  );
}

const isInstalled = (command: string) => spawnSync(command, ['--help'], { stdio: 'ignore' }).error === undefined;

/** Runs a tool that writes `out.zip`. */
function packed(command: string, args: string[], cwd: string): Buffer {
  execFileSync(command, args, { cwd, stdio: 'ignore' });
  return readFileSync(join(folder, 'out.zip'));
}

/** `it`, or where this machine does not have the tool a skip that says so. */
const itWith = (command: string) =>
  isInstalled(command)
    ? it
    : (title: string, _test: () => Promise<void>) => it.skip(`${title} (no ${command} here)`, _test);

describe('An archive that was unpacked and packed again', () => {
  const ENCLOSED = 'db-manager_backup_20250724_143022';
  const TOOLS: [string, string, string[], 'within' | 'beside'][] = [
    ['zip', 'zip', ['-q', '-r', '../out.zip', '.'], 'within'],
    [
      'zip, metadata first',
      'zip',
      ['-q', '-r', '../out.zip', 'backup_metadata.json', 'media', 'database.sqlite3'],
      'within',
    ],
    ['zip, one enclosing folder', 'zip', ['-q', '-r', 'out.zip', ENCLOSED], 'beside'],
    ['zip, without folders', 'zip', ['-q', '-r', '-D', '../out.zip', '.'], 'within'],
    ['7-Zip', '7z', ['a', '-tzip', '../out.zip', '.'], 'within'],
    ['7-Zip, one enclosing folder', '7z', ['a', '-tzip', 'out.zip', ENCLOSED], 'beside'],
    ['jar, which adds META-INF', 'jar', ['cf', '../out.zip', '.'], 'within'],
    [
      'Python',
      'python3',
      ['-m', 'zipfile', '-c', '../out.zip', 'backup_metadata.json', 'database.sqlite3', 'media'],
      'within',
    ],
  ];
  for (const [how, command, args, where] of TOOLS) {
    itWith(command)(`by ${how} is read as what its metadata proves`, async () => {
      chmodSync(join(unpacked, 'database.sqlite3'), 0o777);
      const bytes = packed(command, args, where === 'within' ? unpacked : folder);
      expect(await contents(bytes)).toEqual(original);
    });
  }

  it('by PowerShell, which separates folders by backslashes, is read by its metadata', async () => {
    const names = ['database.sqlite3', ...Object.keys(original).filter((name) => name !== 'database.sqlite3')];
    const entries = [...names, 'backup_metadata.json'].map((name) => ({
      name: `${ENCLOSED}\\${name.replaceAll('/', '\\')}`,
      data: readFileSync(join(unpacked, name)),
      host: 0,
      flags: 0x800,
    }));
    expect(await contents(rawZip(entries))).toEqual(original);
  });

  itWith('zip')('names what tools added and reads none of it', async () => {
    mkdirSync(join(folder, '__MACOSX/db-manager_backup_20250724_143022'), { recursive: true });
    writeFileSync(join(folder, '__MACOSX/db-manager_backup_20250724_143022/._media'), 'fork');
    for (const litter of ['.DS_Store', 'Thumbs.db', 'media/a folder/.DS_Store', 'media/a folder/desktop.ini']) {
      writeFileSync(join(unpacked, litter), 'litter');
    }
    const args = ['-q', '-r', 'out.zip', 'db-manager_backup_20250724_143022', '__MACOSX'];
    const bytes = packed('zip', args, folder);
    expect(await contents(bytes)).toEqual(original);
    const archive = await openArchive(bufferSource(bytes));
    expect([...archive.ignored].sort()).toEqual([
      '.DS_Store',
      'Thumbs.db',
      '__MACOSX/',
      '__MACOSX/db-manager_backup_20250724_143022/',
      '__MACOSX/db-manager_backup_20250724_143022/._media',
      'media/a folder/.DS_Store',
      'media/a folder/desktop.ini',
    ]);
    const out = join(folder, 'out');
    await archive.extract(out);
    expect(readFileSync(join(out, 'media/.DS_Store'), 'utf8')).toBe('was backed up');
  });

  itWith('zip')('is refused where a file was changed, left out or added that no tool adds by itself', async () => {
    const refused = async (change: () => void, message: RegExp) => {
      change();
      rmSync(join(folder, 'out.zip'), { force: true });
      const bytes = packed('zip', ['-q', '-r', '../out.zip', '.'], unpacked);
      await expect(contents(bytes)).rejects.toMatchObject({
        code: 'ARCHIVE_CORRUPT',
        message: expect.stringMatching(message),
      });
    };
    await refused(() => writeFileSync(join(unpacked, 'media/new.txt'), 'new'), /not in the archive's own list/);
    rmSync(join(unpacked, 'media/new.txt'));
    const text = join(unpacked, 'media/a folder/text.txt');
    await refused(() => writeFileSync(text, 'TEXT '.repeat(500)), /SHA-256 differs/);
    await refused(() => rmSync(text), /but not in the archive/);
  });
});
