#!/usr/bin/env node
/*
 * Turns a backup of db-manager into files, without db-manager: needs Node.js 18 or newer, and no package.
 *
 *   node recover.mjs <archive.zip or archive.zip.age> <new folder> [--identity <file>]
 *
 * An encrypted archive (.age) asks for its passphrase, or needs a file with an age identity (AGE-SECRET-KEY-1…). Every file
 * is compared with the size and the checksum that the archive has of it. Nothing is ever overwritten.
 *
 * An incremental backup is put together with those that it builds on: they must lie in the same folder, under their own
 * names. A full backup that was made of one of them takes its place.
 *
 * Formats: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT and https://age-encryption.org/v1.
 */
import { Buffer } from 'node:buffer';
import {
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  scryptSync,
  timingSafeEqual,
} from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import zlib from 'node:zlib';

const METADATA = 'backup_metadata.json';
const DELTA = 'database.delta';
const AGE = 'age-encryption.org/v1\n';
const CHUNK = 64 * 1024;
const TAG = 16;

/** Something that the user can act on: shown without a stack. */
class Problem extends Error {}

async function main(args) {
  const { archive, folder, identityFile } = parse(args);
  await mkdir(dirname(folder), { recursive: true });
  await mkdir(folder).catch((error) => {
    if (error.code === 'EEXIST')
      throw new Problem(`${folder} is already there. Name a folder that does not exist yet.`);
    throw error;
  });
  const newest = await unpackArchive(archive, folder, identityFile);
  if (newest.metadata.parent !== undefined) await putTogether(archive, newest.metadata, folder, identityFile);
  tellNext(newest);
}

/** Lays the files of one archive. @returns its metadata, and the SHA-256 of each file by its path */
async function unpackArchive(archive, folder, identityFile) {
  const file = await open(archive);
  const plain = join(folder, '.decrypted.zip');
  try {
    if (!(await isAge(file))) return await unpack(file, folder);
    say('The archive is encrypted. Decrypting …');
    await decrypt(file, plain, identityFile);
    const zip = await open(plain);
    return await unpack(zip, folder).finally(() => zip.close());
  } finally {
    await file.close();
    await rm(plain, { force: true });
  }
}

const say = (text) => process.stdout.write(`${text}\n`);

function parse(args) {
  const [archive, folder, option, identityFile, ...more] = args;
  const known = option === undefined || (option === '--identity' && identityFile !== undefined);
  if (archive !== undefined && folder !== undefined && known && more.length === 0) {
    return { archive, folder: resolve(folder), identityFile };
  }
  throw new Problem('Usage: node recover.mjs <archive.zip or archive.zip.age> <new folder> [--identity <file>]');
}

async function read(file, start, length) {
  const bytes = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(bytes, filled, length - filled, start + filled);
    if (bytesRead === 0) throw new Problem('The archive is cut off.');
    filled += bytesRead;
  }
  return bytes;
}

/* ---- age ---- */

async function isAge(file) {
  const { size } = await file.stat();
  return size > AGE.length && (await read(file, 0, AGE.length)).toString('latin1') === AGE;
}

async function decrypt(file, to, identityFile) {
  const { size } = await file.stat();
  const header = await readHeader(file, size);
  const fileKey = await fileKeyOf(header, identityFile);
  const mac = createHmac('sha256', hkdf(fileKey, '', 'header'))
    .update(header.text.slice(0, header.macAt))
    .digest();
  if (mac.length !== header.mac.length || !timingSafeEqual(mac, header.mac)) {
    throw new Problem('The header of the encrypted archive is damaged.');
  }
  const start = header.text.length;
  const key = hkdf(fileKey, await read(file, start, 16), 'payload');
  const out = await open(to, 'wx', 0o600);
  try {
    let at = start + 16;
    if (size - at < TAG) throw new Problem('The encrypted archive is cut off.');
    for (let index = 0; at < size; index++) {
      const length = Math.min(CHUNK + TAG, size - at);
      const isLast = at + length === size;
      if (length < TAG || (length === TAG && index > 0)) throw new Problem('The encrypted archive is cut off.');
      const plain = opened(key, nonceOf(index, isLast), await read(file, at, length));
      if (plain === null) throw new Problem('The encrypted archive is damaged, or cut off.');
      await out.writeFile(plain);
      at += length;
    }
  } finally {
    await out.close();
  }
}

