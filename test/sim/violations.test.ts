import { describe, expect, it } from 'vitest';
import { createSimulatedDevice, type SimulatedDevice } from '../../src/sim/index.js';
import type { QueueLayout } from '../../src/transport/transport.js';
import {
  ACKNOWLEDGE,
  DRIVER,
  DRIVER_OK,
  FEATURES_OK,
  INDIRECT,
  NEEDS_RESET,
  NEXT,
  PLAIN,
  RX,
  Ring,
  SLOT,
  TX,
  WITH_EVENT_IDX,
  WITH_INDIRECT,
  WRITE,
  bits,
  bringUp,
  expectViolation,
  frameOf,
  negotiate,
  recorder,
  turn,
  writeEntry,
} from './support.js';

const ALL = ACKNOWLEDGE | DRIVER | FEATURES_OK;

describe('a driver that initialises the device wrongly is found out:', () => {
  const cases: [string, number[], RegExp][] = [
    ['DRIVER first', [DRIVER], /^the driver set DRIVER before ACKNOWLEDGE$/],
    ['FEATURES_OK too early', [ACKNOWLEDGE, ACKNOWLEDGE | FEATURES_OK], /set FEATURES_OK before DRIVER$/],
    ['DRIVER_OK too early', [1, 3, 3 | DRIVER_OK], /set DRIVER_OK before FEATURES_OK$/],
    ['two steps at once', [ACKNOWLEDGE | DRIVER], /set the status bits 0x3 at once$/],
    ['a bit cleared', [1, 3, 2], /cleared the status bits 0x1$/],
    ['DEVICE_NEEDS_RESET set', [1, 1 | NEEDS_RESET], /set DEVICE_NEEDS_RESET/],
    ['an unknown bit', [1, 1 | 32], /the status 0x21 has unknown bits$/],
  ];

  it.each(cases)('%s', (_name, writes, sentence) => {
    const device = createSimulatedDevice();
    for (const status of writes) device.transport.writeStatus(status);
    expectViolation(device, sentence);
  });

  it('features before DRIVER', () => {
    const device = createSimulatedDevice();
    device.transport.writeStatus(ACKNOWLEDGE);
    device.transport.writeDriverFeatures(PLAIN);
    expectViolation(device, /features were written before DRIVER/);
  });

  it('features after FEATURES_OK', () => {
    const device = createSimulatedDevice();
    negotiate(device.transport, PLAIN);
    device.transport.writeDriverFeatures(0n);
    expectViolation(device, /features were written after FEATURES_OK/);
  });

  it('a queue before FEATURES_OK, after DRIVER_OK, and twice', () => {
    const early = createSimulatedDevice();
    early.transport.enableQueue(RX, new Ring(early.transport, RX, 8).layout);
    expectViolation(early, /^queue 0 was enabled before FEATURES_OK$/);

    const late = createSimulatedDevice();
    const { rx } = bringUp(late);
    late.transport.enableQueue(RX, rx.layout);
    expectViolation(late, /^queue 0 was enabled after DRIVER_OK$/);

    const twice = createSimulatedDevice();
    negotiate(twice.transport, PLAIN);
    const ring = new Ring(twice.transport, RX, 8);
    twice.transport.enableQueue(RX, ring.layout);
    twice.transport.enableQueue(RX, ring.layout);
    expectViolation(twice, /^queue 0 was enabled twice$/);
  });

  it('a notification before DRIVER_OK', () => {
    const device = createSimulatedDevice();
    negotiate(device.transport, PLAIN);
    const ring = new Ring(device.transport, TX, 8);
    device.transport.enableQueue(TX, ring.layout);
    ring.send(0, frameOf(60));
    expectViolation(device, /^queue 1 was notified before DRIVER_OK$/);
    expect(device.statistics.transmittedFrames).toBe(0);
  });

  it('a notification of a queue that is not enabled', () => {
    const device = createSimulatedDevice();
    negotiate(device.transport, PLAIN);
    device.transport.writeStatus(ALL | DRIVER_OK);
    device.transport.notify(TX);
    expectViolation(device, /^queue 1 was notified but is not enabled$/);
  });

  it('a configuration field that is not offered', () => {
    const device = createSimulatedDevice();
    expect(device.transport.readConfig(8, 2)).toBe(0);
    expectViolation(device, /field max_virtqueue_pairs, which is not offered$/);
  });
});

