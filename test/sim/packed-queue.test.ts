import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import {
  buildArpRequest,
  buildIcmpEcho,
  parseIpv4,
  parseMac,
  readArpFrame,
  readEchoFrame,
} from '../../src/packet/index.js';
import { createEchoHost, createSimulatedDevice, type SimulatedDevice } from '../../src/sim/index.js';
import {
  PACKED,
  PACKED_EVENT_IDX,
  PACKED_INDIRECT,
  PackedRing,
  bringUpPacked,
  packedDevice,
} from './packed-ring.js';
import {
  INDIRECT,
  NEEDS_RESET,
  PLAIN,
  RX,
  SLOT,
  WRITE,
  bits,
  bringUp,
  frameOf,
  negotiate,
  writeEntry,
  type Entry,
} from './support.js';

const GUEST = { mac: parseMac('52:54:00:12:34:56'), ip: parseIpv4('10.0.2.15') };
const HOST = { mac: parseMac('52:55:0a:00:02:02'), ip: parseIpv4('10.0.2.2') };

let device: SimulatedDevice;

/** Makes the device of a test; gives the list that the frames go to which the driver sends. */
function make(options: Parameters<typeof packedDevice>[0] = {}): Uint8Array[] {
  device = packedDevice(options);
  const sent: Uint8Array[] = [];
  device.onTransmit((frame) => sent.push(frame));
  return sent;
}

afterEach(async () => {
  device.transport.writeStatus(0);
  await device.transport.close();
});

/** Writes an indirect table into the buffer of an id; gives the descriptor that refers to it. */
function indirect(ring: PackedRing, id: number, entries: readonly Entry[]): Entry {
  const table = new DataView(ring.buffers.buffer, SLOT * id, SLOT);
  // The word behind the flags of a split ring is that before them here.
  for (const [index, entry] of entries.entries()) {
    writeEntry(table, index, { ...entry, flags: 0x1234, next: entry.flags ?? 0 });
  }
  return { address: ring.addressOfSlot(id), length: 16 * entries.length, flags: INDIRECT };
}

