/** Frames for backends that send them back, and taking them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { NetDevice, PacketBuffer } from 'virtio-net';

/** How long frames are waited for. */
export const WAIT_MS = 15_000;
/** Frames that are under way at most: a backend drops those that the driver has no buffer for. */
const MOST_UNDER_WAY = 128;

/** A frame whose every byte depends on its length, its number and the place. */
export function makeFrame(length: number, number: number): Uint8Array {
  const frame = Uint8Array.from(
    { length },
    (_, at) => (at * 7 + length + number * 13 + (number >> 8)) & 0xff,
  );
  frame[0] &= 0xfe;
  return frame;
}

/** Frames of all sizes in turn. */
export function makeFrames(count: number, sizes: readonly number[] = [60]): Uint8Array[] {
  return Array.from({ length: count }, (_, number) => makeFrame(sizes[number % sizes.length], number));
}

type Receiver = Pick<NetDevice, 'receive'>;

/** Takes what there is now. */
export function takeAll(device: Receiver, frames: Uint8Array[] = []): Uint8Array[] {
  const batch: PacketBuffer[] = [];
  for (let count = device.receive(batch); count > 0; count = device.receive(batch)) {
    for (const packet of batch.slice(0, count)) {
      frames.push(packet.copy());
      packet.release();
    }
  }
  return frames;
}

/** Takes so many frames, by polling; fewer where they do not come. */
export async function receivePolled(device: Receiver, count: number): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  const deadline = performance.now() + WAIT_MS;
  while (takeAll(device, frames).length < count && performance.now() < deadline) await sleep(1);
  return frames;
}

/** Sends all and takes all that comes back, waiting for interrupts. */
export async function echoByEvents(device: NetDevice, sent: readonly Uint8Array[]): Promise<Uint8Array[]> {
  const received: Uint8Array[] = [];
  const done = (async () => {
    for await (const packet of device) {
      received.push(packet.copy());
      if (received.length === sent.length) break;
    }
  })();
  await sendPaced(device, sent, () => received.length);
  await Promise.race([done, sleep(WAIT_MS)]);
  return received;
}

/** As {@link echoByEvents}, polling. */
export async function echoPolled(device: NetDevice, sent: readonly Uint8Array[]): Promise<Uint8Array[]> {
  const received: Uint8Array[] = [];
  await sendPaced(device, sent, () => takeAll(device, received).length);
  return [...received, ...(await receivePolled(device, sent.length - received.length))];
}

async function sendPaced(device: NetDevice, sent: readonly Uint8Array[], back: () => number): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  for (const [number, frame] of sent.entries()) {
    while (number - back() >= MOST_UNDER_WAY && performance.now() < deadline) await sleep(1);
    await device.send(frame);
  }
}

/** Puts a frame into the ring of a pair. */
export function transmit(device: NetDevice, number: number, frame: Uint8Array): number {
  const pair = device.queuePair(number);
  const packet = pair.allocate().setFrame(frame);
  let taken = 0;
  try {
    taken = pair.transmit([packet], 1);
    return taken;
  } finally {
    if (taken === 0) packet.release();
  }
}
