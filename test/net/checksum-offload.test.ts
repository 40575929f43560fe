/** Checksums that are completed in software, and asking the device to do so. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHECKSUM, completeChecksum, GSO, requestOffload, type PacketBuffer } from '../../src/index.js';
import { PacketPool } from '../../src/memory/packet-pool.js';
import { PlainMemory } from '../support/plain-memory.js';
import { hasRightChecksum, transportFrame, type TransportFrame } from './frames.js';
import { numberedFrame, withCode } from './support.js';

const KINDS: readonly TransportFrame[] = [
  { version: 4, protocol: 'tcp' },
  { version: 4, protocol: 'udp' },
  { version: 6, protocol: 'tcp', options: 20, vlan: true },
  { version: 6, protocol: 'udp' },
];

/** A packet whose frame lies in pieces of the given lengths, and the rest in one more. */
function packetOf(frame: Uint8Array, lengths: readonly number[] = []): PacketBuffer {
  const pool = new PacketPool(new PlainMemory(), lengths.length + 1, 2000);
  let rest = frame;
  let head: PacketBuffer | undefined;
  let tail: PacketBuffer | undefined;
  for (const length of [...lengths, frame.length]) {
    const packet = pool.take()?.setFrame(rest.subarray(0, length));
    if (packet === undefined) throw new Error('the pool is empty');
    rest = rest.subarray(length);
    if (tail === undefined) head = packet;
    else tail.next = packet;
    tail = packet;
  }
  if (head === undefined) throw new Error('there is no packet');
  return head;
}

describe('completeChecksum()', () => {
  it.each(KINDS)('makes the checksum right, over any pieces: %o', (kind) => {
    const pieces = fc.array(fc.nat(80), { maxLength: 6 });
    fc.assert(
      fc.property(pieces, fc.integer({ min: 0, max: 300 }), (lengths, payload) => {
        const { bytes, network, transport, headers } = transportFrame({ ...kind, payload });
        const packet = packetOf(bytes, [headers, ...lengths]);
        expect(completeChecksum(requestOffload(packet))).toBe(packet);
        expect(packet.checksum).toBe(CHECKSUM.VALID);
        expect(hasRightChecksum(packet.copy(), network, transport)).toBe(true);
      }),
    );
  });

  it('makes it right where the checksum itself lies in two pieces', () => {
    const { bytes, network, transport } = transportFrame();
    const source = requestOffload(packetOf(bytes));
    const packet = packetOf(source.copy(), [transport + 17]);
    const { checksum, checksumStart, checksumOffset } = source;
    Object.assign(packet, { checksum, checksumStart, checksumOffset });
    expect(hasRightChecksum(completeChecksum(packet).copy(), network, transport)).toBe(true);
  });

  it('never writes 0, which stands for no checksum', () => {
    const { bytes, transport } = transportFrame({ protocol: 'udp', payload: 2 });
    const packet = requestOffload(packetOf(bytes));
    const plain = completeChecksum(packetOf(packet.copy()));
    expect(plain.checksum).toBe(CHECKSUM.NONE);
    // A payload that makes the sum 0xffff.
    completeChecksum(packet);
    const at = transport + 6;
    const made = (packet.frame[at] << 8) | packet.frame[at + 1];
    const old = (bytes[transport + 8] << 8) | bytes[transport + 9];
    const payload = (old + made) % 0xffff;
    bytes.set([payload >> 8, payload & 0xff], transport + 8);
    const zero = completeChecksum(requestOffload(packetOf(bytes)));
    expect([zero.frame[at], zero.frame[at + 1]]).toEqual([0xff, 0xff]);
  });

  it('leaves alone what needs none', () => {
    for (const checksum of [CHECKSUM.NONE, CHECKSUM.VALID]) {
      const packet = packetOf(numberedFrame(1));
      packet.checksum = checksum;
      expect(completeChecksum(packet).copy()).toEqual(numberedFrame(1));
      expect(packet.checksum).toBe(checksum);
    }
  });

  it.each([
    [59, 0],
    [13, 4],
    [20, -8],
    [20.5, 4],
    [20, NaN],
  ])('refuses a place outside of the frame: %d + %d', (checksumStart, checksumOffset) => {
    const packet = packetOf(numberedFrame(1), [30]);
    Object.assign(packet, { checksum: CHECKSUM.NEEDED, checksumStart, checksumOffset });
    expect(() => completeChecksum(packet)).toThrow(withCode('OFFLOAD_INVALID'));
    expect(packet.copy()).toEqual(numberedFrame(1));
  });
});

