/** The vhost-user transport against DPDK's vhost, which sends every frame back. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { NetDevice, type FeatureName, type NetDeviceOptions, type PacketBuffer } from 'virtio-net';
import { describeDpdk } from '../../support/describe-dpdk.js';
import { Testpmd } from '../../support/testpmd.js';

const PAIRS = 2;
const SIZES = [60, 64, 128, 512, 1000, 1514];
const WAIT_MS = 10_000;

let folder: string;
let path: string;
let backend: Testpmd;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vhost-'));
  path = join(folder, 'backend.sock');
  backend = await Testpmd.start({ path, queues: PAIRS });
}, 60_000);

afterAll(async () => {
  await backend.kill();
  rmSync(folder, { recursive: true });
});

const openFiles = (): number => readdirSync('/proc/self/fd').length;

/** A frame whose every byte depends on its length, its number and the place. */
function makeFrame(length: number, number: number): Uint8Array {
  const frame = Uint8Array.from({ length }, (_, at) => (at * 7 + length + number * 13) & 0xff);
  frame[0] &= 0xfe;
  return frame;
}

async function receivePolled(device: NetDevice, count: number): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  const batch: PacketBuffer[] = [];
  for (const deadline = performance.now() + WAIT_MS; frames.length < count && performance.now() < deadline;) {
    const received = device.receive(batch);
    for (const packet of batch.slice(0, received)) {
      frames.push(packet.copy());
      packet.release();
    }
    if (received === 0) await sleep(1);
  }
  return frames;
}

async function receiveByEvents(device: NetDevice, count: number): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  for await (const packet of device) {
    frames.push(packet.copy());
    if (frames.length === count) break;
  }
  return frames;
}

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
  ['interrupts', true, receiveByEvents],
  ['polling', false, receivePolled],
] as const;

describeDpdk('a device behind DPDK’s vhost', () => {
  for (const [rings, options] of RINGS) {
    for (const [way, interrupts, receive] of WAYS) {
      it(`brings every byte there and back: ${rings}, ${way}`, async () => {
        const before = openFiles();
        const device = await NetDevice.open(`vhost-user:${path}`, { ...options, interrupts });
        await device.start();
        // More than a ring holds, so that it comes round.
        const sent = Array.from({ length: 600 }, (_, number) =>
          makeFrame(SIZES[number % SIZES.length], number),
        );
        const receiving = receive(device, sent.length);
        for (const frame of sent) {
          await device.send(frame);
          // It drops what the driver has no buffer for.
          if (device.statistics().transmit.frames % 64 === 0) await sleep(2);
        }
        const received = await receiving;
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
    for (let number = 0; number < PAIRS; number += 1) await echo(device, number);
    await device.setQueuePairs(1);
    expect(() => transmit(device, 1, makeFrame(60, 0))).toThrow(
      expect.objectContaining({ code: 'QUEUE_PAIR_UNUSED' }),
    );
    await echo(device, 0);
    await device.setQueuePairs(2);
    await echo(device, 1);
    await device.close();
  });

  it('stops and starts again', async () => {
    const device = await NetDevice.open(`vhost-user:${path}`, { interrupts: false });
    for (let round = 0; round < 3; round += 1) {
      await device.start();
      const frame = makeFrame(200, round);
      await device.send(frame);
      expect(await receivePolled(device, 1)).toEqual([frame]);
      await device.stop();
    }
    await device.close();
  });
});

function transmit(device: NetDevice, number: number, frame: Uint8Array): void {
  const pair = device.queuePair(number);
  const packet = pair.allocate();
  try {
    packet.setFrame(frame);
    expect(pair.transmit([packet], 1)).toBe(1);
  } catch (error) {
    packet.release();
    throw error;
  }
}

/** Sends a frame by one pair, and expects it back there. */
async function echo(device: NetDevice, number: number): Promise<void> {
  const frame = makeFrame(100 + number, number);
  const batch: PacketBuffer[] = [];
  transmit(device, number, frame);
  await expect.poll(() => device.queuePair(number).receive(batch), { timeout: WAIT_MS }).toBe(1);
  const [packet] = batch;
  expect(packet.copy()).toEqual(frame);
  packet.release();
}
