/** Fitting a frame to what the driver can receive (VIRTIO 1.3, 5.1.6.4, device requirements). */
import type { SimulatedFeature } from '../features.js';
import { pseudoHeaderSum, storeWord } from './checksum.js';
import { GSO_ECN, GSO_TYPE, HEADER_FLAG, PLAIN_HEADER, type NetHeader } from './header.js';
import {
  CHECKSUM_STATE,
  fitsGso,
  NO_OFFLOAD,
  transportOf,
  type FrameOffload,
  type Transport,
} from './offload.js';
import { wireFramesOf } from './segmentation.js';

/** What comes with a frame that arrives; all that is left out is found in the frame, or 0. */
export interface ArrivingOffload extends Partial<FrameOffload> {
  /** How many segments were coalesced (VIRTIO_NET_F_RSC_EXT); counted if it is left out. */
  readonly coalescedSegments?: number;
  /** How many duplicated ACKs there were among them; 0 if it is left out. */
  readonly duplicateAcks?: number;
}

/** A frame as the driver gets it. */
export interface Arrival {
  readonly frame: Uint8Array;
  readonly header: NetHeader;
}

/** Says which receive offloads the driver has enabled now. */
export type EnabledOffloads = (feature: SimulatedFeature) => boolean;

/**
 * What the driver gets for a frame: it as it is, with its offload fields, where the driver has enabled them, and
 * otherwise whole frames with complete checksums.
 *
 * @returns undefined if the frame is not what its offload fields say
 */
export function arrivalsOf(
  frame: Uint8Array,
  arriving: ArrivingOffload,
  enabled: EnabledOffloads,
): Arrival[] | undefined {
  const transport = transportOf(frame);
  const offload = withDefaults(arriving, transport);
  if (offload.gso !== GSO_TYPE.NONE && (transport === undefined || !fitsGso(transport, offload.gso)))
    return undefined;
  if (!isSound(frame, offload)) return undefined;
  if (isEnabled(offload, transport, enabled))
    return [
      { frame: prepared(frame, offload, transport), header: headerFor(frame, offload, arriving, enabled) },
    ];
  const partial = offload.checksum === CHECKSUM_STATE.NEEDED ? prepared(frame, offload, transport) : frame;
  return wireFramesOf(partial, offload)?.map((each) => ({ frame: each, header: PLAIN_HEADER }));
}

function withDefaults(arriving: ArrivingOffload, transport: Transport | undefined): FrameOffload {
  const gso = arriving.gso ?? GSO_TYPE.NONE;
  return {
    ...NO_OFFLOAD,
    checksum: gso === GSO_TYPE.NONE ? CHECKSUM_STATE.NONE : CHECKSUM_STATE.NEEDED,
    checksumStart: transport?.packet.payload ?? 0,
    checksumOffset: transport?.checksumOffset ?? 0,
    headerLength: gso === GSO_TYPE.NONE ? 0 : (transport?.payload ?? 0),
    ...arriving,
  };
}

function isSound(frame: Uint8Array, offload: FrameOffload): boolean {
  if (offload.gso !== GSO_TYPE.NONE && (offload.gsoSize === 0 || offload.checksum !== CHECKSUM_STATE.NEEDED))
    return false;
  const isPartial = offload.checksum === CHECKSUM_STATE.NEEDED;
  return !isPartial || offload.checksumStart + offload.checksumOffset + 2 <= frame.length;
}

function isEnabled(
  offload: FrameOffload,
  transport: Transport | undefined,
  enabled: EnabledOffloads,
): boolean {
  if (!enabled('VIRTIO_NET_F_GUEST_CSUM'))
    return offload.checksum === CHECKSUM_STATE.NONE && offload.gso === GSO_TYPE.NONE;
  if (offload.gso === GSO_TYPE.NONE) return true;
  if (offload.ecn && !enabled('VIRTIO_NET_F_GUEST_ECN')) return false;
  return enabled(guestFeatureFor(offload.gso, transport?.packet.version));
}

function guestFeatureFor(gso: number, version: 4 | 6 | undefined): SimulatedFeature {
  if (gso === GSO_TYPE.TCPV4) return 'VIRTIO_NET_F_GUEST_TSO4';
  if (gso === GSO_TYPE.TCPV6) return 'VIRTIO_NET_F_GUEST_TSO6';
  if (gso === GSO_TYPE.UDP) return 'VIRTIO_NET_F_GUEST_UFO';
  return version === 6 ? 'VIRTIO_NET_F_GUEST_USO6' : 'VIRTIO_NET_F_GUEST_USO4';
}

/** With a partial checksum, the sum of the pseudo header stands where the checksum is to go. */
function prepared(frame: Uint8Array, offload: FrameOffload, transport: Transport | undefined): Uint8Array {
  if (offload.checksum !== CHECKSUM_STATE.NEEDED || transport?.packet.payload !== offload.checksumStart)
    return frame;
  const copy = frame.slice();
  const { packet } = transport;
  storeWord(
    copy,
    offload.checksumStart + offload.checksumOffset,
    pseudoHeaderSum(packet, packet.end - packet.payload),
  );
  return copy;
}

function headerFor(
  frame: Uint8Array,
  offload: FrameOffload,
  arriving: ArrivingOffload,
  enabled: EnabledOffloads,
): NetHeader {
  const needed = offload.checksum === CHECKSUM_STATE.NEEDED;
  const isGso = offload.gso !== GSO_TYPE.NONE;
  const valid = offload.checksum === CHECKSUM_STATE.VALID;
  const header = {
    ...PLAIN_HEADER,
    flags: (needed ? HEADER_FLAG.NEEDS_CSUM : 0) | (valid ? HEADER_FLAG.DATA_VALID : 0),
    gsoType: offload.gso | (isGso && offload.ecn ? GSO_ECN : 0),
    gsoSize: isGso ? offload.gsoSize : 0,
    headerLength: offload.headerLength,
    checksumStart: needed ? offload.checksumStart : 0,
    checksumOffset: needed ? offload.checksumOffset : 0,
  };
  if (!isGso || !enabled('VIRTIO_NET_F_RSC_EXT')) return header;
  const segments = Math.ceil((frame.length - offload.headerLength) / offload.gsoSize);
  return {
    ...header,
    flags: header.flags | HEADER_FLAG.RSC_INFO,
    checksumStart: arriving.coalescedSegments ?? segments,
    checksumOffset: arriving.duplicateAcks ?? 0,
  };
}
