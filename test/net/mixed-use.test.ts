/** All ways to use a device in any mixture, on the smallest rings and pools that there are: nothing is lost, nothing waits for ever. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NetDevice, PacketBuffer, VirtioNetError } from '../../src/index.js';
import type { SimulatedDevice } from '../../src/sim/index.js';
import { eventually, numberedFrame, refillAll, startBench, type Bench } from './support.js';

interface Setup {
  readonly queueSize: number;
  /** Buffers beyond what the receive ring holds. */
  readonly spare: number;
  readonly interrupts: boolean;
  /** Whether a frame fits one, or may be spread over some, and is. */
  readonly buffers: 'whole' | 'mergeable' | 'short';
  readonly mtu: number;
}

/** Length of short buffers in bytes, and what a ring of them takes for each. */
const SHORT = 256;
const ROOM = SHORT - 64;

interface Step {
  readonly count: number;
  readonly pick: number;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

class Program {
  private readonly device: NetDevice;
  private readonly sim: SimulatedDevice;
  private readonly setup: Setup;
  private readonly held: PacketBuffer[] = [];
  private readonly waiting: Promise<unknown>[] = [];
  private numbers = 0;
  private listener: ((packet: PacketBuffer) => void) | undefined;
  private heard = 0;
  /** The device keeps what it has sent. */
  private isHeld = false;
  /** Frames that the device was given, and those that it has sent. */
  private given = 0;
  private sent = 0;
  /** Frames that the driver got, and those that reached the program. */
  private arrived = 0;
  private received = 0;

  constructor(device: NetDevice, sim: SimulatedDevice, setup: Setup) {
    this.device = device;
    this.sim = sim;
    this.setup = setup;
    sim.onTransmit(() => (this.sent += 1));
  }

  inject({ count, pick }: Step): void {
    for (let n = 0; n < count; n += 1) if (this.sim.inject(this.frame(pick))) this.arrived += 1;
  }

  receive({ count }: Step): void {
    const batch: PacketBuffer[] = [];
    const taken = this.device.receive(batch, count);
    this.received += taken;
    this.held.push(...batch.slice(0, taken));
  }

  allocate({ count, pick }: Step): void {
    const batch: PacketBuffer[] = [];
    const taken = this.device.allocateBatch(batch, 1 + (count % 3));
    for (const packet of batch.slice(0, taken)) {
      const frame = this.frame(pick);
      this.held.push(packet.setFrame(frame.subarray(0, packet.capacity)));
    }
  }

  transmit({ count, pick }: Step): void {
    const from = pick % (this.held.length + 1);
    const batch = this.held.slice(from, from + count);
    const taken = this.device.transmit(batch);
    this.given += taken;
    this.held.splice(from, taken);
  }

  release({ count, pick }: Step): void {
    const batch = this.held.splice(pick % (this.held.length + 1), count);
    if (pick % 2 === 0) this.device.releaseBatch(batch);
    else for (const packet of batch) packet.release();
  }

  send({ pick }: Step): void {
    this.waiting.push(
      this.device.send(this.frame(pick)).then(
        () => (this.given += 1),
        // The latter where a frame takes more buffers than the ring has descriptors.
        (error: unknown) =>
          expect(['POOL_EXHAUSTED', 'PACKET_CHAIN_INVALID']).toContain((error as VirtioNetError).code),
      ),
    );
  }

  flush(): void {
    this.waiting.push(this.device.flush());
  }

  poll(): void {
    this.device.poll();
  }

  statistics(): void {
    const { sent } = this;
    const { transmit, pool } = this.device.statistics();
    // What waited to be sent goes out where buffers come back.
    expect(transmit.completed).toBeLessThanOrEqual(this.sent);
    if (!this.isHeld) expect(transmit.completed).toBeGreaterThanOrEqual(sent);
    expect(pool.available).toBeLessThanOrEqual(pool.size - this.held.length);
  }

  hold({ pick }: Step): void {
    this.isHeld = pick % 2 === 0;
    this.sim.holdTransmit(this.isHeld);
  }

  listen(): void {
    if (this.listener !== undefined) {
      this.device.off('frame', this.listener);
      this.listener = undefined;
      return;
    }
    this.listener = (packet) => {
      this.heard += 1;
      if (this.heard % 3 === 0) this.held.push(packet.retain());
      else if (this.heard % 3 === 1) packet.release();
      this.received += 1;
    };
    this.device.on('frame', this.listener);
  }

