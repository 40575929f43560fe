/** VIRTIO_NET_F_MRG_RXBUF: frames over several buffers, from an honest device and from another. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PacketBuffer } from '../../src/index.js';
import { header, join, rig, type Rig } from './offload-rig.js';
import { numberedFrame, openBench, refillAll, withCode } from './support.js';

const MERGING = ['VIRTIO_NET_F_MRG_RXBUF'] as const;

/** Spreads a frame over buffers as a device does: each filled before the next one is begun. */
function spread(it: Rig, frame: Uint8Array, room: number, fields = {}): number {
  const size = it.headerSize;
  const buffers = Math.ceil((frame.length + size) / room);
  const bytes = join(header(size, { ...fields, buffers }), frame);
  for (let at = 0; at < bytes.length; at += room) it.fill(bytes.subarray(at, at + room));
  return buffers;
}

/** How many bytes a receive buffer takes, header included. */
function roomOf(it: Rig): number {
  return it.pool.packets[0].bytes.length - 64 + it.headerSize;
}

function lengthsOf(packet: PacketBuffer): number[] {
  const lengths: number[] = [];
  for (let segment: PacketBuffer | undefined = packet; segment !== undefined; segment = segment.next)
    lengths.push(segment.length);
  return lengths;
}

/** How many buffers nobody but the driver has: they are in the pool, or with the device. */
function kept({ pool, receive }: Rig): number {
  return pool.available + receive.ring.outstanding;
}

function release(packets: readonly PacketBuffer[]): void {
  for (const packet of packets) packet.release();
}

describe('a receive queue with mergeable buffers', () => {
  // Proves: net/setting-up-receive-buffers/3
  it('puts frames of all lengths together again, and gives all their buffers back', () => {
    const it = rig({ features: MERGING, frameCapacity: 192 });
    const room = roomOf(it);
    expect(room).toBeGreaterThan(it.headerSize);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 14, max: 1514 }), { minLength: 1, maxLength: 3 }), (lengths) => {
        expect(kept(it)).toBe(it.pool.size);
        const frames = lengths.map((length) => numberedFrame(length, length));
        for (const frame of frames) {
          const buffers = spread(it, frame, room);
          const [packet, ...others] = it.received();
          expect(others).toEqual([]);
          expect(lengthsOf(packet).length).toBe(buffers);
          expect(packet.totalLength).toBe(frame.length);
          expect(packet.copy()).toEqual(frame);
          expect(kept(it)).toBe(it.pool.size - buffers);
          packet.release();
        }
        expect(kept(it)).toBe(it.pool.size);
      }),
      { numRuns: 200 },
    );
  });

  it('counts frames, not buffers, and gives a frame only when all of it has come', () => {
    const it = rig({ features: MERGING, frameCapacity: 192 });
    const room = roomOf(it);
    const frame = numberedFrame(1, 500);
    const bytes = join(header(12, { buffers: 3 }), frame);
    it.fill(bytes.subarray(0, room));
    expect(it.received()).toEqual([]);
    it.fill(bytes.subarray(room, 2 * room));
    expect(it.received()).toEqual([]);
    it.fill(bytes.subarray(2 * room));
    const packets = it.received();
    expect(packets.map((packet) => packet.copy())).toEqual([frame]);
    expect(it.receive.counters).toMatchObject({ frames: 1, bytes: 500 });
    expect(kept(it)).toBe(it.pool.size - 3);
    release(packets);
    expect(kept(it)).toBe(it.pool.size);
  });

  it('takes a frame that needs all buffers of the ring, the last of which may be cut off by the program', () => {
    const it = rig({ features: MERGING, frameCapacity: 192, ringSize: 4, poolSize: 8 });
    const frame = numberedFrame(1, 3 * roomOf(it) + 20);
    expect(spread(it, frame, roomOf(it))).toBe(4);
    const [packet] = it.received();
    expect(it.receive.broken).toBeUndefined();
    expect(packet.copy()).toEqual(frame);
    const rest = packet.next;
    packet.next = undefined;
    packet.release();
    expect(rest?.totalLength).toBe(frame.length - (roomOf(it) - it.headerSize));
    rest?.release();
    expect(it.pool.available).toBe(4);
  });

  it('keeps a frame that is not complete over several calls, and gives its buffers back after a reset', () => {
    const it = rig({ features: MERGING, frameCapacity: 192 });
    it.fill(join(header(12, { buffers: 4 }), numberedFrame(1, 100)));
    it.fill(numberedFrame(2, 100));
    expect(it.received()).toEqual([]);
    it.receive.paused = true;
    it.receive.reset();
    expect(it.pool.available).toBe(it.pool.size);
  });

  it.each([
    [0, 'none'],
    [17, 'more than the ring has'],
    [65535, 'as many as the field can say'],
  ])('is broken by a frame over %i buffers, %s', (buffers) => {
    const it = rig({ features: MERGING });
    it.fill(join(header(12, { buffers }), numberedFrame(1)));
    it.fill(join(header(12), numberedFrame(2)));
    expect(it.received()).toEqual([]);
    expect(it.receive.broken).toMatchObject(withCode('QUEUE_BROKEN'));
    expect(it.receive.broken?.message).toContain(`${buffers} buffers`);
    it.receive.paused = true;
    it.receive.reset();
    expect(it.receive.broken).toBeUndefined();
    expect(it.pool.available).toBe(it.pool.size);
  });

  it('drops what has no whole header, and what is no frame', () => {
    const it = rig({ features: MERGING });
    it.fill(new Uint8Array(5));
    it.fill(join(header(12), new Uint8Array(13)));
    it.fill(join(header(12), numberedFrame(3)));
    const packets = it.received();
    expect(packets.map((packet) => packet.copy())).toEqual([numberedFrame(3)]);
    expect(it.receive.drops.short).toBe(2);
    release(packets);
  });

  it('never throws and never loses a buffer, whatever the device writes and returns', () => {
    const bytes = fc.uint8Array({ maxLength: 64 });
    const likely = fc
      .tuple(fc.nat(4), fc.nat(64))
      .map(([buffers, length]) => join(header(12, { buffers }), new Uint8Array(length)));
    fc.assert(
      fc.property(fc.array(fc.oneof(bytes, likely), { maxLength: 40 }), fc.nat(3), (script, every) => {
        const it = rig({ features: [...MERGING, 'VIRTIO_NET_F_GUEST_CSUM', 'VIRTIO_NET_F_GUEST_TSO4'] });
        const held: PacketBuffer[] = [];
        for (const [at, what] of script.entries()) {
          if (it.receive.broken !== undefined) break;
          it.fill(what);
          if (at % (every + 1) === 0) held.push(...it.received());
        }
        held.push(...it.received());
        release(held);
        it.receive.paused = true;
        it.receive.reset();
        expect(it.pool.available).toBe(it.pool.size);
      }),
      { numRuns: 300 },
    );
  });
});