async function readHeader(file, size) {
  const text = (await read(file, 0, Math.min(size, CHUNK))).toString('latin1');
  const macAt = text.indexOf('\n---') + 4;
  const end = text.indexOf('\n', macAt) + 1;
  if (macAt < 4 || end === 0) throw new Problem('The header of the encrypted archive is cut off.');
  const stanzas = [];
  for (const line of text.slice(AGE.length, macAt - 4).split('\n')) {
    if (line.startsWith('-> ')) stanzas.push({ args: line.slice(3).split(' '), body: '' });
    else if (stanzas.length > 0) stanzas.at(-1).body += line;
  }
  return {
    text: Buffer.from(text.slice(0, end), 'latin1'),
    macAt,
    mac: Buffer.from(text.slice(macAt, end).trim(), 'base64'),
    stanzas,
  };
}

async function fileKeyOf({ stanzas }, identityFile) {
  const scrypt = stanzas.find(({ args }) => args[0] === 'scrypt');
  if (scrypt !== undefined) return openWithPassphrase(scrypt, identityFile);
  if (identityFile === undefined) {
    throw new Problem('The archive needs an age identity: give the file that has it with --identity.');
  }
  const identities = (await readFile(identityFile, 'utf8'))
    .split('\n')
    .filter((line) => /^AGE-SECRET-KEY-1/i.test(line));
  if (identities.length === 0) throw new Problem(`${identityFile} has no line that begins with AGE-SECRET-KEY-1.`);
  for (const identity of identities) {
    for (const stanza of stanzas.filter(({ args }) => args[0] === 'X25519')) {
      const key = openWithIdentity(stanza, fromBech32(identity.trim()));
      if (key !== null) return key;
    }
  }
  throw new Problem(`None of the identities in ${identityFile} is for this archive.`);
}

async function openWithPassphrase({ args: [, salt, work], body }, passphraseFile) {
  const logN = Number(work);
  if (!(logN > 0 && logN <= 22)) throw new Problem('The encrypted archive asks for too much work.');
  const passphrase =
    passphraseFile === undefined
      ? await ask('Passphrase: ')
      : (await readFile(passphraseFile, 'utf8')).replace(/\r?\n$/, '');
  const labelled = Buffer.concat([Buffer.from('age-encryption.org/v1/scrypt'), Buffer.from(salt, 'base64')]);
  const options = { N: 2 ** logN, r: 8, p: 1, maxmem: 2 ** logN * 1024 + 64 * 1024 * 1024 };
  const key = opened(scryptSync(passphrase, labelled, 32, options), Buffer.alloc(12), Buffer.from(body, 'base64'));
  if (key === null) throw new Problem('The passphrase is not the one of this archive.');
  return key;
}

function openWithIdentity({ args: [, share], body }, secret) {
  const der = (prefix, bytes) => Buffer.concat([Buffer.from(prefix, 'hex'), bytes]);
  const privateKey = createPrivateKey({
    key: der('302e020100300506032b656e04220420', secret),
    format: 'der',
    type: 'pkcs8',
  });
  const own = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);
  const ephemeral = Buffer.from(share, 'base64');
  const publicKey = createPublicKey({ key: der('302a300506032b656e032100', ephemeral), format: 'der', type: 'spki' });
  const shared = diffieHellman({ privateKey, publicKey });
  const key = hkdf(shared, Buffer.concat([ephemeral, own]), 'age-encryption.org/v1/X25519');
  return opened(key, Buffer.alloc(12), Buffer.from(body, 'base64'));
}

const hkdf = (key, salt, info) => Buffer.from(hkdfSync('sha256', key, salt, info, 32));

function nonceOf(index, isLast) {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(index, 5, 6);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

/** Null if the bytes are not what was sealed with this key. */
function opened(key, nonce, sealed) {
  if (sealed.length < TAG) return null;
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG });
  decipher.setAuthTag(sealed.subarray(-TAG));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(0, -TAG)), decipher.final()]);
  } catch {
    return null;
  }
}

