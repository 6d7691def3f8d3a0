import { humanSize } from '../core/text/format.js';
import { type PacedRun, paceOf } from '../core/runs/progress.js';
import type { Printer } from './print.js';

/** How often the row is looked at, in milliseconds: the bar is drawn again at most as often. */
const LOOK_MS = 200;
const BAR = 20;

interface Watched extends PacedRun {
  id: string;
  phase: string | null;
}

/** Shows on standard error how a run goes: a bar on a terminal, one line per phase elsewhere, nothing with --json. */
export class Progress {
  private readonly bar: boolean;
  private shownPhases = 0;
  private drawn = '';
  private timer: NodeJS.Timeout | null = null;
  private looking: Promise<void> = Promise.resolve();

  constructor(
    private readonly print: Printer,
    private readonly read: () => Promise<Watched>,
  ) {
    this.bar = !print.json && print.err.isTTY === true;
  }

  /** Keeps the display in step while the work goes on. */
  async during<T>(work: Promise<T>): Promise<T> {
    if (this.print.json) return work;
    this.timer ??= setInterval(() => (this.looking = this.looking.then(() => this.look())), LOOK_MS);
    return work;
  }

  /** A line of its own, above the bar. */
  line(text: string): void {
    this.erase();
    this.print.note(text);
  }

  /** Shows what is left to show and takes the bar away. */
  async close(): Promise<void> {
    if (this.timer === null) return;
    clearInterval(this.timer);
    await this.looking;
    await this.look();
    this.erase();
  }

  private async look(): Promise<void> {
    const row = await this.read().catch(() => null); // The run itself reports what is wrong with the control database.
    if (row === null) return;
    if (this.bar) this.draw(row);
    else this.tell(row);
  }

  private tell({ id, phases }: Watched): void {
    for (const { phase, at } of phases.slice(this.shownPhases)) this.print.note(`${at} ${id} ${phase}`);
    this.shownPhases = Math.max(this.shownPhases, phases.length);
  }

  private draw(run: Watched): void {
    const { status, progress, phase } = run;
    const done = Math.round(progress * BAR);
    const share = `${Math.floor(progress * 100)}`.padStart(3);
    const bar = `[${'#'.repeat(done)}${'.'.repeat(BAR - done)}] ${share} %`;
    const words = [bar, phase ?? status.toLowerCase(), ...paceParts(run)].join('  ');
    // A line that wraps could not be erased again.
    const text = words.slice(0, (this.print.err.columns ?? 80) - 1);
    if (text === this.drawn) return;
    this.erase();
    this.print.err.write((this.drawn = text));
  }

  private erase(): void {
    if (this.drawn !== '') this.print.err.write('\r\u001B[K');
    this.drawn = '';
  }
}

/** `12.5 MiB of 40.0 MiB`, `8.31 MiB/s`, `0:03 left`: as much of it as is known. */
function paceParts(run: Watched): string[] {
  const { bytesDone, bytesTotal, bytesPerSecond, secondsLeft } = paceOf(run, new Date());
  const left = secondsLeft ?? 0;
  return [
    ...(bytesDone === null || bytesTotal === null ? [] : [`${humanSize(bytesDone)} of ${humanSize(bytesTotal)}`]),
    ...(bytesPerSecond === null ? [] : [`${humanSize(Math.round(bytesPerSecond))}/s`]),
    ...(secondsLeft === null ? [] : [`${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')} left`]),
  ];
}
