import { UsageError } from '../errors.js';
import type { BufferParts } from './buffer-parts.js';
import type { DeviceAddress } from './dma.js';
import {
  CHECKSUM_NEEDED,
  HEADROOM,
  NO_CHECKSUM,
  NO_GSO,
  OWNED_AS_SEGMENT,
  OWNED_BY_DRIVER,
  OWNED_BY_USER,
  OWNED_TOGETHER,
  type Owner,
} from './packet-constants.js';
import type { PacketPool } from './packet-pool.js';

/** What is known of the transport checksum of a packet: the values of {@link PacketBuffer.checksum}. */
export const CHECKSUM = {
  /** Nothing: a sender has put the right one in, a receiver has to check it. */
  NONE: NO_CHECKSUM,
  /** It is partial, the sum of the pseudo header, and still to be completed, by the device or in software. */
  NEEDED: CHECKSUM_NEEDED,
  /** The device has checked it, and it is right. Received packets only. */
  VALID: 2,
} as const;

export type Checksum = (typeof CHECKSUM)[keyof typeof CHECKSUM];

/** How a large packet is cut into frames: the values of {@link PacketBuffer.gso} (VIRTIO 1.3, 5.1.6). */
export const GSO = {
  /** It is one frame. */
  NONE: NO_GSO,
  /** TCP over IPv4, into segments. */
  TCP_V4: 1,
  /** UDP, into IP fragments (UFO, which devices of today hardly offer). */
  UDP: 3,
  /** TCP over IPv6, into segments. */
  TCP_V6: 4,
  /** UDP over IPv4 or IPv6, into datagrams. */
  UDP_L4: 5,
} as const;

export type Gso = (typeof GSO)[keyof typeof GSO];

/** The frame of a packet whose memory is gone. */
const NOTHING = new Uint8Array(0);

/**
 * A buffer that the device can reach, and the frame in it. All of them are made with the pool; none is made
 * per packet.
 *
 * Ownership: a packet from `receive()` or `allocate()` is yours until you `release()` or transmit it. A packet
 * that an event or an iterator hands out is lent until the listener returns or the next iteration: `retain()` it to
 * keep it longer and `release()` it then, or transmit it, which hands it to the device.
 *
 * A frame may be spread over several buffers, its segments, which {@link next} links. The first of them stands for
 * all: `retain()`, `release()` and transmitting act on the whole chain, and are refused for the segments behind it.
 *
 * Offloads: {@link checksum} and {@link gso}, with the fields that belong to them, say what the device has done or left
 * undone with a received packet, and what it shall do with one that is sent.
 */
export class PacketBuffer {
  // The constructor makes the fields in this order, which is that in memory: what each packet meets on its way comes
  // first, in as few cache lines as possible.
  /** @internal */
  owner: Owner;
  /** @internal How many have it: 1, and one more for each `retain()`; 1 as well while nobody has. */
  references: number;
  /** Offset in bytes of the frame, or of this segment of it, in {@link bytes}. */
  start: number;
  /** Length of the frame, or of this segment of it, in bytes, without FCS. */
  length: number;
  /** @internal Counts the times that the packet left the user, so that a lender sees whether it is still the same lease. */
  lease: number;
  /** @internal How many of the references are those of an event or an iterator that lends the packet, while one does. */
  lenders: number;
  /** What is known of the TCP or UDP checksum, or shall be done with it: one of {@link CHECKSUM}. */
  checksum: Checksum;
  /** Whether and how the packet is to be cut into frames: one of {@link GSO}. Needs `checksum` to be `NEEDED`. */
  gso: Gso;
  /** @internal The segment behind this one. Set it by {@link next} or {@link link}. */
  following: PacketBuffer | undefined;
  /** @internal */
  readonly pool: PacketPool;
  /** Number of the buffer in its pool. */
  readonly index: number;
  /** @internal Where the buffer begins in the memory of the pool, in bytes. */
  readonly offset: number;
  /** The whole buffer, headroom included. Length 0 once the device is closed. */
  readonly bytes: Uint8Array;
  /** Device address of the first byte of the buffer, in halves of 32 bits. */
  readonly addressLo: number;
  readonly addressHi: number;
  /** @internal Where its parts lie for the device, if those are not at consecutive addresses. */
  readonly parts: BufferParts | undefined;

