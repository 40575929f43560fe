/**
 * The transmit queue: hands frames to the device, and takes the buffers back when it is done with them
 * (VIRTIO 1.3, 5.1.6.2).
 */
import { UsageError } from '../errors.js';
import { OWNER, type PacketBuffer } from '../memory/packet-buffer.js';
import type { PacketPool } from '../memory/packet-pool.js';
import type { Transport } from '../transport/transport.js';
import { NOTHING_USED, type Virtqueue } from '../virtqueue/virtqueue.js';
import { ETHERNET_HEADER_SIZE, NET_HEADER_SIZE, VLAN_TAG_SIZE, writePlainHeader } from './header.js';
import { Notifier } from './notification.js';
import { QueueCounters } from './statistics.js';

export class TransmitQueue {
  readonly ring: Virtqueue;
  readonly counters = new QueueCounters();
  readonly notifier: Notifier;
  completed = 0;
  ringFull = 0;
  private readonly pool: PacketPool;
  /** While the device is reset, or this queue of it: nothing is taken from the ring or put into it. */
  paused = false;
  /** Longest frame in bytes without a VLAN tag. */
  private readonly longest: number;

  /** @param mtu - in bytes; no frame beyond it is handed to the device (5.1.4.2) */
  constructor(ring: Virtqueue, pool: PacketPool, transport: Transport, mtu: number) {
    this.ring = ring;
    this.pool = pool;
    this.notifier = new Notifier(ring, transport);
    this.longest = mtu + ETHERNET_HEADER_SIZE;
  }

  /**
   * Hands the first `count` packets of the batch to the device, as far as the ring has room.
   *
   * @returns how many it took (0 too where the queue is broken, see {@link broken}, or {@link paused}); those belong to the driver now, the others stay with the caller
   * @throws UsageError FRAME_TOO_SHORT, FRAME_TOO_LONG, PACKET_NOT_OWNED, if the first packet can not be sent;
   *   a later one that can not be sent ends the burst before it
   */
  transmit(batch: readonly PacketBuffer[], count: number): number {
    this.reclaim();
    if (this.paused || this.broken !== undefined) return 0;
    let taken = 0;
    while (taken < count) {
      const packet = batch[taken];
      if (!this.isSendable(packet)) {
        if (taken === 0) throw this.refusal(packet);
        break;
      }
      if (!this.add(packet)) {
        this.ringFull += 1;
        break;
      }
      taken += 1;
    }
    if (taken > 0) this.commit(taken);
    return taken;
  }

  /** Why the queue is out of use, once it is. */
  get broken(): Error | undefined {
    return this.ring.broken ?? this.notifier.failure;
  }

  /** Takes finished buffers back to the pool; says how many. */
  reclaim(): number {
    if (this.paused) return 0;
    const { ring, pool } = this;
    let count = 0;
    for (let token = ring.take(); token !== NOTHING_USED; token = ring.take()) {
      pool.put(pool.packets[token]);
      count += 1;
    }
    this.completed += count;
    return count;
  }

  /**
   * Checks whether a frame could be sent.
   *
   * @throws UsageError FRAME_TOO_SHORT, FRAME_TOO_LONG, OPTION_INVALID if it is no Uint8Array
   */
  checkFrame(frame: Uint8Array): void {
    // By its tag, which is that of a Buffer and of an array from another realm too.
    if (Object.prototype.toString.call(frame) !== '[object Uint8Array]') {
      throw new UsageError('OPTION_INVALID', 'What is to be sent is no Uint8Array', {
        remedy: 'Give the bytes as a Uint8Array or Buffer, or a packet of this device.',
      });
    }
    if (!this.hasSendableLength(frame, 0, frame.length)) throw this.lengthRefusal(frame.length);
  }