describe('requestOffload()', () => {
  it('knows the kinds of segmentation', () => {
    const kinds = [GSO.TCP_V4, GSO.UDP_L4, GSO.TCP_V6, GSO.UDP_L4];
    for (const [at, kind] of KINDS.entries()) {
      const { bytes, transport, checksum } = transportFrame({ ...kind, payload: 1900 });
      const packet = requestOffload(packetOf(bytes.subarray(0, 1900)), { segmentSize: 500 });
      const place = { checksumStart: transport, checksumOffset: checksum };
      expect(packet).toMatchObject({ ...place, checksum: CHECKSUM.NEEDED, gso: kinds[at], gsoSize: 500 });
      expect(requestOffload(packet)).toMatchObject({ gso: GSO.NONE, gsoSize: 0 });
    }
  });

  it('looks behind IPv4 options, IPv6 extensions and two VLAN tags', () => {
    const udp = transportFrame({ protocol: 'udp', payload: 20 });
    const withOptions = new Uint8Array(udp.bytes.length + 4);
    withOptions.set(udp.bytes.subarray(0, 34));
    withOptions.set(udp.bytes.subarray(34), 38);
    withOptions[14] = 0x46;
    expect(requestOffload(packetOf(withOptions)).checksumStart).toBe(38);

    const six = transportFrame({ version: 6, protocol: 'udp', payload: 20 });
    const extended = new Uint8Array(six.bytes.length + 8);
    extended.set(six.bytes.subarray(0, 54));
    extended.set([17, 0, 1, 4, 0, 0, 0, 0], 54);
    extended.set(six.bytes.subarray(54), 62);
    extended[20] = 0;
    expect(requestOffload(packetOf(extended)).checksumStart).toBe(62);
    // A route that ends here, and one that goes on: its checksum is over an address that is not in the IPv6 header.
    extended.set([17, 0, 4, 0], 54);
    extended[20] = 43;
    expect(requestOffload(packetOf(extended)).checksumStart).toBe(62);
    extended[57] = 1;
    expect(() => requestOffload(packetOf(extended))).toThrow(withCode('OFFLOAD_INVALID'));

    const tagged = new Uint8Array(udp.bytes.length + 8);
    tagged.set(udp.bytes.subarray(0, 12));
    tagged.set([0x88, 0xa8, 0, 1, 0x81, 0, 0, 2], 12);
    tagged.set(udp.bytes.subarray(12), 20);
    expect(requestOffload(packetOf(tagged)).checksumStart).toBe(42);
  });

  it('does not count the padding of a short frame', () => {
    const { bytes, network, transport } = transportFrame({ protocol: 'udp', payload: 1 });
    const padded = new Uint8Array(60);
    padded.set(bytes);
    const packet = completeChecksum(requestOffload(packetOf(padded)));
    expect(hasRightChecksum(packet.copy().subarray(0, bytes.length), network, transport)).toBe(true);
  });

  it('refuses what is neither TCP nor UDP, or is not there as a whole', () => {
    const { bytes } = transportFrame();
    const fragment = Uint8Array.from(bytes);
    fragment[20] = 0x20;
    const icmp = Uint8Array.from(bytes);
    icmp[23] = 1;
    const endless = transportFrame({ version: 6, payload: 0 }).bytes;
    endless[20] = 0;
    for (const frame of [
      numberedFrame(1),
      fragment,
      icmp,
      endless,
      bytes.subarray(0, 53),
      bytes.subarray(0, 14),
    ]) {
      expect(() => requestOffload(packetOf(frame))).toThrow(withCode('OFFLOAD_INVALID'));
    }
    expect(() => requestOffload(packetOf(bytes, [50]))).toThrow(withCode('OFFLOAD_INVALID'));
    const garbage = fc.uint8Array({ minLength: 14, maxLength: 120 });
    fc.assert(
      fc.property(garbage, fc.constantFrom([0x08, 0], [0x86, 0xdd], [0x81, 0]), (frame, type) => {
        frame.set(type, 12);
        try {
          const packet = requestOffload(packetOf(frame));
          expect(packet.checksumStart + packet.checksumOffset + 2).toBeLessThanOrEqual(frame.length);
        } catch (error) {
          expect(error).toMatchObject(withCode('OFFLOAD_INVALID'));
        }
      }),
    );
  });
});
