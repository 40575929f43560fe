/** A device that fails more often than this is not worth resetting again. */
export const MOST_RECOVERIES = 5;
export const RECOVERY_WINDOW_MS = 10_000;

/** Counts automatic recoveries, so that a device that fails at once each time does not keep the program busy for ever. */
export class RecoveryLimit {
  private readonly times: number[] = [];

  /** @param now - in milliseconds; says whether one more may be tried, and counts it */
  allows(now: number): boolean {
    while (this.times.length > 0 && now - this.times[0] >= RECOVERY_WINDOW_MS) this.times.shift();
    if (this.times.length >= MOST_RECOVERIES) return false;
    this.times.push(now);
    return true;
  }
}