describe('a choice of features is refused', () => {
  function refusal(device: SimulatedDevice, features: bigint): boolean {
    negotiate(device.transport, features);
    return device.transport.readStatus() === (ACKNOWLEDGE | DRIVER);
  }

  it('if a feature was not offered', () => {
    const device = createSimulatedDevice();
    expect(refusal(device, PLAIN | (1n << 17n) | (1n << 40n))).toBe(true);
    expect(device.violations).toEqual([expect.stringMatching(/were not offered \(bits 17, 40\)$/)]);
  });

  it('if a feature lacks one that it requires', () => {
    const device = createSimulatedDevice({ features: PLAIN | (1n << 17n) | (1n << 22n) });
    expect(refusal(device, PLAIN | (1n << 22n))).toBe(true);
    expect(device.violations).toEqual([expect.stringMatching(/feature bit 22 without bit 17/)]);
  });

  it('if VIRTIO_F_VERSION_1 is missing', () => {
    const device = createSimulatedDevice();
    expect(refusal(device, PLAIN & ~bits('VIRTIO_F_VERSION_1'))).toBe(true);
    expect(device.violations).toEqual([expect.stringMatching(/did not accept VIRTIO_F_VERSION_1/)]);
  });

  it('without a violation, where the driver may choose so but the device can not', () => {
    const device = createSimulatedDevice();
    expect(refusal(device, PLAIN & ~bits('VIRTIO_F_ACCESS_PLATFORM'))).toBe(true);
    const legacy = createSimulatedDevice({ features: ['VIRTIO_NET_F_MAC'] });
    expect(refusal(legacy, bits('VIRTIO_NET_F_MAC'))).toBe(true);
    const offersMore = createSimulatedDevice({ features: PLAIN | (1n << 41n) });
    expect(refusal(offersMore, PLAIN | (1n << 41n))).toBe(true);
    expect(refusal(offersMore, PLAIN)).toBe(false);
    const picky = createSimulatedDevice({
      acceptFeatures: (chosen) => (chosen & bits('VIRTIO_NET_F_MTU')) === 0n,
    });
    expect(refusal(picky, PLAIN)).toBe(true);
    expect(refusal(picky, PLAIN & ~bits('VIRTIO_NET_F_MTU'))).toBe(false);
    for (const one of [device, legacy, offersMore, picky]) expect(one.violations).toEqual([]);
  });

  it('and a driver that goes on all the same is found out', () => {
    const device = createSimulatedDevice();
    negotiate(device.transport, PLAIN & ~bits('VIRTIO_F_ACCESS_PLATFORM'));
    device.transport.writeStatus(ALL | DRIVER_OK);
    expectViolation(device, /set the status bits 0xc at once/);
  });
});

describe('a queue is not taken', () => {
  function enable(alter: (layout: QueueLayout, ring: Ring) => Partial<QueueLayout>): SimulatedDevice {
    const device = createSimulatedDevice();
    negotiate(device.transport, PLAIN);
    const ring = new Ring(device.transport, RX, 8);
    device.transport.enableQueue(RX, { ...ring.layout, ...alter(ring.layout, ring) });
    return device;
  }
  const moved = ({ lo, hi }: { lo: number; hi: number }, by: number): { lo: number; hi: number } => ({
    lo: lo + by,
    hi,
  });

  it.each([0, 3, 6, -8, 1.5])('with a size of %d', (size) => {
    expectViolation(
      enable(() => ({ size })),
      /^queue 0: a size of .* is not a power of two from 1 to 32768$/,
    );
  });

  it('with a size that is too large', () => {
    expectViolation(
      enable(() => ({ size: 512 })),
      /^queue 0: a size of 512 is more than the 256 allowed$/,
    );
  });

  it.each([
    ['descriptorArea', 8, /descriptor area at 0x\w+ is not aligned to 16 bytes$/],
    ['driverArea', 1, /driver area at 0x\w+ is not aligned to 2 bytes$/],
    ['deviceArea', 2, /device area at 0x\w+ is not aligned to 4 bytes$/],
    ['deviceArea', 4096, /device area at 0x\w+ lies outside the allocated DMA memory$/],
    ['deviceArea', 3876, /device area of 70 bytes at 0x\w+ runs over the end of its DMA region$/],
  ] as const)('with its %s %i bytes off', (area, by, sentence) => {
    expectViolation(
      enable((layout) => ({ [area]: moved(layout[area], by) })),
      sentence,
    );
  });

  it('with an address above 4 GiB', () => {
    expectViolation(
      enable((layout) => ({ driverArea: { lo: layout.driverArea.lo, hi: 1 } })),
      /driver area at 0x1\w{8} lies outside/,
    );
  });

  it('with areas that overlap', () => {
    expectViolation(
      enable((layout) => ({ driverArea: moved(layout.descriptorArea, 126) })),
      /^queue 0: the areas of the queue at .* overlap$/,
    );
  });

  it('with a device area that was not zeroed', () => {
    expectViolation(
      enable((_layout, ring) => {
        new Uint8Array(ring.rings.buffer).fill(1);
        return {};
      }),
      /device area was not zeroed/,
    );
  });
});

