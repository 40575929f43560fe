/** TCP and UDP frames for tests, written out by hand. */
import { internetChecksum } from '../../src/packet/index.js';

export interface TransportFrame {
  readonly version?: 4 | 6;
  readonly protocol?: 'tcp' | 'udp';
  readonly vlan?: boolean;
  readonly payload?: number;
  /** Bytes of TCP options, a multiple of 4. */
  readonly options?: number;
  readonly tcpFlags?: number;
}

/** A frame without a transport checksum, and where its headers lie. */
export function transportFrame(fields: TransportFrame = {}): {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly network: number;
  readonly transport: number;
  readonly headers: number;
  /** Offset of the checksum in the transport header. */
  readonly checksum: number;
} {
  const { version = 4, protocol = 'tcp', vlan = false, payload = 100, options = 0, tcpFlags = 0x10 } = fields;
  const network = vlan ? 18 : 14;
  const transport = network + (version === 4 ? 20 : 40);
  const headers = transport + (protocol === 'tcp' ? 20 + options : 8);
  const bytes = new Uint8Array(headers + payload);
  const view = new DataView(bytes.buffer);
  for (let at = headers; at < bytes.length; at += 1) bytes[at] = (at * 7 + 3) & 0xff;
  bytes.set([0x52, 0x54, 0, 0x12, 0x34, 0x56, 0x52, 0x54, 0, 0, 0, 1]);
  if (vlan) bytes.set([0x81, 0, 0, 5], 12);
  view.setUint16(network - 2, version === 4 ? 0x0800 : 0x86dd);
  const number = protocol === 'tcp' ? 6 : 17;
  if (version === 4) {
    bytes[network] = 0x45;
    view.setUint16(network + 2, Math.min(bytes.length - network, 0xffff));
    bytes.set([64, number], network + 8);
    bytes.set([10, 0, 2, 15, 10, 0, 2, 2], network + 12);
    view.setUint16(network + 10, internetChecksum(bytes, network, transport));
  } else {
    bytes[network] = 0x60;
    view.setUint16(network + 4, Math.min(bytes.length - transport, 0xffff));
    bytes.set([number, 64], network + 6);
    for (let at = 0; at < 32; at += 1) bytes[network + 8 + at] = at * 5;
  }
  view.setUint16(transport, 1234);
  view.setUint16(transport + 2, 80);
  if (protocol === 'tcp') {
    bytes[transport + 12] = ((20 + options) / 4) << 4;
    bytes[transport + 13] = tcpFlags;
  } else {
    view.setUint16(transport + 4, Math.min(8 + payload, 0xffff));
  }
  return { bytes, network, transport, headers, checksum: protocol === 'tcp' ? 16 : 6 };
}

/** The sum of the pseudo header of such a frame, in 16-bit words with the carries put in. */
export function pseudoSum(frame: Uint8Array, network: number, transport: number): number {
  const isIpv4 = frame[network] >> 4 === 4;
  const addresses = isIpv4
    ? frame.subarray(network + 12, network + 20)
    : frame.subarray(network + 8, network + 40);
  const protocol = isIpv4 ? frame[network + 9] : frame[network + 6];
  const length = frame.length - transport;
  return ~internetChecksum(addresses, 0, addresses.length, protocol + length) & 0xffff;
}

/** Whether the TCP or UDP checksum of a frame is right. */
export function hasRightChecksum(frame: Uint8Array, network: number, transport: number): boolean {
  return internetChecksum(frame, transport, frame.length, pseudoSum(frame, network, transport)) === 0;
}
