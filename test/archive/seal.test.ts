import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { inflateSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { Decrypter, Encrypter } from 'age-encryption';
import fc from 'fast-check';
import {
  isRecipient,
  MAX_RECIPIENTS,
  newFileKey,
  newIdentity,
  openHeader,
  readHeader,
  recipientOf,
  sealedHeader,
  wantsPassphrase,
} from '../../src/archive/seal-header.js';
import { sealedSize, Sealing, type SealKey, UnsealedSource } from '../../src/archive/seal.js';
import { bufferSource } from '../support/archives.js';
import { casesOf } from '../support/cases.js';

const NEVER = new AbortController().signal;
const CHUNK = 65_536;
const SEALED_CHUNK = CHUNK + 16;

let identity: string;
let recipient: string;
let key: SealKey;
beforeAll(async () => {
  ({ identity, recipient } = await newIdentity());
  const fileKey = newFileKey();
  key = { fileKey, header: await sealedHeader(fileKey, { recipients: [recipient] }) };
});

const plainOf = (length: number) =>
  Buffer.from(Array.from({ length }, (_, index) => (index * 7 + (index >> 8)) & 0xff));

async function sealedBytes(parts: Buffer[]): Promise<Buffer> {
  return Buffer.concat(await Readable.from(parts, { objectMode: false }).pipe(new Sealing(key)).toArray());
}

const open = async (sealed: Buffer, bytesOf = key) => UnsealedSource.open(bufferSource(sealed), bytesOf, NEVER);

async function rangeOf(source: UnsealedSource, start: number, end: number): Promise<Buffer> {
  return Buffer.concat((await (await source.read(start, end)).toArray()) as Buffer[]);
}

/** Opens a whole file, as for someone who has nothing but the file and the identity. */
async function unsealed(file: Buffer, keys: { identities?: string[]; passphrases?: string[] }): Promise<Buffer | null> {
  const header = await readHeader(bufferSource(file), NEVER);
  const fileKey = await openHeader(header, { identities: [], passphrases: [], ...keys });
  if (fileKey === null) return null;
  const source = await open(file, { header, fileKey });
  return rangeOf(source, 0, source.size - 1);
}

describe('sealing', () => {
  it.each([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK])(
    'makes a file of %d bytes that the library opens, of the size that was foretold',
    async (length) => {
      const plain = plainOf(length);
      const sealed = await sealedBytes([plain]);
      const decrypter = new Decrypter();
      decrypter.addIdentity(identity);
      expect(Buffer.compare(Buffer.from(await decrypter.decrypt(sealed)), plain)).toBe(0);
      expect(sealed.length).toBe(sealedSize(length, key.header.length));
      expect(Buffer.compare((await unsealed(sealed, { identities: [identity] })) ?? Buffer.alloc(1), plain)).toBe(0);
    },
  );

  it('seals the same bytes differently each time', async () => {
    const [one, other] = [await sealedBytes([plainOf(100)]), await sealedBytes([plainOf(100)])];
    expect(one.equals(other)).toBe(false);
  });

  it('opens any range of any length, however the bytes came', async () => {
    const cases = fc.tuple(
      fc.oneof(fc.integer({ min: 1, max: 3 * CHUNK }), fc.constantFrom(CHUNK, 2 * CHUNK)),
      fc.nat(),
      fc.nat(),
      fc.integer({ min: 1, max: 2 * CHUNK }),
    );
    await fc.assert(
      fc.asyncProperty(cases, async ([length, from, to, piece]) => {
        const plain = plainOf(length);
        const parts: Buffer[] = [];
        for (let at = 0; at < length; at += piece) parts.push(plain.subarray(at, at + piece));
        const source = await open(await sealedBytes(parts));
        const [start = 0, end = 0] = [from % length, to % length].sort((one, other) => one - other);
        expect(source.size).toBe(length);
        expect((await rangeOf(source, start, end)).equals(plain.subarray(start, end + 1))).toBe(true);
      }),
      { numRuns: casesOf(300) },
    );
  });

  it('has the file key that was given in the header, for each of the recipients', async () => {
    const other = await newIdentity();
    const fileKey = newFileKey();
    const header = await sealedHeader(fileKey, { recipients: [recipient, other.recipient] });
    for (const one of [identity, other.identity]) {
      expect(await openHeader(header, { identities: [one], passphrases: [] })).toEqual(fileKey);
    }
    expect(wantsPassphrase(header)).toBe(false);
  });

  it('opens with the passphrase that it was sealed with, and with no other', async () => {
    const fileKey = newFileKey();
    const header = await sealedHeader(fileKey, { passphrase: 'four words of élan' });
    const keys = { identities: [identity], passphrases: ['another', 'four words of élan'] };
    expect(await openHeader(header, keys)).toEqual(fileKey);
    expect(await openHeader(header, { identities: [], passphrases: ['another'] })).toBeNull();
    expect(wantsPassphrase(header)).toBe(true);
  });
});

describe('a sealed archive that was damaged', () => {
  it.each([1, 2, 3])('is refused when it was cut off after block %d of 4', async (blocks) => {
    const sealed = await sealedBytes([plainOf(3 * CHUNK + 5)]);
    const cut = sealed.subarray(0, key.header.length + 16 + blocks * SEALED_CHUNK);
    await expect(open(cut)).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' });
  });

  it('is refused when it was cut off anywhere else', async () => {
    const sealed = await sealedBytes([plainOf(CHUNK + 100)]);
    for (const length of [0, 5, 60, key.header.length, key.header.length + 16, key.header.length + 20, -1, -100]) {
      const cut = sealed.subarray(0, length < 0 ? sealed.length + length : length);
      await expect(unsealed(cut, { identities: [identity] })).rejects.toMatchObject({ code: /^ARCHIVE_/ });
    }
  });

  it('is refused wherever one of its bits is another', async () => {
    const sealed = await sealedBytes([plainOf(CHUNK + 50)]);
    await fc.assert(
      fc.asyncProperty(fc.nat(sealed.length * 8 - 1), async (bit) => {
        const damaged = Buffer.from(sealed);
        damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        // A bit of a recipient's line can make it someone else's.
        const result = await unsealed(damaged, { identities: [identity] }).catch(
          (error: { code: string }) => error.code,
        );
        expect(result === null || String(result).startsWith('ARCHIVE_')).toBe(true);
      }),
      { numRuns: casesOf(400) },
    );
  });

  it('is refused when two of its blocks were exchanged', async () => {
    const sealed = await sealedBytes([plainOf(3 * CHUNK)]);
    const start = key.header.length + 16;
    const block = (index: number) => sealed.subarray(start + index * SEALED_CHUNK, start + (index + 1) * SEALED_CHUNK);
    const mixed = Buffer.concat([sealed.subarray(0, start), block(1), block(0), block(2)]);
    await expect(unsealed(mixed, { identities: [identity] })).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' });
  });
});

describe('a header that would do harm', () => {
  it('is refused when it does not end', async () => {
    const endless = Buffer.from(`age-encryption.org/v1\n${'-> grease\n\n'.repeat(20_000)}`);
    await expect(readHeader(bufferSource(endless), NEVER)).rejects.toMatchObject({ code: 'ARCHIVE_HOSTILE' });
  });

  it('is refused when it names too many recipients', async () => {
    const header = Buffer.from(`age-encryption.org/v1\n${'-> x y\n\n'.repeat(MAX_RECIPIENTS + 1)}--- \n`);
    await expect(openHeader(header, { identities: [identity], passphrases: [] })).rejects.toMatchObject({
      code: 'ARCHIVE_HOSTILE',
    });
  });

  it('is refused when trying a passphrase would take more memory than is allowed', async () => {
    const header = Buffer.from(
      `age-encryption.org/v1\n-> scrypt ${'A'.repeat(21)}A 21\n${'A'.repeat(43)}\n--- ${'A'.repeat(43)}\n`,
    );
    await expect(openHeader(header, { identities: [], passphrases: ['x'] })).rejects.toMatchObject({
      code: 'ARCHIVE_HOSTILE',
    });
  });

  it('is refused when the file is in the text form', async () => {
    const text = readFileSync(join(FIXTURES, 'armor_x25519'));
    const armoured = text.subarray(text.indexOf('-----BEGIN'));
    await expect(readHeader(bufferSource(armoured), NEVER)).rejects.toMatchObject({
      code: 'ARCHIVE_FOREIGN',
      hint: 'Encrypt it without `--armor`.',
    });
  });
});

describe('the words of keys', () => {
  it('gives the recipient of an identity, and null for any other text', async () => {
    expect(await recipientOf(identity)).toBe(recipient);
    for (const text of ['', 'AGE-SECRET-KEY-1', identity.toLowerCase(), `${identity}X`, recipient]) {
      expect(await recipientOf(text)).toBeNull();
    }
  });

  it('takes an X25519 recipient, and nothing that is mistyped or of another kind', async () => {
    expect(await isRecipient(recipient)).toBe(true);
    const mistyped = recipient.slice(0, -1) + (recipient.endsWith('q') ? 'p' : 'q');
    for (const text of ['', mistyped, identity, 'age1pq1qqqq', 'ssh-ed25519 AAAA', recipient.toUpperCase()]) {
      expect(await isRecipient(text)).toBe(false);
    }
  });
});

const FIXTURES = join(import.meta.dirname, '../fixtures/age');

/** A vector: lines of `key: value`, an empty line, then the file. */
function vector(name: string) {
  const bytes = readFileSync(join(FIXTURES, name));
  const end = bytes.indexOf('\n\n');
  const lines = bytes.subarray(0, end).toString().split('\n');
  const all = (wanted: string) =>
    lines.filter((line) => line.startsWith(`${wanted}: `)).map((line) => line.slice(wanted.length + 2));
  const file = bytes.subarray(end + 2);
  return {
    expected: all('expect')[0],
    payload: all('payload')[0],
    identities: all('identity'),
    passphrases: all('passphrase'),
    file: all('compressed')[0] === 'zlib' ? inflateSync(file) : file,
  };
}

const vectors = readdirSync(FIXTURES).filter((name) => !/^(armor|README)/.test(name));

describe('the test vectors of the format', () => {
  it.each(vectors)('come to the expected end: %s', async (name) => {
    const { expected, payload, identities, passphrases, file } = vector(name);
    const outcome = await unsealed(file, { identities, passphrases }).catch((error: { code: string }) => error.code);
    if (expected === 'success') {
      expect(Buffer.isBuffer(outcome) && createHash('sha256').update(outcome).digest('hex')).toBe(payload);
    } else if (expected === 'no match') expect(outcome).toBeNull();
    else expect(outcome).toMatch(/^ARCHIVE_/);
  });

  it('are not all: a file that the library made opens too', async () => {
    const encrypter = new Encrypter();
    encrypter.addRecipient(recipient);
    const theirs = Buffer.from(await encrypter.encrypt(plainOf(2 * CHUNK)));
    expect((await unsealed(theirs, { identities: [identity] }))?.equals(plainOf(2 * CHUNK))).toBe(true);
  });
});
