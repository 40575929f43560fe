/** Sending with a ring under the test's control, which finishes frames between any two steps of the driver. */
import { describe, expect, it } from 'vitest';
import type { Transport } from '../../src/index.js';
import type { PacketBuffer } from '../../src/memory/packet-buffer.js';
import { PacketPool } from '../../src/memory/packet-pool.js';
import { Sender } from '../../src/net/sender.js';
import { TransmitQueue } from '../../src/net/transmit-queue.js';
import { NOTHING_USED, type Virtqueue } from '../../src/virtqueue/virtqueue.js';
import { PlainMemory } from '../support/plain-memory.js';
import { numberedFrame } from './support.js';

const SIZE = 2;

/** A ring of two that finishes one frame whenever it is asked and `finish` says so. */
class ScriptedRing {
  readonly size = SIZE;
  readonly index = 1;
  readonly broken = undefined;
  readonly added: number[] = [];
  finish: () => boolean = () => false;
  private readonly inside: number[] = [];

  get outstanding(): number {
    return this.inside.length;
  }

  get freeDescriptors(): number {
    return SIZE - this.inside.length;
  }

  addReadable(token: number): boolean {
    this.added.push(token);
    return this.inside.push(token) > 0;
  }

  take(): number {
    return this.inside.length > 0 && this.finish() ? (this.inside.shift() ?? NOTHING_USED) : NOTHING_USED;
  }

  addReadableBurst(tokens: Int32Array, count: number): number {
    for (const token of tokens.subarray(0, count)) this.addReadable(token);
    return count;
  }

  takeBurst(tokens: Int32Array, _lengths: Int32Array, max: number): number {
    let taken = 0;
    for (; taken < max; taken += 1) {
      const token = this.take();
      if (token === NOTHING_USED) break;
      tokens[taken] = token;
    }
    return taken;
  }

  publish(): void {
    // Nobody reads it.
  }

  needsNotification(): boolean {
    return false;
  }
}

/** How often the device is looked at before it finishes everything. */
const LOOKS = 11;

/**
 * Sends six packets to a device that has one more frame finished at the looks that the bits of a number say, while
 * the receive queue is short of some buffers.
 */
async function sendSix(
  pattern: number,
  short: number,
): Promise<{ wanted: number[]; added: number[]; settled: string[] }> {
  const pool = new PacketPool(new PlainMemory(), 6, 1514);
  const ring = new ScriptedRing();
  const queue = new TransmitQueue(ring as unknown as Virtqueue, pool, {} as Transport, {
    features: { has: () => false },
    legacy: false,
    mtu: 1500,
  });
  const sender = new Sender(queue, pool, { onWait: () => undefined });
  const packets: PacketBuffer[] = [];
  for (let packet = pool.take(); packet !== undefined; packet = pool.take())
    packets.push(packet.setFrame(numberedFrame(packet.index)));
  const settled: string[] = [];
  for (const packet of packets) {
    void sender.send(packet, undefined).then(
      () => settled.push('sent'),
      (error: unknown) => settled.push(String(error)),
    );
  }
  let lacking = short;
  pool.onAvailable = () => {
    sender.pump();
    while (lacking > 0 && pool.take() !== undefined) lacking -= 1;
    if (lacking > 0) pool.wakeWhenAvailable();
  };
  pool.wakeWhenAvailable();
  let looks = 0;
  ring.finish = () => {
    looks += 1;
    return looks > LOOKS || ((pattern >> looks) & 1) === 1;
  };
  for (let pumps = 0; pumps < LOOKS; pumps += 1) sender.pump();
  await new Promise((resolve) => setImmediate(resolve));
  return { wanted: packets.map(({ index }) => index), added: ring.added, settled };
}

describe('a sender', () => {
  it('sends each packet once, in order, whenever a buffer that somebody waits for comes back', async () => {
    for (let number = 0; number < 3 * 2 ** LOOKS; number += 1) {
      const { wanted, added, settled } = await sendSix(Math.floor(number / 3), 1 + (number % 3));
      expect({ number, added, settled }).toEqual({ number, added: wanted, settled: Array(6).fill('sent') });
    }
  });
});