  /** With `NEEDED`: where in the frame the bytes that it covers begin, which are those of the TCP or UDP header. */
  checksumStart: number;
  /** With `NEEDED`: where it is to be put, in bytes from {@link checksumStart} on: 16 for TCP, 6 for UDP. */
  checksumOffset: number;
  /** With {@link gso}: payload in bytes of each frame, without the headers (for TCP the MSS). */
  gsoSize: number;
  /**
   * With {@link gso}, of a received packet: TCP's CWR flag is set, and belongs into the first frame only. For one that is
   * sent the driver looks at the flag, whatever is here.
   */
  ecn: boolean;
  /**
   * Length in bytes of the headers, from that of Ethernet to that of TCP or UDP. Of a received packet: what the device
   * takes it to be, a hint that may be wrong or 0. For one that is sent the driver works it out, whatever is here.
   */
  headerLength: number;
  /** With VIRTIO_NET_F_HASH_REPORT: the hash of a received packet, and by {@link hashType} over what (0: none). */
  hash: number;
  hashType: number;
  /** With VIRTIO_NET_F_RSC_EXT: how many TCP segments the device has put together, and how many acknowledgements. */
  coalescedSegments: number;
  duplicateAcks: number;

  /** @internal */
  constructor(
    pool: PacketPool,
    index: number,
    bytes: Uint8Array,
    address: DeviceAddress,
    parts: BufferParts | undefined,
  ) {
    this.owner = OWNED_BY_DRIVER;
    this.references = 1;
    this.start = HEADROOM;
    this.length = 0;
    this.lease = 0;
    this.lenders = 0;
    this.checksum = NO_CHECKSUM;
    this.gso = NO_GSO;
    this.following = undefined;
    this.pool = pool;
    this.index = index;
    this.offset = index * bytes.length;
    this.bytes = bytes;
    this.addressLo = address.lo;
    this.addressHi = address.hi;
    this.parts = parts;
    this.checksumStart = 0;
    this.checksumOffset = 0;
    this.gsoSize = 0;
    this.ecn = false;
    this.headerLength = 0;
    this.hash = 0;
    this.hashType = 0;
    this.coalescedSegments = 0;
    this.duplicateAcks = 0;
  }

  /**
   * The buffer in which the frame goes on, or undefined.
   *
   * Setting it takes that buffer over, with all that is linked behind it: from then on it is a segment of the frame
   * that begins with the first one. The buffer that was linked there before becomes a packet of its own, and yours.
   *
   * @throws UsageError PACKET_NOT_OWNED if one of the two is not yours alone; PACKET_CHAIN_INVALID if the buffer is
   *   linked elsewhere, would close a loop, or belongs to another queue pair or device
   */
  get next(): PacketBuffer | undefined {
    return this.following;
  }

  set next(segment: PacketBuffer | undefined) {
    const before = this.following;
    if (segment === before) return;
    if (this.owner === OWNED_BY_DRIVER) throw this.notOwned('linked');
    checkSegment(segment);
    segment?.checkLinkableBehind(this);
    if (before !== undefined) before.owner = OWNED_BY_USER;
    this.following = undefined;
    if (segment === undefined) return;
    // Whoever lent it must not take it back any more.
    segment.lease += 1;
    segment.lenders = 0;
    this.link(segment);
  }

  /** Makes a buffer that nobody else has a segment of this frame. @internal */
  link(segment: PacketBuffer): void {
    segment.owner = OWNED_AS_SEGMENT;
    this.following = segment;
  }

  /** Length of the whole frame in bytes, over all segments from this one on. */
  get totalLength(): number {
    let total = this.length;
    for (let segment = this.following; segment !== undefined; segment = segment.following) {
      total += segment.length;
    }
    return total;
  }

  /**
   * The frame, or this segment of it, from the destination address on: a view, valid as long as the packet is yours. Empty once the device
   * is closed.
   */
  get frame(): Uint8Array {
    if (this.bytes.length === 0) return NOTHING;
    return this.bytes.subarray(this.start, this.start + this.length);
  }

