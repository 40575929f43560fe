/** What is done late, in larger numbers, or only where it changes something: it must be done all the same. */
import { describe, expect, it } from 'vitest';
import type { PacketBuffer } from '../../src/index.js';
import { rig, type Rig } from './offload-rig.js';
import { numberedFrame } from './support.js';

function take({ pool }: Rig, length = 60): PacketBuffer {
  const packet = pool.take();
  if (packet === undefined) throw new Error('the pool is empty');
  return packet.setFrame(numberedFrame(1, length));
}

/** A packet of so many segments. */
function takeChain(it: Rig, segments: number): PacketBuffer {
  const head = take(it);
  let tail = head;
  for (let count = 1; count < segments; count += 1) {
    const segment = take(it);
    tail.next = segment;
    tail = segment;
  }
  return head;
}

describe.each([
  { what: 'of 12 bytes', features: [] },
  { what: 'with a hash', features: ['VIRTIO_NET_F_HASH_REPORT'] as const },
])('the header of a plain frame, $what,', ({ features }) => {
  it.each([...Array(20).keys()])('is cleared where byte %i before the frame alone is not 0', (before) => {
    const it = rig({ features });
    const packet = take(it);
    const { bytes, start } = packet;
    const at = start - 1 - before;
    bytes[at] = 0x80;
    bytes[start - 21] = 7;
    const frame = packet.copy();
    expect(it.transmit.transmit([packet], 1)).toBe(1);
    const sent = it.sent().bytes;
    expect([...sent.subarray(0, it.headerSize)]).toEqual(Array.from({ length: it.headerSize }, () => 0));
    expect([...sent.subarray(it.headerSize)]).toEqual([...frame]);
    // What lies before it stays.
    expect(bytes[at]).toBe(before < it.headerSize ? 0 : 0x80);
    expect(bytes[start - 21]).toBe(7);
  });
});

describe('a packet that takes more descriptors than are left', () => {
  it('is sent where the device has finished enough: they are taken back for it', () => {
    const it = rig({ ringSize: 16 });
    const plain = Array.from({ length: 10 }, () => take(it));
    expect(it.transmit.transmit(plain, 10)).toBe(10);
    const long = takeChain(it, 8);
    // Six are left, which is not so few that they are taken back at any rate.
    expect(it.transmit.transmit([long], 1)).toBe(0);
    expect(it.transmit).toMatchObject({ ringFull: 1, completed: 0 });
    it.sent();
    expect(it.transmit.transmit([long], 1)).toBe(0);
    it.sent();
    expect(it.transmit.transmit([long], 1)).toBe(1);
    expect(it.transmit).toMatchObject({ ringFull: 2, completed: 2 });
    for (let n = 0; n < 8; n += 1) expect(it.sent().bytes.length).toBe(72);
    expect(it.sent().bytes.length).toBe(12 + 8 * 60);
    it.transmit.reclaim();
    expect(it.pool.available).toBe(it.pool.size - 16);
    expect(it.transmit.ring.freeDescriptors).toBe(16);
  });
});

describe('buffers that take two descriptors each', () => {
  it('are posted as far as there is room, and the others stay in the pool', () => {
    const it = rig({ ringSize: 16, legacy: true });
    expect([it.receive.ring.outstanding, it.pool.available]).toEqual([8, it.pool.size - 8]);
    for (let round = 0; round < 20; round += 1) {
      it.fill(new Uint8Array(10 + 60));
      const packets = it.received();
      expect(packets.length).toBe(1);
      for (const packet of packets) packet.release();
      it.receive.refill();
      expect([it.receive.ring.outstanding, it.pool.available]).toEqual([8, it.pool.size - 8]);
    }
    const all = new Set(Array.from({ length: it.pool.available }, () => it.pool.take()));
    expect(all.size).toBe(it.pool.size - 8);
    expect(all.has(undefined)).toBe(false);
  });
});
