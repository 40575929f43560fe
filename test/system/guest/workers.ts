/**
 * Two queue pairs of a card, one of them in a worker; each pings the other end of the cable.
 *
 *     workers.mjs <pci-address> <own ip> <peer ip>
 */
import { once } from 'node:events';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import {
  attachQueuePair,
  NetDevice,
  VirtioNetError,
  type NetDeviceOptions,
  type PacketBuffer,
  type SharedQueuePair,
} from 'virtio-net';
import { buildIcmpEcho, ICMP_TYPE, parseIpv4, readEchoFrame } from 'virtio-net/packet';
import { report } from '../../vm/guest/report.js';
import { holdings } from './holdings.js';

interface Job {
  readonly pair: SharedQueuePair;
  readonly mac: Uint8Array;
  readonly ips: readonly string[];
  /** Whether the worker polls in a loop that gives the event loop no turn. */
  readonly busy: boolean;
  /** Whether nobody is woken by interrupts. */
  readonly polled: boolean;
}

/** One ping, from a request to its reply; the frames come and go in whatever way. */
class Pings {
  replies = 0;
  readonly polled: boolean;
  private readonly mac: Uint8Array;
  private readonly ips: readonly string[];
  private readonly identifier: number;

  constructor({ mac, ips, polled }: Pick<Job, 'mac' | 'ips' | 'polled'>, identifier: number) {
    this.mac = mac;
    this.polled = polled;
    this.ips = ips;
    this.identifier = identifier;
  }

  get request(): Uint8Array {
    return buildIcmpEcho({
      sourceMac: this.mac,
      // Whoever has the address answers.
      destinationMac: new Uint8Array(6).fill(0xff),
      sourceIp: parseIpv4(this.ips[0]),
      destinationIp: parseIpv4(this.ips[1]),
      identifier: this.identifier,
      sequence: this.replies,
      data: new Uint8Array(32),
    });
  }

  /** Whether the frame is the reply to the request. */
  isReply(frame: Uint8Array): boolean {
    const echo = readEchoFrame(frame)?.echo;
    if (echo?.type !== ICMP_TYPE.ECHO_REPLY || echo.identifier !== this.identifier) return false;
    if (echo.sequence !== this.replies) return false;
    this.replies += 1;
    return true;
  }
}

interface Party {
  poll(): number;
  send(frame: Uint8Array): Promise<void>;
  on(event: 'frame', listener: (packet: { readonly frame: Uint8Array }) => void): unknown;
  removeAllListeners(event: 'frame'): unknown;
}

/** Pings so many times, one after the other; says how many replies came. */
async function ping(party: Party, pings: Pings, count: number): Promise<number> {
  const until = pings.replies + count;
  const deadline = performance.now() + 20_000;
  await new Promise<void>((resolve) => {
    // A request that was lost is sent again.
    const again = setInterval(() => {
      if (performance.now() > deadline) finish();
      else void party.send(pings.request);
    }, 500);
    const turns = pings.polled ? setInterval(() => party.poll(), 1) : undefined;
    const finish = (): void => {
      clearInterval(turns);
      clearInterval(again);
      resolve();
    };
    party.on('frame', ({ frame }) => {
      if (!pings.isReply(frame)) return;
      if (pings.replies === until) finish();
      else void party.send(pings.request);
    });
    void party.send(pings.request);
  });
  party.removeAllListeners('frame');
  return pings.replies - until + count;
}

async function work({ pair: shared, busy, ...ends }: Job): Promise<void> {
  const pair = await attachQueuePair(shared);
  const pings = new Pings(ends, 2);
  pair.on('close', () => parentPort?.postMessage({ closed: true }));
  if (!busy) {
    parentPort?.on('message', (count: number) => {
      void ping(pair, pings, count).then((replies) => parentPort?.postMessage({ replies }));
    });
    // The pair keeps the thread alive, and no longer.
    pair.on('close', () => parentPort?.close());
    parentPort?.postMessage({ attached: true });
    return;
  }
  parentPort?.postMessage({ attached: true });
  let sendAt = 0;
  for (const batch: PacketBuffer[] = []; ;) {
    try {
      const received = pair.receive(batch);
      for (let i = 0; i < received; i += 1) {
        if (pings.isReply(batch[i].frame)) parentPort?.postMessage({ replies: pings.replies });
        batch[i].release();
      }
      if (performance.now() < sendAt) continue;
      sendAt = performance.now() + 50;
      const packet = pair.allocate().setFrame(pings.request);
      if (pair.transmit([packet]) === 0) packet.release();
    } catch (error) {
      const code = error instanceof VirtioNetError ? error.code : String(error);
      if (code === 'DEVICE_NOT_STARTED') continue;
      parentPort?.postMessage({ left: code });
      return;
    }
  }
}

class PairWorker extends Worker {
  private readonly told: Record<string, unknown>[] = [];

  constructor(job: Job) {
    super(new URL(import.meta.url), { workerData: job, transferList: job.pair.transferList });
    this.on('message', (message: Record<string, unknown>) => this.told.push(message));
  }

  async hear(name: string): Promise<unknown> {
    for (;;) {
      const message = this.told.shift();
      if (message !== undefined && name in message) return message[name];
      if (message === undefined) await once(this, 'message');
    }
  }

  async ping(count: number): Promise<unknown> {
    this.postMessage(count);
    return this.hear('replies');
  }
}

async function live(address: string, ips: readonly string[], options: NetDeviceOptions): Promise<unknown> {
  const device = await NetDevice.open(address, { queuePairs: 2, ...options });
  const polled = options.interrupts === false;
  const job = (busy: boolean): Job => ({
    pair: device.shareQueuePair(1),
    mac: device.macBytes,
    ips,
    busy,
    polled,
  });
  const own = new Pings({ mac: device.macBytes, ips, polled }, 1);
  const seen: Record<string, unknown> = {};

  const worker = new PairWorker(job(false));
  await device.start();
  await worker.hear('attached');
  seen.replies = [await worker.ping(50), await ping(device, own, 50)];
  const { interrupts, receive, transmit } = device.statistics().queuePairs[1];
  seen.counted = [interrupts.receive > 0, receive.frames >= 50, transmit.frames >= 50];
  await device.stop();
  await device.start();
  seen.restarted = [await worker.ping(10), await ping(device, own, 10)];
  await device.reset();
  seen.reset = [await worker.ping(10), await ping(device, own, 10)];
  await Promise.all([worker.terminate(), device.reset()]);
  seen.terminated = await ping(device, own, 10);
  await device.stop();

  const busy = new PairWorker(job(true));
  await busy.hear('attached');
  await device.start();
  await busy.hear('replies');
  await device.reset();
  seen.busy = typeof (await busy.hear('replies'));
  seen.state = device.state;
  await device.stop();
  await device.start();
  // Its requests have the addresses of ours, so the replies to both would come to its pair.
  await busy.hear('replies');
  const exit = once(busy, 'exit');
  await device.close();
  seen.left = await busy.hear('left');
  await exit;
  return seen;
}

async function main(): Promise<void> {
  const [address, ...ips] = process.argv.slice(2);
  const log: Record<string, unknown> = {};
  // The first one loads what stays loaded.
  log.warm = await live(address, ips, {});
  const before = await holdings();
  log.interrupts = await live(address, ips, {});
  log.polled = await live(address, ips, { interrupts: false });
  log.fewVectors = await live(address, ips, { maxVectors: 2 });
  const after = await holdings();
  report('seen', log);
  report('before', before);
  report('after', after);
}

const job = workerData as Job | null;
await (job === null ? main() : work(job));