describe('a transmit buffer is a violation', () => {
  type Prepare = (tx: Ring) => void;
  function send(prepare: Prepare, features = PLAIN): SimulatedDevice {
    const device = createSimulatedDevice({ host: null, isolation: true });
    const { tx } = bringUp(device, { features });
    prepare(tx);
    tx.notify();
    return device;
  }
  const whole = (tx: Ring, index = 0): { address: number; length: number } => ({
    address: tx.addressOfSlot(index),
    length: 100,
  });
  function table(tx: Ring, index: number): DataView {
    return new DataView(tx.buffers.buffer, SLOT * index, SLOT);
  }

  const cases: [string, RegExp, Prepare, bigint?][] = [
    [
      'outside the memory',
      /^queue 1: the buffer of descriptor 0 at 0x1234 lies outside the allocated DMA memory$/,
      (tx) => {
        tx.describe(0, { address: 0x1234, length: 100 });
        tx.offer(0);
      },
    ],
    [
      'over the end of its region',
      /the buffer of descriptor 0 of 100 bytes at 0x\w+ runs over the end of its DMA region$/,
      (tx) => {
        tx.describe(0, { address: tx.addressOfSlot(7) + SLOT - 99, length: 100 });
        tx.offer(0);
      },
    ],
    [
      'of no length',
      /descriptor 0 describes a buffer of 0 bytes$/,
      (tx) => {
        tx.describe(0, { ...whole(tx), length: 0 });
        tx.offer(0);
      },
    ],
    [
      'whose head is beyond the ring',
      /the available ring names descriptor 8, but the queue has 8 entries$/,
      (tx) => tx.offer(8),
    ],
    [
      'whose next is beyond the ring',
      /descriptor 8 is beyond the table of 8 entries$/,
      (tx) => {
        tx.describe(0, { ...whole(tx), flags: NEXT, next: 8 });
        tx.offer(0);
      },
    ],
    [
      'that is a loop',
      /the descriptor chain through descriptor 0 has more than 8 elements, or is a loop$/,
      (tx) => {
        tx.describe(0, { ...whole(tx), flags: NEXT, next: 1 });
        tx.describe(1, { ...whole(tx), flags: NEXT, next: 0 });
        tx.offer(0);
      },
    ],
    [
      'that the device may write',
      /the transmit buffer of descriptor 0 has a device-writable part$/,
      (tx) => {
        tx.describe(0, { ...whole(tx), flags: NEXT, next: 1 });
        tx.describe(1, { ...whole(tx, 1), flags: WRITE });
        tx.offer(0);
      },
    ],
    [
      'that is readable behind writable',
      /descriptor 1 is device-readable but comes after a device-writable one$/,
      (tx) => {
        tx.describe(0, { ...whole(tx), flags: WRITE | NEXT, next: 1 });
        tx.describe(1, whole(tx, 1));
        tx.offer(0);
      },
    ],
    [
      'shorter than the headers',
      /the transmit buffer of descriptor 0 has 25 bytes: too few for both headers$/,
      (tx) => {
        tx.describe(0, { ...whole(tx), length: 25 });
        tx.offer(0);
      },
    ],
    [
      'with flags in its header',
      /flags is 1 in the header of transmit descriptor 0, but must be 0$/,
      (tx) => {
        tx.put(0, frameOf(60));
        tx.slot(0)[0] = 1;
      },
    ],
    [
      'with a gso_type in its header',
      /gso_type is 3 in the header/,
      (tx) => {
        tx.put(0, frameOf(60));
        tx.slot(0)[1] = 3;
      },
    ],
    [
      'with num_buffers in its header',
      /num_buffers is 256 in the header/,
      (tx) => {
        tx.put(0, frameOf(60));
        tx.slot(0)[11] = 1;
      },
    ],
    [
      'longer than the MTU',
      /the driver sent a frame of 1519 bytes: the limit is 1518$/,
      (tx) => tx.put(0, frameOf(1519)),
    ],
    [
      'with an index that jumps',
      /the available index jumped from 0 to 9, but the queue has 8 entries$/,
      (tx) => tx.setAvailableIndex(9),
    ],
    [
      'with an index that goes back',
      /the available index jumped from 0 to 65535/,
      (tx) => tx.setAvailableIndex(0xffff),
    ],
    [
      'with unknown flags in the ring',
      /the flags of the available ring are 2, but must be 0 or 1$/,
      (tx) => tx.setFlags(2),
    ],
    [
      'with the flag set beside the event index',
      /the flags of the available ring are 1, but with VIRTIO_F_RING_EVENT_IDX must be 0$/,
      (tx) => tx.setFlags(1),
      WITH_EVENT_IDX,
    ],
    [
      'that is indirect without the feature',
      /descriptor 0 is indirect, but VIRTIO_F_RING_INDIRECT_DESC was not negotiated$/,
      (tx) => {
        tx.describe(0, { address: tx.addressOfSlot(0), length: 32, flags: INDIRECT });
        tx.offer(0);
      },
    ],
    [
      'that is indirect twice',
      /descriptor 0 of the indirect table at 0x\w+ is indirect within an indirect table$/,
      (tx) => {
        writeEntry(table(tx, 0), 0, { address: tx.addressOfSlot(1), length: 16, flags: INDIRECT });
        tx.describe(0, { address: tx.addressOfSlot(0), length: 16, flags: INDIRECT });
        tx.offer(0);
      },
      WITH_INDIRECT,
    ],
    [
      'that is indirect and goes on',
      /descriptor 0 has both INDIRECT and NEXT set$/,
      (tx) => {
        tx.describe(0, { address: tx.addressOfSlot(0), length: 16, flags: INDIRECT | NEXT, next: 1 });
        tx.offer(0);
      },
      WITH_INDIRECT,
    ],
    [
      'with an indirect table that is cut short',
      /descriptor 0 has an indirect table of 24 bytes, not a multiple of 16$/,
      (tx) => {
        tx.describe(0, { address: tx.addressOfSlot(0), length: 24, flags: INDIRECT });
        tx.offer(0);
      },
      WITH_INDIRECT,
    ],
    [
      'with an indirect table longer than the queue',
      /has more than 8 elements, or is a loop$/,
      (tx) => {
        for (let entry = 0; entry < 9; entry++) {
          writeEntry(table(tx, 0), entry, { ...whole(tx, 1), flags: entry < 8 ? NEXT : 0, next: entry + 1 });
        }
        tx.describe(0, { address: tx.addressOfSlot(0), length: 9 * 16, flags: INDIRECT });
        tx.offer(0);
      },
      WITH_INDIRECT,
    ],
    [
      'whose next is beyond the indirect table',
      /descriptor 1 of the indirect table at 0x\w+ is beyond the table of 1 entries$/,
      (tx) => {
        writeEntry(table(tx, 0), 0, { ...whole(tx, 1), flags: NEXT, next: 1 });
        tx.describe(0, { address: tx.addressOfSlot(0), length: 16, flags: INDIRECT });
        tx.offer(0);
      },
      WITH_INDIRECT,
    ],
    [
      'after the device area was written',
      /the driver altered byte 4 of the device area$/,
      (tx) => {
        tx.put(0, frameOf(60));
        new Uint8Array(tx.rings.buffer)[tx.usedOffset + 4] = 1;
      },
    ],
  ];

  it.each(cases)('%s', (_name, sentence, prepare, features) => {
    const device = send(prepare, features);
    expectViolation(device, sentence);
    expect(device.statistics.transmittedFrames).toBe(0);
  });

  it('and interrupts the driver', async () => {
    const device = createSimulatedDevice();
    const { calls, handlers } = recorder();
    const { tx } = bringUp(device, { handlers });
    tx.setAvailableIndex(100);
    tx.notify();
    await turn();
    expect(calls).toEqual(['config']);
    device.transport.writeStatus(0);
    await device.transport.close();
  });
});

