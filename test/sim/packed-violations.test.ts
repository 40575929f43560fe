import { describe, expect, it } from 'vitest';
import type { SimulatedDevice } from '../../src/sim/index.js';
import type { QueueLayout } from '../../src/transport/transport.js';
import {
  AVAIL,
  DESC,
  PACKED,
  PACKED_EVENT_IDX,
  PACKED_INDIRECT,
  PackedRing,
  USED,
  bringUpPacked,
  packedDevice,
} from './packed-ring.js';
import {
  INDIRECT,
  NEEDS_RESET,
  NEXT,
  RX,
  SLOT,
  WRITE,
  expectViolation,
  frameOf,
  negotiate,
  type Entry,
} from './support.js';

const FRAME = frameOf(60);

describe('a packed queue is not taken', () => {
  function enable(alter: (layout: QueueLayout, ring: PackedRing) => Partial<QueueLayout>): SimulatedDevice {
    const device = packedDevice();
    negotiate(device.transport, PACKED);
    const ring = new PackedRing(device.transport, RX, 8);
    device.transport.enableQueue(RX, { ...ring.layout, ...alter(ring.layout, ring) });
    return device;
  }

  it.each([
    ['descriptorArea', 8, /descriptor area at 0x\w+ is not aligned to 16 bytes$/],
    ['driverArea', 2, /driver area at 0x\w+ is not aligned to 4 bytes$/],
    ['deviceArea', 2, /device area at 0x\w+ is not aligned to 4 bytes$/],
    ['deviceArea', 4096, /device area at 0x\w+ lies outside the allocated DMA memory$/],
    ['descriptorArea', 3984, /descriptor area of 128 bytes at 0x\w+ runs over the end of its DMA region$/],
    ['driverArea', -128, /areas of the queue at 0x\w+ and 0x\w+ overlap$/],
  ] as const)('with its %s %i bytes off', (area, by, sentence) => {
    const device = enable((layout) => ({ [area]: { ...layout[area], lo: layout[area].lo + by } }));
    expectViolation(device, sentence);
  });

  it.each([
    ['device area', (ring: PackedRing) => ring.deviceOffset],
    ['descriptor area', () => 16 * 5 + 14],
  ])('with a %s that was not zeroed', (area, offset) => {
    const device = enable((_layout, ring) => {
      new DataView(ring.rings.buffer).setUint16(offset(ring), AVAIL | USED, true);
      return {};
    });
    expectViolation(device, new RegExp(`^queue 0: the ${area} was not zeroed before`));
  });

  it('but may hold buffers already', () => {
    const device = enable((_layout, ring) => {
      ring.post(0, 1, 2);
      return {};
    });
    expect(device.violations).toEqual([]);
  });
});

