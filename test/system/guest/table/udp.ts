/** UDP datagrams over IPv4. */
import {
  ETHERNET_HEADER_LENGTH,
  ETHER_TYPE,
  IPV4_HEADER_LENGTH,
  IP_PROTOCOL,
  readEthernet,
  readIpv4,
  writeEthernet,
  writeIpv4,
} from 'virtio-net/packet';
import type { TcpEnds } from '../tcp/segment.js';

const UDP_HEADER_LENGTH = 8;

export interface Datagram {
  readonly sourceIp: Uint8Array;
  readonly destinationIp: Uint8Array;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** A frame with a datagram, without a checksum, as IPv4 allows. */
export function udpFrame(ends: TcpEnds, payload: Uint8Array): Uint8Array {
  const at = ETHERNET_HEADER_LENGTH + IPV4_HEADER_LENGTH;
  const frame = new Uint8Array(at + UDP_HEADER_LENGTH + payload.length);
  const { ownMac: source, peerMac: destination } = ends;
  writeEthernet(frame, 0, { source, destination, etherType: ETHER_TYPE.IPV4 });
  writeIpv4(frame, ETHERNET_HEADER_LENGTH, {
    source: ends.ownIp,
    destination: ends.peerIp,
    protocol: IP_PROTOCOL.UDP,
    payloadLength: UDP_HEADER_LENGTH + payload.length,
  });
  const view = new DataView(frame.buffer);
  view.setUint16(at, ends.ownPort);
  view.setUint16(at + 2, ends.peerPort);
  view.setUint16(at + 4, UDP_HEADER_LENGTH + payload.length);
  frame.set(payload, at + UDP_HEADER_LENGTH);
  return frame;
}

/** Ports and addresses of a datagram; undefined for any other frame. */
export function readUdp(frame: Uint8Array): Datagram | undefined {
  const ethernet = readEthernet(frame);
  if (ethernet?.etherType !== ETHER_TYPE.IPV4) return undefined;
  const ipv4 = readIpv4(frame, ethernet.payloadOffset);
  if (ipv4?.protocol !== IP_PROTOCOL.UDP || frame.length < ipv4.payloadOffset + UDP_HEADER_LENGTH)
    return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset + ipv4.payloadOffset);
  return {
    sourceIp: ipv4.source,
    destinationIp: ipv4.destination,
    sourcePort: view.getUint16(0),
    destinationPort: view.getUint16(2),
  };
}