describe('a receive buffer is a violation', () => {
  it('if the device may read from it', () => {
    const device = createSimulatedDevice();
    const { rx } = bringUp(device);
    rx.describe(0, { address: rx.addressOfSlot(0), length: SLOT });
    rx.offer(0);
    rx.notify();
    expectViolation(device, /^queue 0: the receive buffer of descriptor 0 has a device-readable part$/);
  });

  it('if the header does not fit into it', () => {
    const device = createSimulatedDevice();
    const { rx } = bringUp(device);
    rx.describe(0, { address: rx.addressOfSlot(0), length: 11, flags: WRITE });
    rx.offer(0);
    rx.notify();
    expectViolation(device, /has 11 bytes: too few for the header$/);
  });

  it('if the device owns it already, by head or by part', () => {
    const device = createSimulatedDevice();
    const { rx } = bringUp(device);
    rx.post(0);
    rx.notify();
    rx.describe(1, { address: rx.addressOfSlot(1), length: SLOT, flags: WRITE | NEXT, next: 0 });
    rx.offer(1);
    rx.notify();
    expectViolation(device, /^queue 0: descriptor 0 was made available while the device still owns it$/);
  });

  it('when a frame arrives, too', () => {
    const device = createSimulatedDevice();
    const { rx } = bringUp(device);
    rx.offer(9);
    expect(device.inject(frameOf(60))).toBe(false);
    expectViolation(device, /^queue 0: the available ring names descriptor 9/);
  });
});

