/**
 * Counts the frames that a device receives, and prints the rate once a second.
 *
 *     rx-count.ts <device> [--burst n] [--count n]
 *
 * A device is a PCI address, `vhost-user:/path.sock`, or `sim`. It ends after --count frames, or on Ctrl-C.
 */
import { parseArgs } from 'node:util';
import { NetDevice, type PacketBuffer } from 'virtio-net';
import { find } from './polled/device.js';
import { poll } from './polled/poll.js';
import { deviceNames, LIMITS, program, readLimits } from './polled/program.js';

const batch: PacketBuffer[] = [];

/** Takes what has come, up to `most` frames, and gives the buffers back at once. */
function receive(device: NetDevice, most: number): number {
  const count = device.receive(batch, most);
  device.releaseBatch(batch, count);
  return count;
}

await program('rx-count', async (signal) => {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: LIMITS });
  const [name] = deviceNames(positionals, 1, 'rx-count.ts <device> [--burst n] [--count n]');
  const limits = readLimits(values);

  await using device = await NetDevice.open(find(name), { interrupts: false, signal });
  await device.start();
  await poll([device], limits, signal, (most) => receive(device, most));
});