describe('a packed transmit buffer is a violation', () => {
  type Prepare = (tx: PackedRing) => void;
  const at = (tx: PackedRing, id = 0): Entry => ({ address: tx.addressOfSlot(id), length: 100 });
  /** Writes entries of an indirect table into the buffer of id 7; gives the descriptor that refers to it. */
  function table(tx: PackedRing, ...entries: Entry[]): Entry {
    const view = new DataView(tx.buffers.buffer, SLOT * 7, SLOT);
    for (const [index, { address, length, flags = 0 }] of entries.entries()) {
      view.setBigUint64(16 * index, BigInt(address), true);
      view.setUint32(16 * index + 8, length, true);
      view.setUint16(16 * index + 14, flags, true);
    }
    return { address: tx.addressOfSlot(7), length: 16 * entries.length, flags: INDIRECT };
  }

  const cases: [string, RegExp, Prepare, bigint?][] = [
    [
      'outside the memory',
      /^queue 1: the buffer of descriptor 0 at 0x1234 lies outside the allocated DMA memory$/,
      (tx) => tx.offer(0, { address: 0x1234, length: 100 }),
    ],
    [
      'over the end of its region',
      /the buffer of descriptor 0 of 100 bytes at 0x\w+ runs over the end of its DMA region$/,
      (tx) => tx.offer(0, { address: tx.addressOfSlot(7) + SLOT - 99, length: 100 }),
    ],
    [
      'of no length',
      /descriptor 0 describes a buffer of 0 bytes$/,
      (tx) => tx.offer(0, { ...at(tx), length: 0 }),
    ],
    [
      'that the device may write',
      /the transmit buffer of buffer id 5 has a device-writable part$/,
      (tx) => tx.offer(5, at(tx), { ...at(tx, 1), flags: WRITE }),
    ],
    [
      'that is readable behind writable',
      /descriptor 1 is device-readable but comes after a device-writable one$/,
      (tx) => tx.offer(0, { ...at(tx), flags: WRITE }, at(tx, 1)),
    ],
    [
      'that is readable behind writable in an indirect table',
      /descriptor 1 of the indirect table at 0x\w+ is device-readable but comes after/,
      (tx) => tx.offer(0, table(tx, { ...at(tx), flags: WRITE }, at(tx))),
      PACKED_INDIRECT,
    ],
    [
      'shorter than the headers',
      /the transmit buffer of buffer id 3 has 25 bytes: too few for both headers$/,
      (tx) => tx.offer(3, { ...at(tx), length: 25 }),
    ],
    [
      'with flags in its header',
      /flags is 1 in the header of transmit buffer id 2, but must be 0$/,
      (tx) => {
        tx.put(2, FRAME);
        tx.slot(2)[0] = 1;
      },
    ],
    [
      'whose list is longer than the queue',
      /^queue 1: the descriptor list that starts at descriptor 0 has more than 8 elements$/,
      (tx) => {
        for (let position = 0; position < 8; position++) {
          tx.write(position, { ...at(tx, position), flags: AVAIL | NEXT }, 0);
        }
      },
    ],
    [
      'whose last descriptor of the ring goes on with one that is not available',
      /the descriptor list that starts at descriptor 7 was made available before descriptor 0, which it/,
      (tx) => {
        for (let id = 0; id < 7; id++) tx.send(id, FRAME);
        tx.write(7, { ...at(tx), flags: AVAIL | NEXT }, 0);
      },
    ],
    [
      'made available before the rest of its list',
      /the descriptor list that starts at descriptor 0 was made available before descriptor 1, which it/,
      (tx) => tx.write(0, { ...at(tx), flags: AVAIL | NEXT }, 0),
    ],
    [
      'that is indirect without the feature',
      /descriptor 0 is indirect, but VIRTIO_F_RING_INDIRECT_DESC was not negotiated$/,
      (tx) => tx.offer(0, table(tx, at(tx))),
    ],
    [
      'that is indirect and goes on',
      /descriptor 0 has both INDIRECT and NEXT set$/,
      (tx) => tx.offer(0, table(tx, at(tx)), at(tx)),
      PACKED_INDIRECT,
    ],
    [
      'that is indirect at the end of a list',
      /descriptor 1 is indirect, but part of a list linked by NEXT$/,
      (tx) => tx.offer(0, at(tx), table(tx, at(tx))),
      PACKED_INDIRECT,
    ],
    [
      'with NEXT in an indirect table',
      /descriptor 0 of the indirect table at 0x\w+ has the flags 1, but may have WRITE \(2\) alone$/,
      (tx) => tx.offer(0, table(tx, { ...at(tx), flags: NEXT }, at(tx))),
      PACKED_INDIRECT,
    ],
    [
      'with marks in an indirect table',
      /has the flags 130, but may have WRITE \(2\) alone$/,
      (tx) => tx.offer(0, table(tx, { ...at(tx), flags: AVAIL | WRITE })),
      PACKED_INDIRECT,
    ],
    [
      'with an indirect table that is cut short',
      /descriptor 0 has an indirect table of 24 bytes, not a multiple of 16$/,
      (tx) => tx.offer(0, { ...table(tx, at(tx)), length: 24 }),
      PACKED_INDIRECT,
    ],
    [
      'with an indirect table of nothing',
      /descriptor 0 has an indirect table of 0 bytes, not a multiple of 16$/,
      (tx) => tx.offer(0, table(tx)),
      PACKED_INDIRECT,
    ],
    [
      'with an indirect table outside the memory',
      /the indirect table of descriptor 0 at 0x10 lies outside the allocated DMA memory$/,
      (tx) => tx.offer(0, { address: 16, length: 16, flags: INDIRECT }),
      PACKED_INDIRECT,
    ],
    [
      'with an indirect table longer than the queue',
      /descriptor 0 has an indirect table of 9 entries, but the queue has 8$/,
      (tx) => tx.offer(0, table(tx, ...Array.from({ length: 9 }, () => at(tx)))),
      PACKED_INDIRECT,
    ],
    [
      'with reserved event flags',
      /the flags of the driver’s event suppression are 3, which is reserved$/,
      (tx) => tx.setEvents(3),
      PACKED_EVENT_IDX,
    ],
    [
      'with reserved bits in the event flags',
      /the flags of the driver’s event suppression are 5: the reserved bits must be 0$/,
      (tx) => tx.setEvents(5),
    ],
    [
      'with the flag for one descriptor without the event index',
      /event suppression are 2 \(DESC\), but VIRTIO_F_RING_EVENT_IDX was not negotiated$/,
      (tx) => tx.setEvents(DESC),
    ],
    [
      'with an event for a descriptor beyond the ring',
      /the driver’s event suppression names descriptor 8, but the queue has 8$/,
      (tx) => tx.setEvents(DESC, 8),
      PACKED_EVENT_IDX,
    ],
    [
      'after the device area was written',
      /the driver altered byte 2 of the device area$/,
      (tx) => {
        tx.put(0, FRAME);
        new Uint8Array(tx.rings.buffer)[tx.deviceOffset + 2] = 1;
      },
    ],
  ];

  it.each(cases)('%s', (_name, sentence, prepare, features = PACKED) => {
    const device = packedDevice();
    const { tx } = bringUpPacked(device, { features });
    prepare(tx);
    const { transmittedFrames } = device.statistics;
    tx.notify();
    expectViolation(device, sentence);
    expect(device.statistics.transmittedFrames).toBe(transmittedFrames);
  });
});

