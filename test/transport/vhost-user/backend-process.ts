/** The scripted backend, in a process of its own: this one waits for its answers with the whole thread. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Script } from './fixtures/script.js';

const PROGRAM = fileURLToPath(new URL('./fixtures/scripted-backend.ts', import.meta.url));

/** VERSION_1, RING_INDIRECT_DESC, RING_EVENT_IDX, MRG_RXBUF, MQ, MTU, MAC and the protocol features. */
export const FEATURES =
  (1n << 32n) | (3n << 28n) | (1n << 15n) | (1n << 22n) | (1n << 3n) | (1n << 5n) | (1n << 30n);
/** MQ, REPLY_ACK, NET_MTU, CONFIG, STATUS. */
export const PROTOCOL = 0b1_0000_0010_0001_1001n;

/** What it was asked on a connection, and which rings it was told to use, or no longer, in turn. */
export interface Conversation {
  readonly asked: string[];
  readonly enables: [queue: number, value: number][];
}

interface Told extends Partial<Conversation> {
  readonly ready?: boolean;
}

export class BackendProcess {
  private readonly child: ChildProcess;
  private readonly told: Told[] = [];

  private constructor(path: string) {
    this.child = fork(PROGRAM, [path], { execArgv: ['--import', 'tsx'] });
    this.child.on('message', (message: Told) => this.told.push(message));
  }

  static async start(path: string): Promise<BackendProcess> {
    const backend = new BackendProcess(path);
    await backend.hear('ready');
    return backend;
  }

  /** Has it do that on every connection from now on. */
  async play(script: Partial<Script> = {}): Promise<void> {
    this.told.length = 0;
    this.child.send({
      features: String(FEATURES),
      protocol: String(PROTOCOL),
      queues: 2,
      ...script,
    });
    await this.hear('ready');
  }

  /** What it was asked on the connection that ended last. */
  async asked(): Promise<string[]> {
    return (await this.conversation()).asked;
  }

  /** The one that ended last. */
  async conversation(): Promise<Conversation> {
    const { asked = [], enables = [] } = await this.hear('asked');
    return { asked, enables };
  }

  async stop(): Promise<void> {
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }

  private async hear(name: keyof Told): Promise<Told> {
    while (!this.told.some((told) => told[name] !== undefined)) await once(this.child, 'message');
    const at = this.told.findIndex((told) => told[name] !== undefined);
    return this.told.splice(0, at + 1)[at];
  }
}
