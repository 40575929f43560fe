/**
 * The tests of the whole driver once more, on packed rings. What the other files say of a device is said here of one
 * that offers VIRTIO_F_RING_PACKED.
 */
import { describe, expect, it } from 'vitest';
import './changes.test.js';
import './failing-calls.test.js';
import './failing-recovery.test.js';
import './mixed-use.test.js';
import './open-close.test.js';
import './queue-pairs.test.js';
import './queue-reset.test.js';
import './receive.test.js';
import './recovery.test.js';
import './removal.test.js';
import './sender.test.js';
import './stalls.test.js';
import './transmit.test.js';
import { numberedFrame, openBench, rings, startBench } from './support.js';

rings.format = 'packed';

describe('the ring format', () => {
  // Proves: core/reserved-feature-bits/5
  it('is packed where the device offers that, unless it is unwanted', async () => {
    for (const unwanted of [[], ['VIRTIO_F_RING_PACKED']] as const) {
      const { device, finish } = await openBench({}, { features: { unwanted } });
      expect(device.features.has('VIRTIO_F_RING_PACKED')).toBe(unwanted.length === 0);
      await finish();
    }
  });

  it.each([
    [300, undefined, 256],
    [100, undefined, 100],
    [300, 300, 300],
    [300, 3, 3],
    [256, 7, 7],
  ])('lets a ring of a device with %i descriptors be of any size: %s', async (most, queueSize, size) => {
    const { sim, device, finish } = await startBench(
      { queueSize: most },
      queueSize === undefined ? {} : { queueSize },
    );
    const { pool } = device.statistics();
    expect(pool).toMatchObject({ size: 4 * size, available: 3 * size });
    const frames = device.frames();
    for (let n = 0; n < 1000; n += 1) {
      await device.send(numberedFrame(n));
      expect(sim.inject(numberedFrame(n))).toBe(true);
      expect((await frames.next()).value?.frame).toEqual(numberedFrame(n));
    }
    await frames.return();
    expect(sim.statistics.transmittedFrames).toBe(1000);
    await finish();
  });

  it('is split, with a power of two, where packed is unwanted and the device has another number', async () => {
    const { device, finish } = await startBench(
      { queueSize: 100 },
      { features: { unwanted: ['VIRTIO_F_RING_PACKED'] } },
    );
    expect(device.statistics().pool.size).toBe(4 * 64);
    await device.send(numberedFrame(1));
    await finish();
  });
});
