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

export class Steering {
  private pairs = 1;
  /** Receive side scaling, if it is in use. */
  rss: RssSettings | undefined;
  private readonly session: ControlSession;

  constructor(session: ControlSession) {
    this.session = session;
  }

  /** How many queue pairs are in use. */
  get pairsInUse(): number {
    return this.pairs;
  }

  private set pairsInUse(count: number) {
    this.pairs = count;
    this.session.parts.onQueuePairs(count);
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
    const apply = async (): Promise<void> => {
      await this.orOnePair(() =>
        session.command(COMMANDS.MQ_VQ_PAIRS_SET, { data: [Uint8Array.of(count & 0xff, count >> 8)] }),
      );
      // Some devices take this as the end of hashing.
      await session.settings.apply('hash');
    };
    await this.use(count, () => session.keep('steering', `${count} queue pairs`, apply));
    this.rss = undefined;
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

  private async steer(rss: RssSettings, count: number): Promise<void> {
    const { session } = this;
    const data = [encodeRss(rss)];
    await this.use(count, () =>
      session.keep(
        'steering',
        'receive side scaling',
        () => this.orOnePair(() => session.command(COMMANDS.MQ_RSS_CONFIG, { data })),
        'hash',
      ),
    );
    this.rss = rss;
  }

  /** A device that does not take the command, as after a reset, goes on with one pair (5.1.6.5.6.2). */
  private async orOnePair(step: () => Promise<unknown>): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.pairsInUse = 1;
      throw error;
    }
  }

  /** From before the device may see the command on, no queue beyond those that remain is used (5.1.6.5.6.1). */
  private async use(count: number, step: () => Promise<void>): Promise<void> {
    const before = this.pairsInUse;
    this.pairsInUse = Math.min(before, count);
    try {
      await step();
      this.pairsInUse = count;
    } catch (error) {
      this.pairsInUse = before;
      throw error;
    }
  }
}
