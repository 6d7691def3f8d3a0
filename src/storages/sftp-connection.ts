import { Client, type SFTPWrapper } from 'ssh2';
import { AppError } from '../errors.js';
import { fingerprintOf, sftpPlace, type SftpSettings } from './sftp-settings.js';
import { stalled } from './stream.js';

/** How long a connection that nobody uses stays open, in milliseconds. */
const IDLE = 1_000;

interface Open {
  client: Client;
  sftp: SFTPWrapper;
}

/** One connection to an SSH server, opened when it is needed and closed when nobody has used it for a while. */
export class SftpConnection {
  /** The fingerprint of the server's key, once it was seen. */
  hostKey: string | undefined;
  private opening: Promise<Open> | null = null;
  private users = 0;
  private idle: NodeJS.Timeout | null = null;

  /** @param stalledAfter how long the server may take for one answer, in milliseconds */
  constructor(
    private readonly settings: SftpSettings,
    private readonly stalledAfter: number,
  ) {}

  /** Keeps the connection open until the returned function is called: handles are lost with it. */
  hold(): () => void {
    this.users += 1;
    if (this.idle !== null) clearTimeout(this.idle);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.users -= 1;
      if (this.users === 0) this.idle = setTimeout(() => void this.close(), IDLE);
    };
  }

  /** Does one thing over the connection. One that gets no answer in time ends the connection. */
  async use<T>(work: (sftp: SFTPWrapper) => Promise<T>): Promise<T> {
    const release = this.hold();
    let timer: NodeJS.Timeout | undefined;
    try {
      const { sftp, client } = await (this.opening ??= this.open());
      const late = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => {
          client.destroy();
          reject(stalled(sftpPlace(this.settings), this.stalledAfter));
        }, this.stalledAfter);
        client.once('close', () => reject(new Error('the connection was closed')));
      });
      late.catch(() => undefined);
      return await Promise.race([work(sftp), late]);
    } finally {
      clearTimeout(timer);
      release();
    }
  }

  private async close(): Promise<void> {
    const open = this.opening;
    this.opening = null;
    (await open?.catch(() => null))?.client.end();
  }

  private open(): Promise<Open> {
    const { host, port, username, password, privateKey, passphrase, hostKey } = this.settings;
    const client = new Client();
    client.setMaxListeners(0);
    let wrongKey: AppError | null = null;
    const opened = new Promise<Open>((resolve, reject) => {
      const fail = (error: Error) => reject(wrongKey ?? error);
      client
        .on('error', fail)
        .once('close', () => {
          this.opening = null;
          fail(new Error('the connection was closed'));
        })
        .once('ready', () => client.sftp((error, sftp) => (error ? fail(error) : resolve({ client, sftp }))))
        .connect({
          host,
          port,
          username,
          ...(password !== undefined && { password }),
          ...(privateKey !== undefined && { privateKey }),
          ...(passphrase !== undefined && { passphrase }),
          readyTimeout: Math.min(20_000, this.stalledAfter),
          keepaliveInterval: 15_000,
          keepaliveCountMax: 4,
          hostVerifier: (key: Buffer) => {
            const seen = fingerprintOf(key);
            this.hostKey = seen;
            if (hostKey === undefined || hostKey === seen) return true;
            wrongKey = strangeKey(this.settings, seen);
            return false;
          },
        });
    });
    return opened.catch((error: unknown) => {
      this.opening = null;
      client.destroy();
      throw error;
    });
  }
}

function strangeKey(settings: SftpSettings, seen: string): AppError {
  return new AppError('STORAGE_REFUSED', `${sftpPlace(settings)} has another host key than before: ${seen}.`, {
    hint: 'Find out why. Only if the server was set up anew: give the destination this hostKey and its secrets again.',
  });
}
