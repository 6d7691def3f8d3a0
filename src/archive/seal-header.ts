import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import type { Identity, Recipient, Stanza } from 'age-encryption';
import { AppError } from '../errors.js';
import { corrupt, foreign, hostile } from './refuse.js';
import { type ArchiveSource, RangeReader } from './source.js';

/** For whom an archive is sealed. A passphrase stands alone: age allows no other recipient beside it. */
export type SealedFor = { recipients: readonly string[] } | { passphrase: string };

/** What may open a sealed archive: age identities and passphrases. */
export interface Unsealing {
  identities: readonly string[];
  passphrases: readonly string[];
}

/** How every file in the age format begins. */
const MAGIC = 'age-encryption.org/v1\n';
/** Longest header that is read, in bytes, and the most recipients in it. */
const MAX_HEADER = 64 * 1024;
export const MAX_RECIPIENTS = 256;
export const FILE_KEY_BYTES = 16;
/** log2 of the cost of a passphrase: as the age command has it, 256 MiB of memory and about a second. */
const WORK_FACTOR = 18;
/** The most that is accepted from a file: 1 GiB of memory. */
const MAX_WORK_FACTOR = 20;
const SCRYPT_BLOCK = 8;
const SCRYPT_LABEL = 'age-encryption.org/v1/scrypt';

// Loaded at the first use: it takes longer to load than most commands take in all.
const library = () => import('age-encryption');

/** A new file key: one for each archive, never used for another. */
export const newFileKey = (): Buffer => randomBytes(FILE_KEY_BYTES);

/** A new X25519 identity and its recipient. */
export async function newIdentity(): Promise<{ identity: string; recipient: string }> {
  const { generateX25519Identity, identityToRecipient } = await library();
  const identity = await generateX25519Identity();
  return { identity, recipient: await identityToRecipient(identity) };
}

/** The recipient of an X25519 identity; null if the text is none. */
export async function recipientOf(identity: string): Promise<string | null> {
  const { identityToRecipient } = await library();
  if (!/^AGE-SECRET-KEY-1[A-Z0-9]+$/.test(identity)) return null;
  return identityToRecipient(identity).catch(() => null);
}

/** True for an X25519 recipient (`age1…`) that can be sealed for. */
export async function isRecipient(text: string): Promise<boolean> {
  // Other kinds (post-quantum, hardware tokens) begin with longer names, such as age1pq1.
  if (!/^age1[a-z0-9]{58}$/.test(text)) return false;
  const sealed = sealedHeader(newFileKey(), { recipients: [text] });
  return sealed.then(
    () => true,
    () => false,
  );
}

/**
 * The header of a sealed archive: it holds the file key for each recipient.
 * @throws an error of the library for a recipient that is none
 */
export async function sealedHeader(fileKey: Buffer, to: SealedFor): Promise<Buffer> {
  const { Encrypter, Stanza } = await library();
  const encrypter = new Encrypter();
  // The library draws a file key of its own and gives it to each recipient in turn: the first one puts ours in its place.
  encrypter.addRecipient({
    wrapFileKey(key) {
      key.set(fileKey);
      return [];
    },
  });
  if ('passphrase' in to) encrypter.addRecipient(passphraseRecipient(to.passphrase, Stanza));
  else for (const recipient of to.recipients) encrypter.addRecipient(recipient);
  const file = Buffer.from(await encrypter.encrypt(new Uint8Array(0)));
  // What follows the header is the nonce and the one empty chunk of an empty payload.
  return file.subarray(0, file.length - EMPTY_PAYLOAD);
}

const EMPTY_PAYLOAD = 32;

/** True if the bytes begin like a file in the age format. */
export async function isSealed(source: ArchiveSource, signal: AbortSignal): Promise<boolean> {
  if (source.size < MAGIC.length) return false;
  const reader = new RangeReader(source, 0, MAGIC.length, signal);
  try {
    return (await reader.take(MAGIC.length)).toString('latin1') === MAGIC;
  } finally {
    reader.close();
  }
}

/**
 * The header at the beginning of a sealed archive. It is judged only in its outline: `openHeader` checks the rest.
 * @throws AppError ARCHIVE_FOREIGN, ARCHIVE_CORRUPT, ARCHIVE_HOSTILE; what the source threw
 */
export async function readHeader(source: ArchiveSource, signal: AbortSignal): Promise<Buffer> {
  const length = Math.min(source.size, MAX_HEADER);
  const reader = new RangeReader(source, 0, length, signal);
  let text = '';
  try {
    for await (const part of reader.pass(length)) {
      text += part.toString('latin1');
      if (!text.startsWith(MAGIC.slice(0, text.length))) break;
      const end = headerEnd(text);
      if (end !== undefined) return Buffer.from(text.slice(0, end), 'latin1');
    }
  } finally {
    reader.close();
  }
  throw headerProblem(text, source.size);
}

/** Where the header ends: after the line of its MAC. */
function headerEnd(text: string): number | undefined {
  const mac = text.indexOf('\n---');
  const end = mac === -1 ? -1 : text.indexOf('\n', mac + 1);
  return end === -1 ? undefined : end + 1;
}

