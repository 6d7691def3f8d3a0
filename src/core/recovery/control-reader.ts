import { CONTROL_PREFIX, isControlName, isSealedName } from '../../archive/format.js';
import { unpacking } from '../../archive/pack.js';
import { AppError } from '../../errors.js';
import { findStored } from '../archives/stored-archive.js';
import type { Keys } from '../keys/keys.js';
import type { Storage } from '../ports.js';
import { type ControlFacts, FACTS_ENTRY, RECORDS_ENTRY } from './control-backups.js';

/** A backup of the control database as it lies in a storage. */
export interface FoundControl {
  name: string;
  location: string;
  /** Bytes. */
  size: number;
  /** When it was made, by its name. */
  at: Date;
  encrypted: boolean;
}

/** One that was opened. */
export interface OpenedControl {
  facts: ControlFacts;
  /** The lines of its records. */
  lines: AsyncIterable<string>;
}

/** Longest facts and longest line of the records, in bytes: nothing that is read is held beyond that. */
const MAX_FACTS = 1024 * 1024;
const MAX_LINE = 64 * 1024 * 1024;

/** The backups of control databases in a storage, the newest first. @throws AppError STORAGE_… */
export async function listControls(storage: Storage): Promise<FoundControl[]> {
  const found: FoundControl[] = [];
  for await (const { name, location, size } of storage.list(CONTROL_PREFIX)) {
    if (isControlName(name)) found.push({ name, location, size, at: dateOf(name), encrypted: isSealedName(name) });
  }
  return found.sort((one, other) => (one.name < other.name ? 1 : -1));
}

/**
 * Opens one.
 * @param identity opens an encrypted one; undefined: the keys that are held here do
 * @throws AppError ENCRYPTION_KEY_…, ARCHIVE_…, STORAGE_…, CONTROL_DATABASE_FAILED if it is of a later format
 */
export async function openControl(
  keys: Keys,
  storage: Storage,
  name: string,
  identity: string | undefined,
  signal: AbortSignal,
): Promise<OpenedControl> {
  const stored = await findStored(storage, name, keys.unsealing(name, identity, null));
  const source = await stored.content(signal);
  let text = '';
  for await (const chunk of unpacking(source, FACTS_ENTRY, signal)) {
    text += chunk.toString('utf8');
    if (text.length > MAX_FACTS) throw unreadable(name, `${FACTS_ENTRY} is too long`);
  }
  return { facts: factsOf(name, text), lines: linesOf(name, unpacking(source, RECORDS_ENTRY, signal)) };
}

function factsOf(name: string, text: string): ControlFacts {
  let facts: Partial<ControlFacts>;
  try {
    facts = JSON.parse(text) as Partial<ControlFacts>;
  } catch (error) {
    throw unreadable(name, `${FACTS_ENTRY} is no JSON`, error);
  }
  const { at, version, host, steps, secretsKeys } = facts;
  const areTexts = (values: unknown): values is string[] =>
    Array.isArray(values) && values.every((value) => typeof value === 'string');
  if (facts.format !== 1 || !areTexts([at, version, host]) || !areTexts(steps) || !areTexts(secretsKeys)) {
    throw unreadable(name, 'it is of a later version, or none');
  }
  return facts as ControlFacts;
}

async function* linesOf(name: string, chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10, start)) {
      yield rest.toString('utf8', start, end);
      start = end + 1;
    }
    rest = rest.subarray(start);
    if (rest.length > MAX_LINE) throw unreadable(name, 'a line of its records is too long');
  }
  if (rest.length > 0) yield rest.toString('utf8');
}

/** The date in the name. */
function dateOf(name: string): Date {
  const [, date = '', time = ''] = /_(\d{8})_(\d{6})_/.exec(name) ?? [];
  const day = date.replace(/(\d{4})(\d\d)(\d\d)/, '$1-$2-$3');
  return new Date(`${day}T${time.replace(/(\d\d)(\d\d)(\d\d)/, '$1:$2:$3')}Z`);
}

const unreadable = (name: string, why: string, cause?: unknown) =>
  new AppError('CONTROL_DATABASE_FAILED', `The backup of the control database ${name} cannot be read: ${why}.`, {
    hint: 'Choose an older one with --control-backup, or none with --control-backup none.',
    cause,
  });
