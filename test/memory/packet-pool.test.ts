import fc from 'fast-check';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { CHECKSUM, GSO, type PacketBuffer } from '../../src/memory/packet-buffer.js';
import { HEADROOM } from '../../src/memory/packet-constants.js';
import { PacketPool } from '../../src/memory/packet-pool.js';
import { PlainMemory } from '../support/plain-memory.js';
import { withCode } from '../net/support.js';

describe('a packet pool', () => {
  it.each(['physical', 'iova'])(
    'makes buffers that do not overlap, straddle no page, and start frames on a cache line: %s',
    (addressing) => {
      for (const capacity of [1514, 1518, 1984, 1985, 4032]) {
        const memory = Object.assign(new PlainMemory(), { addressing });
        const pool = new PacketPool(memory, 10, capacity);
        for (const packet of pool.packets) {
          expect(packet.capacity).toBeGreaterThanOrEqual(capacity);
          expect((packet.addressLo + HEADROOM) % 64).toBe(0);
          const first = Math.floor(packet.addressLo / 4096);
          expect(Math.floor((packet.addressLo + packet.bytes.length - 1) / 4096)).toBe(first);
          packet.bytes.fill(packet.index);
        }
        for (const packet of pool.packets)
          expect(packet.bytes.every((byte) => byte === packet.index)).toBe(true);
        pool.free();
        expect(memory.allocatedBytes).toBe(0);
      }
    },
  );

  it('spreads buffers over the cache where the device was given the memory as a whole', () => {
    for (const capacity of [1514, 1518, 1985, 9014]) {
      const memory = Object.assign(new PlainMemory(), { hasOwnAddresses: true });
      const { packets, stride } = new PacketPool(memory, 10, capacity);
      expect((stride / 64) % 2).toBe(1);
      expect(packets[1].addressLo - packets[0].addressLo).toBe(stride);
      expect(packets[9].capacity).toBeGreaterThanOrEqual(capacity);
    }
  });

  it('says that its memory is for buffers: they lie in the pages that were chosen for them', () => {
    const memory = new PlainMemory();
    const allocate = vi.spyOn(memory, 'allocate');
    new PacketPool(memory, 4, 1514).free();
    expect(allocate.mock.calls).toEqual([[4 * 2048, { buffers: true }]]);
  });

  it('gives a buffer out anew with nothing of the packet that was in it', () => {
    const pool = new PacketPool(new PlainMemory(), 1, 1514);
    const used = pool.take()?.setFrame(new Uint8Array(60));
    Object.assign(used ?? {}, { start: 100, checksum: CHECKSUM.NEEDED, gso: GSO.TCP_V4 });
    used?.release();
    const anew = pool.take();
    expect(anew).toBe(used);
    expect(anew).toMatchObject({ start: HEADROOM, length: 0, checksum: CHECKSUM.NONE, gso: GSO.NONE });
  });

  it('makes jumbo buffers of whole cache lines', () => {
    const pool = new PacketPool(new PlainMemory(), 3, 9018);
    expect(pool.packets[1].bytes.length).toBe(9088);
    expect(pool.packets[1].addressLo - pool.packets[0].addressLo).toBe(9088);
  });

  it('carries addresses above 4 GiB in both halves', () => {
    const pool = new PacketPool(new PlainMemory(0x5_ffff_f000), 4, 1514);
    expect(pool.packets[0]).toMatchObject({ addressHi: 5, addressLo: 0xfffff000 });
    expect(pool.packets[2]).toMatchObject({ addressHi: 6, addressLo: 0 });
  });

  it('never hands out a buffer twice, and loses none', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { maxLength: 200 }), (script) => {
        const pool = new PacketPool(new PlainMemory(), 8, 100);
        const held: PacketBuffer[] = [];
        for (const step of script) {
          if (step % 2 === 0) {
            const packet = pool.take();
            expect(packet === undefined).toBe(held.length === 8);
            if (packet !== undefined) {
              expect(held).not.toContain(packet);
              expect(packet).toMatchObject({ start: HEADROOM, length: 0, references: 1 });
              held.push(packet);
            }
          } else if (held.length > 0) {
            held.splice(step % held.length, 1)[0].release();
          }
          expect(pool.available).toBe(8 - held.length);
        }
      }),
    );
  });

  it('calls back once when a buffer comes back', () => {
    const pool = new PacketPool(new PlainMemory(), 2, 100);
    const [first, second] = [pool.take(), pool.take()];
    let calls = 0;
    pool.onAvailable = () => (calls += 1);
    pool.wakeWhenAvailable();
    first?.release();
    second?.release();
    expect(calls).toBe(1);
  });
});

describe('a packet', () => {
  let packet: PacketBuffer;
  beforeAll(() => {
    const taken = new PacketPool(new PlainMemory(), 1, 100).take();
    if (taken === undefined) throw new Error('no packet');
    packet = taken;
  });

  it('holds a frame, as a view and as a copy', () => {
    packet.setFrame(Uint8Array.of(1, 2, 3));
    const { frame } = packet;
    const copy = packet.copy();
    frame[0] = 9;
    expect([...packet.frame]).toEqual([9, 2, 3]);
    expect([...copy]).toEqual([1, 2, 3]);
  });

  it('refuses a frame that it can not hold, and keeps what it has', () => {
    const { length } = packet;
    expect(() => packet.setFrame(new Uint8Array(packet.capacity + 1))).toThrow(withCode('FRAME_TOO_LONG'));
    expect(packet.length).toBe(length);
    packet.setFrame(new Uint8Array(packet.capacity));
  });
});
