/**
 * Sends frames as fast as a device takes them, and prints the rate once a second.
 *
 *     pktgen.ts <device> [--size bytes] [--to mac] [--burst n] [--count n]
 *
 * A device is a PCI address, `vhost-user:/path.sock`, or `sim`. It ends after --count frames, or on Ctrl-C. Mind your
 * network: frames to an address that a switch does not know, such as the default of --to, go everywhere.
 */
import { parseArgs } from 'node:util';
import { NetDevice, type PacketBuffer } from 'virtio-net';
import { parseMac, writeEthernet } from 'virtio-net/packet';
import { find } from './polled/device.js';
import { poll } from './polled/poll.js';
import { deviceNames, LIMITS, program, readLimits, wholeNumber } from './polled/program.js';

const batch: PacketBuffer[] = [];

/** Sends the frame up to `most` times, each time in a fresh buffer; says how often there was room. */
function send(device: NetDevice, frame: Uint8Array, most: number): number {
  const count = device.allocateBatch(batch, most);
  for (let i = 0; i < count; i += 1) batch[i].setFrame(frame);
  const sent = device.transmit(batch, count);
  for (let i = sent; i < count; i += 1) batch[i].release();
  return sent;
}

await program('pktgen', async (signal) => {
  const options = { ...LIMITS, size: { type: 'string' }, to: { type: 'string' } } as const;
  const { values, positionals } = parseArgs({ allowPositionals: true, options });
  const usage = 'pktgen.ts <device> [--size bytes] [--to mac] [--burst n] [--count n]';
  const [name] = deviceNames(positionals, 1, usage);
  const limits = readLimits(values);
  const frame = new Uint8Array(wholeNumber('size', values.size ?? '64', 14, 65_535));
  const destination = parseMac(values.to ?? '02:00:00:00:00:01');

  await using device = await NetDevice.open(find(name), { interrupts: false, signal });
  await device.start();
  // 0x88b5 is an Ethernet type for experiments (IEEE 802).
  writeEthernet(frame, 0, { destination, source: device.macBytes, etherType: 0x88b5 });
  await poll([device], limits, signal, (most) => send(device, frame, most));
});
