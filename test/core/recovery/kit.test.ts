import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { BackupRow } from '../../../src/models/index.js';
import { contentHash, exec } from '../../support/sqlite.js';
import { createWorld, NEVER, readTree, type World } from '../../support/world.js';

const run = promisify(execFile);
const PASSPHRASE = 'a long enough passphrase';

let world: World;
let kit: string;
let before: [string, Awaited<ReturnType<typeof readTree>>];
beforeAll(async () => {
  world = await createWorld();
  await exec(
    world.database,
    `CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
     SELECT i, randomblob(1500) AS bytes FROM n`,
  );
  await writeFile(join(world.media, 'large.bin'), randomBytes(3_000_000));
  before = [await contentHash(world.database), await readTree(world.media)];
  kit = join(world.folder, 'kit');
});
afterAll(() => world.close());

/** A new kit, unpacked into an empty folder. @returns what it holds, by name */
async function newKit(): Promise<Record<string, string>> {
  const zip = join(world.folder, 'kit.zip');
  await writeFile(zip, await world.app.recoveryKits.make('test'));
  await rm(kit, { recursive: true, force: true });
  await mkdir(kit);
  await unzip(zip, kit);
  const names = await readdir(kit);
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(kit, name), 'latin1')])),
  );
}

/** By the kit's own program, which is a second use of it. */
const unzip = async (zip: string, to: string) => {
  await rm(to, { recursive: true, force: true });
  await run('node', [join(process.cwd(), 'recovery', 'recover.mjs'), zip, to]);
};

const recover = (row: BackupRow, to: string, ...more: string[]) =>
  run('node', [join(kit, 'recover.mjs'), row.filePath, to, ...more], { cwd: kit });

/** Compares what was recovered with what was backed up. */
async function expectAll(folder: string): Promise<void> {
  expect(await contentHash(join(folder, 'database.sqlite3'))).toBe(before[0]);
  expect(await readTree(join(folder, 'media'))).toEqual(before[1]);
}

const backUp = async (settings: Parameters<World['app']['configs']['update']>[1]) => {
  await world.app.configs.update(1, settings, 'test');
  const row = await world.backup();
  expect(row).toMatchObject({ status: 'COMPLETED', errorMessage: null });
  return row;
};