/** The 32 bytes of an identity: BIP 173, whose checksum only tells a slip of the pen. */
function fromBech32(text) {
  const letters = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l';
  const data = text.toLowerCase().slice(text.lastIndexOf('1') + 1, -6);
  const bytes = [];
  let bits = 0;
  let value = 0;
  for (const letter of data) {
    value = (value << 5) | letters.indexOf(letter);
    bits += 5;
    if (bits >= 8) bytes.push((value >> (bits -= 8)) & 255);
    value &= 255;
  }
  if (bytes.length !== 32 || [...data].some((letter) => !letters.includes(letter))) {
    throw new Problem('The identity is not complete: it has 74 characters.');
  }
  return Buffer.from(bytes);
}

let answer;

async function ask(question) {
  if (answer !== undefined) return answer;
  if (!process.stdin.isTTY) throw new Problem('The archive needs its passphrase: run this in a terminal.');
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (answer = await terminal.question(question));
  } finally {
    terminal.close();
  }
}

/* ---- ZIP ---- */

async function unpack(file, folder) {
  const entries = await readDirectory(file);
  const sums = new Map();
  for (const entry of entries) {
    const path = placeOf(folder, entry.path);
    if (entry.path.endsWith('/')) {
      await mkdir(path, { recursive: true });
      continue;
    }
    await mkdir(dirname(path), { recursive: true });
    sums.set(entry.path, await extract(file, entry, path));
  }
  const metadata = sums.has(METADATA) ? await readMetadata(join(folder, METADATA)) : { entries: [] };
  for (const { path, sha256 } of metadata.entries) {
    if (sums.get(path) !== sha256) throw new Problem(`${path} is not what was backed up: its SHA-256 differs.`);
  }
  say(`${sums.size} files are in ${folder}, each with its right checksum.`);
  if (metadata.entries.length === 0) say('The archive has no list of SHA-256 sums: they were compared by CRC-32 only.');
  return { metadata, sums };
}

async function readMetadata(file) {
  try {
    const { entries = [], media = [], ...more } = JSON.parse(await readFile(file, 'utf8'));
    return { ...more, entries: [...entries], media: [...media] };
  } catch {
    throw new Problem(`${METADATA} cannot be read. The files are unpacked, but were compared by CRC-32 only.`);
  }
}

function tellNext({ metadata, sums }) {
  if (metadata.backup_date) say(`Backed up: ${metadata.backup_date}, ${metadata.database_name ?? ''}`);
  const { reproduces } = metadata;
  if (reproduces !== undefined || sums.has('database.sqlite3')) {
    say('The database is database.sqlite3. Stop your application, and copy it to where its database belongs.');
  }
  for (const { path, prefix } of reproduces?.media ?? metadata.media ?? [])
    say(`The files below ${prefix} belong in ${path}.`);
}

/* ---- incremental backups: docs/archive-format.md ---- */

/** Lays what the archive builds on, the full backup last, then changes that step by step into the newest state. */
async function putTogether(archive, newest, folder, identityFile) {
  const steps = [];
  for (let metadata = newest; metadata.parent !== undefined;) {
    const step = join(folder, `.step-${steps.length + 1}`);
    const names = await readdir(folder);
    await mkdir(step);
    for (const name of names) if (!name.startsWith('.step-')) await rename(join(folder, name), join(step, name));
    steps.push({ step, metadata });
    const { file_name: name, metadata_sha256: sum } = metadata.parent;
    if (name !== basename(name)) throw new Problem(`The archive is not safe: it builds on ${JSON.stringify(name)}.`);
    say(`It is incremental and builds on ${name}.`);
    metadata = await unpackBefore(archive, { name, sum }, folder, identityFile);
  }
  const database = placeOf(folder, newest.reproduces.database.path);
  for (const { step, metadata } of steps.reverse()) {
    await applyDelta(join(step, DELTA), database);
    // What lies in a folder goes before the folder.
    const removed = [...metadata.reproduces.removed].sort().reverse();
    for (const path of removed) await remove(placeOf(folder, path), path.endsWith('/'));
    await rm(join(step, DELTA));
    await moveOver(step, folder);
  }
  if ((await sha256Of(database)) !== newest.reproduces.database.sha256) {
    throw new Problem('The database is not what was backed up: its SHA-256 differs.');
  }
  say(`${steps.length + 1} archives are put together in ${folder}. The database has its right checksum.`);
}