describe('a device that spreads frames', () => {
  it('hands them to listeners and iterators as one packet, kept and given back as a whole', async () => {
    const { sim, device, finish } = await openBench(
      { features: simFeatures, mtu: 9000 },
      { bufferSize: 2048 },
    );
    await device.start();
    const frames = [8000, 60, 9014].map((length, n) => numberedFrame(n, length));
    const seen: Uint8Array[] = [];
    const kept: PacketBuffer[] = [];
    device.on('frame', (packet) => {
      seen.push(packet.copy());
      if (packet.length !== packet.totalLength) kept.push(packet.retain());
    });
    const iteration = device.frames();
    for (const frame of frames) expect(sim.inject(frame)).toBe(true);
    for (const frame of frames) expect((await iteration.next()).value?.copy()).toEqual(frame);
    await iteration.return();
    expect(seen).toEqual(frames);
    expect(kept.map((packet) => packet.copy())).toEqual([frames[0], frames[2]]);
    const segment = kept[0].next;
    expect(() => segment?.release()).toThrow(withCode('PACKET_NOT_OWNED'));
    expect(() => segment?.retain()).toThrow(withCode('PACKET_NOT_OWNED'));
    release(kept);
    const { pool, receive } = device.statistics();
    expect(pool.available).toBe(pool.size - 256);
    expect(receive.frames).toBe(3);
    await finish();
  });

  it('gets them back as they came, and from send() as long as it likes', async () => {
    const { sim, device, finish } = await openBench(
      { features: simFeatures, mtu: 9000 },
      { bufferSize: 2048, interrupts: false },
    );
    await device.start();
    const sent: Uint8Array[] = [];
    sim.onTransmit((frame) => sent.push(frame));
    sim.inject(numberedFrame(1, 7000));
    const batch: PacketBuffer[] = [];
    expect(device.receive(batch)).toBe(1);
    expect(device.transmit(batch, 1)).toBe(1);
    await device.send(numberedFrame(2, 9014));
    await device.flush();
    expect(sent).toEqual([numberedFrame(1, 7000), numberedFrame(2, 9014)]);
    refillAll(device);
    const { pool, transmit } = device.statistics();
    expect(transmit).toMatchObject({ frames: 2, completed: 2, bytes: 16014 });
    expect(pool.available).toBe(pool.size - 256);
    await finish();
  });

  it('is refused buffers that could not hold a frame where it does not spread them', async () => {
    await expect(openBench({}, { bufferSize: 1024 })).rejects.toMatchObject(withCode('OPTION_INVALID'));
  });
});

const simFeatures = [
  'VIRTIO_F_VERSION_1',
  'VIRTIO_F_ACCESS_PLATFORM',
  'VIRTIO_F_RING_EVENT_IDX',
  'VIRTIO_NET_F_MAC',
  'VIRTIO_NET_F_MTU',
  'VIRTIO_NET_F_MRG_RXBUF',
] as const;
