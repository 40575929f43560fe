/**
 * Which packets may be sent, and why others may not.
 */
import { UsageError } from '../errors.js';
import { OWNED_AS_SEGMENT, OWNED_BY_USER, OWNED_TOGETHER } from '../memory/packet-constants.js';
import { GSO, type PacketBuffer } from '../memory/packet-buffer.js';
import type { PacketPool } from '../memory/packet-pool.js';
import { describe, isBytes } from './arguments.js';
import { descriptorsFor } from './buffer-chain.js';
import { ETHERNET_HEADER_SIZE, VLAN_TAG_SIZE } from './header-constants.js';
import type { TransmitOffloads } from './transmit-offloads.js';
import { isVlanTagged } from './transport-header.js';

export interface TransmitTerms {
  readonly pool: PacketPool;
  readonly offloads: TransmitOffloads;
  /** Length in bytes of the virtio_net_hdr. */
  readonly headerSize: number;
  /** Longest frame in bytes without a VLAN tag. */
  readonly longest: number;
  /** The most descriptors that a packet may take. */
  readonly descriptors: number;
}

export class TransmitChecks {
  private readonly terms: TransmitTerms;
  private readonly packets: readonly PacketBuffer[];
  private readonly headerSize: number;
  private readonly longest: number;

  constructor(terms: TransmitTerms) {
    this.terms = terms;
    this.packets = terms.pool.packets;
    this.headerSize = terms.headerSize;
    this.longest = terms.longest;
  }

  /** Why a packet, whatever it is like, may not be sent; undefined if it may. */
  refusalOf(packet: PacketBuffer): UsageError | undefined {
    const refusal = this.refusalOfOwner(packet) ?? this.refusalOfSegments(packet);
    if (refusal !== undefined) return refusal;
    const total = packet.totalLength;
    if (total < ETHERNET_HEADER_SIZE) return this.lengthRefusal(total);
    // Else the offloads tell how long it may be.
    const isTooLong =
      packet.gso === GSO.NONE && !this.hasSendableLength(packet.bytes, packet.start, packet.length, total);
    return isTooLong ? this.lengthRefusal(total) : this.terms.offloads.refusalOf(packet, total);
  }

  /** Why a frame may not be sent; undefined if it may. */
  refusalOfFrame(frame: Uint8Array): UsageError | undefined {
    if (!isBytes(frame)) {
      return new UsageError('OPTION_INVALID', 'What is to be sent is no Uint8Array', {
        remedy: 'Give the bytes as a Uint8Array or Buffer, or a packet of this device.',
      });
    }
    const { length } = frame;
    return this.hasSendableLength(frame, 0, length, length) ? undefined : this.lengthRefusal(length);
  }

  private refusalOfOwner(packet: PacketBuffer): UsageError | undefined {
    if (packet.owner === OWNED_AS_SEGMENT) return notOwned(packet, 'it is a segment of another packet');
    if (packet.owner === OWNED_TOGETHER) return notOwned(packet, 'it is retained elsewhere');
    if (packet.owner !== OWNED_BY_USER) return notOwned(packet, 'it was released or transmitted');
    if (this.packets[packet.index] === packet) return undefined;
    return new UsageError(
      'PACKET_NOT_OWNED',
      `Packet ${packet.index} belongs to another device or queue pair`,
      {
        remedy: 'Copy the frame into a packet of this device: device.allocate().setFrame(packet.frame).',
      },
    );
  }

  /** All segments are of the pool, and the user's alone: linking has seen to that. */
  private refusalOfSegments(head: PacketBuffer): UsageError | undefined {
    let descriptors = 0;
    let segment: PacketBuffer | undefined = head;
    for (; segment !== undefined; segment = segment.following) {
      const { start, length, bytes } = segment;
      const least = segment === head ? this.headerSize : 0;
      if (!Number.isInteger(start) || start < least) return this.startRefusal(segment, least);
      if (!Number.isInteger(length) || length < 0 || start + length > bytes.length) {
        return this.segmentRefusal(segment);
      }
      // The header of the first one is sent with it.
      descriptors += descriptorsFor(segment, start - least, length + least);
    }
    if (head.following !== undefined && head.length < ETHERNET_HEADER_SIZE) {
      return chainInvalid(
        head,
        `has ${head.length} bytes in its first segment`,
        'That holds the Ethernet header.',
      );
    }
    if (descriptors <= this.terms.descriptors) return undefined;
    const remedy = `The ring takes at most ${this.terms.descriptors} for each packet: use larger buffers ({ bufferSize }) or a larger ring ({ queueSize }).`;
    return chainInvalid(head, `is in ${descriptors} pieces`, remedy);
  }

  /** @param length - of what lies at `start` in `bytes`; `total` is that of the whole frame */
  private hasSendableLength(bytes: Uint8Array, start: number, length: number, total: number): boolean {
    if (!Number.isInteger(total)) return false;
    if (total <= this.longest) return total >= ETHERNET_HEADER_SIZE;
    return (
      length >= ETHERNET_HEADER_SIZE && total <= this.longest + VLAN_TAG_SIZE && isVlanTagged(bytes, start)
    );
  }

  private startRefusal(packet: PacketBuffer, least: number): UsageError {
    return new UsageError('FRAME_TOO_LONG', `Packet ${packet.index} starts at ${describe(packet.start)}`, {
      remedy:
        least === 0
          ? 'Give a whole number, 0 or more.'
          : `Leave ${least} bytes in front of the frame for the virtio-net header, and give a whole number.`,
    });
  }

  private segmentRefusal(packet: PacketBuffer): UsageError {
    const { length } = packet;
    if (Number.isFinite(length) && length < 0) return this.lengthRefusal(length);
    const what = `Packet ${packet.index} has ${describe(length)} bytes from ${packet.start} on`;
    return new UsageError('FRAME_TOO_LONG', what, {
      remedy: `Its buffer ends at ${packet.bytes.length}; give whole numbers.`,
    });
  }

  private lengthRefusal(length: number): UsageError {
    const range = `${ETHERNET_HEADER_SIZE} to ${this.longest} bytes`;
    const remedy = `A frame has ${range} on this device, ${VLAN_TAG_SIZE} more with a VLAN tag.`;
    const code = length < ETHERNET_HEADER_SIZE ? 'FRAME_TOO_SHORT' : 'FRAME_TOO_LONG';
    return new UsageError(code, `A frame of ${length} bytes can not be sent`, { remedy });
  }
}

function notOwned(packet: PacketBuffer, why: string): UsageError {
  return new UsageError('PACKET_NOT_OWNED', `Packet ${packet.index} can not be transmitted: ${why}`);
}

function chainInvalid(packet: PacketBuffer, what: string, remedy: string): UsageError {
  return new UsageError('PACKET_CHAIN_INVALID', `Packet ${packet.index} ${what}`, { remedy });
}