describe('what the device owns of a packed queue must not be made available again:', () => {
  it('a buffer id', () => {
    const device = packedDevice();
    const { rx } = bringUpPacked(device);
    rx.post(4);
    rx.notify();
    rx.offer(4, rx.empty(5));
    rx.notify();
    expectViolation(device, /^queue 0: buffer id 4 was made available while the device still owns it$/);
  });

  it('a descriptor, where all of them are taken', () => {
    const device = packedDevice();
    const { rx } = bringUpPacked(device, { size: 3 });
    rx.post(0, 1, 2);
    rx.notify();
    rx.offer(3, rx.empty(0));
    rx.notify();
    expectViolation(
      device,
      /^queue 0: the descriptor list that starts at descriptor 0 runs into descriptor 0, which/,
    );
  });

  it('a descriptor, at the end of a list', () => {
    const device = packedDevice();
    const { rx } = bringUpPacked(device, { size: 3 });
    rx.post(0, 1);
    rx.notify();
    rx.offer(2, { ...rx.empty(2), length: 100 }, { ...rx.empty(2), length: 100 });
    rx.notify();
    expectViolation(device, /the descriptor list that starts at descriptor 2 runs into descriptor 0, which/);
  });

  it('but all may, once they were used', () => {
    const device = packedDevice();
    const { rx } = bringUpPacked(device, { size: 3 });
    for (let lap = 0; lap < 3; lap++) {
      rx.post(0, 1, 2);
      rx.notify();
      for (let count = 0; count < 3; count++) device.inject(FRAME);
      expect(rx.collect()).toHaveLength(3);
    }
    expect(device.violations).toEqual([]);
  });
});

it('a packed receive buffer is checked as one of a split queue', () => {
  const device = packedDevice();
  const { rx } = bringUpPacked(device);
  rx.offer(6, { ...rx.empty(6), flags: 0 });
  expect(device.inject(FRAME)).toBe(false);
  expectViolation(device, /^queue 0: the receive buffer of buffer id 6 has a device-readable part$/);
});

