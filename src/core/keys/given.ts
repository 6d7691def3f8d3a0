import { recipientOf } from '../../archive/seal-header.js';
import { badInput } from '../../errors.js';

/** What someone gave to open an archive. */
export interface Given {
  identities: string[];
  /** The recipient of each identity. */
  recipients: string[];
  passphrases: string[];
}

const MAX_LENGTH = 16_384;

/**
 * Reads what was given to open an archive: the text of an age key file (identities, one a line, with comments), or a
 * passphrase.
 * @throws AppError BAD_USER_INPUT naming `identity`; the message never repeats the text
 */
export async function readGiven(text: string): Promise<Given> {
  if (text.trim() === '') throw badInput('identity', 'is empty.');
  if (text.length > MAX_LENGTH) throw badInput('identity', `is longer than ${MAX_LENGTH} characters.`);
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  if (!lines.some((line) => line.startsWith('AGE-'))) {
    return { identities: [], recipients: [], passphrases: [text.replace(/\r?\n$/, '')] };
  }
  const identities = lines.filter((line) => line !== '' && !line.startsWith('#'));
  const recipients: string[] = [];
  for (const identity of identities) {
    const recipient = await recipientOf(identity);
    if (recipient === null) {
      throw badInput('identity', 'holds a line that is no X25519 identity of age.', 'Give the whole key file.');
    }
    recipients.push(recipient);
  }
  return { identities, recipients, passphrases: [] };
}
