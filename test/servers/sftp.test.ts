import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, stat, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { AppError } from '../../src/errors.js';
import { RetryingStorage } from '../../src/storages/retry.js';
import { SftpStorage } from '../../src/storages/sftp.js';
import { sftpSettings } from '../../src/storages/sftp-settings.js';
import { storageContract } from '../contracts/storage.contract.js';
import { roundTrip } from '../support/round-trip.js';
import { startSftp } from '../support/sftp.js';
import { NEVER, type World } from '../support/world.js';

const server = await startSftp();
const missing = 'missing' in server ? server.missing : null;
const NAME = 'okpuja_backup_20250724_143022.zip';
const open: { close(): Promise<unknown> }[] = [];

afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});
afterAll(async () => {
  if (!('missing' in server)) await server.stop();
});

function values(): { host: string; port: number; username: string; privateKey: string; folder: string } {
  if ('missing' in server) throw new Error(server.missing);
  return { ...server.values, folder: server.folder };
}

async function place(more: Record<string, string | number> = {}) {
  const { folder, ...settings } = values();
  const path = join(await mkdtemp(join(folder, 'place-')), 'deep', 'er');
  const storage = new SftpStorage(sftpSettings({ ...settings, path, ...more }), 2_000);
  return { path, storage, everything: () => readdir(path), dispose: async () => undefined };
}

/** A TCP proxy that can cut every connection through it. */
async function startCutter(target: number): Promise<{ port: number; cut(): void; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const proxy: Server = createServer((socket) => {
    const onward = connect(target, '127.0.0.1');
    for (const one of [socket, onward]) sockets.add(one.on('error', () => undefined));
    socket.pipe(onward).pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const address = proxy.address();
  const cut = () => sockets.forEach((socket) => socket.destroy());
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    cut,
    async close() {
      cut();
      proxy.close();
      await once(proxy, 'close');
    },
  };
}

(missing === null ? describe : describe.skip)(`SFTP${missing === null ? '' : ` (skipped: ${missing})`}`, () => {
  storageContract('SFTP', place);

  it('keeps archives private, tells what is free, and makes missing folders', async () => {
    const { storage, path } = await place();
    const { made, undo } = await storage.prepare();
    expect(made).toHaveLength(2);
    await storage.put(NAME, Readable.from(['x']), { owner: 'run', signal: NEVER });
    expect((await stat(join(path, NAME))).mode & 0o777).toBe(0o600);
    expect((await storage.space())?.free).toBeGreaterThan(0);
    await undo();
    expect(await readdir(path)).toEqual([NAME]);
  });

  it('goes on with a read at its byte when the connection is cut', async () => {
    const cutter = await startCutter(values().port);
    open.push(cutter);
    const { storage } = await place({ port: cutter.port });
    await storage.prepare();
    const bytes = randomBytes(20 * 1024 * 1024);
    await storage.put(NAME, Readable.from([bytes]), { owner: 'run', signal: NEVER });
    const reading = await new RetryingStorage(storage, { budget: 1_000, first: 1, longest: 50 }).get(NAME);
    const parts: Buffer[] = [];
    let done = 0;
    for await (const part of reading as AsyncIterable<Buffer>) {
      parts.push(part);
      if (done < 5_000_000 && done + part.length >= 5_000_000) cutter.cut();
      done += part.length;
    }
    expect(Buffer.concat(parts).equals(bytes)).toBe(true);
  });

  it('leaves nothing visible when the connection is cut during a put, and discards the rest', async () => {
    const cutter = await startCutter(values().port);
    open.push(cutter);
    const { storage, path } = await place({ port: cutter.port });
    await storage.prepare();
    const source = Readable.from(
      (function* () {
        for (let count = 0; count < 100; count++) {
          if (count === 50) void cutter.close();
          yield randomBytes(200_000);
        }
      })(),
    );
    await expect(storage.put(NAME, source, { owner: 'run', signal: NEVER })).rejects.toMatchObject({
      code: 'STORAGE_UNAVAILABLE',
    });
    open.pop();
    expect(await readdir(path)).toEqual([`.${NAME}.run.partial`]);
    const { storage: again } = await place({ path });
    await writeFile(join(path, '.probe-x.partial'), 'of a process that was killed');
    await again.discard('run', NAME);
    expect(await readdir(path)).toEqual([]);
  });

  it('says what the server refuses: the user, the key, the folder', async () => {
    const stranger = (await place({ username: 'nobody-at-all' })).storage;
    await expect(stranger.prepare()).rejects.toMatchObject({
      code: 'STORAGE_REFUSED',
      hint: expect.stringMatching(/user name/),
    });
    expect(() => sftpSettings({ host: 'h', username: 'u', path: 'p', privateKey: 'nonsense' })).toThrow(AppError);
    const { storage, path } = await place();
    await mkdir(join(path, '..'), { recursive: true });
    await writeFile(path, 'a file');
    await expect(storage.prepare()).rejects.toMatchObject({ code: expect.stringMatching(/^STORAGE_/) });
    const absent = (await place({ port: 1 })).storage;
    await expect(absent.stat(NAME)).rejects.toMatchObject({ code: 'STORAGE_UNAVAILABLE' });
  });

  it('lists only what has the name of an archive and is a file', async () => {
    const { storage, path } = await place();
    await storage.prepare();
    await mkdir(join(path, NAME.replace('.zip', '_2.zip')));
    await writeFile(join(path, 'notes.txt'), '');
    await writeFile(join(path, NAME), 'abc');
    const found = [];
    for await (const { name, size } of storage.list()) found.push([name, size]);
    expect(found).toEqual([[NAME, 3]]);
    expect((await buffer(await storage.get(NAME))).toString()).toBe('abc');
  });

  it('holds a backup that is verified and restored, under the host key of its first test', async () => {
    const { folder, ...settings } = values();
    const path = await mkdtemp(join(folder, 'destination-'));
    const input = { name: 'SFTP', storageType: 'SFTP' as const, values: { ...settings, path } };
    const { world, fileName }: { world: World; fileName: string } = await roundTrip(input);
    open.push(world);
    expect(await readdir(path)).toContain(fileName);
    const row = (await world.app.destinations.list()).find(({ name }) => name === 'SFTP');
    expect(row?.settings).toMatchObject({ hostKey: expect.stringMatching(/^SHA256:/) });
    expect(JSON.stringify(row?.get({ plain: true }))).not.toContain('PRIVATE KEY');
    if ('missing' in server) return;
    await server.changeHostKey();
    expect(await world.app.destinations.test(row?.id, undefined, NEVER)).toMatchObject({
      error: { code: 'STORAGE_REFUSED', message: expect.stringContaining('another host key') },
    });
    expect(await world.backup()).toMatchObject({ status: 'FAILED', errorCode: 'STORAGE_REFUSED' });
  });
});
