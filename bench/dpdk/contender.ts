/** A driver that runs on a backend's port: DPDK's, or ours. */
import type { ProgramOptions } from '../lib/processes.js';
import { Program } from '../lib/processes.js';
import { compiledProgram } from '../lib/compile.js';
import { BURST, RING_SIZE, type FrameMode, type RingShape, type TrafficCase } from './cases.js';
import type { Testpmd } from './testpmd.js';

export interface Driver {
  readonly name: string;
  /** Which port of the backend it drives. */
  readonly port: number;
  /** Whether it goes on until it is told to end, for however long that takes. */
  readonly isEndless: boolean;
  /** Sets frames going, for at least that many milliseconds. */
  begin(milliseconds: number): Promise<void>;
  /** Waits until it has come to rest. */
  end(): Promise<void>;
}

/** DPDK's driver. */
export class PeerDriver implements Driver {
  readonly isEndless = true;
  readonly name: string;
  readonly port: number;
  private readonly testpmd: Testpmd;

  constructor(name: string, port: number, testpmd: Testpmd) {
    this.name = name;
    this.port = port;
    this.testpmd = testpmd;
  }

  /** @param size - bytes of each frame that it sends */
  async prepare({ peerMode }: TrafficCase, size: number): Promise<void> {
    await this.testpmd.command(`set fwd ${peerMode}`);
    await this.testpmd.command(`set txpkts ${size}`);
  }

  async begin(): Promise<void> {
    await this.testpmd.command('start');
  }

  async end(): Promise<void> {
    await this.testpmd.command('stop');
  }
}

export interface OwnOptions {
  readonly name: string;
  readonly port: number;
  readonly socket: string;
  readonly shape: RingShape;
  readonly mode: FrameMode;
  readonly size: number;
}

/** The words of our program's command line, beginning with node. */
export function ownWords({
  socket,
  shape,
  mode,
  size,
}: Pick<OwnOptions, 'socket' | 'shape' | 'mode' | 'size'>): string[] {
  const target = `vhost-user:${socket}`;
  const task = { target, mode, size, ...shape, queueSize: RING_SIZE, burst: BURST };
  return [process.execPath, compiledProgram('frames'), JSON.stringify(task)];
}

/** Our driver: a process for each case, as a program would be. */
export class OwnDriver implements Driver {
  readonly isEndless = false;
  readonly name: string;
  readonly port: number;
  private readonly program: Program;

  private constructor({ name, port }: OwnOptions, program: Program) {
    this.name = name;
    this.port = port;
    this.program = program;
  }

  static async start(options: OwnOptions, where: ProgramOptions): Promise<OwnDriver> {
    const program = await Program.start('The program of this driver', ownWords(options), where);
    await program.read(/ready\n/);
    return new OwnDriver(options, program);
  }

  async begin(milliseconds: number): Promise<void> {
    this.program.write(`run ${milliseconds}`);
    await this.program.read(/running\n/);
  }

  async end(): Promise<void> {
    await this.program.read(/done \d+\n/);
  }

  close(): Promise<void> {
    return this.program.end();
  }
}
