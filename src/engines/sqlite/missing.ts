import { sqliteWords } from './connection.js';

/** A part of SQLite that an application brings itself, as SQLite's errors name it when it is not here. */
const MISSING = /(?:no such|unknown) (function|collation sequence|tokenizer|module): (.+?)(?:\(\))?$/;

/**
 * What a statement failed for: `function django_date_extract`, `collation sequence german`, …; null for another reason.
 * An application registers such things on its own connections only, so they are never here, however healthy the file is.
 */
export function missingPart(error: unknown): string | null {
  const found = MISSING.exec(sqliteWords(error));
  return found === null ? null : `${found[1]} ${found[2]}`;
}

/** Does the work. @returns null, or what was missing for it. @throws what has another reason */
export async function whatIsMissing(work: () => Promise<unknown>): Promise<string | null> {
  try {
    await work();
    return null;
  } catch (error) {
    const missing = missingPart(error);
    if (missing === null) throw error;
    return missing;
  }
}
