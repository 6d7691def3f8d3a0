import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gdriveLogin } from '../../src/storages/gdrive-login.js';
import { gdrivePlace, gdriveSettings } from '../../src/storages/gdrive-settings.js';
import { GdriveStorage } from '../../src/storages/gdrive.js';
import { RetryingStorage } from '../../src/storages/retry.js';
import { storageContract } from '../contracts/storage.contract.js';
import { type DriveRefusal, type DriveServer, startDrive } from '../support/drive-server.js';
import { type Fault, type FaultProxy, startFaultProxy } from '../support/fault-proxy.js';
import { roundTrip } from '../support/round-trip.js';
import { NEVER, type World } from '../support/world.js';

const NAME = 'okpuja_backup_20250724_143022.zip';
const POLICY = { budget: 200, first: 1, longest: 20 };
const USER = { clientId: 'client', clientSecret: 'a client secret', refreshToken: 'a refresh token' };
const { publicKey, privateKey } = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
});
const serviceAccountKey = JSON.stringify({ client_email: 'robot@project.example', private_key: privateKey });

let drive: DriveServer;
beforeAll(async () => {
  drive = await startDrive(publicKey);
});
afterAll(() => drive.close());
afterEach(() => {
  drive.refuse = () => undefined;
  drive.takeAtMost(Infinity);
});

let places = 0;
function open(values: Record<string, string> = {}, rootUrl = drive.url) {
  const all = { folder: `Backups/place ${(places += 1)}`, rootUrl, ...USER, ...values };
  return new GdriveStorage(gdriveSettings(all), gdrivePlace(all), 1_000, POLICY);
}

/** A place whose own folder is known, so that its files can be named. */
async function place() {
  const storage = open();
  const everything = async () => {
    const folder = [...drive.items.values()].find(({ name }) => storage.place.endsWith(`/${name}`));
    return [...drive.items.values()]
      .filter(({ parents, trashed }) => parents.includes(folder?.id ?? '') && !trashed)
      .map(({ name }) => name)
      .sort();
  };
  return { storage, everything, dispose: async () => undefined };
}

storageContract('Google Drive', place);

