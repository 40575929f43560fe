/** struct virtio_net_hdr of a received frame: with no offload negotiated, nothing in it means anything. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PacketBuffer } from '../../src/memory/packet-buffer.js';
import { PacketPool } from '../../src/memory/packet-pool.js';
import { createReceiveQueue } from '../../src/net/create-receive-queue.js';
import { NET_HEADER_SIZE } from '../../src/net/header-constants.js';
import type { ReceiveQueue } from '../../src/net/receive-queue.js';
import { SplitVirtqueue } from '../../src/virtqueue/split-virtqueue.js';
import { PlainMemory } from '../support/plain-memory.js';
import { SplitDevice } from '../virtqueue/split-device.js';
import { header, join, rig as offloadRig } from './offload-rig.js';
import { createSimulatedDevice, numberedFrame, overriding } from './support.js';

interface Rig {
  readonly queue: ReceiveQueue;
  /** Writes bytes into the next buffer, as a device does that received them. */
  readonly deliver: (bytes: Uint8Array) => void;
}

function rig(buffers: number): Rig {
  const memory = new PlainMemory();
  const ring = new SplitVirtqueue(memory, { index: 0, size: buffers, eventIndex: true });
  const device = new SplitDevice(memory, ring.layout, true);
  const transport = overriding(createSimulatedDevice().transport, { notify: () => undefined });
  const pool = new PacketPool(memory, buffers + 1, 1518);
  const queue = createReceiveQueue({ ring, pool, transport }, { has: () => false }, false);
  queue.fill();
  return {
    queue,
    deliver: (bytes) => {
      const taken = device.take();
      const part = taken?.parts[0];
      if (taken === undefined || part === undefined) throw new Error('there is no buffer');
      memory.bytesAt(part.address, 0, bytes.length).set(bytes);
      device.return(taken.id, bytes.length);
    },
  };
}

function receiveOne({ queue }: Rig): Uint8Array {
  const batch: PacketBuffer[] = [];
  expect(queue.receive(batch, 8)).toBe(1);
  const frame = batch[0].copy();
  batch[0].release();
  return frame;
}

describe('a received frame', () => {
  // Proves: net/processing-of-incoming-packets/1, net/processing-of-incoming-packets/3,
  //   net/processing-of-incoming-packets/4, net/processing-of-incoming-packets/6,
  //   net/processing-of-incoming-packets/7, net/processing-of-incoming-packets/9,
  //   net/setting-up-receive-buffers/4
  it('is what lies behind the 12 bytes of the header, whatever those are, and whatever it holds', () => {
    const it = rig(2);
    const header = fc.uint8Array({ minLength: NET_HEADER_SIZE, maxLength: NET_HEADER_SIZE });
    fc.assert(
      fc.property(header, fc.uint8Array({ minLength: 14, maxLength: 1514 }), (bytes, frame) => {
        it.deliver(Uint8Array.of(...bytes, ...frame));
        expect(receiveOne(it)).toEqual(frame);
      }),
      { numRuns: 500 },
    );
  });

  // Proves: split/the-virtqueue-used-ring/1
  it('ends where the device says that it does, whatever the buffer held before', () => {
    const it = rig(1);
    const header = new Uint8Array(NET_HEADER_SIZE);
    for (const length of [1514, 60, 1000, 14, 61]) {
      const frame = numberedFrame(length, length);
      it.deliver(Uint8Array.of(...header, ...frame));
      expect(receiveOne(it)).toEqual(frame);
    }
  });
});

describe('a device that returns buffers with nothing in them as fast as it gets them', () => {
  it.each([[[]], [['VIRTIO_NET_F_MRG_RXBUF' as const]], [['VIRTIO_NET_F_GUEST_CSUM' as const]]])(
    'does not keep the driver for ever, while the pool is dry: %j',
    (features) => {
      const it = offloadRig({ features, ringSize: 4, poolSize: 5 });
      const held: PacketBuffer[] = [];
      for (let n = 0; n < 2; n += 1) {
        it.fill(join(header(12), numberedFrame(n)));
        held.push(...it.received());
      }
      // The next refill finds the pool dry.
      expect(it.received()).toEqual([]);
      expect([held.length, it.pool.isWanted]).toEqual([2, true]);
      let returned = 0;
      const giveBack = (): void => {
        it.fill(new Uint8Array(5));
        returned += 1;
      };
      it.pool.onAvailable = () => {
        const { outstanding } = it.receive.ring;
        it.receive.refill();
        if (it.receive.ring.outstanding > outstanding && returned < 1000) giveBack();
      };
      for (let n = 0; n < 3; n += 1) giveBack();
      expect(it.received()).toEqual([]);
      expect(returned).toBe(3);
      expect(it.receive.drops.short).toBe(3);
      expect(it.receive.ring.outstanding).toBe(3);
      for (const packet of held) packet.release();
    },
  );
});