describe('a device with packed virtqueues', () => {
  it('has them on request alone, and works with split ones too where the driver prefers those', () => {
    device = createSimulatedDevice();
    expect(device.transport.readDeviceFeatures() & bits('VIRTIO_F_RING_PACKED')).toBe(0n);
    const sent = make();
    expect(device.transport.readDeviceFeatures() & PACKED).toBe(PACKED);
    const { tx } = bringUp(device, { features: PLAIN });
    tx.send(0, frameOf(60));
    expect(tx.collect()).toEqual([{ id: 0, length: 0 }]);
    expect(sent).toEqual([frameOf(60)]);
    expect(device.violations).toEqual([]);
  });

  it('can be had by name', () => {
    const features = ['VIRTIO_F_VERSION_1', 'VIRTIO_F_ACCESS_PLATFORM', 'VIRTIO_F_RING_PACKED'] as const;
    device = createSimulatedDevice({ features });
    const { tx } = bringUpPacked(device, { features: bits(...features) });
    tx.send(0, frameOf(60));
    expect(tx.collect()).toHaveLength(1);
  });

  it('gives the driver’s frames to the wire and the buffers back', () => {
    const sent = make();
    const { tx } = bringUpPacked(device);
    tx.send(3, frameOf(60));
    tx.send(7, frameOf(61));
    expect(sent).toEqual([frameOf(60), frameOf(61)]);
    expect(tx.collect()).toEqual([
      { id: 3, length: 0, written: false },
      { id: 7, length: 0, written: false },
    ]);
    expect(device.violations).toEqual([]);
  });

  it('lets buffer ids be any number', () => {
    make();
    const { tx } = bringUpPacked(device);
    tx.offer(0xffff, tx.fill(0, frameOf(60)));
    tx.notify();
    expect(tx.collect()).toEqual([{ id: 0xffff, length: 0, written: false }]);
    expect(device.violations).toEqual([]);
  });

  it('answers ARP and pings of every size', () => {
    make({ host: createEchoHost() });
    const { rx, tx } = bringUpPacked(device);
    tx.send(0, buildArpRequest({ senderMac: GUEST.mac, senderIp: GUEST.ip, targetIp: HOST.ip }));
    rx.post(0);
    tx.send(1, buildArpRequest({ senderMac: GUEST.mac, senderIp: GUEST.ip, targetIp: HOST.ip }));
    expect(readArpFrame(rx.receive()[0])?.senderMac).toEqual(HOST.mac);
    const addresses = {
      sourceMac: GUEST.mac,
      destinationMac: HOST.mac,
      sourceIp: GUEST.ip,
      destinationIp: HOST.ip,
    };
    for (const [index, size] of [0, 1, 56, 1000, 1472].entries()) {
      tx.collect();
      rx.post(index);
      const data = frameOf(size, index);
      tx.send(0, buildIcmpEcho({ ...addresses, identifier: 7, sequence: index, data }));
      const [frame] = rx.receive();
      const reply = readEchoFrame(frame);
      expect(reply?.echo).toMatchObject({ type: 0, identifier: 7, sequence: index });
      expect(frame.slice(reply?.echo.payloadOffset)).toEqual(data);
    }
    expect(device.violations).toEqual([]);
  });

  it('puts a frame from the wire into the oldest receive buffer', () => {
    make();
    const { rx } = bringUpPacked(device);
    rx.post(5, 2);
    expect(device.inject(frameOf(100))).toBe(true);
    expect(device.inject(frameOf(200))).toBe(true);
    expect(device.inject(frameOf(300))).toBe(false);
    expect(rx.collect()).toEqual([
      { id: 5, length: 112, written: true },
      { id: 2, length: 212, written: true },
    ]);
    expect(rx.slot(2).slice(12, 212)).toEqual(frameOf(200));
    expect(device.statistics).toMatchObject({ receivedFrames: 2, dropsNoBuffer: 1 });
    expect(device.violations).toEqual([]);
  });

  it('spreads a frame over several buffers, and shows all at once', () => {
    make();
    const { rx } = bringUpPacked(device, { features: PACKED | bits('VIRTIO_NET_F_MRG_RXBUF') });
    for (const id of [4, 5, 6]) rx.offer(id, { ...rx.empty(id), length: 100 });
    expect(device.inject(frameOf(289))).toBe(false);
    expect(device.inject(frameOf(200))).toBe(true);
    expect(rx.collect().map(({ id, length }) => [id, length])).toEqual([
      [4, 100],
      [5, 100],
      [6, 12],
    ]);
    expect(rx.slot(4)[10]).toBe(3);
    expect(device.violations).toEqual([]);
  });

  it.each([1, 3, 256])('goes on over every wrap: 70,000 frames each way with %i descriptors', (size) => {
    make({ isolation: false });
    const { rx, tx } = bringUpPacked(device, { size });
    const frame = frameOf(60);
    for (let count = 0; count < 70_000; count++) {
      const id = count % size;
      tx.send(id, frame);
      rx.post(id);
      device.inject(frame);
      if (tx.collect()[0]?.id !== id || rx.collect()[0]?.length !== 72) expect.fail(`at ${count}`);
    }
    expect(device.statistics).toMatchObject({ transmittedFrames: 70_000, receivedFrames: 70_000 });
    expect(device.violations).toEqual([]);
  });

  it('takes a whole ring in one notification, again and again', () => {
    const sent = make();
    const { tx } = bringUpPacked(device, { size: 5 });
    for (let lap = 0; lap < 9; lap++) {
      for (let id = 0; id < 5; id++) tx.put(id, frameOf(60 + id));
      tx.notify();
      expect(tx.collect().map(({ id }) => id)).toEqual([0, 1, 2, 3, 4]);
    }
    expect(sent).toHaveLength(45);
    expect(device.statistics.notifications).toBe(9);
    expect(device.violations).toEqual([]);
  });

  it('takes chains, wherever the header ends, across the end of the ring', () => {
    const sent = make();
    const { rx, tx } = bringUpPacked(device, { size: 7 });
    for (let round = 0; round < 20; round++) {
      const { address } = tx.fill(0, frameOf(60, round));
      const pieces = [
        { address, length: 8 },
        { address: address + 8, length: 34 },
        { address: address + 42, length: 30 },
      ];
      tx.offer(0, ...pieces);
      tx.offer(
        1,
        { address: tx.fill(1, frameOf(90)).address, length: 12 },
        { ...tx.fill(1, frameOf(90)), address: tx.addressOfSlot(1) + 12, length: 90 },
      );
      tx.notify();
      expect(tx.collect().map(({ id }) => id)).toEqual([0, 1]);
      expect(sent.splice(0)).toEqual([frameOf(60, round), frameOf(90)]);
      rx.offer(2, { ...rx.empty(2), length: 12 }, rx.empty(3));
      device.inject(frameOf(77, round));
      expect(rx.collect()).toEqual([{ id: 2, length: 89, written: true }]);
      expect(rx.slot(3).slice(0, 77)).toEqual(frameOf(77, round));
    }
    expect(device.violations).toEqual([]);
  });

  it('takes indirect tables, whose order is that of the entries and whose ids mean nothing', () => {
    const sent = make();
    const { rx, tx } = bringUpPacked(device, { features: PACKED_INDIRECT });
    const { address } = tx.fill(0, frameOf(60));
    tx.offer(
      4,
      indirect(tx, 5, [
        { address, length: 12 },
        { address: address + 12, length: 60 },
      ]),
    );
    // WRITE beside INDIRECT is reserved, and ignored.
    const table = indirect(tx, 6, [
      { address, length: 40 },
      { address: address + 40, length: 32 },
    ]);
    tx.offer(3, { ...table, flags: INDIRECT | WRITE });
    tx.put(1, frameOf(99));
    tx.notify();
    expect(sent).toEqual([frameOf(60), frameOf(60), frameOf(99)]);
    expect(tx.collect().map(({ id }) => id)).toEqual([4, 3, 1]);
    const parts = [
      { ...rx.empty(0), length: 12 },
      { ...rx.empty(1), length: 1600 },
    ];
    rx.offer(0, indirect(rx, 7, parts));
    device.inject(frameOf(61));
    expect(rx.collect()).toEqual([{ id: 0, length: 73, written: true }]);
    expect(rx.slot(1).slice(0, 61)).toEqual(frameOf(61));
    expect(device.violations).toEqual([]);
  });

  it('takes lists of any shape, in any order of sizes, at any size of the ring', () => {
    const plans = fc.record({
      size: fc.integer({ min: 1, max: 12 }),
      features: fc.constantFrom(PACKED, PACKED_EVENT_IDX, PACKED_INDIRECT),
      lists: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 60 }),
    });
    fc.assert(
      fc.property(plans, ({ size, features, lists }) => {
        const sent = make();
        const { tx } = bringUpPacked(device, { features, size });
        for (const [round, wanted] of lists.entries()) {
          const parts = Math.min(wanted, size);
          const frame = frameOf(60, round);
          const { address } = tx.fill(0, frame);
          const entries = Array.from({ length: parts }, (_, part) => ({
            address: address + 10 * part,
            length: part === parts - 1 ? 72 - 10 * part : 10,
          }));
          tx.offer(round, ...entries);
          tx.notify();
          expect(tx.collect()).toEqual([{ id: round, length: 0, written: false }]);
          expect(sent.splice(0)).toEqual([frame]);
        }
        expect(device.violations).toEqual([]);
      }),
    );
  });

  it('keeps transmit buffers while they are held, and shows them all at once', () => {
    make();
    const { tx } = bringUpPacked(device);
    device.holdTransmit(true);
    for (const id of [0, 1, 2]) tx.send(id, frameOf(60));
    expect(device.statistics.transmittedFrames).toBe(3);
    expect(tx.collect()).toEqual([]);
    device.holdTransmit(false);
    expect(tx.collect().map(({ id }) => id)).toEqual([0, 1, 2]);
    expect(device.violations).toEqual([]);
  });

  it('lets a listener send from within a notification', () => {
    make();
    const { tx } = bringUpPacked(device);
    const sent: number[] = [];
    device.onTransmit((frame) => {
      sent.push(frame.length);
      if (sent.length === 1) tx.send(5, frameOf(99));
    });
    tx.put(0, frameOf(60));
    tx.put(1, frameOf(61));
    tx.notify();
    expect(sent).toEqual([60, 99, 61]);
    expect(tx.collect().map(({ id }) => id)).toEqual([0, 1, 5]);
    expect(device.violations).toEqual([]);
  });

  it('starts anew after a reset, in either format', () => {
    const sent = make();
    const { transport, rx, tx } = bringUpPacked(device, { size: 3 });
    rx.post(0);
    rx.notify();
    for (const id of [0, 1]) tx.send(id, frameOf(60));
    transport.writeStatus(0);
    rx.free();
    tx.free();
    const split = bringUp(device);
    split.tx.send(0, frameOf(61));
    expect(split.tx.collect()).toHaveLength(1);
    transport.writeStatus(0);
    const again = bringUpPacked(device, { size: 3 });
    again.tx.send(2, frameOf(62));
    expect(again.tx.collect()).toHaveLength(1);
    expect(sent.map(({ length }) => length)).toEqual([60, 60, 61, 62]);
    expect(device.violations).toEqual([]);
  });

  it('returns no held buffer when it has stopped working', () => {
    make();
    const { tx } = bringUpPacked(device);
    device.holdTransmit(true);
    tx.send(0, frameOf(60));
    device.needsReset();
    device.holdTransmit(false);
    expect(tx.collect()).toEqual([]);
  });
});

