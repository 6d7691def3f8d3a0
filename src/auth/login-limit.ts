import { AppError } from '../errors.js';

const WINDOW_MS = 15 * 60_000;
/** How many keys are remembered; the oldest go first, so that an attacker cannot fill the memory. */
const MAX_KEYS = 10_000;

/**
 * Bounds failed logins: per e-mail against guessing one password, per address against trying many e-mails.
 * A try is counted before the password is checked, so that tries at the same time do not slip through, and taken back
 * when it succeeds. Kept in the memory of this process.
 */
export class LoginLimit {
  private readonly tries = new Map<string, { count: number; until: number }>();

  constructor(
    private readonly now: () => Date,
    private readonly perEmail = 10,
    private readonly perAddress = 50,
  ) {}

  /** Counts a try. @returns takes it back @throws AppError RATE_LIMITED with the time to wait */
  begin(email: string, address: string): () => void {
    const keys = [
      { key: `email:${email}`, limit: this.perEmail },
      { key: `address:${address}`, limit: this.perAddress },
    ];
    const time = this.now().getTime();
    for (const { key, limit } of keys) {
      const found = this.tries.get(key);
      if (found !== undefined && found.until > time && found.count >= limit) throw limited(found.until - time);
    }
    for (const { key } of keys) this.add(key, time);
    return () => keys.forEach(({ key }) => this.remove(key));
  }

  private add(key: string, time: number): void {
    const found = this.tries.get(key);
    const count = found !== undefined && found.until > time ? found.count : 0;
    this.tries.delete(key);
    this.tries.set(key, { count: count + 1, until: count > 0 && found ? found.until : time + WINDOW_MS });
    for (const oldest of this.tries.keys()) {
      if (this.tries.size <= MAX_KEYS) break;
      this.tries.delete(oldest);
    }
  }

  private remove(key: string): void {
    const found = this.tries.get(key);
    if (found === undefined) return;
    if (found.count <= 1) this.tries.delete(key);
    else found.count -= 1;
  }
}

function limited(waitMs: number): AppError {
  const minutes = Math.ceil(waitMs / 60_000);
  return new AppError('RATE_LIMITED', `Too many failed logins. Try again in ${minutes} minute(s).`);
}
