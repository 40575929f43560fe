import { freeAll } from '../free-all.js';
import type { Transport } from '../../transport/transport.js';
import type { QueuePairStatistics } from '../statistics.js';
import type { Lease } from './lease.js';

/** The queue pairs of a device that are lent to other threads. */
export class Leases {
  private readonly leases = new Map<number, Lease>();
  /** What leases that are over have counted, by the number of their pair. */
  private readonly past = new Map<number, QueuePairStatistics[]>();

  get(number: number): Lease | undefined {
    return this.leases.get(number);
  }

  add(lease: Lease): void {
    this.leases.set(lease.number, lease);
  }

  enable(number: number, transport: Transport): void {
    this.leases.get(number)?.enable(transport);
  }

  run(): void {
    for (const lease of this.leases.values()) lease.run();
  }

  pause(keep: boolean): void {
    for (const lease of this.leases.values()) lease.pause(keep);
  }

  /** Has all rest until the next start; those that wait to send are told so. */
  stop(): void {
    for (const lease of this.leases.values()) lease.stop();
  }

  halt(): void {
    for (const lease of this.leases.values()) lease.halt();
  }

  /** Only the first `count` pairs of the device are used to send. */
  use(count: number): void {
    for (const lease of this.leases.values()) lease.use(lease.number < count);
  }

  /**
   * Waits until all borrowers have done what they were asked for.
   *
   * @param timeout - in milliseconds; who has not answered by then has lost the pair
   */
  async settle(timeout: number): Promise<void> {
    await Promise.all(Array.from(this.leases.values(), (lease) => lease.settle(timeout)));
  }

  /** Ends all leases. Their memory stays until {@link free}. */
  async end(timeout: number): Promise<void> {
    await Promise.all(Array.from(this.leases.values(), (lease) => lease.end(timeout)));
  }

  /**
   * Takes the pairs back whose lease is over. The device must be at rest.
   *
   * @param onTaken - called if there were any, before their memory is given back, which may fail
   */
  takeBack(onTaken: () => void): void {
    const over = [...this.leases.values()].filter(({ isOver }) => isOver);
    for (const lease of over) {
      this.leases.delete(lease.number);
      this.past.set(lease.number, [...this.pastOf(lease.number), lease.statistics()]);
    }
    if (over.length > 0) onTaken();
    freeAll(over);
  }

  /** What the pair has counted in other threads: now, and before. */
  statistics(number: number): { now: QueuePairStatistics | undefined; past: readonly QueuePairStatistics[] } {
    return { now: this.leases.get(number)?.statistics(), past: this.pastOf(number) };
  }

  /** Gives all memory back. The device must be at rest. */
  free(): void {
    freeAll(this.leases.values());
  }

  private pastOf(number: number): readonly QueuePairStatistics[] {
    return this.past.get(number) ?? [];
  }
}