describe('the size of a packed queue', () => {
  it.each([1, 3, 300, 32_768])('may be %i', (size) => {
    make({ queueSize: size, isolation: false });
    negotiate(device.transport, PACKED);
    expect(device.transport.maxQueueSize(RX)).toBe(size);
    device.transport.enableQueue(RX, new PackedRing(device.transport, RX, size).layout);
    expect(device.violations).toEqual([]);
  });

  it.each([0, 1.5, -1, 256.5])('may not be %d', (size) => {
    make();
    negotiate(device.transport, PACKED);
    const { layout } = new PackedRing(device.transport, RX, 8);
    device.transport.enableQueue(RX, { ...layout, size });
    expect(device.violations).toEqual([
      expect.stringMatching(
        /^queue 0: a size of .* (is not a whole number from 1 to 32768|is more than the 256 allowed)$/,
      ),
    ]);
    expect(device.transport.readStatus() & NEEDS_RESET).toBe(NEEDS_RESET);
  });

  it('is told as a power of two to a driver that has not accepted the format', () => {
    make({ queueSize: 300 });
    expect(device.transport.maxQueueSize(RX)).toBe(256);
    negotiate(device.transport, PLAIN);
    expect(device.transport.maxQueueSize(RX)).toBe(256);
    negotiate(device.transport, PACKED);
    expect(device.transport.maxQueueSize(RX)).toBe(300);
  });

  it('is checked where the device is made', () => {
    make();
    const invalid: unknown = expect.objectContaining({ code: 'OPTION_INVALID' });
    for (const queueSize of [0, 32_769, 1.5, NaN]) {
      expect(() => packedDevice({ queueSize })).toThrow(invalid);
    }
    expect(() => createSimulatedDevice({ queueSize: 300 })).toThrow(invalid);
  });
});