  /** The longest frame, or segment of one, that the buffer can hold at its present start. */
  get capacity(): number {
    return Math.max(0, this.bytes.length - this.start);
  }

  /** A copy of the whole frame, over all segments from this one on, valid for ever. */
  copy(): Uint8Array {
    if (this.following === undefined || this.bytes.length === 0) return Uint8Array.from(this.frame);
    const whole = new Uint8Array(this.totalLength);
    whole.set(this.frame, 0);
    let at = this.length;
    for (
      let segment: PacketBuffer | undefined = this.following;
      segment !== undefined;
      segment = segment.following
    ) {
      whole.set(segment.frame, at);
      at += segment.length;
    }
    return whole;
  }

  /**
   * Copies a frame, or a segment of one, into the buffer. What is linked behind it stays.
   *
   * Short frames are copied several times faster from an array that is used again and again, and begins at a multiple of
   * eight bytes in its ArrayBuffer, as `new Uint8Array(length)` does.
   *
   * @throws UsageError FRAME_TOO_LONG if the buffer can not hold it from {@link start} on; OPTION_INVALID if it is no
   *   Uint8Array
   */
  setFrame(frame: Uint8Array): this {
    const { source, longs } = this.pool;
    const { start } = this;
    // From anything but a whole number on it would be written into the buffer of another packet.
    if (frame !== source.frame || start >>> 0 !== start || (start & 7) !== 0) return this.copyFrame(frame);
    const { words, length } = source;
    if (frame.length !== length || start > source.latestStart) return this.copyFrame(frame);
    const to = ((this.offset + start) | 0) >>> 3;
    if (length >= 64) {
      // Without a loop: V8 checks the arrays once then, and not with each step.
      longs[to] = words[0];
      longs[to + 1] = words[1];
      longs[to + 2] = words[2];
      longs[to + 3] = words[3];
      longs[to + 4] = words[4];
      longs[to + 5] = words[5];
      longs[to + 6] = words[6];
      longs[to + 7] = words[7];
      if (length > 64) this.copyRest(8);
    } else this.copyRest(0);
    this.length = length;
    return this;
  }

  /**
   * Keeps a lent packet, with all its segments, beyond the event or the iteration that lent it. Every `retain()` needs a `release()`.
   *
   * @throws UsageError PACKET_NOT_OWNED
   */
  retain(): this {
    this.checkOwned('retained');
    this.references += 1;
    this.owner = OWNED_TOGETHER;
    return this;
  }

  /**
   * Gives the buffer back to its pool, with all its segments, if nobody else retains it. After `close()` it does
   * nothing.
   *
   * @throws UsageError PACKET_NOT_OWNED if the packet was released or transmitted already, or is a segment of another
   */
  release(): void {
    if (this.owner === OWNED_BY_USER) this.pool.put(this);
    else this.releaseShared();
  }

  /** Whether the packet has been with the user since the given lease. @internal */
  isLeasedAs(lease: number): boolean {
    return this.lease === lease && this.isUsers;
  }

  /** Lends the packet to one more. @internal */
  lend(): this {
    this.retain();
    this.lenders += 1;
    return this;
  }

  /**
   * Takes the packet back from one to whom it was lent, unless it was transmitted meanwhile, or somebody to whom it was
   * lent has released it already: each release ends one loan, and no loan but its own. @internal
   */
  endLoan(lease: number): void {
    if (!this.isLeasedAs(lease)) return;
    this.lenders -= 1;
    if (this.references > this.lenders) this.release();
  }

  /**
   * Gives the packet to the user, with a frame of that length, and nothing known of it or asked of the device: the other
   * fields mean something only beside these. @internal
   */
  handOut(length: number): this {
    this.owner = OWNED_BY_USER;
    this.start = HEADROOM;
    this.length = length;
    this.checksum = NO_CHECKSUM;
    this.gso = NO_GSO;
    return this;
  }

  /** Takes the packet from the user. @internal */
  takeBack(): void {
    this.owner = OWNED_BY_DRIVER;
    this.lease = (this.lease + 1) | 0;
  }