describe('The recovery kit', () => {
  it.each(['DEFLATE', 'NONE'] as const)(
    'brings a backup with compression %s back with Node.js alone',
    async (compression) => {
      const row = await backUp({ compression, encryptionKeyIds: [] });
      await newKit();
      const out = join(world.folder, `out-${compression}`);
      expect((await recover(row, out)).stdout).toMatch(/files are in .*each with its right checksum/);
      await expectAll(out);
    },
  );

  it('brings back a backup that only people can open, with the identity that they have', async () => {
    const { key, identity } = await world.app.keys.create({ name: 'Safe', generate: true }, 'test');
    const row = await backUp({ encryptionKeyIds: [key.id] });
    const files = await newKit();
    expect(files['keys.txt']).toContain(`Safe: the identity`);
    expect(files['backups.txt']).toMatch(/^okpuja|^app/i);
    expect(files['backups.txt']).toContain('opens by  Safe');
    const file = join(world.folder, 'identity.txt');
    await writeFile(file, `# kept in the safe\n${identity}\n`);
    const out = join(world.folder, 'out-identity');
    await recover(row, out, '--identity', file);
    await expectAll(out);
    expect(JSON.stringify(files)).not.toContain(identity);
  });

  it('brings back a backup that a passphrase opens', async () => {
    const { key } = await world.app.keys.create({ name: 'Words', passphrase: PASSPHRASE, keepHere: true }, 'test');
    const row = await backUp({ encryptionKeyIds: [key.id] });
    const files = await newKit();
    const file = join(world.folder, 'passphrase.txt');
    await writeFile(file, `${PASSPHRASE}\n`);
    const out = join(world.folder, 'out-passphrase');
    await recover(row, out, '--identity', file);
    await expectAll(out);
    expect(JSON.stringify(files)).not.toContain(PASSPHRASE);
  });

  it('says what is wrong with a key or an archive, and leaves no decrypted copy', async () => {
    const row = await world.app.models.Backup.findOne({ order: [['createdAt', 'DESC']], rejectOnEmpty: true });
    await newKit();
    const wrong = join(world.folder, 'wrong.txt');
    await writeFile(wrong, 'another passphrase\n');
    const out = join(world.folder, 'out-bad');
    const failed = async (path: string, ...more: string[]) => {
      await rm(out, { recursive: true, force: true });
      return run('node', [join(kit, 'recover.mjs'), path, out, ...more]).then(
        () => 'nothing was wrong',
        ({ stderr }: { stderr: string }) => stderr,
      );
    };
    expect(await failed(row.filePath, '--identity', wrong)).toContain('passphrase is not the one');
    const right = ['--identity', join(world.folder, 'passphrase.txt')];
    const bytes = await readFile(row.filePath);
    const cut = join(world.folder, 'cut.age');
    await writeFile(cut, bytes.subarray(0, bytes.length - 70_000));
    expect(await failed(cut, ...right)).toMatch(/damaged, or cut off|is cut off/);
    bytes.writeUInt8(bytes.readUInt8(200_000) ^ 1, 200_000);
    await writeFile(cut, bytes);
    expect(await failed(cut, ...right)).toContain('is damaged, or cut off');
    expect(await readdir(out)).toEqual([]);
  });

  it('refuses an archive whose names lead out of the folder, and a folder that is there', async () => {
    const out = join(world.folder, 'out-refused');
    const evil = join(world.folder, 'evil.zip');
    await writeFile(evil, await zipOf('../escaped.txt'));
    await expect(run('node', [join(kit, 'recover.mjs'), evil, out])).rejects.toThrow(/not safe/);
    await expect(run('node', [join(kit, 'recover.mjs'), evil, out])).rejects.toThrow(/already there/);
    expect(await readdir(world.folder)).not.toContain('escaped.txt');
  });

  it('compares by CRC-32 where an archive has no list of its own', async () => {
    const out = join(world.folder, 'out-crc');
    const damaged = join(world.folder, 'crc.zip');
    const bytes = await zipOf('a.txt');
    await writeFile(damaged, bytes);
    expect((await run('node', [join(kit, 'recover.mjs'), damaged, out])).stdout).toContain('compared by CRC-32 only');
    await rm(out, { recursive: true });
    bytes.writeUInt32LE(1, bytes.indexOf('PK\x01\x02') + 16);
    await writeFile(damaged, bytes);
    await expect(run('node', [join(kit, 'recover.mjs'), damaged, out])).rejects.toThrow(/CRC-32 differs/);
  });

  it('allocates nothing by what an archive says of itself', async () => {
    const out = join(world.folder, 'out-large');
    const large = join(world.folder, 'large.zip');
    const bytes = await zipOf('a.txt');
    bytes.writeUInt32LE(0xf0000000, bytes.length - 10);
    await writeFile(large, bytes);
    await expect(run('node', [join(kit, 'recover.mjs'), large, out])).rejects.toThrow(/damaged, or cut off/);
  });

  it('lists every archive with its SHA-256, and holds no secret of a destination in the clear', async () => {
    const values = {
      bucket: 'bucket',
      endpoint: 'http://127.0.0.1:9',
      accessKeyId: 'an-access-key',
      secretAccessKey: 'canary-7',
    };
    await world.app.destinations.create({ name: 'Bucket', storageType: 'S3', values }, 'test', NEVER);
    const files = await newKit();
    const rows = await world.app.models.Backup.findAll({ where: { status: 'COMPLETED' } });
    for (const row of rows) {
      const sum = createHash('sha256')
        .update(await readFile(row.filePath))
        .digest('hex');
      expect(files.SHA256SUMS).toContain(`${sum}  ${row.fileName}`);
      expect(files['backups.txt']).toContain(row.filePath);
    }
    expect(JSON.parse(files['destinations.json'] ?? '')).toContainEqual(
      expect.objectContaining({ name: 'Bucket', location: 's3://bucket' }),
    );
    expect(JSON.stringify(files)).not.toMatch(/canary-7|an-access-key/);
    expect(files['secrets.json.age']).toMatch(/^age-encryption\.org\/v1/);
  });
});

/** A ZIP of one stored, empty file. */
async function zipOf(name: string): Promise<Buffer> {
  const bytes = Buffer.from(name);
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt16LE(bytes.length, 26);
  const central = Buffer.alloc(46);
  central.writeUInt32LE(0x02014b50, 0);
  central.writeUInt16LE(bytes.length, 28);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(46 + bytes.length, 12);
  end.writeUInt32LE(30 + bytes.length, 16);
  return Buffer.concat([local, bytes, central, bytes, end]);
}
