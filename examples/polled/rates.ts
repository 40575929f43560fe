import type { NetDevice } from 'virtio-net';

interface Counted {
  readonly device: NetDevice;
  /** The counters when they were last printed. */
  before: ReturnType<NetDevice['statistics']>;
}

/** Prints once a second what devices receive and send. Bytes are those of the frames, without FCS. */
export class Rates {
  private readonly counted: readonly Counted[];
  private readonly timer: NodeJS.Timeout;
  private time = performance.now();

  constructor(devices: Iterable<NetDevice>) {
    this.counted = Array.from(devices, (device) => ({ device, before: device.statistics() }));
    this.timer = setInterval(() => this.print(), 1000).unref();
  }

  /** Prints no more rates, but what there was in all. */
  end(): void {
    clearInterval(this.timer);
    for (const { device } of this.counted) {
      const { receive, transmit } = device.statistics();
      const received = `${receive.frames} frames received, ${receive.bytes} bytes`;
      process.stdout.write(
        `${device.address}: ${received}; ${transmit.frames} sent, ${transmit.bytes} bytes\n`,
      );
    }
  }

  private print(): void {
    const now = performance.now();
    const seconds = (now - this.time) / 1000;
    this.time = now;
    for (const each of this.counted) {
      const { receive, transmit } = each.device.statistics();
      const rx = rate('rx', receive, each.before.receive, seconds);
      const tx = rate('tx', transmit, each.before.transmit, seconds);
      process.stdout.write(`${each.device.address}: ${rx}, ${tx}\n`);
      each.before = each.device.statistics();
    }
  }
}

interface Counters {
  readonly frames: number;
  readonly bytes: number;
}

function rate(name: string, now: Counters, before: Counters, seconds: number): string {
  const packets = (now.frames - before.frames) / seconds / 1e6;
  const bits = ((now.bytes - before.bytes) * 8) / seconds / 1e9;
  return `${name} ${packets.toFixed(3)} Mpps ${bits.toFixed(3)} Gbit/s`;
}