  /** Copies the known frame from a unit of eight bytes on: of what is left as much as possible in large pieces. */
  private copyRest(from: number): void {
    const { source, longs, words: quads } = this.pool;
    const { start, bytes } = this;
    const { frame, words, words32, length } = source;
    const to = ((this.offset + start) | 0) >>> 3;
    const count = length >>> 3;
    let at = from;
    for (; at + 4 <= count; at = (at + 4) | 0) {
      longs[to + at] = words[at];
      longs[to + at + 1] = words[at + 1];
      longs[to + at + 2] = words[at + 2];
      longs[to + at + 3] = words[at + 3];
    }
    for (; at < count; at = (at + 1) | 0) longs[to + at] = words[at];
    if ((length & 4) !== 0) quads[(to + at) << 1] = words32[at << 1];
    for (let rest = length & ~3; rest < length; rest = (rest + 1) | 0) bytes[start + rest] = frame[rest];
  }

  private copyFrame(frame: Uint8Array): this {
    checkCopy(this, frame);
    if (frame.length > this.capacity) {
      throw new UsageError('FRAME_TOO_LONG', `A frame of ${frame.length} bytes does not fit into a buffer`, {
        remedy: `The buffer holds at most ${this.capacity} bytes.`,
      });
    }
    // An array whose memory was handed over to somebody else is an empty frame, and nothing that `set` would take.
    if (frame.length > 0) this.bytes.set(frame, this.start);
    this.length = frame.length;
    this.pool.source.note(frame);
    return this;
  }

  private releaseShared(): void {
    if (this.bytes.length === 0) return;
    this.checkOwned('released');
    this.references -= 1;
    if (this.references === 1) this.owner = OWNED_BY_USER;
  }

  private get isUsers(): boolean {
    return this.owner === OWNED_BY_USER || this.owner === OWNED_TOGETHER;
  }

  private checkOwned(done: string): void {
    if (!this.isUsers) throw this.notOwned(done);
  }

  private checkLinkableBehind(other: PacketBuffer): void {
    this.checkOwned('linked');
    if (this.references !== 1) {
      throw new UsageError(
        'PACKET_NOT_OWNED',
        `Packet ${this.index} can not be linked: it is retained elsewhere`,
      );
    }
    if (this.pool !== other.pool) {
      throw new UsageError(
        'PACKET_CHAIN_INVALID',
        `Packet ${this.index} belongs to another queue pair or device`,
        {
          remedy: 'Copy its frame into a packet from the same allocate().',
        },
      );
    }
    if (this === other || this.leadsTo(other)) {
      throw new UsageError('PACKET_CHAIN_INVALID', `Packet ${this.index} can not be linked behind itself`);
    }
  }

  private leadsTo(other: PacketBuffer): boolean {
    let segment = this.following;
    while (segment !== undefined && segment !== other) segment = segment.following;
    return segment !== undefined;
  }

  private notOwned(done: string): UsageError {
    const where =
      this.owner === OWNED_AS_SEGMENT
        ? 'it is a segment of another packet'
        : this.pool.has(this)
          ? 'it is back in the pool'
          : 'the device has it';
    return new UsageError('PACKET_NOT_OWNED', `Packet ${this.index} can not be ${done}: ${where}`);
  }
}

/** From JavaScript anything may come: both as a frame, and as the start of a packet. */
function checkCopy({ index, start }: PacketBuffer, frame: Uint8Array | null | undefined): void {
  if (frame?.BYTES_PER_ELEMENT !== 1) {
    throw new UsageError('OPTION_INVALID', 'What is to be copied into a packet is no Uint8Array', {
      remedy: 'Give the bytes of a frame as a Uint8Array or Buffer.',
    });
  }
  if (Number.isInteger(start) && start >= 0) return;
  throw new UsageError('FRAME_TOO_LONG', `Packet ${index} starts at ${String(start)}`, {
    remedy: 'Give a whole number, 0 or more.',
  });
}

/** From JavaScript anything may come, and null for what is undefined here. */
function checkSegment(segment: unknown): void {
  if (segment === undefined || segment instanceof PacketBuffer) return;
  throw new UsageError('PACKET_CHAIN_INVALID', 'What is to be linked is no packet', {
    remedy: 'Link a packet from allocate() or receive(), or undefined to end the frame there.',
  });
}
