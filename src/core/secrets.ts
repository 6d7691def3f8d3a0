import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AppError, errnoOf } from '../errors.js';

/** Fewest characters of a key. */
const KEY_LENGTH = 32;
const FORMAT = 'v1';

/** Where the keys come from. */
export interface SecretsKeys {
  /** SECRETS_KEY: one key or several, separated by spaces or lines. Undefined: they lie in `file`. */
  given: string | undefined;
  /** Made with a new key where it is not there. */
  file: string;
}

/**
 * Seals what the control database must not hold in the clear (AES-256-GCM). The first key seals, all of them open: while a key
 * is being replaced, both are there. Keys are read each time, so that a running process follows a rotation.
 */
export class Secrets {
  constructor(private readonly keys: SecretsKeys) {}

  /** @throws AppError CONFIG_INVALID if there is no usable key */
  async seal(values: Record<string, string>): Promise<string> {
    const [key] = await this.read();
    const iv = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', derived(key), iv);
    const text = Buffer.concat([cipher.update(JSON.stringify(values), 'utf8'), cipher.final()]);
    return [FORMAT, ...[iv, cipher.getAuthTag(), text].map((part) => part.toString('base64url'))].join('.');
  }

  /** @throws AppError CONFIG_INVALID if no key opens it */
  async open(sealed: string): Promise<Record<string, string>> {
    const [format, ...parts] = sealed.split('.');
    const [iv, tag, text] = parts.map((part) => Buffer.from(part, 'base64url'));
    for (const key of await this.read()) {
      if (format !== FORMAT || iv === undefined || tag === undefined || text === undefined) break;
      try {
        const decipher = createDecipheriv('aes-256-gcm', derived(key), iv).setAuthTag(tag);
        return JSON.parse(Buffer.concat([decipher.update(text), decipher.final()]).toString()) as Record<
          string,
          string
        >;
      } catch {
        // Sealed with another of the keys.
      }
    }
    throw new AppError(
      'CONFIG_INVALID',
      'A secret of the control database does not open with the present secrets key.',
      {
        hint: 'Put the former SECRETS_KEY or DATA_DIR/secrets-key back, or give the destination, the encryption key or the database URL its secret anew.',
      },
    );
  }

  /** Seals anew what a present or former key opens. @throws AppError CONFIG_INVALID */
  async reseal(sealed: string): Promise<string> {
    return this.seal(await this.open(sealed));
  }

  /**
   * Replaces the key. With SECRETS_KEY the new one stands there already, in front of the old one; the file gets a new one.
   * @param reseal opens and seals all that is kept, in one transaction: until it ends, both keys open
   */
  async rotate(reseal: () => Promise<void>): Promise<void> {
    if (this.keys.given !== undefined) return reseal();
    const [old] = await this.read();
    const next = newKey();
    await this.write(`${next}\n${old}\n`);
    await reseal();
    await this.write(`${next}\n`);
  }

  /** The keys themselves: never but into what is sealed for people. @throws AppError CONFIG_INVALID */
  present(): Promise<string[]> {
    return this.read();
  }

  private async read(): Promise<[string, ...string[]]> {
    const { given, file } = this.keys;
    const text = given ?? (await this.fileText());
    const [first, ...others] = text.split(/\s+/).filter((key) => key !== '');
    const short = [first ?? '', ...others].some((key) => key.length < KEY_LENGTH);
    if (first !== undefined && !short) return [first, ...others];
    const where = given === undefined ? file : 'SECRETS_KEY';
    throw new AppError('CONFIG_INVALID', `${where} holds a key of fewer than ${KEY_LENGTH} characters.`, {
      hint: 'Put the key back that was there, or make one with `openssl rand -hex 32`.',
    });
  }

  private async fileText(): Promise<string> {
    const { file } = this.keys;
    try {
      return await readFile(file, 'utf8');
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw unreadable(file, error);
    }
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const partial = await this.writePartial(`${newKey()}\n`);
    try {
      // Another process may be making it too: the first one counts.
      await link(partial, file).catch((error: unknown) => {
        if (errnoOf(error) !== 'EEXIST') return rename(partial, file);
      });
    } finally {
      await rm(partial, { force: true });
    }
    return readFile(file, 'utf8');
  }

  private async write(text: string): Promise<void> {
    await rename(await this.writePartial(text), this.keys.file);
  }

  private async writePartial(text: string): Promise<string> {
    const partial = `${this.keys.file}.${randomBytes(6).toString('hex')}`;
    await writeFile(partial, text, { mode: 0o600, flag: 'wx', flush: true } as never).catch((error: unknown) => {
      throw unreadable(partial, error);
    });
    return partial;
  }
}

const newKey = () => randomBytes(48).toString('base64url');

const derived = (key: string) => Buffer.from(hkdfSync('sha256', key, '', 'db-manager secrets', 32));

const unreadable = (path: string, error: unknown) =>
  new AppError('CONFIG_INVALID', `The secrets key ${path} cannot be used: ${errnoOf(error) ?? 'unknown'}.`, {
    hint: 'Give the user that runs db-manager the right to read and write it, or set SECRETS_KEY.',
    cause: error,
  });
