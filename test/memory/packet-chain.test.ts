/** Packets over several buffers, and buffers over several pieces of memory. */
import { OWNED_BY_USER, OWNED_TOGETHER } from '../../src/memory/packet-constants.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PacketBuffer } from '../../src/memory/packet-buffer.js';
import { PacketPool } from '../../src/memory/packet-pool.js';
import { PlainMemory } from '../support/plain-memory.js';
import { ScatteredMemory } from '../support/scattered-memory.js';
import { withCode } from '../net/support.js';

function pool(count = 8): PacketPool {
  return new PacketPool(new PlainMemory(), count, 100);
}

function take(from: PacketPool, ...bytes: number[]): PacketBuffer {
  const packet = from.take();
  if (packet === undefined) throw new Error('the pool is empty');
  return packet.setFrame(Uint8Array.from(bytes));
}

describe('a packet over several buffers', () => {
  it('has the length and the bytes of all of them', () => {
    const from = pool();
    const head = take(from, 1, 2);
    const middle = take(from);
    middle.next = take(from, 3);
    head.next = middle;
    expect(head).toMatchObject({ length: 2, totalLength: 3 });
    expect([...head.frame]).toEqual([1, 2]);
    expect([...head.copy()]).toEqual([1, 2, 3]);
    head.release();
    expect(from.available).toBe(8);
    expect(take(from).next).toBeUndefined();
  });

  it('is kept and given back as a whole, by its first buffer alone', () => {
    const from = pool();
    const head = take(from, 1);
    const segment = take(from, 2);
    head.next = segment;
    head.retain();
    for (const act of [() => segment.release(), () => segment.retain()]) {
      expect(act).toThrow(withCode('PACKET_NOT_OWNED'));
    }
    head.release();
    expect(from.available).toBe(6);
    head.release();
    expect(from.available).toBe(8);
    expect(() => (head.next = undefined)).not.toThrow();
    const other = take(from);
    expect(other).toBe(head);
    expect(() => (segment.next = other)).toThrow(withCode('PACKET_NOT_OWNED'));
  });

  it('can be taken apart: what was linked becomes a packet of its own', () => {
    const from = pool();
    const head = take(from, 1);
    const second = take(from, 2);
    const third = take(from, 3);
    head.next = second;
    second.next = third;
    head.next = undefined;
    expect([...second.copy()]).toEqual([2, 3]);
    head.release();
    second.release();
    expect(from.available).toBe(8);
    const other = take(from, 4);
    const [one, two] = [take(from, 5), take(from, 6)];
    other.next = one;
    other.next = one;
    other.next = two;
    one.release();
    expect([...other.copy()]).toEqual([4, 6]);
  });

  it('takes no buffer that is linked, retained, released, from elsewhere, or itself', () => {
    const from = pool();
    const head = take(from);
    const refuse = (segment: PacketBuffer, code: string): void => {
      expect(() => (head.next = segment)).toThrow(withCode(code));
      expect(head.next).toBeUndefined();
    };
    refuse(head, 'PACKET_CHAIN_INVALID');
    const other = take(from);
    other.next = take(from);
    refuse(other.next, 'PACKET_NOT_OWNED');
    other.next.next = take(from);
    expect(() => {
      if (other.next?.next !== undefined) other.next.next.next = other;
    }).toThrow(withCode('PACKET_CHAIN_INVALID'));
    refuse(take(from).retain(), 'PACKET_NOT_OWNED');
    const gone = take(from);
    gone.release();
    refuse(gone, 'PACKET_NOT_OWNED');
    refuse(take(pool()), 'PACKET_CHAIN_INVALID');
  });

  it.each([[null], [new Uint8Array(60)], ['frame'], [{}]])('takes nothing that is no packet: %o', (what) => {
    const from = pool();
    const head = take(from, 1);
    const second = take(from, 2);
    head.next = second;
    expect(() => (head.next = what as unknown as PacketBuffer)).toThrow(withCode('PACKET_CHAIN_INVALID'));
    // As it was: still one frame, which goes back as one.
    expect([...head.copy()]).toEqual([1, 2]);
    head.release();
    expect(from.available).toBe(8);
  });

  it('takes over a buffer that is only lent', () => {
    const from = pool();
    const head = take(from, 1);
    const lent = take(from, 2);
    lent.lenders = 1;
    const { lease } = lent;
    head.next = lent;
    lent.endLoan(lease);
    expect([...head.copy()]).toEqual([1, 2]);
    head.release();
    expect(from.available).toBe(8);
  });

  it('is empty once the memory is gone', () => {
    const memory = new PlainMemory();
    const from = new PacketPool(memory, 2, 100);
    const head = take(from, 1);
    head.next = take(from, 2);
    for (const { buffer } of memory.regions) structuredClone(buffer, { transfer: [buffer] });
    expect(head.copy()).toEqual(new Uint8Array(0));
    expect(() => head.release()).not.toThrow();
  });

  it('loses no buffer, whatever is linked, unlinked and released', () => {
    const step = fc.tuple(fc.nat(4), fc.nat(7), fc.nat(7));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (script) => {
        const from = pool();
        for (const [what, one, other] of script) {
          const packet = from.packets[one];
          try {
            if (what === 0) from.take();
            else if (what === 1) packet.next = from.packets[other];
            else if (what === 2) packet.next = undefined;
            else if (what === 3) packet.release();
            else packet.retain();
          } catch (error) {
            expect(error).toMatchObject({ code: expect.stringMatching(/^PACKET_/) as string });
          }
        }
        // Every buffer is free, or a packet of its own, or a segment of just one.
        for (const packet of from.packets)
          while (packet.owner === OWNED_BY_USER || packet.owner === OWNED_TOGETHER) packet.release();
        expect(from.available).toBe(8);
      }),
    );
  });
});

describe('a buffer of scattered memory', () => {
  it('knows its parts, page by page, and merges those that are contiguous', () => {
    const plain = new PacketPool(new PlainMemory(), 2, 9018);
    expect(plain.packets.map(({ parts }) => parts)).toEqual([undefined, undefined]);
    expect(plain.descriptorsPerBuffer).toBe(1);
    const small = new PacketPool(new ScatteredMemory(), 10, 1514);
    expect(small.descriptorsPerBuffer).toBe(1);

    const memory = new ScatteredMemory();
    const jumbo = new PacketPool(memory, 3, 9018);
    for (const packet of jumbo.packets) {
      const { parts } = packet;
      if (parts === undefined) throw new Error('it is in one piece');
      expect(parts.offsets[0]).toBe(0);
      expect(parts.offsets[parts.count]).toBe(packet.bytes.length);
      packet.bytes.forEach((_, at) => (packet.bytes[at] = (at * 13 + packet.index) & 0xff));
      const seen: number[] = [];
      for (let part = 0; part < parts.count; part += 1) {
        const length = parts.offsets[part + 1] - parts.offsets[part];
        seen.push(...memory.bytesAt(parts.lo[part], parts.hi[part], length));
      }
      expect(Uint8Array.from(seen)).toEqual(packet.bytes);
    }
    const paired = new PacketPool(new ScatteredMemory(2), 3, 9018);
    expect(paired.descriptorsPerBuffer).toBeLessThan(jumbo.descriptorsPerBuffer);
  });
});
