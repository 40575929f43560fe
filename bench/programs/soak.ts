/**
 * A great many frames, polled, in one stretch: does the heap grow, does the collector run?
 *
 * Argument: a {@link SoakRequest} as JSON. Prints a {@link SoakAnswer}.
 */
import { NetDevice, type PacketBuffer } from 'virtio-net';
import { CollectionWatch, heapUsed, type Collections } from '../lib/collections.js';

export interface SoakRequest {
  readonly socket: string;
  readonly packed: boolean;
  readonly operation: 'receive' | 'transmit';
  readonly frames: number;
  readonly warmUpFrames: number;
  readonly burst: number;
  /** Length of the frames in bytes, without FCS. */
  readonly frameLength: number;
}

export interface SoakAnswer {
  readonly frames: number;
  readonly seconds: number;
  readonly collections: Collections;
  /** Bytes by which the used heap is larger behind the frames than before them. */
  readonly heapGrowth: number;
}

const request = JSON.parse(process.argv[2]) as SoakRequest;
const device = await NetDevice.open(`vhost-user:${request.socket}`, {
  interrupts: false,
  features: request.packed ? { required: ['VIRTIO_F_RING_PACKED'] } : { unwanted: ['VIRTIO_F_RING_PACKED'] },
});
await device.start();
const watch = new CollectionWatch();
const batch: PacketBuffer[] = [];
const frame = new Uint8Array(request.frameLength).fill(0xff, 0, 6);

function receive(wanted: number): number {
  let frames = 0;
  while (frames < wanted) {
    const count = device.receive(batch, request.burst);
    device.releaseBatch(batch, count);
    frames += count;
  }
  return frames;
}

function transmit(wanted: number): number {
  let frames = 0;
  while (frames < wanted) {
    const count = device.allocateBatch(batch, request.burst);
    for (let i = 0; i < count; i += 1) batch[i].setFrame(frame);
    const sent = device.transmit(batch, count);
    for (let i = sent; i < count; i += 1) batch[i].release();
    frames += sent;
  }
  return frames;
}

const run = request.operation === 'receive' ? receive : transmit;
run(request.warmUpFrames);
const heapBefore = heapUsed();
const begin = performance.now();
const frames = run(request.frames);
const end = performance.now();
const heapGrowth = heapUsed() - heapBefore;
const collections = await watch.between(begin, end);
watch.stop();
await device.close();
const answer: SoakAnswer = { frames, seconds: (end - begin) / 1000, collections, heapGrowth };
console.log(JSON.stringify(answer));
