/** One queue is reset and used again while the device runs (VIRTIO 1.3, 2.6.1), in each ring format and order. */
import { expect, it } from 'vitest';
import { featureBits } from '../../src/sim/features.js';
import { numberedFrame, rings, startBench } from './support.js';

const RING_RESET = 1n << 40n;
const features = (): bigint => featureBits(undefined) | RING_RESET;

// Proves: core/virtqueue-re-enable/1
it.each([
  { format: 'split', inOrder: false },
  { format: 'packed', inOrder: false },
  { format: 'split', inOrder: true },
  { format: 'packed', inOrder: true },
] as const)('begins anew, its memory as it was at first: $format, in order $inOrder', async (kind) => {
  Object.assign(rings, kind);
  const { sim, device, finish } = await startBench({ features: features(), queueSize: 8 });
  expect(device.features.has('VIRTIO_F_RING_RESET')).toBe(true);
  const sent: Uint8Array[] = [];
  sim.onTransmit((frame) => sent.push(frame));
  const frames = device.frames();
  let number = 0;
  // Traffic of a length that leaves the counters of the rings elsewhere each time, also past a wrap.
  for (const length of [1, 3, 8, 13, 40]) {
    for (let index = 0; index < length; index += 1, number += 1) {
      await device.send(numberedFrame(number));
      expect(sent.at(-1)).toEqual(numberedFrame(number));
      expect(sim.inject(numberedFrame(number))).toBe(true);
      expect((await frames.next()).value?.frame).toEqual(numberedFrame(number));
    }
    await device.resetQueue(0, length % 2 === 0 ? 'receive' : 'transmit');
    await device.resetQueue(0, 'receive');
  }
  await frames.return();
  await finish();
});

it('gives buffers that a queue still had back, and the device can not return them any more', async () => {
  Object.assign(rings, { format: 'packed', inOrder: true });
  const { device, sim: held, finish } = await startBench({ features: features(), queueSize: 8 });
  held.holdTransmit(true);
  for (let number = 0; number < 5; number += 1) {
    const packet = device.allocate();
    expect(device.transmit([packet.setFrame(numberedFrame(number))], 1)).toBe(1);
  }
  const before = device.statistics().pool.available;
  const report = await device.resetQueue(0, 'transmit');
  expect(report).toMatchObject({ lost: [{ queuePair: 0, transmit: 5 }] });
  expect(device.statistics().pool.available).toBe(before + 5);
  held.holdTransmit(false);
  await device.send(numberedFrame(9));
  await finish();
});
