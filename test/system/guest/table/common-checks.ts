/** The checks that every card goes through while it is open. */
import { createHash } from 'node:crypto';
import { BYTES_IDENTIFIER, type Figures, type HostRequest, type SuiteCard } from '../../../vm/table/suite.js';
import type { Station } from './station.js';

const SHORTEST = 60;
const LONGEST_OF_ALL = 1514;
/** Beyond the ordinary, so many of the lengths of a card for longer frames are tried. */
const LONG_LENGTHS = 200;
const HEADER = 14;
const WINDOW = 16;

export const lengthsOf = (count: number, length = 98): number[] =>
  Array.from({ length: count }, () => length);

export function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

export async function checkOpen(station: Station): Promise<Figures> {
  await station.device.start();
  await station.resolvePeer();
  return {};
}

/** It is what it was made to be. */
export function checkFeatures(
  { device }: Station,
  { expect }: SuiteCard,
  transport: string,
): Promise<Figures> {
  const { has = [], lacks = [] } = expect;
  const missing = has.filter((name) => !device.features.has(name));
  const surplus = lacks.filter((name) => device.features.has(name));
  const { queuePairs } = device;
  const wrong = [
    ...(missing.length > 0 ? [`${missing.join(', ')} not negotiated`] : []),
    ...(surplus.length > 0 ? [`${surplus.join(', ')} negotiated`] : []),
    ...(transport === (expect.transport ?? transport) ? [] : [`driven through ${transport}`]),
    ...(device.mtu === (expect.mtu ?? device.mtu) ? [] : [`MTU ${device.mtu}`]),
    ...(queuePairs === (expect.queuePairs ?? 1) ? [] : [`${queuePairs} queue pairs`]),
  ];
  if (wrong.length > 0) return Promise.reject(new Error(wrong.join('; ')));
  return Promise.resolve({
    transport,
    features: device.features.negotiated.length,
    negotiated: device.features.negotiated.join(' '),
  });
}

/** A reply to each of many, some under way at any time. */
export async function checkPing(station: Station): Promise<Figures> {
  const count = 250;
  const before = station.device.statistics();
  const milliseconds = await station.echo({ lengths: lengthsOf(count), window: WINDOW });
  const { interrupts, transmit } = station.device.statistics();
  const woken = interrupts.receive > before.interrupts.receive;
  check(woken !== station.polled, `${interrupts.receive} interrupts`);
  return {
    sent: count,
    lost: 0,
    perSecond: Math.round((1000 * count) / milliseconds),
    interrupts: interrupts.receive - before.interrupts.receive,
    ringFull: transmit.ringFull,
  };
}

function lengthsUpTo(longest: number): number[] {
  const all = Array.from({ length: LONGEST_OF_ALL - SHORTEST + 1 }, (_, index) => SHORTEST + index);
  const beyond = longest - LONGEST_OF_ALL;
  if (beyond <= 0) return all.filter((length) => length <= longest);
  const step = (index: number): number => LONGEST_OF_ALL + Math.ceil((beyond * (index + 1)) / LONG_LENGTHS);
  return [...all, ...Array.from({ length: LONG_LENGTHS }, (_, index) => step(index))];
}

/** Frames of every length, and digests of all that left and all that came, in their order. */
export async function checkBytes(station: Station, { wire }: SuiteCard): Promise<Figures> {
  // The router of QEMU's own network takes no longer ones.
  const mtu = wire.peerIp6 === undefined ? Math.min(station.device.mtu, 1500) : station.device.mtu;
  const lengths = lengthsUpTo(mtu + HEADER);
  const digests = { sent: createHash('sha256'), received: createHash('sha256') };
  const counts = { sent: 0, received: 0 };
  await station.echo({
    identifier: BYTES_IDENTIFIER,
    lengths,
    window: WINDOW,
    onFrame: (way, frame) => {
      digests[way].update(frame);
      counts[way] += 1;
    },
  });
  return {
    frames: counts.sent + counts.received,
    longest: lengths.at(-1) ?? 0,
    sent: digests.sent.digest('hex'),
    received: digests.received.digest('hex'),
  };
}

function askHost(card: SuiteCard, host: HostRequest['host']): void {
  console.log(JSON.stringify({ row: card.row, host } satisfies HostRequest));
}

/** The cable is pulled and plugged in again; a card that does not tell is only checked to survive that. */
export async function checkLink(station: Station, card: SuiteCard): Promise<Figures> {
  const { device } = station;
  const seen: boolean[] = [];
  const listener = (up: boolean): void => void seen.push(up);
  device.on('link', listener);
  const tells = device.features.has('VIRTIO_NET_F_STATUS');
  askHost(card, 'link-down');
  if (tells) await station.until(() => !device.linkUp, 'the link to go down');
  askHost(card, 'link-up');
  if (tells) await station.until(() => device.linkUp, 'the link to come up');
  const { config } = device.statistics().interrupts;
  if (tells) check(seen.join() === 'false,true', `link events: ${seen.join()}`);
  else check(seen.length === 0, `link events of a card that has no status: ${seen.join()}`);
  device.off('link', listener);
  if (tells) await station.echo({ lengths: lengthsOf(20), window: 1 });
  return { events: seen.length, configInterrupts: config };
}

export async function checkRestart(station: Station): Promise<Figures> {
  const { device } = station;
  for (let round = 0; round < 3; round += 1) {
    await device.stop();
    await device.start();
    await station.echo({ lengths: lengthsOf(50), window: WINDOW });
  }
  return { rounds: 3 };
}

export async function checkReset(station: Station): Promise<Figures> {
  const { device } = station;
  const { lost, lostSettings, automatic } = await device.reset();
  check(device.state === 'running' && !automatic, `after the reset the device is ${device.state}`);
  check(lostSettings.length === 0, `settings were lost: ${JSON.stringify(lostSettings)}`);
  await station.echo({ lengths: lengthsOf(50), window: WINDOW });
  return { lost: lost.reduce((sum, { receive, transmit }) => sum + receive + transmit, 0) };
}
