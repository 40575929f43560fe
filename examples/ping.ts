/**
 * ping(8) through a card of our own.
 *
 *     ping.ts <pci-address|sim> <target> [--source ip] [--count n] [--interval s] [--size bytes] [--polled]
 *
 * Exit status as ping(8): 0 if a reply came, 1 if none, 2 if something went wrong.
 */
import { NetDevice, type Transport } from 'virtio-net';
import { formatIpv4 } from 'virtio-net/packet';
import { createSimulatedDevice } from 'virtio-net/sim';
import { readArguments, USAGE, type PingArguments } from './ping/arguments.js';
import { Pinger } from './ping/pinger.js';
import { summary } from './ping/report.js';
import { InterruptWaiting, PolledWaiting } from './ping/waiting.js';

/** What precedes the data of a request in a packet: IPv4 and ICMP headers. */
const HEADERS = 28;

/** The first Ctrl-C ends the pinging; what follows it still runs: the summary, and giving the device back. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => controller.abort());
  // Whoever read our output has gone.
  process.stdout.on('error', () => controller.abort());
  return controller.signal;
}

function find(device: string): string | Transport {
  return device === 'sim' ? createSimulatedDevice().transport : device;
}

async function ping(options: PingArguments, signal: AbortSignal): Promise<boolean> {
  const { size, polled } = options;
  const target = formatIpv4(options.target);
  const print = (text: string): void => void process.stdout.write(text);
  await using device = await NetDevice.open(find(options.device), { interrupts: !polled, signal });
  if (size + HEADERS > device.mtu) throw new Error(`message too long, mtu=${device.mtu}`);
  await device.start();
  print(`PING ${target} (${target}) ${size}(${size + HEADERS}) bytes of data.\n`);
  const waiting = polled ? new PolledWaiting(device, signal) : new InterruptWaiting(signal);
  const pinger = new Pinger(device, options, waiting, print);
  const began = performance.now();
  await pinger.run();
  print(summary(target, pinger.sent, performance.now() - began, pinger.trips));
  return pinger.trips.received > 0;
}

async function main(): Promise<void> {
  const signal = interruption();
  try {
    const options = readArguments(process.argv.slice(2));
    if (options === 'help') process.stdout.write(USAGE);
    else process.exitCode = (await ping(options, signal)) ? 0 : 1;
  } catch (error) {
    if (signal.aborted && error === signal.reason) {
      process.exitCode = 1;
      return;
    }
    process.stderr.write(`ping: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 2;
  }
}

await main();
