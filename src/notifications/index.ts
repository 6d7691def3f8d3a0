import type { ChannelKind, ChannelSettings, Message, Notice, Notifier } from '../core/ports.js';
import { AppError, badInput } from '../errors.js';
import { assertTemplate, sendsSecret } from './template.js';
import { BEATS, FORMATS, PAGERDUTY } from './formats.js';
import { parsedUrl, sendHttp } from './http.js';
import { addressesIn, type MailSettings, sendMail } from './mail.js';

/** What sending needs of the process around it. */
export interface NotifierEnvironment {
  /** How mail leaves; null: it does not. */
  mail: MailSettings | null;
  /** Where people open the admin page, for links; null: messages have none. */
  publicUrl: string | null;
  /** How long a service has for its answer, in milliseconds; default: 10 seconds. */
  patienceMs?: number;
}

const PATIENCE = 10_000;

/** What a kind of channel is set up by. */
interface Kind {
  target: 'addresses' | 'url' | 'url or nothing' | 'chat';
  secret: 'needed' | 'allowed' | 'none';
  /** What the secret is called where the service hands it out. */
  called: string;
}

const KINDS: Record<ChannelKind, Kind> = {
  EMAIL: { target: 'addresses', secret: 'none', called: '' },
  WEBHOOK: { target: 'url', secret: 'allowed', called: 'the key that requests are signed with' },
  SLACK: { target: 'url', secret: 'none', called: '' },
  DISCORD: { target: 'url', secret: 'none', called: '' },
  TEAMS: { target: 'url', secret: 'none', called: '' },
  TELEGRAM: { target: 'chat', secret: 'needed', called: 'the token of the bot' },
  NTFY: { target: 'url', secret: 'allowed', called: 'an access token' },
  GOTIFY: { target: 'url', secret: 'needed', called: 'the token of the application' },
  PAGERDUTY: { target: 'url or nothing', secret: 'needed', called: 'the integration key' },
  HEARTBEAT: { target: 'url', secret: 'none', called: '' },
  UPTIME_KUMA: { target: 'url', secret: 'none', called: '' },
};

/** Sends to every kind of channel. */
export function createNotifier(env: NotifierEnvironment): Notifier {
  const linked = (notice: Notice) => ({
    ...notice,
    link: env.publicUrl === null ? null : `${env.publicUrl}${notice.path}`,
  });
  return {
    beats: (kind, state) => kind in BEATS && !(kind === 'UPTIME_KUMA' && state === 'STARTED'),
    judge(settings) {
      assertSecret(settings);
      judgeTemplate(settings);
      const judged = judgeTarget(settings, env.mail);
      // A template that sends the secret sends it to one page, not only to its machine.
      return sendsSecret(settings.template) ? { ...judged, reach: `${settings.target} in the body` } : judged;
    },
    async send(settings, message, signal) {
      const limits = { signal, patienceMs: env.patienceMs ?? PATIENCE };
      const { kind, target, secret } = settings;
      if (kind === 'EMAIL') {
        if (!('notice' in message)) return null;
        const mail = mailOf(env.mail);
        return sendMail(mail, addressesIn(target), linked(message.notice), message.id, limits);
      }
      const request = requestOf(settings, message, linked);
      if (request !== null) await sendHttp(request, [target, secret], limits);
      return null;
    },
  };
}

function requestOf(
  settings: ChannelSettings,
  message: Message,
  linked: (notice: Notice) => Notice & { link: string | null },
) {
  const { kind } = settings;
  if ('beat' in message) return kind in BEATS ? BEATS[kind as keyof typeof BEATS](settings, message.beat) : null;
  if (!(kind in FORMATS)) return null;
  return FORMATS[kind as keyof typeof FORMATS](settings, linked(message.notice), message);
}

function assertSecret({ kind, secret }: ChannelSettings): void {
  const { secret: rule, called } = KINDS[kind];
  if (rule === 'needed' && secret === '') throw badInput('secret', `is missing: ${called}.`);
  if (rule === 'none' && secret !== '') throw badInput('secret', `is not for ${kind}.`, 'Leave it out.');
  if (/[\p{Cc}\s]/u.test(secret) && kind !== 'WEBHOOK') throw badInput('secret', 'holds a space or a line break.');
  // It goes into a header, which takes no other signs.
  if (/[^\x21-\x7e]/.test(secret) && kind !== 'WEBHOOK') throw badInput('secret', 'holds a sign that is not ASCII.');
}

function judgeTemplate({ kind, template }: ChannelSettings): void {
  if (template === '') return;
  if (kind !== 'WEBHOOK') throw badInput('template', `is not for ${kind}.`, 'Leave it out.');
  assertTemplate(template);
}

function judgeTarget({ kind, target }: ChannelSettings, mail: MailSettings | null): { shown: string; reach: string } {
  switch (KINDS[kind].target) {
    case 'addresses':
      if (mail === null) throw badInput('kind', 'EMAIL needs a mail server, and none is known.', MAIL_HINT);
      return { shown: addressesIn(target).join(', '), reach: '' };
    case 'chat':
      if (/^(-?\d{1,20}|@\w{1,64})$/.test(target)) return { shown: target, reach: '' };
      throw badInput('target', 'is not the id of a chat.', 'Write a number such as -1001234567890, or @channel.');
    case 'url or nothing':
      if (target === '') return judgeUrl(kind, PAGERDUTY);
      return judgeUrl(kind, target);
    case 'url':
      return judgeUrl(kind, target);
  }
}

/** The path and what follows may be a secret of their own, so only the host is shown. */
function judgeUrl(kind: ChannelKind, target: string): { shown: string; reach: string } {
  const { origin, pathname, search } = parsedUrl(target);
  if (kind === 'NTFY' && pathname.replace(/\/+$/, '') === '') {
    throw badInput('target', 'names no topic.', 'Write it like https://ntfy.sh/topic.');
  }
  if (kind === 'NTFY' && !isDecodable(pathname)) {
    throw badInput('target', 'holds a % that encodes nothing.', 'Write % in a topic as %25.');
  }
  const hasMore = pathname !== '/' || search !== '';
  return { shown: hasMore ? `${origin}/…` : origin, reach: origin };
}

function isDecodable(text: string): boolean {
  try {
    return decodeURIComponent(text) !== '';
  } catch {
    return false;
  }
}

function mailOf(mail: MailSettings | null): MailSettings {
  if (mail !== null) return mail;
  throw new AppError('NOTIFICATION_FAILED', 'No mail server is known.', { hint: MAIL_HINT });
}

const MAIL_HINT = 'Set SMTP_URL, or SMTP_HOST with SMTP_PORT, SMTP_USER and SMTP_PASSWORD, then start again.';