  turn(): Promise<void> {
    return turn();
  }

  /** All that waits comes to its end, all buffers come back, and the device works as at first. */
  async finish(): Promise<void> {
    const { device, sim, setup } = this;
    sim.holdTransmit(false);
    if (this.listener !== undefined) this.listen();
    device.releaseBatch(this.held.splice(0));
    let isDone = false;
    void Promise.all(this.waiting).then(() => (isDone = true));
    await eventually(() => isDone);
    await device.flush();
    expect(this.sent).toBe(this.given);
    for (let round = 0; round < 20 && this.received < this.arrived; round += 1) {
      this.receive({ count: 7, pick: 0 });
      device.releaseBatch(this.held.splice(0));
    }
    expect(this.received).toBe(this.arrived);
    for (let n = 0; n < 3 * setup.queueSize; n += 1) {
      expect(sim.inject(this.frame(n))).toBe(true);
      const batch: PacketBuffer[] = [];
      expect(device.receive(batch)).toBe(1);
      expect(device.transmit(batch, 1)).toBe(1);
    }
    await device.flush();
    refillAll(device);
    expect(device.statistics().pool.available).toBe(setup.spare);
    // The longest frame that the ring holds finds room in it.
    const longest =
      setup.buffers === 'short' ? Math.min(setup.mtu + 14, setup.queueSize * ROOM) : setup.mtu + 14;
    expect(sim.inject(numberedFrame(0, longest))).toBe(true);
    this.receive({ count: 1, pick: 0 });
    expect(this.held.map((packet) => packet.totalLength)).toEqual([longest]);
    device.releaseBatch(this.held.splice(0));
  }

  private frame(pick: number): Uint8Array {
    this.numbers += 1;
    return numberedFrame(this.numbers, 14 + (pick % (this.setup.mtu + 1)));
  }
}

type Name = Exclude<keyof Program, 'finish'>;

const step = (
  name: Name,
  weight: number,
): { weight: number; arbitrary: fc.Arbitrary<Step & { do: Name }> } => ({
  weight,
  arbitrary: fc.record({ do: fc.constant(name), count: fc.integer({ min: 1, max: 12 }), pick: fc.nat() }),
});

const SCRIPTS = fc.array(
  fc.oneof(
    step('inject', 5),
    step('receive', 4),
    step('allocate', 3),
    step('transmit', 5),
    step('release', 4),
    step('send', 3),
    step('flush', 1),
    step('poll', 2),
    step('statistics', 1),
    step('hold', 2),
    step('listen', 1),
    step('turn', 2),
  ),
  { minLength: 1, maxLength: 120 },
);

const SETUPS = fc.record({
  queueSize: fc.constantFrom(2, 4, 8),
  spare: fc.integer({ min: 1, max: 6 }),
  interrupts: fc.boolean(),
  buffers: fc.constantFrom('whole' as const, 'mergeable' as const, 'short' as const),
  mtu: fc.constantFrom(100, 1500),
});

const FEATURES = [
  'VIRTIO_F_VERSION_1',
  'VIRTIO_F_ACCESS_PLATFORM',
  'VIRTIO_F_RING_EVENT_IDX',
  'VIRTIO_NET_F_MTU',
] as const;

function start({ queueSize, spare, interrupts, buffers, mtu }: Setup): Promise<Bench> {
  const features = buffers === 'whole' ? FEATURES : [...FEATURES, 'VIRTIO_NET_F_MRG_RXBUF' as const];
  const options = { queueSize, poolSize: queueSize + spare, interrupts };
  return startBench({ mtu, features }, buffers === 'short' ? { ...options, bufferSize: SHORT } : options);
}

describe('all calls of a device in any order', () => {
  it('lose no frame and no buffer, and none waits for ever', async () => {
    await fc.assert(
      fc.asyncProperty(SETUPS, SCRIPTS, async (setup, script) => {
        const { sim, device, finish } = await start(setup);
        const program = new Program(device, sim, setup);
        for (const { do: name, ...values } of script) await program[name](values);
        await program.finish();
        await finish();
      }),
      { numRuns: 150 },
    );
  }, 120_000);
});
