/**
 * Which queue pair a received frame comes to: the device decides by itself, or as receive side scaling says
 * (VIRTIO 1.3, 5.1.6.5.5 to 5.1.6.5.7).
 */
import { COMMANDS } from './commands.js';
import type { ControlSession } from './control-session.js';
import {
  completeHash,
  completeRss,
  encodeHash,
  encodeRss,
  tunnelBits,
  type HashConfig,
  type RssConfig,
  type RssSettings,
  type TunnelType,
} from './hashing.js';
import { invalid, requireInteger } from './requirements.js';
import { isRefusal } from './settings.js';

/** What the queue pairs are used for. */
interface PairUse {
  /** So many are in use, from the first on. */
  readonly pairs: number;
  /** So many of them send, from the first on. */
  readonly senders: number;
  /** Receive side scaling, if that says where a frame comes to. */
  readonly rss: RssSettings | undefined;
}

/** What a device begins with (VIRTIO 1.3, 5.1.6.5.6). */
const ONE_PAIR: PairUse = { pairs: 1, senders: 1, rss: undefined };

export class Steering {
  private current = ONE_PAIR;
  private readonly session: ControlSession;

  constructor(session: ControlSession) {
    this.session = session;
  }

  /** How many queue pairs are in use. */
  get pairsInUse(): number {
    return this.current.pairs;
  }

  /** Receive side scaling, if it is in use. */
  get rss(): RssSettings | undefined {
    return this.current.rss;
  }

  async setQueuePairs(count: number): Promise<void> {
    const { session } = this;
    const { features, pairs } = session.parts;
    session.checkOpen();
    requireInteger('The number of queue pairs', count, 1, pairs);
    if (!features.has('VIRTIO_NET_F_MQ')) {
      if (features.has('VIRTIO_NET_F_RSS')) return this.steer(completeRss({}, session.hash, count), count);
      if (count === 1) return;
    }
    session.require('More than one queue pair', 'VIRTIO_NET_F_MQ');
    const use = { pairs: count, senders: count, rss: undefined };
    const data = [Uint8Array.of(count & 0xff, count >> 8)];
    await this.keep(use, `${count} queue pairs`, () => session.command(COMMANDS.MQ_VQ_PAIRS_SET, { data }));
    // Some devices take this as the end of hashing.
    await session.again('hash');
  }

  async setRss(config: RssConfig): Promise<void> {
    const { session } = this;
    session.require('Receive side scaling', 'VIRTIO_NET_F_RSS');
    const { pairs } = session.parts;
    await this.steer(completeRss(config, session.hash, pairs), pairs);
  }

  async setHash(config: HashConfig): Promise<void> {
    const { session } = this;
    session.require('A hash report', 'VIRTIO_NET_F_HASH_REPORT');
    if (this.rss !== undefined) {
      throw invalid(
        'Receive side scaling is in use',
        'It hashes for reports too: give it the types and the key.',
      );
    }
    const data = [encodeHash(completeHash(config, session.hash))];
    await session.set('hash', 'hash', COMMANDS.MQ_HASH_CONFIG, data);
  }

  async setHashTunnels(types: readonly TunnelType[]): Promise<void> {
    const { session } = this;
    session.require('A hash of inner headers', 'VIRTIO_NET_F_HASH_TUNNEL');
    const data = new Uint8Array(4);
    new DataView(data.buffer).setUint32(0, tunnelBits(types, session.hash), true);
    await session.set('tunnels', 'tunnels to hash', COMMANDS.HASH_TUNNEL_SET, [data]);
  }

  private async steer(rss: RssSettings, pairs: number): Promise<void> {
    const { session } = this;
    const use = { pairs, senders: rss.transmitPairs, rss };
    const data = [encodeRss(rss)];
    const tell = (): Promise<unknown> => session.command(COMMANDS.MQ_RSS_CONFIG, { data });
    await this.keep(use, 'receive side scaling', tell, 'hash');
  }

  private keep(use: PairUse, name: string, tell: () => Promise<unknown>, ends?: string): Promise<void> {
    const apply = (): Promise<void> => this.change(use, tell);
    return this.session.keep('steering', name, apply, ends, () => this.settle(use));
  }

  /** From before the device may see the command on, no queue beyond those that remain sends (5.1.6.5.6.1). */
  private async change(use: PairUse, tell: () => Promise<unknown>): Promise<void> {
    const before = this.current;
    this.settle({
      ...before,
      pairs: Math.min(before.pairs, use.pairs),
      senders: Math.min(before.senders, use.senders),
    });
    try {
      await tell();
    } catch (error) {
      // A device that was reset has one pair until it takes the command (5.1.6.5.6.2). One that has not answered may
      // still take it.
      if (this.session.restoring) this.settle(ONE_PAIR);
      else if (isRefusal(error)) this.settle(before);
      throw error;
    }
    this.settle(use);
  }

  private settle(use: PairUse): void {
    this.current = use;
    this.session.parts.onQueuePairs(use.senders);
  }
}
