import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import {
  type FileHandle,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  rename,
  rm,
  rmdir,
  stat,
  unlink,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ssh2, { type Connection, type SFTPWrapper } from 'ssh2';

/** An SSH server that lets one user in with a password: OpenSSH asks the system for them, which no test may change. */
export interface PasswordSftp {
  /** Settings and secrets of a destination there, but for its path. */
  values: { host: string; port: number; username: string; password: string };
  /** A folder of its own. */
  folder: string;
  stop(): Promise<void>;
}

const { STATUS_CODE, OPEN_MODE } = ssh2.utils.sftp;

export async function startPasswordSftp(): Promise<PasswordSftp> {
  const folder = await mkdtemp(join(tmpdir(), 'db-manager-password-sftp-'));
  const user = { username: 'okpuja', password: 'canary-sftp-password' };
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  });
  const clients = new Set<Connection>();
  const server = new ssh2.Server({ hostKeys: [privateKey] }, (client) => {
    clients.add(client);
    client
      .on('error', () => undefined)
      .on('close', () => clients.delete(client))
      .on('authentication', (asked) => {
        const isRight = asked.method === 'password' && asked.password === user.password;
        if (isRight && asked.username === user.username) asked.accept();
        else asked.reject(['password']);
      })
      .on('session', (accept) => accept().on('sftp', (begin) => serve(begin())));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    values: { host: '127.0.0.1', port, ...user },
    folder,
    async stop() {
      for (const client of clients) client.end();
      server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

type Opened = { file: FileHandle } | { names: string[]; path: string };

/** Answers one client from the file system. */
function serve(sftp: SFTPWrapper): void {
  const handles = new Map<number, Opened>();
  let last = 0;
  const opened = (what: Opened) => {
    const handle = Buffer.alloc(4);
    handle.writeUInt32BE((last += 1));
    handles.set(last, what);
    return handle;
  };
  const get = (handle: Buffer) => handles.get(handle.readUInt32BE());
  const fileOf = (handle: Buffer): FileHandle => {
    const found = get(handle);
    if (found === undefined || !('file' in found)) throw new Error('no such handle');
    return found.file;
  };
  /** Works, and answers with an error of the protocol where that fails. */
  const answer = (id: number, work: () => Promise<unknown>) =>
    void work().catch((error: NodeJS.ErrnoException) =>
      sftp.status(id, error.code === 'ENOENT' ? STATUS_CODE.NO_SUCH_FILE : STATUS_CODE.FAILURE, error.message),
    );
  const done = (id: number, work: () => Promise<unknown>) =>
    answer(id, async () => {
      await work();
      sftp.status(id, STATUS_CODE.OK);
    });
  const attributes = async (path: string, of: typeof stat | typeof lstat) => {
    const { mode, uid, gid, size, atimeMs, mtimeMs } = await of(path);
    return { mode, uid, gid, size, atime: Math.floor(atimeMs / 1_000), mtime: Math.floor(mtimeMs / 1_000) };
  };
  sftp
    .on('OPEN', (id, path, flags) =>
      answer(id, async () => {
        const isNew = (flags & OPEN_MODE.EXCL) !== 0;
        const file = await open(path, (flags & OPEN_MODE.WRITE) === 0 ? 'r' : isNew ? 'wx' : 'w', 0o600);
        sftp.handle(id, opened({ file }));
      }),
    )
    .on('WRITE', (id, handle, offset, data) => done(id, () => fileOf(handle).write(data, 0, data.length, offset)))
    .on('READ', (id, handle, offset, length) =>
      answer(id, async () => {
        const { bytesRead, buffer } = await fileOf(handle).read(Buffer.alloc(length), 0, length, offset);
        if (bytesRead === 0) sftp.status(id, STATUS_CODE.EOF);
        else sftp.data(id, buffer.subarray(0, bytesRead));
      }),
    )
    .on('CLOSE', (id, handle) =>
      done(id, async () => {
        const found = get(handle);
        handles.delete(handle.readUInt32BE());
        if (found !== undefined && 'file' in found) await found.file.close();
      }),
    )
    .on('STAT', (id, path) => answer(id, async () => sftp.attrs(id, await attributes(path, stat))))
    .on('LSTAT', (id, path) => answer(id, async () => sftp.attrs(id, await attributes(path, lstat))))
    .on('OPENDIR', (id, path) => answer(id, async () => sftp.handle(id, opened({ path, names: await readdir(path) }))))
    .on('READDIR', (id, handle) =>
      answer(id, async () => {
        const found = get(handle);
        if (found === undefined || !('names' in found)) throw new Error('no such handle');
        const names = found.names.splice(0);
        if (names.length === 0) return sftp.status(id, STATUS_CODE.EOF);
        const entries = names.map(async (filename) => ({
          filename,
          longname: filename,
          attrs: await attributes(join(found.path, filename), lstat),
        }));
        sftp.name(id, await Promise.all(entries));
      }),
    )
    .on('REMOVE', (id, path) => done(id, () => unlink(path)))
    .on('RENAME', (id, from, to) =>
      done(id, async () => {
        if ((await lstat(to).catch(() => null)) !== null) throw new Error('it is already there');
        await rename(from, to);
      }),
    )
    .on('MKDIR', (id, path) => done(id, () => mkdir(path, { mode: 0o700 })))
    .on('RMDIR', (id, path) => done(id, () => rmdir(path)));
}
