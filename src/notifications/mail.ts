import type { Transporter } from 'nodemailer';
import { AppError, badInput, maskSecrets } from '../errors.js';
import type { Limits } from './http.js';
import { htmlText, type Linked, plainText } from './text.js';

/** How mail leaves. */
export interface MailSettings {
  /** `smtp://…` or `smtps://…`, which may hold a user and a password. */
  url: string;
  /** The sender. */
  from: string;
}

/** What the mail library says of a mail that was sent: its addresses, where it knows them. */
interface Sent {
  accepted?: string[];
  rejected?: string[];
}

const ADDRESS = /^[^\s@,;<>"]+@[^\s@,;<>"]+$/;
/** How many addresses a channel has at most. */
const MOST = 50;

/** The addresses in a list separated by commas. @throws AppError BAD_USER_INPUT */
export function addressesIn(text: string): string[] {
  const addresses = text
    .split(',')
    .map((address) => address.trim())
    .filter((address) => address !== '');
  const wrong = addresses.find((address) => !ADDRESS.test(address) || address.length > 320);
  const example = 'Write addresses like ops@example.org, separated by commas.';
  if (addresses.length === 0) throw badInput('target', 'names no address.', example);
  if (addresses.length > MOST) throw badInput('target', `names more than ${MOST} addresses.`, 'Use a mailing list.');
  if (wrong !== undefined) throw badInput('target', `"${wrong}" is not an e-mail address.`, example);
  return addresses;
}

/**
 * Sends one mail, as text and as HTML.
 * @returns which addresses the server refused; null if it took all of them
 * @throws AppError NOTIFICATION_FAILED if it took none; the signal's reason
 */
export async function sendMail(
  settings: MailSettings,
  addresses: string[],
  notice: Linked,
  id: string,
  { signal, patienceMs }: Limits,
): Promise<AppError | null> {
  signal.throwIfAborted();
  // Its library is loaded by the first mail only.
  const { createTransport } = await import('nodemailer');
  const limits = {
    connectionTimeout: patienceMs,
    greetingTimeout: patienceMs,
    socketTimeout: patienceMs,
    dnsTimeout: patienceMs,
  };
  const transport: Transporter = createTransport({ url: settings.url, ...limits });
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  try {
    const sent = transport.sendMail({
      from: settings.from,
      to: addresses,
      subject: `[db-manager] ${notice.title}`,
      text: `${plainText(notice)}\n\n${notice.at}\n`,
      html: htmlText(notice),
      headers: { 'X-Db-Manager-Event': notice.event, 'X-Db-Manager-Delivery': id, 'Auto-Submitted': 'auto-generated' },
      disableFileAccess: true,
      disableUrlAccess: true,
    });
    sent.catch(() => undefined);
    const { accepted, rejected = [] } = (await Promise.race([sent, aborted])) as Sent;
    if (rejected.length === 0) return null;
    const refused = `${rejected.length} of ${addresses.length} addresses: ${rejected.join(', ')}`;
    if (accepted === undefined || accepted.length === 0) throw new Error(`it refused ${refused}`);
    // The others have it. Sent again, they would get it again.
    const hint = 'Correct the addresses of the channel, or find out from the mail server why it refuses them.';
    return new AppError('NOTIFICATION_FAILED', `The mail server refused ${refused}.`, { hint });
  } catch (error) {
    signal.throwIfAborted();
    const words = maskSecrets(error instanceof Error ? error.message : 'unknown error').replace(/\s+/g, ' ');
    const hint = 'Check SMTP_URL (or SMTP_HOST, SMTP_PORT, SMTP_USER and SMTP_PASSWORD) and MAIL_FROM.';
    throw new AppError('NOTIFICATION_FAILED', `The mail server did not take the message: ${words}`, {
      hint,
      cause: error,
    });
  } finally {
    transport.close();
  }
}
