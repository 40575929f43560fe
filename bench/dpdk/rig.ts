/** DPDK's backend with a port for each driver, and the drivers of DPDK on theirs: for one shape of rings. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BenchError } from '../bench-error.js';
import type { Processors } from '../lib/processors.js';
import { vhostDevices, VECTOR_ARGUMENTS, virtioUser, type RingShape, type TrafficCase } from './cases.js';
import { OwnDriver, PeerDriver, type Driver } from './contender.js';
import { Testpmd } from './testpmd.js';

/** The names of those that are measured, as they are called in results. */
export const DPDK = 'DPDK virtio-user';
export const DPDK_VECTORIZED = 'DPDK virtio-user, vectorised';
export const OWN = 'virtio-net';

/** Ports of the backend. */
const PORT = { PEER: 0, VECTORIZED: 1, OWN: 2 } as const;

/**
 * Milliseconds: until the rate has settled, which takes a virtual machine some tenths of a second after its processors
 * were idle, and for which frames are counted.
 */
const TRIAL = { settling: 500, counting: 300 };
/** What comes before the first trial of a case, and counts for nothing: code is compiled, memory touched. */
const WARM_UP = { settling: 350, counting: 50 };
/**
 * For how much longer our driver runs than all that happens meanwhile should take, in milliseconds: at first, and twice as
 * long each time that a busy machine kept us from looking before it had come to rest.
 */
const TO_SPARE = 150;
/** How often a trial is tried in which a busy machine kept us from looking in time. */
const TRIES = 6;

export interface RigOptions {
  /** The folder that DPDK is in. */
  readonly dpdk: string;
  readonly shape: RingShape;
  /** Whether DPDK's vectorised path takes part; it is there only where frames are not spread over buffers. */
  readonly vectorized: boolean;
  readonly processors: Processors;
  readonly signal: AbortSignal;
}

export class Rig {
  /** What DPDK says of the paths that its drivers have chosen. */
  readonly paths: readonly string[];
  readonly peers: readonly PeerDriver[];
  private readonly options: RigOptions;
  private readonly folder: string;
  private readonly backend: Testpmd;
  private readonly testpmds: readonly Testpmd[];
  private readonly own: OwnDriver[] = [];
  /** Trials that were repeated since they were counted too late, or no frame was counted. */
  repeated = 0;
  private toSpare = TO_SPARE;
  private counted: TrafficCase['counted'] = 'received';
  private startCommand = 'start';

  private constructor(
    options: RigOptions,
    folder: string,
    backend: Testpmd,
    peers: readonly (readonly [PeerDriver, Testpmd])[],
  ) {
    this.options = options;
    this.folder = folder;
    this.backend = backend;
    this.peers = peers.map(([driver]) => driver);
    this.testpmds = peers.map(([, testpmd]) => testpmd);
    this.paths = peers.flatMap(([{ name }, { diagnostics }]) =>
      pathsIn(diagnostics).map((path) => `${name}: ${path}`),
    );
  }