/** Lays what the archive builds on, or the full backup that was made of that, which has another number in its name. */
async function unpackBefore(archive, { name, sum }, folder, identityFile) {
  const series = /^(.*_backup_\d{8}_\d{6})(?:_\d+)?\.zip(?:\.age)?$/;
  const isAlike = (other) => series.test(name) && series.exec(other)?.[1] === series.exec(name)[1];
  const files = (await readdir(dirname(archive))).sort();
  const candidates = [
    ...files.filter((file) => file === name),
    ...files.filter((file) => file !== name && isAlike(file)),
  ];
  for (const file of candidates) {
    const { metadata } = await unpackArchive(join(dirname(archive), file), folder, identityFile);
    if ((await sha256Of(join(folder, METADATA))) === sum) return metadata;
    if (metadata.consolidated?.metadata_sha256 === sum) return metadata;
    for (const laid of await readdir(folder)) {
      if (!laid.startsWith('.step-')) await rm(join(folder, laid), { recursive: true });
    }
  }
  if (!files.includes(name)) throw new Problem(`Put ${name} into the folder of ${archive}, and start again.`);
  throw new Problem(`${name} is not the archive that was built on: another one has its name.`);
}

async function sha256Of(path) {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** Overwrites the pages that changed. */
async function applyDelta(path, database) {
  const [delta, file] = [await open(path), await open(database, 'r+')];
  try {
    const header = await read(delta, 0, 32);
    const [version, pageSize, before, after, runs] = [8, 12, 16, 20, 24].map((at) => header.readUInt32LE(at));
    const { size } = await delta.stat();
    const isPageSize = pageSize >= 512 && pageSize <= 65_536;
    const fits = isPageSize && before * pageSize === (await file.stat()).size && 32 + runs * 8 <= size;
    if (header.toString('latin1', 0, 8) !== 'DBMDELTA' || version !== 1 || !fits) {
      throw new Problem(`${DELTA} does not fit to the database that it changes.`);
    }
    // A database grows by pages that are there, whatever the header says.
    if (after > before + size / pageSize) throw new Problem(`${DELTA} lacks pages of the database.`);
    const list = await read(delta, 32, runs * 8);
    let at = 32 + runs * 8;
    for (let run = 0; run < runs; run++) {
      const [first, count] = [list.readUInt32LE(run * 8), list.readUInt32LE(run * 8 + 4)];
      if (first < 1 || first + count - 1 > after) throw new Problem(`${DELTA} has a page outside the database.`);
      for (let page = first; page < first + count; page++, at += pageSize) {
        await file.write(await read(delta, at, pageSize), 0, pageSize, (page - 1) * pageSize);
      }
    }
    await file.truncate(after * pageSize);
  } finally {
    await delta.close();
    await file.close();
  }
}

/** A folder goes once it is empty. */
async function remove(path, isFolder) {
  if (!isFolder) return rm(path, { force: true });
  await rmdir(path).catch(() => undefined);
}

/** Moves what lies in a folder into another one, in place of what is there. */
async function moveOver(from, to) {
  await mkdir(to, { recursive: true });
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await moveOver(source, target);
    else await rename(source, target);
  }
  await rmdir(from);
}

/** Where an entry is written. What could lead out of the folder is refused. */
function placeOf(folder, path) {
  const parts = path.replace(/\/$/, '').split('/');
  if (path.includes('\\') || path.includes('\0') || parts.some((part) => ['', '.', '..'].includes(part))) {
    throw new Problem(`The archive is not safe: it holds the name ${JSON.stringify(path)}.`);
  }
  return join(folder, ...parts);
}

