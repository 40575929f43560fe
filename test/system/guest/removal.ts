/**
 * Drives a card until it is unplugged, in several ways, and reports what the program is told, and what it holds before
 * and afterwards.
 *
 *     removal.mjs <pci-address>...
 */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { NetDevice } from 'virtio-net';
import { buildArpRequest, parseIpv4 } from 'virtio-net/packet';
import { failureOf, report } from '../../vm/guest/report.js';
import { holdings } from './holdings.js';

const EVENTS = ['removed', 'error', 'close'] as const;

/** Takes frames until there are no more. */
async function drain(frames: AsyncIterator<unknown>): Promise<void> {
  let ended = false;
  while (!ended) ended = (await frames.next()).done === true;
}

async function live(address: string, interrupts: boolean): Promise<Record<string, unknown>> {
  const before = await holdings();
  const device = await NetDevice.open(address, { interrupts });
  const told: string[] = [];
  for (const event of EVENTS) device.on(event, () => told.push(event));
  await device.start();
  const senderIp = parseIpv4('10.0.2.15');
  const request = buildArpRequest({ senderMac: device.macBytes, senderIp, targetIp: parseIpv4('10.0.2.2') });
  const frames = device.frames();
  const first = frames.next();
  await device.send(request);
  const { done } = await first;
  const waiting = failureOf(drain(frames));
  report('ready to be unplugged', address);
  // The program is busy sending when it happens.
  while (device.state === 'running') {
    await device.send(request).catch(() => undefined);
    await sleep(1);
  }
  const ended = await waiting;
  const late = await failureOf(device.send(request));
  for (let i = 0; i < 1000 && device.state !== 'closed'; i += 1) await sleep(10);
  const folder = `/sys/bus/pci/devices/${address}`;
  for (let i = 0; i < 1000 && existsSync(folder); i += 1) await sleep(10);
  const after = await holdings();
  return {
    answered: done === false,
    told,
    ended: ended?.code,
    late: late?.code,
    state: device.state,
    gone: !existsSync(folder),
    holds: { before, after },
  };
}

// What is used for the first time may stay for good: standard output, and what a life loads.
const [spare, ...cards] = process.argv.slice(2);
report('cards', cards);
await (await NetDevice.open(spare)).close();
for (const [index, address] of cards.entries()) report(address, await live(address, index % 2 === 0));
