/**
 * Who of the two offers which feature. A vhost-user backend moves frames; what concerns the card as such, its address,
 * link and control queue, is the front-end's: such bits of a backend mean only that it does not mind (as DPDK's, which
 * also serves QEMU), so they are not passed on.
 */
import { HAS_PROTOCOL_FEATURES, type Greeting } from './greeting.js';
import { PROTOCOL_FEATURE } from './messages.js';

const bit = (number: number): bigint => 1n << BigInt(number);

const NET_MTU = bit(3);
const NET_MAC = bit(5);
const NET_STATUS = bit(16);
const NET_CTRL_VQ = bit(17);
const NET_MQ = bit(22);

/** What is the backend's to offer, and is told to it when it is used: what changes frames or rings. */
const PASSED_ON = [
  // CSUM, GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, GUEST_ECN, GUEST_UFO, HOST_TSO4, HOST_TSO6, HOST_ECN, HOST_UFO, MRG_RXBUF
  ...[0, 1, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  // MQ, RING_INDIRECT_DESC, RING_EVENT_IDX, VERSION_1, RING_PACKED, IN_ORDER
  ...[22, 28, 29, 32, 34, 35],
  // GUEST_USO4, GUEST_USO6, HOST_USO, GUEST_HDRLEN
  ...[54, 55, 56, 59],
].reduce((sum, number) => sum | bit(number), 0n);

/**
 * The features of the device, made of both sides.
 *
 * @param hasMtu - whether there is an MTU to tell the driver
 */
export function offeredFeatures({ features, protocol }: Greeting, hasMtu: boolean): bigint {
  const hasQueues = (protocol & PROTOCOL_FEATURE.MQ) !== 0n && (features & NET_MQ) !== 0n;
  const passed = features & PASSED_ON & ~(hasQueues ? 0n : NET_MQ);
  return passed | NET_MAC | NET_STATUS | (hasQueues ? NET_CTRL_VQ : 0n) | (hasMtu ? NET_MTU : 0n);
}

/** What SET_FEATURES says, of what the driver has accepted. */
export function acceptedFeatures({ features }: Greeting, accepted: bigint): bigint {
  return features & ((accepted & (PASSED_ON | NET_MTU)) | HAS_PROTOCOL_FEATURES);
}