  /**
   * Checks whether a packet could be sent.
   *
   * @throws UsageError FRAME_TOO_SHORT, FRAME_TOO_LONG, PACKET_NOT_OWNED
   */
  checkPacket(packet: PacketBuffer): void {
    if (!this.isSendable(packet)) throw this.refusal(packet);
  }

  /** Takes all buffers back from a device that was reset; says how many it had not finished. */
  reset(): number {
    this.notifier.failure = undefined;
    for (let token = this.ring.take(); token !== NOTHING_USED; token = this.ring.take()) {
      this.pool.put(this.pool.packets[token]);
      this.completed += 1;
    }
    const lost = this.ring.outstanding;
    this.ring.reset((token) => {
      this.pool.put(this.pool.packets[token]);
    });
    return lost;
  }

  private add(packet: PacketBuffer): boolean {
    const { start, length } = packet;
    const offset = start - NET_HEADER_SIZE;
    const { ring } = this;
    if (ring.freeDescriptors === 0) return false;
    writePlainHeader(packet.bytes, start);
    packet.owner = OWNER.DEVICE;
    this.counters.bytes += length;
    return ring.addReadable(
      packet.index,
      packet.addressLo + offset,
      packet.addressHi,
      length + NET_HEADER_SIZE,
    );
  }

  private commit(taken: number): void {
    this.counters.frames += taken;
    this.ring.publish();
    this.notifier.notifyIfNeeded();
  }

  private isSendable(packet: PacketBuffer): boolean {
    return (
      packet.owner === OWNER.USER &&
      packet.references === 1 &&
      this.pool.packets[packet.index] === packet &&
      packet.start >= NET_HEADER_SIZE &&
      Number.isInteger(packet.start) &&
      packet.start + packet.length <= packet.bytes.length &&
      this.hasSendableLength(packet.bytes, packet.start, packet.length)
    );
  }

  private hasSendableLength(bytes: Uint8Array, start: number, length: number): boolean {
    if (!Number.isInteger(length)) return false;
    if (length <= this.longest) return length >= ETHERNET_HEADER_SIZE;
    return length <= this.longest + VLAN_TAG_SIZE && isVlanTagged(bytes, start);
  }

  private refusal(packet: PacketBuffer): UsageError {
    if (packet.owner !== OWNER.USER || packet.references !== 1) {
      const why = packet.owner === OWNER.USER ? 'it is retained elsewhere' : 'it was released or transmitted';
      return new UsageError('PACKET_NOT_OWNED', `Packet ${packet.index} can not be transmitted: ${why}`);
    }
    if (this.pool.packets[packet.index] !== packet) {
      return new UsageError('PACKET_NOT_OWNED', `Packet ${packet.index} belongs to another device`, {
        remedy: 'Copy the frame into a packet of this device: device.allocate().setFrame(packet.frame).',
      });
    }
    if (packet.start < NET_HEADER_SIZE || !Number.isInteger(packet.start)) {
      return new UsageError('FRAME_TOO_LONG', `Packet ${packet.index} starts at ${packet.start}`, {
        remedy: `Leave ${NET_HEADER_SIZE} bytes in front of the frame for the virtio-net header, and give a whole number.`,
      });
    }
    return this.lengthRefusal(packet.length);
  }

  private lengthRefusal(length: number): UsageError {
    const range = `${ETHERNET_HEADER_SIZE} to ${this.longest} bytes`;
    const remedy = `A frame has ${range} on this device, ${VLAN_TAG_SIZE} more with a VLAN tag.`;
    const code = length < ETHERNET_HEADER_SIZE ? 'FRAME_TOO_SHORT' : 'FRAME_TOO_LONG';
    return new UsageError(code, `A frame of ${length} bytes can not be sent`, { remedy });
  }
}

/** Whether the frame carries an IEEE 802.1Q or 802.1ad tag. */
function isVlanTagged(bytes: Uint8Array, start: number): boolean {
  const type = (bytes[start + 12] << 8) | bytes[start + 13];
  return type === 0x8100 || type === 0x88a8;
}