describe('Google Drive', () => {
  const bytes = randomBytes(20 * 1024 * 1024);
  const put = (storage: GdriveStorage, body: Readable = Readable.from([bytes])) =>
    storage.put(NAME, body, { owner: 'run', signal: NEVER });
  let there: Awaited<ReturnType<typeof place>>;
  beforeEach(async () => {
    there = await place();
    await there.storage.prepare();
  });

  /** Answers the first requests that match in place of the server. */
  const refuse = (matches: (path: string, method: string) => boolean, ...refusals: DriveRefusal[]) => {
    drive.refuse = ({ path, method }) => (matches(path, method) ? refusals.shift() : undefined);
  };
  const isPiece = (path: string, method: string) => path.startsWith('/session/') && method === 'PUT';

  it.each<[string, DriveRefusal]>([
    ['503', { status: 503 }],
    ['403 rateLimitExceeded', { status: 403, reason: 'rateLimitExceeded' }],
    ['429', { status: 429 }],
  ])('stores the whole archive despite %s', async (_title, refusal) => {
    refuse(isPiece, refusal, refusal, refusal);
    expect(await put(there.storage)).toMatchObject({ size: bytes.length });
    expect((await buffer(await there.storage.get(NAME))).equals(bytes)).toBe(true);
    expect(await there.everything()).toEqual([NAME]);
  });

  it('goes on where a piece ended that was not taken whole', async () => {
    drive.takeAtMost(3_000_000);
    expect(await put(there.storage)).toMatchObject({ size: bytes.length });
    expect((await buffer(await there.storage.get(NAME))).equals(bytes)).toBe(true);
  });

  it('asks for a new token when the present one has ended, also in the middle of an upload', async () => {
    drive.endTokens();
    expect(await there.storage.stat(NAME)).toBeNull();
    let pieces = 0;
    drive.refuse = ({ path, method }) => {
      if (isPiece(path, method) && (pieces += 1) === 2) drive.endTokens();
      return undefined;
    };
    expect(await put(there.storage)).toMatchObject({ size: bytes.length });
    drive.endTokens();
    expect((await buffer(await there.storage.get(NAME))).equals(bytes)).toBe(true);
  });

  it('ends an upload that Drive has forgotten with an error that passes, and leaves nothing', async () => {
    let pieces = 0;
    drive.refuse = ({ path, method }) => {
      if (isPiece(path, method) && (pieces += 1) === 2) drive.endSessions();
      return undefined;
    };
    await expect(put(there.storage)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(pieces).toBe(2);
    expect(await there.everything()).toEqual([]);
  });

  it('does not keep a file whose checksum is not that of what was sent', async () => {
    drive.damage(Buffer.from(bytes).fill(0, 1_000, 1_001));
    await expect(put(there.storage)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
    expect(await there.everything()).toEqual([]);
  });

  it('says that the drive is full, and that a folder may not be written', async () => {
    refuse((path) => path.startsWith('/upload/'), { status: 403, reason: 'storageQuotaExceeded' });
    await expect(put(there.storage)).rejects.toMatchObject({ code: 'STORAGE_FULL' });
    refuse((path) => path.startsWith('/upload/'), { status: 403, reason: 'insufficientFilePermissions' });
    await expect(put(there.storage)).rejects.toMatchObject({
      code: 'STORAGE_REFUSED',
      hint: /Share the folder/ as never,
    });
  });

  it('makes the folders of a path once, and removes them when that is undone', async () => {
    const storage = open({ folder: 'made/by/a test' });
    const { made, undo } = await storage.prepare();
    expect(made).toEqual(['gdrive://made/by/a test']);
    expect((await open({ folder: 'made/by/a test' }).prepare()).made).toEqual([]);
    await undo();
    expect([...drive.items.values()].filter(({ name }) => ['made', 'by', 'a test'].includes(name))).toEqual([]);
    await expect(open({ folder: 'never/made' }).stat(NAME)).rejects.toMatchObject({ code: 'STORAGE_REFUSED' });
  });

  it('takes a folder by its id', async () => {
    const folder = [...drive.items.values()].find(({ name }) => there.storage.place.endsWith(`/${name}`));
    await put(there.storage, Readable.from(['x']));
    expect(await open({ folder: folder?.id ?? '' }).stat(NAME)).toMatchObject({ size: 1 });
    await expect(open({ folder: 'no-folder-of-this-id-000' }).prepare()).rejects.toMatchObject({
      code: 'STORAGE_REFUSED',
    });
  });

  it('keeps its own file when another of the same name is put beside it, and removes both', async () => {
    await put(there.storage, Readable.from(['ours']));
    const own = [...drive.items.values()].at(-1)!;
    const older = { id: 'strange', createdTime: '2020', appProperties: {}, content: Buffer.from('?') };
    drive.items.set('strange', { ...own, ...older });
    expect((await buffer(await there.storage.get(NAME))).toString()).toBe('ours');
    const listed = [];
    for await (const { name } of there.storage.list()) listed.push(name);
    expect(listed).toEqual([NAME]);
    await there.storage.remove(NAME);
    expect(await there.everything()).toEqual([]);
  });

  it('moves a file to the trash where it may not be deleted', async () => {
    await put(there.storage, Readable.from(['x']));
    drive.refuse = ({ method, path }) =>
      method === 'DELETE' && path.startsWith('/drive/')
        ? { status: 403, reason: 'insufficientFilePermissions' }
        : undefined;
    await there.storage.remove(NAME);
    expect(await there.everything()).toEqual([]);
  });

  it('tells free space from the quota, and null where there is none', async () => {
    drive.quota = { limit: '1000', usage: '400' };
    expect(await there.storage.space()).toEqual({ total: 1000, free: 600 });
    drive.quota = { usage: '400' };
    expect(await there.storage.space()).toBeNull();
    expect(await open({ driveId: 'shared-drive-000000001' }).space()).toBeNull();
  });

  it('refuses a refresh token that was withdrawn, and names the command that gets another', async () => {
    await expect(open({ refreshToken: 'withdrawn' }).prepare()).rejects.toMatchObject({
      code: 'STORAGE_REFUSED',
      hint: expect.stringContaining('gdrive-login'),
    });
  });

  it('proves a service account by its key, and refuses the key of another one', async () => {
    await open({ ...NOBODY, serviceAccountKey }).prepare();
    expect(drive.grants.at(-1)?.get('grant_type')).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer');
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    const key = { client_email: 'robot@project.example', private_key: other.export({ type: 'pkcs8', format: 'pem' }) };
    await expect(open({ ...NOBODY, serviceAccountKey: JSON.stringify(key) }).prepare()).rejects.toMatchObject({
      code: 'STORAGE_REFUSED',
    });
  });

  const NOBODY = { clientId: '', clientSecret: '', refreshToken: '' };

  it.each<[string, string, Record<string, string>]>([
    ['folder', 'empty', { folder: '' }],
    ['folder', 'a path that leads elsewhere', { folder: 'a/../b' }],
    ['serviceAccountKey', 'missing, and there is no client', NOBODY],
    ['serviceAccountKey', 'no JSON', { ...NOBODY, serviceAccountKey: 'a secret text' }],
    ['clientId', 'given beside a service account', { serviceAccountKey }],
    ['refreshToken', 'missing', { refreshToken: '' }],
    ['driveId', 'no id', { driveId: 'x' }],
    ['rootUrl', 'no URL of the web', { rootUrl: 'ftp://example.com' }],
  ])('names the setting %s if it is %s, and never shows a secret', (field, _what, values) => {
    expect(() => open(values)).toThrow(expect.objectContaining({ code: 'BAD_USER_INPUT', field }) as never);
    expect(() => open(values)).not.toThrow(/a secret text|PRIVATE KEY/);
  });

  describe('behind a proxy that does damage', () => {
    let proxy: FaultProxy;
    let storage: GdriveStorage;
    const damage = (matches: (request: { method: string; url: string }) => boolean, ...faults: Fault[]) => {
      proxy.fault = (request) => (matches(request) ? faults.shift() : undefined);
    };
    const isPut = ({ method, url }: { method: string; url: string }) => isPiece(url, method);
    const isGet = ({ url }: { url: string }) => url.includes('alt=media');
    beforeEach(async () => {
      proxy = await startFaultProxy(drive.url);
      storage = open({}, proxy.url);
      await storage.prepare();
    });
    afterEach(() => proxy.close());

    it.each<[string, Fault]>([
      ['a connection cut within a piece', { kind: 'cut request', after: 100_000 }],
      ['an answer lost', { kind: 'lose answer' }],
    ])('stores the whole archive despite %s', async (_title, fault) => {
      damage(isPut, fault, fault, fault, fault);
      expect(await put(storage)).toMatchObject({ size: bytes.length });
      expect((await buffer(await storage.get(NAME))).equals(bytes)).toBe(true);
    });

    it('goes on with a read at the byte at which the connection was cut or stalled', async () => {
      await put(storage);
      damage(isGet, { kind: 'cut answer', after: 5_000_000 }, { kind: 'stall', after: 3_000_000 });
      expect((await buffer(await new RetryingStorage(storage, POLICY).get(NAME))).equals(bytes)).toBe(true);
      expect(proxy.seen.filter(isGet)).toHaveLength(3);
    });
  });

  describe('the login of a person', () => {
    /** What a browser does with the address that is shown. */
    const login = (visit: (redirect: URL, state: string) => Promise<unknown>) =>
      gdriveLogin({
        clientId: 'client',
        clientSecret: 'a client secret',
        rootUrl: drive.url,
        signal: NEVER,
        show(url) {
          const { searchParams } = new URL(url);
          expect(searchParams.get('scope')).toBe('https://www.googleapis.com/auth/drive.file');
          void visit(new URL(searchParams.get('redirect_uri') ?? ''), searchParams.get('state') ?? '');
        },
      });
    const back = (redirect: URL, answer: Record<string, string>) =>
      fetch(`${redirect.href}?${new URLSearchParams(answer).toString()}`);

    it('gets a refresh token, and takes no answer but the one to its own question', async () => {
      const statuses: number[] = [];
      const token = await login(async (redirect, state) => {
        statuses.push((await back(redirect, { code: 'forged', state: 'x'.repeat(state.length) })).status);
        statuses.push((await back(redirect, { code: 'the code', state })).status);
      });
      expect(token).toBe('a refresh token');
      expect(statuses).toEqual([400, 200]);
      const grant = Object.fromEntries(drive.grants.at(-1) ?? []);
      expect(grant).toMatchObject({ grant_type: 'authorization_code', code: 'the code' });
      expect(grant.code_verifier).toMatch(/^[\w-]{43}$/);
    });

    it('says that the person has refused', async () => {
      const refused = login((redirect, state) => back(redirect, { error: 'access_denied', state }));
      await expect(refused).rejects.toMatchObject({ code: 'STORAGE_REFUSED', message: /access_denied/ as never });
    });
  });

  describe('as a destination', () => {
    const worlds: World[] = [];
    afterEach(async () => {
      for (const world of worlds.splice(0)) await world.close();
    });

    it('holds a backup that is verified, restored and compared', async () => {
      const values = { folder: 'okpuja/production', rootUrl: drive.url, serviceAccountKey };
      const { world } = await roundTrip({ name: 'Drive', storageType: 'GDRIVE', values });
      worlds.push(world);
      const rows = await world.app.models.Destination.findAll({ raw: true });
      expect(JSON.stringify(rows)).not.toContain('PRIVATE KEY');
    });
  });
});
