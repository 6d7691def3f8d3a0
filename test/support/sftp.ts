import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { end, freePort, type MissingServer } from './servers.js';

/** An SSH server that lets this user in with one key. */
export interface SftpServer {
  /** Settings and secrets of a destination there, but for its path. */
  values: { host: string; port: number; username: string; privateKey: string };
  /** A folder of its own. */
  folder: string;
  /** Gives the server another host key, as a machine that was set up anew has. */
  changeHostKey(): Promise<void>;
  stop(): Promise<void>;
}

const SSHD = '/usr/sbin/sshd';

/** OpenSSH on a port of its own. */
export async function startSftp(): Promise<SftpServer | MissingServer> {
  if (!existsSync(SSHD)) return { missing: 'OpenSSH is not installed (Debian: openssh-server)' };
  const folder = await mkdtemp(join(tmpdir(), 'db-manager-sftp-'));
  const makeKey = (name: string) =>
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, name)]);
  makeKey('host');
  makeKey('user');
  const port = await freePort();
  // Where the server of the system has not run yet.
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const settings = {
    Port: port,
    ListenAddress: '127.0.0.1',
    HostKey: join(folder, 'host'),
    AuthorizedKeysFile: join(folder, 'user.pub'),
    PidFile: 'none',
    StrictModes: 'no',
    UsePAM: 'no',
    PermitRootLogin: 'prohibit-password',
    PasswordAuthentication: 'no',
    Subsystem: 'sftp internal-sftp',
  };
  const file = join(folder, 'sshd_config');
  await writeFile(
    file,
    Object.entries(settings)
      .map(([name, value]) => `${name} ${value}\n`)
      .join(''),
  );
  const start = async () => {
    const server = spawn(SSHD, ['-D', '-f', file], { stdio: 'ignore' });
    while (!(await answers(port))) {
      if (server.exitCode !== null) throw new Error(`sshd ended with ${server.exitCode}`);
      await sleep(20);
    }
    return server;
  };
  let server = await start();
  const privateKey = await readFile(join(folder, 'user'), 'utf8');
  return {
    values: { host: '127.0.0.1', port, username: userInfo().username, privateKey },
    folder,
    async changeHostKey() {
      await end(server, 'SIGKILL');
      await rm(join(folder, 'host'));
      makeKey('host');
      server = await start();
    },
    async stop() {
      await end(server, 'SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const answer = await Promise.race([
    once(socket, 'data').then(() => true),
    once(socket, 'error').then(() => false),
  ]).catch(() => false);
  socket.destroy();
  return answer;
}
