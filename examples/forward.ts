/**
 * Sends what one device receives by another, and back; or where there is only one, by that. Prints rates once a second.
 *
 *     forward.ts <device> [<device>] [--burst n] [--count n]
 *
 * A device is a PCI address, `vhost-user:/path.sock`, or `sim`. It ends after --count frames, or on Ctrl-C. What a
 * ring has no room for is lost.
 */
import { parseArgs } from 'node:util';
import { NetDevice, type PacketBuffer } from 'virtio-net';
import { find } from './polled/device.js';
import { poll } from './polled/poll.js';
import { deviceNames, LIMITS, program, readLimits } from './polled/program.js';

const batch: PacketBuffer[] = [];
const copies: PacketBuffer[] = [];

function forward(from: NetDevice, to: NetDevice, most: number): number {
  const count = from.receive(batch, most);
  // A buffer is its device's: only that can send it as it is.
  if (from === to) return send(to, batch, count);
  const room = to.allocateBatch(copies, count);
  for (let i = 0; i < room; i += 1) copies[i].setFrame(batch[i].frame);
  from.releaseBatch(batch, count);
  return send(to, copies, room);
}

function send(device: NetDevice, packets: readonly PacketBuffer[], count: number): number {
  const sent = device.transmit(packets, count);
  for (let i = sent; i < count; i += 1) packets[i].release();
  return sent;
}

await program('forward', async (signal) => {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: LIMITS });
  const names = deviceNames(positionals, 2, 'forward.ts <device> [<device>] [--burst n] [--count n]');
  const limits = readLimits(values);
  const options = { interrupts: false, signal };
  await using one = await NetDevice.open(find(names[0]), options);
  await using other = names.length === 1 ? one : await NetDevice.open(find(names[1]), options);
  if (one.mtu !== other.mtu) throw new Error(`the devices have MTUs of ${one.mtu} and ${other.mtu}`);
  const devices = new Set([one, other]);
  for (const device of devices) await device.start();
  await poll(devices, limits, signal, (most) => {
    const count = forward(one, other, most);
    return one === other ? count : count + forward(other, one, most - count);
  });
});