describe('isolation on a packed queue finds out a driver that alters', () => {
  function posted(): { device: SimulatedDevice; rx: PackedRing; tx: PackedRing } {
    const device = packedDevice();
    const { rx, tx } = bringUpPacked(device, { features: PACKED_INDIRECT });
    rx.post(0);
    rx.notify();
    device.holdTransmit(true);
    tx.send(0, FRAME);
    return { device, rx, tx };
  }

  it('a receive buffer that it gave away', () => {
    const { device, rx } = posted();
    rx.slot(0)[500] = 1;
    expect(device.inject(FRAME)).toBe(false);
    expectViolation(
      device,
      /^queue 0: the driver altered byte 500 of a device-writable buffer at 0x\w+ while/,
    );
  });

  it('a frame that it is sending', () => {
    const { device, tx } = posted();
    tx.slot(0)[12]++;
    device.holdTransmit(false);
    expectViolation(
      device,
      /^queue 1: the driver altered byte 12 of a device-readable buffer at 0x\w+ while/,
    );
    expect(tx.collect()).toEqual([]);
  });

  it('a descriptor that it gave away', () => {
    const { device, tx } = posted();
    tx.write(0, { address: tx.addressOfSlot(0), length: 71, flags: AVAIL }, 0);
    device.holdTransmit(false);
    expectViolation(device, /^queue 1: the driver altered byte 8 of a descriptor at 0x\w+ while/);
  });

  it('an indirect table that it gave away', () => {
    const { device, tx } = posted();
    const { address } = tx.fill(1, FRAME);
    const view = new DataView(tx.buffers.buffer, SLOT * 2, 16);
    view.setBigUint64(0, BigInt(address), true);
    view.setUint32(8, 72, true);
    tx.offer(1, { address: tx.addressOfSlot(2), length: 16, flags: INDIRECT });
    tx.notify();
    view.setUint32(8, 70, true);
    device.holdTransmit(false);
    expectViolation(device, /^queue 1: the driver altered byte 8 of a descriptor at 0x\w+ while/);
  });

  it.each([
    ['buffers', (rx: PackedRing) => rx.slot(0), /altered byte 0 of a device-writable buffer/],
    ['descriptors', (rx: PackedRing) => new Uint8Array(rx.rings.buffer), /altered byte 0 of a descriptor/],
  ] as const)('and looks at the %s that it still owns when it is reset', (_what, bytes, sentence) => {
    const { device, rx } = posted();
    bytes(rx)[0] ^= 1;
    device.transport.writeStatus(0);
    expect(device.violations).toEqual([expect.stringMatching(sentence)]);
  });

  it('but not one that touches what it has back', () => {
    const { device, rx, tx } = posted();
    device.holdTransmit(false);
    tx.slot(0).fill(1);
    device.inject(FRAME);
    expect(rx.collect()).toHaveLength(1);
    rx.slot(0).fill(1);
    rx.write(0, { address: 1, length: 1 }, 1);
    rx.post(0);
    device.inject(FRAME);
    expect(rx.collect()).toHaveLength(1);
    device.transport.writeStatus(0);
    expect(device.violations).toEqual([]);
  });

  it('only where it was asked for', () => {
    const device = packedDevice({ isolation: false });
    const { rx } = bringUpPacked(device);
    rx.post(0);
    rx.notify();
    rx.slot(0)[500] = 1;
    rx.write(0, { address: 1, length: 1, flags: AVAIL }, 1);
    expect(device.inject(FRAME)).toBe(true);
    expect(rx.collect()).toHaveLength(1);
    expect(device.violations).toEqual([]);
  });
});

describe('memory of a packed queue is not to be freed:', () => {
  it.each(['buffers', 'rings'] as const)('its %s', (what) => {
    const device = packedDevice();
    const { rx } = bringUpPacked(device);
    rx.post(0);
    rx.notify();
    rx[what].free();
    expectViolation(device, /^queue 0: the DMA region at 0x\w+ was freed while the device uses it/);
    expect(device.inject(FRAME)).toBe(false);
    expect(device.transport.readStatus() & NEEDS_RESET).toBe(NEEDS_RESET);
  });

  it('but may be after a reset', () => {
    const device = packedDevice();
    const { rx, tx } = bringUpPacked(device);
    rx.post(0);
    rx.notify();
    device.transport.writeStatus(0);
    rx.free();
    tx.free();
    expect(device.violations).toEqual([]);
    expect(device.memory.allocatedBytes).toBe(0);
  });
});
