import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { newFileKey, newIdentity, openHeader, readHeader, sealedHeader } from '../../src/archive/seal-header.js';
import { Sealing, UnsealedSource } from '../../src/archive/seal.js';
import { bufferSource } from '../support/archives.js';
import { assertOneCommittedState, createWorld, readTree } from '../support/world.js';

const NEVER = new AbortController().signal;
const CHUNK = 65_536;
const hasAge = spawnSync('age', ['--version']).status === 0;
const describeAge = hasAge ? describe : describe.skip;

let folder: string;
beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'age-')));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const plainOf = (length: number) => Buffer.from(Array.from({ length }, (_, index) => (index * 31) & 0xff));

describeAge('with the command of the Debian package age', () => {
  it.each([0, 1, CHUNK, CHUNK + 1, 5 * CHUNK + 17])(
    'opens there what was sealed here, and here what was sealed there: %d bytes',
    async (length) => {
      const { identity, recipient } = await newIdentity();
      const fileKey = newFileKey();
      const header = await sealedHeader(fileKey, { recipients: [recipient] });
      const sealed = Readable.from([plainOf(length)], { objectMode: false }).pipe(new Sealing({ header, fileKey }));
      const [ours, theirs, keyFile] = ['ours.age', 'theirs.age', 'key.txt'].map((name) => join(folder, name));
      writeFileSync(ours!, Buffer.concat(await sealed.toArray()));
      writeFileSync(keyFile!, `# comment\n${identity}\n`);
      const opened = execFileSync('age', ['-d', '-i', keyFile!, ours!], { maxBuffer: 1 << 24 });
      expect(opened.equals(plainOf(length))).toBe(true);

      execFileSync('age', ['-r', recipient, '-o', theirs!], { input: plainOf(length) });
      const file = readFileSync(theirs!);
      const theirHeader = await readHeader(bufferSource(file), NEVER);
      const theirKey = await openHeader(theirHeader, { identities: [identity], passphrases: [] });
      const source = await UnsealedSource.open(
        bufferSource(file),
        { header: theirHeader, fileKey: theirKey ?? Buffer.alloc(16) },
        NEVER,
      );
      const bytes = Buffer.concat((await (await source.read(0, source.size - 1)).toArray()) as Buffer[]);
      expect(bytes.equals(plainOf(length))).toBe(true);
    },
  );

  it('gives back a backup by hand: age, unzip, sqlite3', async () => {
    const world = await createWorld();
    try {
      const { key, identity } = await world.app.keys.create({ name: 'Safe', generate: true }, 'test');
      await world.app.configs.update(1, { encryptionKeyIds: [key.id] }, 'test');
      const { filePath } = await world.backup();
      const keyFile = join(world.folder, 'key.txt');
      writeFileSync(keyFile, `${identity}\n`);
      const zip = join(world.folder, 'backup.zip');
      execFileSync('age', ['-d', '-i', keyFile, '-o', zip, filePath]);
      execFileSync('unzip', ['-q', zip, '-d', join(world.folder, 'by-hand')]);
      expect(await assertOneCommittedState(join(world.folder, 'by-hand', 'database.sqlite3'))).toBe(0);
      expect(await readTree(join(world.folder, 'by-hand', 'media'))).toEqual(await readTree(world.media));
    } finally {
      await world.close();
    }
  });

  it('makes an identity that age-keygen knows the recipient of', async () => {
    const { identity, recipient } = await newIdentity();
    const file = join(folder, 'identity.txt');
    writeFileSync(file, `${identity}\n`);
    expect(execFileSync('age-keygen', ['-y', file]).toString().trim()).toBe(recipient);
  });
});