function headerProblem(text: string, size: number): AppError {
  if (!text.startsWith(MAGIC)) {
    const armoured = text.startsWith('-----BEGIN AGE ENCRYPTED FILE-----');
    if (!armoured) return foreign('The file is not in the age format, or in a version of it that is not known.');
    return new AppError('ARCHIVE_FOREIGN', 'The file is in the text form of age.', {
      hint: 'Encrypt it without `--armor`.',
    });
  }
  if (size > MAX_HEADER) return hostile(`The header of the age file is longer than ${MAX_HEADER} bytes.`);
  return corrupt('The age file ends within its header: it is truncated.');
}

/** What a header asks for: a passphrase, or the identity of one of its recipients. */
export const wantsPassphrase = (header: Buffer): boolean => stanzasOf(header).some((kind) => kind === 'scrypt');

const stanzasOf = (header: Buffer): string[] =>
  header
    .toString('latin1')
    .split('\n')
    .filter((line) => line.startsWith('-> '))
    .map((line) => line.split(' ')[1] ?? '');

/**
 * Opens a header.
 * @returns the file key; null if none of the identities and passphrases is for it
 * @throws AppError ARCHIVE_CORRUPT if the header is damaged or was changed, ARCHIVE_HOSTILE if it would cost too much
 */
export async function openHeader(header: Buffer, { identities, passphrases }: Unsealing): Promise<Buffer | null> {
  if (stanzasOf(header).length > MAX_RECIPIENTS) {
    throw hostile(`The header of the age file names more than ${MAX_RECIPIENTS} recipients.`);
  }
  const { Decrypter } = await library();
  const decrypter = new Decrypter();
  for (const identity of identities) decrypter.addIdentity(identity);
  for (const passphrase of passphrases) decrypter.addIdentity(passphraseIdentity(passphrase));
  let matched = true;
  // Asked last, and only if none before it was for this header.
  decrypter.addIdentity({
    unwrapFileKey() {
      matched = false;
      return null;
    },
  });
  try {
    return Buffer.from(await decrypter.decryptHeader(header));
  } catch (error) {
    if (error instanceof AppError) throw error;
    if (!matched) return null;
    throw corrupt('The header of the age file is damaged, or was changed.', error);
  }
}

/** As the library's own, but in a thread of Node.js's pool: the library would hold everything up for seconds. */
function passphraseRecipient(passphrase: string, Made: typeof Stanza): Recipient {
  return {
    async wrapFileKey(fileKey) {
      const salt = randomBytes(16);
      const key = await scryptKey(passphrase, salt, WORK_FACTOR);
      const cipher = createCipheriv('chacha20-poly1305', key, ZERO_NONCE, { authTagLength: TAG_BYTES });
      const body = Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
      return [new Made(['scrypt', unpadded(salt), String(WORK_FACTOR)], body)];
    },
  };
}

function passphraseIdentity(passphrase: string): Identity {
  return {
    async unwrapFileKey(stanzas) {
      const found = stanzas.find(({ args: [kind] }) => kind === 'scrypt');
      if (found === undefined) return null;
      const [, saltText = '', work = ''] = found.args;
      const salt = Buffer.from(saltText, 'base64');
      const wellFormed = found.args.length === 3 && salt.length === 16 && unpadded(salt) === saltText;
      const ownBody = found.body.length === FILE_KEY_BYTES + TAG_BYTES;
      if (stanzas.length !== 1 || !wellFormed || !ownBody || !/^[1-9][0-9]*$/.test(work)) {
        throw corrupt('The header of the age file is damaged: its passphrase line is not as it must be.');
      }
      if (Number(work) > MAX_WORK_FACTOR) {
        throw hostile(
          `Trying a passphrase on the age file would take 2^${work} steps: the most is 2^${MAX_WORK_FACTOR}.`,
        );
      }
      return opened(found.body, await scryptKey(passphrase, salt, Number(work)));
    },
  };
}

function opened(body: Uint8Array, key: Buffer): Buffer | null {
  const decipher = createDecipheriv('chacha20-poly1305', key, ZERO_NONCE, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(body.subarray(FILE_KEY_BYTES));
  try {
    return Buffer.concat([decipher.update(body.subarray(0, FILE_KEY_BYTES)), decipher.final()]);
  } catch {
    return null;
  }
}

const ZERO_NONCE = Buffer.alloc(12);
const TAG_BYTES = 16;
const unpadded = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');

function scryptKey(passphrase: string, salt: Buffer, workFactor: number): Promise<Buffer> {
  const N = 2 ** workFactor;
  const maxmem = 130 * SCRYPT_BLOCK * N + (1 << 20);
  return new Promise((resolve, reject) => {
    const labelled = Buffer.concat([Buffer.from(SCRYPT_LABEL), salt]);
    scrypt(passphrase, labelled, 32, { N, r: SCRYPT_BLOCK, p: 1, maxmem }, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}
