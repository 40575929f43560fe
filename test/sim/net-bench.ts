/** A driver of a network device with any number of queues, as small as support.ts, for the tests of what is on them. */
import { expect } from 'vitest';
import type { InterruptHandlers, Transport } from '../../src/transport/transport.js';
import type { SimulatedDevice, SimulatedFeature } from '../../src/sim/index.js';
import { bits, DRIVER_OK, FEATURES_OK, negotiate, NEXT, Ring, SLOT, WRITE } from './support.js';

export const [OK, ERR] = [0, 1];

/** What every modern driver takes. */
export const BASE: readonly SimulatedFeature[] = [
  'VIRTIO_F_VERSION_1',
  'VIRTIO_F_ACCESS_PLATFORM',
  'VIRTIO_NET_F_MAC',
  'VIRTIO_NET_F_STATUS',
];

/** What every modern driver takes and the control queue, with more. */
export function withControl(...more: SimulatedFeature[]): SimulatedFeature[] {
  return [...BASE, 'VIRTIO_NET_F_CTRL_VQ', ...more];
}

export interface NetBench {
  readonly device: SimulatedDevice;
  readonly transport: Transport;
  /** All queues, by their index. */
  readonly rings: readonly Ring[];
  readonly control: Ring;
}

export interface NetBenchOptions {
  readonly size?: number;
  readonly handlers?: InterruptHandlers;
}

/** Initialises a device with all that it offers and all of its queues. */
export function startAll(device: SimulatedDevice, options: NetBenchOptions = {}): NetBench {
  const { transport } = device;
  negotiate(transport, transport.readDeviceFeatures());
  if (options.handlers !== undefined) transport.enableInterrupts(transport.queueCount, options.handlers);
  const rings = Array.from({ length: transport.queueCount }, (_, queue) => {
    const ring = new Ring(transport, queue, options.size ?? 8);
    transport.enableQueue(queue, ring.layout);
    return ring;
  });
  transport.writeStatus(1 | 2 | FEATURES_OK | DRIVER_OK);
  return { device, transport, rings, control: rings[rings.length - 1] };
}

/** Puts a command on the control queue; says what the device answered, the ack byte first. */
export function command(
  { control }: NetBench,
  commandClass: number,
  number: number,
  data: Iterable<number> = [],
  answerLength = 1,
): Uint8Array {
  const bytes = [commandClass, number, ...data];
  control.slot(0).set(bytes);
  control.slot(1).fill(0xee);
  control.describe(0, { address: control.addressOfSlot(0), length: bytes.length, flags: NEXT, next: 1 });
  control.describe(1, { address: control.addressOfSlot(1), length: answerLength, flags: WRITE });
  control.offer(0);
  control.notify();
  const [used] = control.collect();
  expect(used.id).toBe(0);
  return control.slot(1).slice(0, used.length);
}

/** The ack that a command gets. */
export function ackOf(
  bench: NetBench,
  ...[commandClass, number, data]: [number, number, Iterable<number>?]
): number {
  return command(bench, commandClass, number, data)[0];
}

/** Numbers as little-endian bytes. */
export const le16 = (...values: number[]): number[] => values.flatMap((value) => [value & 0xff, value >> 8]);
export const le32 = (...values: number[]): number[] =>
  values.flatMap((value) => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff));

/** An Ethernet frame to an address, in a VLAN if that is given. */
export function frameTo(destination: readonly number[], vlan?: number, length = 60): Uint8Array {
  const tag = vlan === undefined ? [] : [0x81, 0x00, vlan >> 8, vlan & 0xff];
  const frame = new Uint8Array(length);
  frame.set([...destination, 2, 0, 0, 0, 0, 9, ...tag, 0x88, 0xb5]);
  return frame;
}

/** What a TCP or UDP packet is made of. */
export interface IpFields {
  readonly source: readonly number[];
  readonly destination: readonly number[];
  readonly protocol: number;
  readonly ports: readonly [number, number];
  readonly payload?: number;
  /** Length of the TCP header; its flags. */
  readonly flags?: number;
  readonly vlan?: number;
}

const be16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff];

/** A frame with a TCP (6) or UDP (17) packet, IPv4 or IPv6 by the length of the addresses, without checksums. */
export function ipFrame({ source, destination, protocol, ports, ...more }: IpFields): Uint8Array {
  const payload = Array.from({ length: more.payload ?? 0 }, (_, index) => (index * 5 + 1) & 0xff);
  const head = ports.flatMap(be16);
  const transport =
    protocol === 6
      ? [...head, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 0, 0x50, more.flags ?? 0x10, 0x20, 0, 0, 0, 0, 0]
      : [...head, ...be16(8 + payload.length), 0, 0];
  const length = transport.length + payload.length;
  const isV4 = source.length === 4;
  const ip = isV4
    ? [0x45, 0, ...be16(20 + length), 0x12, 0x34, 0, 0, 64, protocol, 0, 0, ...source, ...destination]
    : [0x60, 0, 0, 0, ...be16(length), protocol, 64, ...source, ...destination];
  const tag = more.vlan === undefined ? [] : [0x81, 0, ...be16(more.vlan)];
  const ethernet = [
    0x52,
    0x54,
    0,
    0x12,
    0x34,
    0x56,
    2,
    0,
    0,
    0,
    0,
    9,
    ...tag,
    ...(isV4 ? [8, 0] : [0x86, 0xdd]),
  ];
  return Uint8Array.from([...ethernet, ...ip, ...transport, ...payload]);
}

export { SLOT, bits };
