/**
 * Sends an ICMP echo request of every frame length from 60 to 1514 bytes through the card, and prints a digest of
 * every frame sent and received, for comparison with a recording of the wire.
 *
 *     echo-lengths.mjs <pci-address> <interrupts|polled>
 */
import { createHash } from 'node:crypto';
import { NetDevice } from 'virtio-net';
import {
  ARP_OPERATION,
  buildArpRequest,
  buildIcmpEcho,
  ICMP_ECHO_OVERHEAD,
  ICMP_TYPE,
  parseIpv4,
  readArpFrame,
  readEchoFrame,
} from 'virtio-net/packet';
import { report } from '../../vm/guest/report.js';

const SHORTEST = 60;
const LONGEST = 1514;
const WAIT_MS = 10_000;

const sourceIp = parseIpv4('10.0.2.15');
const targetIp = parseIpv4('10.0.2.2');
const digest = (frame: Uint8Array): string => createHash('sha256').update(frame).digest('hex').slice(0, 32);

const [address, mode] = process.argv.slice(2);
await using device = await NetDevice.open(address, { interrupts: mode === 'interrupts' });
await device.start();
const frames = device.frames({ signal: AbortSignal.timeout(20 * 60_000) });

async function send(frame: Uint8Array): Promise<void> {
  console.log(`sent ${frame.length} ${digest(frame)}`);
  await device.send(frame);
}

/** Waits for the frame that `find` makes something of; prints all that come. */
async function receive<T>(find: (frame: Uint8Array) => T | undefined): Promise<T> {
  const deadline = performance.now() + WAIT_MS;
  for await (const packet of { [Symbol.asyncIterator]: () => ({ next: () => frames.next() }) }) {
    const { frame } = packet;
    console.log(`received ${frame.length} ${digest(frame)}`);
    const found = find(frame);
    if (found !== undefined) return found;
    if (performance.now() > deadline) break;
  }
  throw new Error('no answer came');
}

await send(buildArpRequest({ senderMac: device.macBytes, senderIp: sourceIp, targetIp }));
const destinationMac = await receive((frame) => {
  const arp = readArpFrame(frame);
  return arp?.operation === ARP_OPERATION.REPLY ? arp.senderMac.slice() : undefined;
});
for (let length = SHORTEST; length <= LONGEST; length += 1) {
  const data = Uint8Array.from({ length: length - ICMP_ECHO_OVERHEAD }, (_, at) => (at * 31 + length) & 0xff);
  const request = { sourceMac: device.macBytes, destinationMac, sourceIp, destinationIp: targetIp };
  await send(buildIcmpEcho({ ...request, identifier: 7, sequence: length, data }));
  await receive((frame) => {
    const reply = readEchoFrame(frame);
    if (reply?.echo.type !== ICMP_TYPE.ECHO_REPLY || reply.echo.sequence !== length) return undefined;
    const returned = frame.subarray(reply.echo.payloadOffset, reply.echo.payloadEnd);
    if (Buffer.compare(returned, data) !== 0)
      throw new Error(`the reply of ${length} bytes brings other data back`);
    return true;
  });
}
await frames.return();
await device.flush();
report('features', device.features.negotiated);
report('statistics', device.statistics());
