import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secrets } from '../../src/core/secrets.js';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'secrets-'));
  file = join(folder, 'data', 'secrets-key');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const VALUES = { secretAccessKey: 'canary' };

describe('The secrets of the control database', () => {
  it('open with the key that sealed them, which is made once and is private', async () => {
    const seals = await Promise.all(
      Array.from({ length: 8 }, () => new Secrets({ given: undefined, file }).seal(VALUES)),
    );
    for (const sealed of seals) {
      expect(sealed).not.toContain('canary');
      expect(await new Secrets({ given: undefined, file }).open(sealed)).toEqual(VALUES);
    }
    expect(new Set(seals).size).toBe(8);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(join(folder, 'data'))).toEqual(['secrets-key']);
  });

  it('do not open with another key, or when a byte was changed', async () => {
    const secrets = new Secrets({ given: 'a'.repeat(32), file });
    const sealed = await secrets.seal(VALUES);
    const changed = sealed.slice(0, -2) + (sealed.endsWith('AA') ? 'BB' : 'AA');
    for (const [given, text] of [
      ['b'.repeat(32), sealed],
      ['a'.repeat(32), changed],
      ['a'.repeat(32), 'v1.x'],
      ['a'.repeat(32), ''],
    ] as const) {
      await expect(new Secrets({ given, file }).open(text)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    }
  });

  it('open with both keys while a key is replaced, and with the new one alone afterwards', async () => {
    const secrets = new Secrets({ given: undefined, file });
    const sealed = await secrets.seal(VALUES);
    const old = await readFile(file, 'utf8');
    let resealed = '';
    await secrets.rotate(async () => {
      resealed = await secrets.seal(await secrets.open(sealed));
    });
    expect(await readFile(file, 'utf8')).not.toBe(old);
    expect(await secrets.open(resealed)).toEqual(VALUES);
    await expect(secrets.open(sealed)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  it('keep both keys when sealing them anew failed', async () => {
    const secrets = new Secrets({ given: undefined, file });
    const sealed = await secrets.seal(VALUES);
    await expect(secrets.rotate(() => Promise.reject(new Error('disk')))).rejects.toThrow('disk');
    expect(await secrets.open(sealed)).toEqual(VALUES);
    expect(await secrets.open(await secrets.seal(VALUES))).toEqual(VALUES);
  });

  it('seal with the first of several given keys and open with all', async () => {
    const [old, fresh] = ['o'.repeat(40), 'n'.repeat(40)];
    const sealed = await new Secrets({ given: old, file }).seal(VALUES);
    const both = new Secrets({ given: `${fresh} ${old}`, file });
    expect(await both.open(sealed)).toEqual(VALUES);
    expect(await new Secrets({ given: fresh, file }).open(await both.seal(VALUES))).toEqual(VALUES);
  });

  it('are refused a key that is too short, and never overwrite it', async () => {
    await new Secrets({ given: undefined, file }).seal(VALUES);
    await writeFile(file, 'short');
    const secrets = new Secrets({ given: undefined, file });
    await expect(secrets.seal(VALUES)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect(await readFile(file, 'utf8')).toBe('short');
  });
});
