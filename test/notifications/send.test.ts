import { type AddressInfo, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { ChannelKind, ChannelSettings, Notice } from '../../src/core/ports.js';
import { createNotifier } from '../../src/notifications/index.js';
import { type MailServer, type Receiver, startMailServer, startReceiver } from '../support/receivers.js';

const NEVER = new AbortController().signal;
const notice: Notice = {
  event: 'BACKUP_FAILED',
  level: 'PROBLEM',
  title: 'Backup failed: Shop',
  message: 'The <disk> is full.',
  hint: 'Free space.',
  config: { id: 1, name: 'Shop' },
  cause: 'BACKUP_FAILED:1:STORAGE_FULL',
  path: '/backups/b1',
  at: '2026-11-27T03:00:00.000Z',
};
const message = { id: '7', sentAt: new Date(), installation: 'a1b2', notice };
const channel = (kind: ChannelKind, target: string, secret = ''): ChannelSettings => ({
  kind,
  target,
  secret,
  template: '',
});

describe('Over HTTP', () => {
  const notifier = createNotifier({ mail: null, publicUrl: 'https://backups.example.org', patienceMs: 500 });
  let receiver: Receiver;
  beforeEach(async () => {
    receiver = await startReceiver();
  });
  afterEach(() => receiver.close());
  const send = (path = '/hook/secret-path', secret = 'secret-key', signal = NEVER) =>
    notifier.send(channel('NTFY', `${receiver.url}${path}`, secret), message, signal);

  it('a message arrives with the link to its page', async () => {
    await send();
    const [got] = receiver.received;
    expect(JSON.parse(got?.body ?? '')).toMatchObject({ click: 'https://backups.example.org/backups/b1' });
  });

  it('an answer that is no success is an error that quotes it without path and secret', async () => {
    receiver.answer = (response) => {
      response.statusCode = 403;
      response.end('no entry for secret-key at secret-path\u0007');
    };
    await expect(send()).rejects.toMatchObject({ code: 'NOTIFICATION_FAILED' });
    const error = (await send().catch((thrown: unknown) => thrown)) as Error;
    expect(error.message).toMatch(/answered 403: no entry for \*\*\* at /);
    expect(`${error.message}${String(error.cause)}`).not.toContain('secret-key');
  });

  it.each(['/a/the%20secret?x=1', '/hook?key=the%20secret', '/a/b?the%20secret'])(
    'an answer that repeats parts of %s is quoted without them',
    async (path) => {
      receiver.answer = (response) => {
        response.statusCode = 404;
        response.end(`no ${path} here, and no "the secret"`);
      };
      const error = (await send(path).catch((thrown: unknown) => thrown)) as Error;
      expect(error.message).toMatch(/answered 404: no .*here, and no/);
      expect(error.message).not.toMatch(/the.*secret/);
    },
  );

  it('a redirect is not followed', async () => {
    const other = await startReceiver();
    receiver.answer = (response) => {
      response.writeHead(302, { Location: `${other.url}/elsewhere` }).end();
    };
    await expect(send()).rejects.toThrow('302, a redirect, which is not followed');
    expect(other.received).toEqual([]);
    await other.close();
  });

  it('an answer without an end is read up to a limit only', async () => {
    receiver.answer = (response) => {
      response.statusCode = 500;
      const more = setInterval(() => response.write('x'.repeat(10_000)), 1);
      response.on('close', () => clearInterval(more));
    };
    await expect(send()).rejects.toThrow(/answered 500: x{200}…$/);
  });

  it('a service that does not answer is an error once its time is up', async () => {
    receiver.answer = 'hang';
    await expect(send()).rejects.toThrow('could not be reached: no answer within 0.5 seconds');
  });

  it('a service that switches protocols is an error', async () => {
    receiver.answer = (response) => {
      response.socket?.end('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n');
    };
    await expect(send()).rejects.toThrow('could not be reached: the connection was closed without an answer');
  });

  it('a service that does not answer is given up with the reason of the signal', async () => {
    receiver.answer = 'hang';
    await expect(send('/x', 'y', AbortSignal.timeout(100))).rejects.toMatchObject({ name: 'TimeoutError' });
  });

  it('a port that nothing listens on is an error that names host and cause', async () => {
    await receiver.close();
    await expect(send()).rejects.toThrow(/127\.0\.0\.1:\d+ could not be reached: ECONNREFUSED/);
  });
});

describe('A target', () => {
  const notifier = createNotifier({ mail: { url: 'smtp://127.0.0.1:1', from: 'a@b' }, publicUrl: null });

  it.each([
    'http://169.254.169.254/latest/meta-data/',
    'http://2852039166/',
    'http://[::ffff:169.254.169.254]/',
    'http://[fd00:ec2::254]/',
    'http://[fd00:ec2::23]/',
    'http://[fd20:ce::254]/',
    'http://168.63.129.16/',
    'http://[64:ff9b::169.254.169.254]/',
    'ftp://example.org/x',
    'https://user:password@example.org/x',
    'nonsense',
  ])('is refused if it is %s', (target) => {
    expect(() => notifier.judge(channel('WEBHOOK', target))).toThrow(/^target: /);
  });

  it.each([
    ['SLACK', 'https://hooks.slack.com/services/T/B/secret', '', 'https://hooks.slack.com/…'],
    ['WEBHOOK', 'http://192.168.1.5:8080', '', 'http://192.168.1.5:8080'],
    ['TELEGRAM', '-1001', 'bot', '-1001'],
    ['PAGERDUTY', '', 'key', 'https://events.pagerduty.com'],
    ['EMAIL', ' a@example.org,b@example.org ', '', 'a@example.org, b@example.org'],
  ] as const)('of %s is shown without what is secret in it', (kind, target, secret, shown) => {
    expect(notifier.judge(channel(kind, target, secret)).shown).toBe(shown);
  });

  it.each([
    ['GOTIFY', 'https://example.org', '', 'secret: is missing'],
    ['SLACK', 'https://example.org/x', 'y', 'secret: is not for SLACK'],
    ['TELEGRAM', 'my chat', 'bot', 'target: is not the id of a chat'],
    ['NTFY', 'https://ntfy.sh', '', 'target: names no topic'],
    ['NTFY', 'https://ntfy.sh/100%', '', 'target: holds a % that encodes nothing'],
    ['NTFY', 'https://ntfy.sh/x', 'tk_ключ', 'secret: holds a sign that is not ASCII'],
    ['EMAIL', 'nobody', '', 'target: "nobody" is not an e-mail address'],
    ['EMAIL', 'a@b\r\nBcc: c@d', '', 'is not an e-mail address'],
    ['EMAIL', ' , ', '', 'target: names no address'],
  ] as const)('of %s that is "%s" with secret "%s" is refused with the reason', (kind, target, secret, why) => {
    expect(() => notifier.judge(channel(kind, target, secret))).toThrow(why);
  });

  it('of mail is refused while no mail server is known', () => {
    const without = createNotifier({ mail: null, publicUrl: null });
    expect(() => without.judge(channel('EMAIL', 'a@b'))).toThrow('kind: EMAIL needs a mail server');
  });
});

describe('By mail', () => {
  let server: MailServer;
  beforeEach(async () => {
    server = await startMailServer({ user: 'ops', password: 'p@ss word' });
  });
  afterEach(() => server.close());
  const send = (password: string, signal = NEVER) =>
    createNotifier({
      mail: {
        url: `smtp://ops:${encodeURIComponent(password)}@127.0.0.1:${server.port}`,
        from: 'db-manager <db@x.org>',
      },
      publicUrl: 'https://backups.example.org',
    }).send(channel('EMAIL', 'a@example.org, b@example.org'), message, signal);

  it('a message arrives at every address as text and HTML, with next step and link', async () => {
    await send('p@ss word');
    const [mail] = server.mails;
    expect(mail?.to).toEqual(['a@example.org', 'b@example.org']);
    expect(mail?.text).toContain('Subject: [db-manager] Backup failed: Shop');
    expect(mail?.text).toContain('From: "db-manager" <db@x.org>');
    expect(mail?.text).toContain('What to do: Free space.');
    expect(mail?.text).toContain('The &lt;disk&gt; is full.');
    expect(mail?.text).toContain('<a href=3D"https://backups.example.org/backups/b1">');
  });

  it('a wrong password is an error without the password', async () => {
    const error = (await send('wrong-pass-word').catch((thrown: unknown) => thrown)) as Error;
    expect(error).toMatchObject({ code: 'NOTIFICATION_FAILED' });
    expect(error.message).toMatch(/did not take the message: .*535/);
    expect(JSON.stringify({ ...error, message: error.message })).not.toContain('wrong-pass-word');
  });

  it('a server that refuses the mail is an error with its answer', async () => {
    server.refuses = true;
    await expect(send('p@ss word')).rejects.toThrow('450 not now');
  });

  it('an address that is refused among others is named, and the others get the mail', async () => {
    server.unknown = ['b@example.org'];
    const refused = await send('p@ss word');
    expect(refused).toMatchObject({
      code: 'NOTIFICATION_FAILED',
      hint: expect.stringContaining('Correct the addresses'),
    });
    expect(refused?.message).toBe('The mail server refused 1 of 2 addresses: b@example.org.');
    expect(server.mails.map(({ to }) => to)).toEqual([['a@example.org']]);
  });

  it('a mail that no address gets is an error', async () => {
    server.unknown = ['a@example.org', 'b@example.org'];
    await expect(send('p@ss word')).rejects.toMatchObject({ code: 'NOTIFICATION_FAILED' });
  });

  it('nothing is sent without TLS where the URL asks for it', async () => {
    const url = `smtp://ops:p%40ss%20word@127.0.0.1:${server.port}?requireTLS=true`;
    const strict = createNotifier({ mail: { url, from: 'a@b.org' }, publicUrl: null });
    await expect(strict.send(channel('EMAIL', 'a@example.org'), message, NEVER)).rejects.toMatchObject({
      code: 'NOTIFICATION_FAILED',
    });
    expect(server.mails).toEqual([]);
  });

  it('a server that says nothing is an error once its time is up', async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const url = `smtp://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const impatient = createNotifier({ mail: { url, from: 'a@b.org' }, publicUrl: null, patienceMs: 200 });
    await expect(impatient.send(channel('EMAIL', 'a@example.org'), message, NEVER)).rejects.toThrow(
      /^The mail server did not take the message: (Greeting never received|Timeout)/,
    );
    await new Promise((resolve) => silent.close(resolve));
  });

  it('a sign to stop ends the attempt', async () => {
    await expect(send('p@ss word', AbortSignal.abort(new Error('stopped')))).rejects.toThrow('stopped');
    expect(server.mails).toEqual([]);
  });
});
