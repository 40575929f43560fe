/** The vhost-user transport against DPDK's vhost, which sends every frame back. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { NetDevice, type FeatureName, type NetDeviceOptions } from 'virtio-net';
import { describeDpdk } from '../../support/describe-dpdk.js';
import { Testpmd } from '../../support/testpmd.js';
import { echoByEvents, echoPolled, makeFrame, makeFrames, receivePolled, transmit } from './frames.js';

const PAIRS = 2;
const SIZES = [60, 64, 128, 512, 1000, 1514];

let folder: string;
let path: string;
let backend: Testpmd;

const openFiles = (): number => readdirSync('/proc/self/fd').length;

function without(...unwanted: FeatureName[]): NetDeviceOptions {
  return { features: { unwanted } };
}

const RINGS: [string, NetDeviceOptions][] = [
  ['packed, mergeable', {}],
  ['packed', without('VIRTIO_NET_F_MRG_RXBUF')],
  ['packed, any order', without('VIRTIO_F_IN_ORDER')],
  ['split, mergeable', without('VIRTIO_F_RING_PACKED')],
  ['split', without('VIRTIO_F_RING_PACKED', 'VIRTIO_NET_F_MRG_RXBUF')],
  [
    'split, any order, without event index and indirect descriptors',
    without(
      'VIRTIO_F_RING_PACKED',
      'VIRTIO_F_IN_ORDER',
      'VIRTIO_F_RING_EVENT_IDX',
      'VIRTIO_F_RING_INDIRECT_DESC',
    ),
  ],
];
const WAYS = [
  ['interrupts', true, echoByEvents],
  ['polling', false, echoPolled],
] as const;

describeDpdk('a device behind DPDK’s vhost', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'vhost-'));
    path = join(folder, 'backend.sock');
    backend = await Testpmd.start({ path, queues: PAIRS });
  }, 60_000);

  afterAll(async () => {
    await backend.kill();
    rmSync(folder, { recursive: true });
  });

  for (const [rings, options] of RINGS) {
    for (const [way, interrupts, echo] of WAYS) {
      it(`brings every byte there and back: ${rings}, ${way}`, async () => {
        const before = openFiles();
        const device = await NetDevice.open(`vhost-user:${path}`, { ...options, interrupts });
        await device.start();
        // More than a ring holds, so that it comes round.
        const sent = makeFrames(600, SIZES);
        const received = await echo(device, sent);
        expect(received.length).toBe(sent.length);
        expect(received).toEqual(sent);
        await device.close();
        expect(openFiles()).toBe(before);
      });
    }
  }

  it('uses several queue pairs, each for itself', async () => {
    const device = await NetDevice.open(`vhost-user:${path}`, { queuePairs: PAIRS });
    await device.start();
    expect(device.queuePairs).toBe(PAIRS);
    for (let number = 0; number < PAIRS; number += 1) await echoBy(device, number);
    await device.setQueuePairs(1);
    expect(() => transmit(device, 1, makeFrame(60, 0))).toThrow(
      expect.objectContaining({ code: 'QUEUE_PAIR_UNUSED' }),
    );
    await echoBy(device, 0);
    await device.setQueuePairs(2);
    await echoBy(device, 1);
    await device.close();
  });

  it('stops and starts again', async () => {
    const device = await NetDevice.open(`vhost-user:${path}`, { interrupts: false });
    for (let round = 0; round < 3; round += 1) {
      await device.start();
      await echoBy(device, 0);
      await device.stop();
    }
    await device.close();
  });
});

/** Sends a frame by one pair, and expects it back there. */
async function echoBy(device: NetDevice, number: number): Promise<void> {
  const frame = makeFrame(100 + number, number);
  expect(transmit(device, number, frame)).toBe(1);
  expect(await receivePolled(device.queuePair(number), 1)).toEqual([frame]);
}
