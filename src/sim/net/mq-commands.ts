/** Commands for several queues: pairs, receive-side scaling, hashes (VIRTIO 1.3, 5.1.6.5.6, 5.1.6.5.7, 5.1.6.4.4). */
import { breach, viewOver, type Answer, type Command } from './command.js';
import type { NetState } from './state.js';

const RESERVED_BIT = 0x8000;

const setPairs: Command = {
  name: 'VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET',
  class: 4,
  command: 0,
  needs: ['VIRTIO_NET_F_MQ'],
  run(data, state) {
    if (data.length !== 2) return 'error';
    const pairs = viewOver(data).getUint16(0, true);
    const { maxPairs } = state.surroundings.limits;
    if (pairs === 0 || pairs > maxPairs) breach(`${this.name} asks for ${pairs} pairs, not 1 to ${maxPairs}`);
    checkPairs(this.name, state, pairs);
    state.steering.setPairs(pairs);
    return 'ok';
  },
};

/** The driver must have configured the queues before it uses them. */
function checkPairs(name: string, { surroundings }: NetState, pairs: number): void {
  for (let queue = 0; queue < 2 * pairs; queue++) {
    if (!surroundings.isQueueEnabled(queue))
      breach(`${name} asks for ${pairs} pairs, but queue ${queue} is not enabled`);
  }
}

const configureRss: Command = {
  name: 'VIRTIO_NET_CTRL_MQ_RSS_CONFIG',
  class: 4,
  command: 1,
  needs: ['VIRTIO_NET_F_RSS'],
  run(data, state) {
    const { limits } = state.surroundings;
    if (data.length < 8) return 'error';
    const view = viewOver(data);
    const length = view.getUint16(4, true) + 1;
    if ((length & (length - 1)) !== 0) breach(`${this.name} has a table of ${length}, not a power of two`);
    if (length > limits.rssMaxTableLength)
      breach(`${this.name} has a table of ${length}: the device has room for ${limits.rssMaxTableLength}`);
    const behindTable = 8 + 2 * length;
    if (data.length < behindTable + 3) return 'error';
    const entryAt = (at: number): number => receivePair(this.name, state, view.getUint16(at, true));
    const transmitPairs = view.getUint16(behindTable, true);
    const hash = readHash(this.name, state, data, behindTable + 2);
    if (hash === 'error' || transmitPairs === 0 || transmitPairs > limits.maxPairs) return 'error';
    const table = Array.from({ length }, (_, index) => entryAt(8 + 2 * index));
    state.steering.setRss({ table, unclassified: entryAt(6), transmitPairs });
    state.steering.setHash(hash.types, hash.key);
    return 'ok';
  },
};

/** A struct rss_rq_id: bits 1 to 16 of the index of a receive queue, which must be enabled. */
function receivePair(name: string, { surroundings }: NetState, id: number): number {
  if ((id & RESERVED_BIT) !== 0)
    breach(`${name} names the queue 0x${id.toString(16)}, whose reserved bit is set`);
  if (id < surroundings.limits.maxPairs && surroundings.isQueueEnabled(2 * id)) return id;
  return breach(`${name} names receive queue ${2 * id}, which is not enabled`);
}

const configureHash: Command = {
  name: 'VIRTIO_NET_CTRL_MQ_HASH_CONFIG',
  class: 4,
  command: 2,
  needs: ['VIRTIO_NET_F_HASH_REPORT'],
  run(data, state): Answer {
    if (data.length < 13) return 'error';
    if (data.subarray(4, 12).some((byte) => byte !== 0))
      breach(`${this.name} has reserved fields that are not 0`);
    const hash = readHash(this.name, state, data, 12);
    if (hash === 'error') return 'error';
    state.steering.setHash(hash.types, hash.key);
    return 'ok';
  },
};

/** Reads the types at the start, and the key whose length stands at an offset, with which the data ends. */
function readHash(
  name: string,
  { surroundings }: NetState,
  data: Uint8Array,
  at: number,
): { types: number; key: Uint8Array } | 'error' {
  const types = viewOver(data).getUint32(0, true);
  const { hashTypes, rssMaxKeySize } = surroundings.limits;
  const alien = (types & ~hashTypes) >>> 0;
  if (alien !== 0)
    breach(`${name} enables the hash types 0x${alien.toString(16)}, which the device does not support`);
  const length = data[at];
  const key = data.slice(at + 1);
  return key.length !== length || length > rssMaxKeySize ? 'error' : { types, key };
}

const setTunnels: Command = {
  name: 'VIRTIO_NET_CTRL_HASH_TUNNEL_SET',
  class: 7,
  command: 0,
  needs: ['VIRTIO_NET_F_HASH_TUNNEL'],
  run(data, { steering, surroundings }) {
    if (data.length !== 4) return 'error';
    const types = viewOver(data).getUint32(0, true);
    const alien = (types & ~surroundings.limits.tunnelTypes) >>> 0;
    if (alien !== 0)
      breach(`${this.name} enables 0x${alien.toString(16)}, which the device does not support`);
    steering.setTunnelTypes(types);
    return 'ok';
  },
};

export const MQ_COMMANDS: readonly Command[] = [setPairs, configureRss, configureHash, setTunnels];