describe('isolation finds out a driver that alters', () => {
  function posted(): { device: SimulatedDevice; rx: Ring; tx: Ring } {
    const device = createSimulatedDevice({ isolation: true, host: null });
    const { rx, tx } = bringUp(device);
    rx.post(0);
    rx.notify();
    device.holdTransmit(true);
    tx.send(0, frameOf(60));
    return { device, rx, tx };
  }

  it('a receive buffer that it gave away', () => {
    const { device, rx } = posted();
    rx.slot(0)[500] = 1;
    expect(device.inject(frameOf(60))).toBe(false);
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

  it('the descriptor of a buffer that it gave away', () => {
    const { device, tx } = posted();
    tx.describe(0, { address: tx.addressOfSlot(1), length: 72 });
    device.holdTransmit(false);
    expectViolation(device, /^queue 1: the driver altered byte 1 of a descriptor at 0x\w+ while/);
  });

  it('the device area', () => {
    const { device, rx } = posted();
    new Uint8Array(rx.rings.buffer)[rx.usedOffset + 2] = 7;
    device.inject(frameOf(60));
    expectViolation(device, /^queue 0: the driver altered byte 2 of the device area$/);
  });

  it('and looks at what the device still owns when it is reset', () => {
    const { device, rx } = posted();
    rx.slot(0)[0] = 1;
    device.transport.writeStatus(0);
    expect(device.violations).toEqual([expect.stringMatching(/altered byte 0 of a device-writable buffer/)]);
    expect(device.transport.readStatus()).toBe(0);
  });

  it('but not one that touches its buffers when it has them back', () => {
    const { device, rx, tx } = posted();
    device.holdTransmit(false);
    tx.slot(0).fill(1);
    device.inject(frameOf(60));
    rx.slot(0).fill(1);
    rx.post(0);
    device.inject(frameOf(60));
    expect(rx.collect()).toHaveLength(2);
    device.transport.writeStatus(0);
    expect(device.violations).toEqual([]);
  });

  it('only where it was asked for', () => {
    const device = createSimulatedDevice();
    const { rx } = bringUp(device);
    rx.post(0);
    rx.notify();
    rx.slot(0)[500] = 1;
    expect(device.inject(frameOf(60))).toBe(true);
    expect(device.violations).toEqual([]);
  });
});

describe('memory that the device uses is not to be freed:', () => {
  it('a receive buffer', () => {
    const device = createSimulatedDevice();
    const { rx } = bringUp(device);
    rx.post(0);
    rx.notify();
    rx.buffers.free();
    expectViolation(device, /^queue 0: the DMA region at 0x\w+ was freed while the device uses it/);
    expect(device.inject(frameOf(60))).toBe(false);
  });

  it('a ring', () => {
    const device = createSimulatedDevice();
    const { tx } = bringUp(device);
    tx.rings.free();
    expectViolation(device, /^queue 1: the DMA region at 0x\w+ was freed while the device uses it/);
  });

  it('a buffer that is described only after it was freed', () => {
    const device = createSimulatedDevice();
    const { tx } = bringUp(device);
    const address = tx.addressOfSlot(0);
    tx.buffers.free();
    tx.describe(0, { address, length: 100 });
    tx.offer(0);
    expect(device.violations).toEqual([]);
    tx.notify();
    expectViolation(device, /the buffer of descriptor 0 at 0x\w+ lies outside the allocated DMA memory$/);
  });

  it('but may be after a reset', () => {
    const device = createSimulatedDevice();
    const { rx, tx } = bringUp(device);
    rx.post(0);
    rx.notify();
    device.transport.writeStatus(0);
    rx.free();
    tx.free();
    expect(device.violations).toEqual([]);
    expect(device.memory.allocatedBytes).toBe(0);
  });
});

it('tells the logger of every violation', () => {
  const lines: object[] = [];
  const ignore = (): void => undefined;
  const logger = {
    debug: ignore,
    info: ignore,
    error: ignore,
    warn: (fields: object): void => void lines.push(fields),
  };
  const device = createSimulatedDevice({ logger, name: 'nic0' });
  device.transport.writeStatus(DRIVER);
  expect(lines).toEqual([{ device: 'nic0', violation: device.violations[0] }]);
});