  static async start(options: RigOptions): Promise<Rig> {
    const folder = await mkdtemp(join(tmpdir(), 'virtio-net-bench-'));
    const started: Testpmd[] = [];
    try {
      const sockets = [0, 1, 2, 3].map((port) => socketIn(folder, port));
      const { dpdk, processors, signal, shape } = options;
      const backend = await Testpmd.start({
        folder: dpdk,
        name: "DPDK's backend",
        processor: processors.backend,
        idleProcessor: processors.driver,
        devices: vhostDevices(sockets),
        signal,
      });
      started.push(backend);
      const peers: [PeerDriver, Testpmd][] = [];
      for (const vectorized of options.vectorized ? [false, true] : [false]) {
        const port = vectorized ? PORT.VECTORIZED : PORT.PEER;
        const name = vectorized ? DPDK_VECTORIZED : DPDK;
        const testpmd = await Testpmd.start({
          folder: dpdk,
          name,
          processor: processors.driver,
          idleProcessor: processors.backend,
          devices: [virtioUser(sockets[port], shape, vectorized)],
          more: peerArguments(vectorized),
          signal,
        });
        started.push(testpmd);
        peers.push([new PeerDriver(name, port, testpmd), testpmd]);
      }
      return new Rig(options, folder, backend, peers);
    } catch (error) {
      await Promise.all(started.map((testpmd) => testpmd.quit()));
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Brings everybody into a case, our programs too, and gives all drivers. */
  async prepare(traffic: TrafficCase, size: number): Promise<readonly Driver[]> {
    await this.closeOwn();
    await this.backend.command(`set fwd ${traffic.backendMode}`);
    await this.backend.command(`set txpkts ${size + traffic.extraLength}`);
    this.counted = traffic.counted;
    this.startCommand = traffic.start;
    for (const peer of this.peers) await peer.prepare(traffic, size);
    for (const [index, { mode }] of traffic.ours.entries()) {
      const { shape, processors, signal } = this.options;
      const port = PORT.OWN + index;
      const own = { name: ownName(mode), port, socket: socketIn(this.folder, port), shape, mode, size };
      this.own.push(await OwnDriver.start(own, { processor: processors.driver, signal }));
    }
    return [...this.peers, ...this.own];
  }

  /**
   * One trial: frames per second, in millions, that the backend has counted.
   *
   * @throws BenchError if there were none
   */
  async measure(driver: Driver): Promise<number> {
    let stoodStill = false;
    for (let tries = 0; tries < TRIES; tries += 1) {
      const frames = await this.measureOnce(driver, TRIAL);
      // A driver that did not run at all on a busy machine runs the next time; one that does not work never does.
      stoodStill = frames === 0;
      if (frames !== undefined && frames > 0) return frames / 1e6;
      this.repeated += 1;
    }
    if (stoodStill) throw new BenchError(`The backend has counted no frame of ${driver.name}.`);
    throw new BenchError(`The machine is too busy: ${driver.name} could not be measured in time.`);
  }

  /** A short trial for nothing: what it has counted, and whether in time, does not matter. */
  async warmUp(driver: Driver): Promise<void> {
    await this.measureOnce(driver, WARM_UP);
  }

  /** Frames per second; undefined if our driver may have come to rest before they were counted. */
  private async measureOnce(
    driver: Driver,
    { settling, counting }: typeof TRIAL,
  ): Promise<number | undefined> {
    const { signal } = this.options;
    const running = settling + counting + this.toSpare;
    await this.backend.command(`set portlist ${driver.port}`);
    const began = performance.now();
    await driver.begin(running);
    await this.backend.command(this.startCommand);
    await sleep(settling, undefined, { signal });
    await this.backend.rates(driver.port);
    await sleep(counting, undefined, { signal });
    const rates = await this.backend.rates(driver.port);
    const inTime = driver.isEndless || performance.now() - began < running;
    await this.backend.command('stop');
    await driver.end();
    if (inTime) return rates[this.counted];
    this.toSpare *= 2;
    return undefined;
  }

  /** Ends all that it has started. */
  async close(): Promise<void> {
    await this.closeOwn();
    await Promise.all([...this.testpmds, this.backend].map((testpmd) => testpmd.quit()));
    await rm(this.folder, { recursive: true, force: true });
  }

  private async closeOwn(): Promise<void> {
    await Promise.all(this.own.splice(0).map((driver) => driver.close()));
  }
}

/** How our driver is called in results, by what its program does. */
export const ownName = (mode: string): string => `${OWN}: ${mode}`;

const socketIn = (folder: string, port: number): string => join(folder, `${port}.sock`);

/** More arguments for DPDK's driver: it shall say which of its paths it has chosen. */
export function peerArguments(vectorized: boolean): string[] {
  return ['--log-level=pmd.net.virtio.init:info', ...(vectorized ? VECTOR_ARGUMENTS : [])];
}

function pathsIn(diagnostics: string): string[] {
  const found = diagnostics.matchAll(/virtio: (using .* path) on port/g);
  return [...new Set(Array.from(found, ([, path]) => path))];
}
