/** Copying frames into packets, from arrays that are used again and again: faster, and nothing else. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PacketBuffer } from '../../src/memory/packet-buffer.js';
import { HEADROOM } from '../../src/memory/packet-constants.js';
import { PacketPool } from '../../src/memory/packet-pool.js';
import { PlainMemory } from '../support/plain-memory.js';
import { withCode } from '../net/support.js';

/** What stands in all memory that nothing was copied to. */
const UNTOUCHED = 0xee;

interface Rig {
  readonly pool: PacketPool;
  /** One in the middle of the memory. */
  readonly packet: PacketBuffer;
}

function rig(): Rig {
  const pool = new PacketPool(new PlainMemory(), 4, 1514);
  const packets = pool.packets.map(() => pool.take());
  const packet = packets[1];
  if (packet === undefined) throw new Error('the pool is empty');
  return { pool, packet };
}

/** Copies the frame, and looks at all memory of the pool: just those bytes have changed, from the start of the packet on. */
function expectCopied({ pool, packet }: Rig, frame: Uint8Array): void {
  for (const { bytes } of pool.packets) bytes.fill(UNTOUCHED);
  const { start } = packet;
  // An array without memory has no bytes, and can not be iterated over.
  const wanted = Uint8Array.from({ length: frame.length }, (_, index) => frame[index]);
  packet.setFrame(frame);
  expect(packet.length).toBe(wanted.length);
  for (const { index, bytes } of pool.packets) {
    const expected = new Uint8Array(bytes.length).fill(UNTOUCHED);
    if (index === packet.index) expected.set(wanted, start);
    expect(Buffer.compare(bytes, expected), `buffer ${index}`).toBe(0);
  }
}

/** Has the frame copied so often that it is known. */
function makeKnown({ packet }: Rig, frame: Uint8Array): void {
  packet.start = HEADROOM;
  for (let round = 0; round < 3; round += 1) packet.setFrame(frame);
}

/** A buffer that may become longer and shorter, and an array over it; of the language version behind the one of the types. */
interface Resizable extends ArrayBuffer {
  resize(length: number): void;
}
function resizable(length: number, most: number): Resizable {
  const Constructor = ArrayBuffer as unknown as new (
    length: number,
    options: { maxByteLength: number },
  ) => Resizable;
  return new Constructor(length, { maxByteLength: most });
}

describe('setFrame()', () => {
  it('copies the bytes as they are now, and touches no others, whatever the array, and however often it came', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ length: fc.nat(140), at: fc.nat(17) }), { minLength: 1, maxLength: 3 }),
        fc.array(
          fc.record({ which: fc.nat(2), start: fc.integer({ min: 0, max: 200 }), fill: fc.nat(255) }),
          {
            maxLength: 30,
          },
        ),
        (arrays, script) => {
          const it = rig();
          const frames = arrays.map(({ length, at }) => new Uint8Array(200).subarray(at, at + length));
          for (const { which, start, fill } of script) {
            const frame = frames[which % frames.length];
            for (let index = 0; index < frame.length; index += 1) frame[index] = fill + index;
            // Mostly where the copy is made in larger units.
            it.packet.start = start % 3 === 0 ? start : start & ~7;
            expectCopied(it, frame);
          }
        },
      ),
    );
  });

  it.each([...Array(130).keys()])('copies %i bytes, at first and later', (length) => {
    const it = rig();
    const frame = Uint8Array.from({ length }, (_, index) => index + 1);
    for (let round = 0; round < 4; round += 1) expectCopied(it, frame.fill(round + 1));
    it.packet.start = it.packet.bytes.length - length;
    expectCopied(it, frame);
    it.packet.start += 8;
    if (length > 0) expect(() => it.packet.setFrame(frame)).toThrow(withCode('FRAME_TOO_LONG'));
  });

  it.each([
    ['NaN', NaN],
    ['a negative number', -HEADROOM],
    ['a negative number beyond 32 bits', HEADROOM - 2 ** 32],
    ['a fraction', HEADROOM + 0.5],
    ['a number beyond 31 bits', 2 ** 31],
    ['a number beyond 32 bits', 2 ** 32],
    ['a text', '8'],
    ['nothing', undefined],
  ])('refuses %s as the start, and writes nowhere, of a frame that is known too', (_, start) => {
    const it = rig();
    const frames = [new Uint8Array(64).fill(1), new Uint8Array(61).fill(2), new Uint8Array(200).fill(3)];
    for (const frame of frames) {
      makeKnown(it, frame);
      for (const { bytes } of it.pool.packets) bytes.fill(UNTOUCHED);
      it.packet.start = start as number;
      expect(() => it.packet.setFrame(frame)).toThrow(withCode('FRAME_TOO_LONG'));
      expect(it.packet.length).toBe(frame.length);
      for (const { bytes } of it.pool.packets) expect(bytes.every((byte) => byte === UNTOUCHED)).toBe(true);
    }
  });

  it('follows an array whose buffer becomes longer and shorter', () => {
    const it = rig();
    const buffer = resizable(64, 256);
    const whole = new Uint8Array(buffer);
    const part = new Uint8Array(buffer, 8, 40);
    for (const length of [64, 64, 64, 100, 100, 130, 32, 32, 0, 61, 64, 64]) {
      buffer.resize(length);
      whole.forEach((_, index) => (whole[index] = index + length));
      for (const frame of [whole, part]) {
        makeKnown(it, frame);
        expectCopied(it, frame);
      }
    }
  });

  it('follows a shared array that grows', () => {
    const it = rig();
    const Constructor = SharedArrayBuffer as unknown as new (
      length: number,
      options: { maxByteLength: number },
    ) => SharedArrayBuffer & { grow(length: number): void };
    const buffer = new Constructor(64, { maxByteLength: 128 });
    const frame = new Uint8Array(buffer);
    makeKnown(it, frame);
    expectCopied(it, frame.fill(5));
    buffer.grow(120);
    expectCopied(it, frame.fill(6));
  });

  it('takes an array whose memory was handed over for an empty frame, before it is known and after', () => {
    for (const known of [false, true]) {
      const it = rig();
      const frame = new Uint8Array(64).fill(1);
      if (known) makeKnown(it, frame);
      structuredClone(frame.buffer, { transfer: [frame.buffer] });
      expectCopied(it, frame);
      expect(it.packet.length).toBe(0);
    }
  });

  it('copies within the buffer, from a place that overlaps with where the frame goes', () => {
    for (const at of [HEADROOM - 8, HEADROOM, HEADROOM + 8]) {
      const { packet } = rig();
      const frame = packet.bytes.subarray(at, at + 100);
      for (let round = 0; round < 4; round += 1) {
        frame.forEach((_, index) => (frame[index] = index + round));
        const wanted = Uint8Array.from(frame);
        packet.setFrame(frame);
        expect(packet.copy()).toEqual(wanted);
      }
    }
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['a text', 'text'],
    ['a list of numbers', [1, 2, 3]],
    ['an array of longer units', new Uint16Array(64)],
    ['a DataView', new DataView(new ArrayBuffer(64))],
  ] as [string, unknown][])('refuses what is no Uint8Array, each time: %s', (_, frame) => {
    const { packet } = rig();
    packet.setFrame(new Uint8Array(60));
    for (let round = 0; round < 3; round += 1) {
      expect(() => packet.setFrame(frame as Uint8Array)).toThrow(withCode('OPTION_INVALID'));
    }
    expect(packet.length).toBe(60);
  });
});
