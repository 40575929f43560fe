/** Our driver on a card that vfio-pci has: polled, receiving or sending bursts. Argument and answer: interval.ts. */
import { NetDevice, type PacketBuffer } from 'virtio-net';
import { measureInterval, readRequest } from './interval.js';

const request = readRequest();
const device = await NetDevice.open(request.card, { interrupts: false });
await device.start();
const batch: PacketBuffer[] = [];
const frame = new Uint8Array(request.frameLength).fill(0xff, 0, 6);

function receive(): number {
  const count = device.receive(batch, request.burst);
  device.releaseBatch(batch, count);
  return count;
}

function transmit(): number {
  const count = device.allocateBatch(batch, request.burst);
  for (let i = 0; i < count; i += 1) batch[i].setFrame(frame);
  const sent = device.transmit(batch, count);
  for (let i = sent; i < count; i += 1) batch[i].release();
  return sent;
}

const answer = measureInterval(request.direction === 'receive' ? receive : transmit, request);
await device.close();
console.log(JSON.stringify(answer));
