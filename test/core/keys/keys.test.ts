import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { newFileKey, newIdentity, sealedHeader } from '../../../src/archive/seal-header.js';
import type { KeyInput, Keys } from '../../../src/core/keys/keys.js';
import { createWorld, type World } from '../../support/world.js';

let world: World;
let keys: Keys;
beforeAll(async () => {
  world = await createWorld();
  ({ keys } = world.app);
});
afterAll(() => world.close());

let number = 0;
const name = () => `Key ${(number += 1)}`;
const make = async (input: Omit<KeyInput, 'name'>) => keys.create({ name: name(), ...input }, 'test');

describe('An encryption key', () => {
  it('that is generated shows its identity once and keeps it only if that was asked for', async () => {
    const { key, identity } = await make({ generate: true });
    expect(identity).toMatch(/^AGE-SECRET-KEY-1/);
    expect(key).toMatchObject({ recipient: expect.stringMatching(/^age1/), secret: null });
    const kept = await make({ generate: true, keepHere: true });
    expect(kept.key.secret).not.toBeNull();
    const rows = JSON.stringify(await world.app.models.sequelize.query('SELECT * FROM encryption_keys'));
    expect(rows).not.toContain(identity);
    expect(rows).not.toContain(kept.identity);
  });

  it.each([
    [{}, 'input'],
    [{ generate: true, passphrase: 'four random words' }, 'input'],
    [{ recipient: 'age1nothing' }, 'recipient'],
    [{ recipient: 'AGE-SECRET-KEY-1QQ' }, 'recipient'],
    [{ passphrase: 'short' }, 'passphrase'],
    [{ passphrase: 'two lines of\nwords' }, 'passphrase'],
    [{ passphrase: 'four random words', keepHere: false }, 'keepHere'],
    [{ name: ' ', generate: true }, 'name'],
  ])('is refused for %j, naming %s', async (input, field) => {
    await expect(make(input)).rejects.toMatchObject({ code: 'BAD_USER_INPUT', field });
  });

  it('is refused under the name, or with the recipient, of another one', async () => {
    const { key } = await make({ generate: true });
    await expect(keys.create({ name: key.name, generate: true }, 'test')).rejects.toMatchObject({ field: 'name' });
    await expect(make({ recipient: key.recipient ?? '' })).rejects.toMatchObject({ field: 'recipient' });
  });

  it('that is a passphrase cannot be chosen together with others', async () => {
    const [one, other] = [await make({ generate: true }), await make({ passphrase: 'four random words' })];
    await expect(keys.chosen([one.key.id, other.key.id])).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
      field: 'encryptionKeyIds',
    });
    await expect(keys.chosen([9999])).rejects.toMatchObject({ code: 'NOT_FOUND', field: 'encryptionKeyIds' });
    expect(await keys.chosen([other.key.id])).toHaveLength(1);
  });

  it('opens by itself where its identity is held here, and asks for it where it is not', async () => {
    const [held, away] = [await make({ generate: true, keepHere: true }), await make({ generate: true })];
    const fileKey = newFileKey();
    const headerFor = ({ key }: typeof held) => sealedHeader(fileKey, { recipients: [key.recipient ?? ''] });
    expect(await keys.open(await headerFor(held), 'It', undefined, null)).toEqual({ fileKey, keyIds: [held.key.id] });
    const header = await headerFor(away);
    await expect(keys.open(header, 'It', undefined, null)).rejects.toMatchObject({ code: 'ENCRYPTION_KEY_MISSING' });
    const given = `# created today\n${away.identity}\n`;
    expect(await keys.open(header, 'It', given, null)).toEqual({ fileKey, keyIds: [away.key.id] });
    expect((await keys.get(away.key.id)).lastUsedAt).not.toBeNull();
    const { identity: strange } = await newIdentity();
    await expect(keys.open(header, 'It', strange, null)).rejects.toMatchObject({ code: 'ENCRYPTION_KEY_WRONG' });
  });

  it.each(['', ' \n', 'AGE-SECRET-KEY-1WRONG', 'AGE-PLUGIN-YUBIKEY-1QQ'])(
    'is refused as %j, in words that do not repeat it',
    async (given) => {
      const header = await sealedHeader(newFileKey(), { recipients: [(await newIdentity()).recipient] });
      const error = await keys.open(header, 'It', given, null).catch((thrown: Error) => thrown);
      expect(error).toMatchObject({ code: 'BAD_USER_INPUT', field: 'identity' });
      if (given.trim() !== '') expect(String(error)).not.toContain(given);
    },
  );

  it('still opens after the secrets key was replaced', async () => {
    const { key } = await make({ generate: true, keepHere: true });
    const fileKey = newFileKey();
    const header = await sealedHeader(fileKey, { recipients: [key.recipient ?? ''] });
    const before = key.secret;
    await world.app.destinations.rotateKey('test');
    expect((await key.reload()).secret).not.toBe(before);
    expect(await keys.open(header, 'It', undefined, null)).toMatchObject({ fileKey });
  });

  it('can be deleted once the config that named it is gone', async () => {
    const { key } = await make({ generate: true });
    const input = { name: 'Other', databaseUrl: `sqlite:${world.database}`, encryptionKeyIds: [key.id] };
    const config = await world.app.configs.create(input, 'test');
    await expect(keys.remove(key.id, 'test')).rejects.toMatchObject({ code: 'ENCRYPTION_KEY_IN_USE' });
    await world.app.configs.remove(config.id, 'test');
    await keys.remove(key.id, 'test');
  });

  it('can be deleted while nothing needs it', async () => {
    const { key } = await make({ generate: true });
    await keys.remove(key.id, 'test');
    await expect(keys.get(key.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