async function readDirectory(file) {
  const { size } = await file.stat();
  const tail = await read(file, Math.max(0, size - 65_557), Math.min(size, 65_557));
  const at = tail.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  if (at === -1) throw new Problem('This is no ZIP archive, or it is cut off.');
  let [count, length, start] = [tail.readUInt16LE(at + 10), tail.readUInt32LE(at + 12), tail.readUInt32LE(at + 16)];
  const locator = at - 20;
  if (locator >= 0 && tail.toString('latin1', locator, locator + 4) === 'PK\x06\x07') {
    const end = await read(file, Number(tail.readBigUInt64LE(locator + 8)), 56);
    [count, length, start] = [32, 40, 48].map((place) => Number(end.readBigUInt64LE(place)));
  }
  // Nothing that the archive says is allocated before it is known to be there.
  if (!(start + length <= size)) throw new Problem('The archive is damaged, or cut off.');
  const directory = await read(file, start, length);
  const entries = [];
  for (let place = 0; entries.length < count;) {
    const isEntry = place + 46 <= length && directory.toString('latin1', place, place + 4) === 'PK\x01\x02';
    if (!isEntry) throw new Problem('The archive is damaged.');
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) =>
      directory.readUInt16LE(place + offset),
    );
    const name = directory.subarray(place + 46, place + 46 + nameLength);
    const extra = directory.subarray(place + 46 + nameLength, place + 46 + nameLength + extraLength);
    entries.push({
      path: name.toString('utf8'),
      method: directory.readUInt16LE(place + 10),
      crc: directory.readUInt32LE(place + 16),
      ...sizesOf(directory, place, extra),
    });
    place += 46 + nameLength + extraLength + commentLength;
  }
  return entries;
}

/** What does not fit in 32 bits stands in the ZIP64 field, in this order. */
function sizesOf(directory, place, extra) {
  const values = {
    size: directory.readUInt32LE(place + 24),
    compressedSize: directory.readUInt32LE(place + 20),
    offset: directory.readUInt32LE(place + 42),
  };
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue;
    let field = at + 4;
    for (const name of Object.keys(values)) {
      if (values[name] !== 0xffffffff || field + 8 > extra.length) continue;
      values[name] = Number(extra.readBigUInt64LE(field));
      field += 8;
    }
  }
  return values;
}

/** Writes one entry. @returns its SHA-256 in hex */
async function extract(file, { path, method, crc, size, compressedSize, offset }, to) {
  const header = await read(file, offset, 30);
  const start = offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
  const hash = createHash('sha256');
  let written = 0;
  let sum = 0;
  const count = new Transform({
    transform(chunk, _encoding, done) {
      written += chunk.length;
      hash.update(chunk);
      sum = crc32(chunk, sum);
      done(written > size ? new Problem(`${path} is larger than the archive says.`) : null, chunk);
    },
  });
  const source = async function* () {
    for (let at = 0; at < compressedSize; at += CHUNK)
      yield read(file, start + at, Math.min(CHUNK, compressedSize - at));
  };
  await pipeline(
    [source, expanderOf(method, path), count, createWriteStream(to, { flags: 'wx' })].filter(Boolean),
  ).catch((error) => {
    throw error.code?.startsWith('Z_') ? new Problem(`${path} is damaged in the archive.`) : error;
  });
  if (written !== size) throw new Problem(`${path} is damaged in the archive: it ends too early.`);
  if (sum !== crc) throw new Problem(`${path} is damaged in the archive: its CRC-32 differs.`);
  return hash.digest('hex');
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  return value;
});

/** Node.js has it only from 20.15 and 22.2 on. */
function crc32(bytes, before) {
  if (zlib.crc32) return zlib.crc32(bytes, before);
  let value = ~before;
  for (const byte of bytes) value = CRC_TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}

function expanderOf(method, path) {
  if (method === 0) return null;
  if (method === 8) return zlib.createInflateRaw();
  if (method === 93 && zlib.createZstdDecompress) return zlib.createZstdDecompress();
  throw new Problem(`${path} is compressed by a method (${method}) that needs Node.js 22.15 or newer, or 7-Zip.`);
}

const [, , ...given] = process.argv;
try {
  await main(given);
} catch (error) {
  if (!(error instanceof Problem) && error.code === undefined) throw error;
  process.stderr.write(`Error: ${error.message}\n`);
  process.exitCode = 1;
}
