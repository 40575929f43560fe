/** What runs, how much remains, and for about how long: one line that is rewritten on a terminal, plain lines elsewhere. */
import type { Steps } from '../section.js';

const CLEAR_LINE = '\r\x1b[K';
/** Elsewhere not more often than that, in milliseconds. */
const PLAIN_INTERVAL = 10_000;

export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export interface PlannedSection {
  readonly title: string;
  /** Estimated. */
  readonly seconds: number;
}

/** `1:05`, or `about 3 minutes` where it is an estimate of more than that. */
export function formatSeconds(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
}

export class Progress {
  private readonly sections: readonly PlannedSection[];
  private readonly output: Output;
  private readonly now: () => number;
  private current = -1;
  private began = 0;
  private steps = 0;
  private done = 0;
  private lastLine = -Infinity;

  constructor(
    sections: readonly PlannedSection[],
    output: Output = process.stderr,
    now: () => number = () => performance.now(),
  ) {
    this.sections = sections;
    this.output = output;
    this.now = now;
  }

  /** The next section begins. */
  beginSection(): Steps {
    this.current += 1;
    this.began = this.now();
    this.steps = 0;
    this.done = -1;
    this.lastLine = -Infinity;
    return {
      expect: (count) => (this.steps = count),
      begin: (words) => {
        this.done += 1;
        this.show(words);
      },
    };
  }

  /** Seconds that are left, by the estimates at first, and then by how long the steps of this section have taken. */
  get secondsLeft(): number {
    const later = this.sections.slice(this.current + 1).reduce((sum, { seconds }) => sum + seconds, 0);
    return later + this.sectionSecondsLeft();
  }

  /** Leaves the line to what is said next. */
  clear(): void {
    if (this.output.isTTY === true) this.output.write(CLEAR_LINE);
  }

  private sectionSecondsLeft(): number {
    const { seconds } = this.sections[this.current];
    const spent = (this.now() - this.began) / 1000;
    if (this.steps === 0) return Math.max(0, seconds - spent);
    const part = Math.min(1, Math.max(0, this.done) / this.steps);
    // The more of it is done, the more its own pace counts.
    const byPace = part === 0 ? seconds : spent / part;
    return Math.max(0, seconds * (1 - part) + byPace * part - spent);
  }

  private show(words: string): void {
    const { title } = this.sections[this.current];
    const place = `${this.current + 1}/${this.sections.length}`;
    const step = this.steps === 0 ? '' : ` ${Math.min(this.done + 1, this.steps)} of ${this.steps}:`;
    const left = `${formatSeconds(this.secondsLeft)} left`;
    if (this.output.isTTY === true) {
      const line = `[${place}] ${left} | ${title}:${step} ${words}`;
      this.output.write(CLEAR_LINE + line.slice(0, (this.output.columns ?? 80) - 1));
      return;
    }
    if (this.now() - this.lastLine < PLAIN_INTERVAL) return;
    this.lastLine = this.now();
    this.output.write(`[${place}] ${title}:${step} ${words} (${left})\n`);
  }
}
