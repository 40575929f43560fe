/** A card on a wire with somebody who answers: resolves his address, exchanges echoes, waits for frames. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { NetDevice, PacketBuffer } from 'virtio-net';
import {
  ARP_OPERATION,
  buildArpRequest,
  buildIcmpEcho,
  ICMP_ECHO_OVERHEAD,
  ICMP_TYPE,
  parseIpv4,
  readArpFrame,
  readEchoFrame,
} from 'virtio-net/packet';
import type { Wire } from '../../../vm/table/suite.js';

/** No answer takes that long, on a host with other things to do either. */
const WAIT_MS = 20_000;
const IDENTIFIER = 0x5111;

/** Called with each frame that comes, the packet of which is lent. */
export type FrameListener = (frame: Uint8Array, packet: PacketBuffer) => void;

export interface EchoRun {
  readonly identifier?: number;
  /** Lengths of the frames, one request each. */
  readonly lengths: readonly number[];
  /** Requests under way at most. */
  readonly window: number;
  /** Called with each frame of the run in the order in which it left or came. */
  readonly onFrame?: (way: 'sent' | 'received', frame: Uint8Array) => void;
}

export class Station {
  readonly device: NetDevice;
  readonly ownIp: Uint8Array;
  readonly peerIp: Uint8Array;
  readonly listeners = new Set<FrameListener>();
  peerMac: Uint8Array = new Uint8Array(6);
  /** Whether the program has to look for frames itself. */
  readonly polled: boolean;
  private wake: () => void = () => undefined;
  private failure: Error | undefined;

  constructor(device: NetDevice, wire: Wire, polled: boolean) {
    this.device = device;
    this.polled = polled;
    this.ownIp = parseIpv4(wire.cardIp);
    this.peerIp = parseIpv4(wire.peerIp);
    device.on('frame', (packet) => {
      // A frame of several segments is put together for those who only look at its bytes.
      const frame = packet.copy();
      for (const listener of this.listeners) listener(frame, packet);
      this.wake();
    });
    device.on('error', (error) => {
      this.failure = error;
      this.wake();
    });
  }

  /** Waits until something is so, letting frames in. @throws what the device failed with; an error after a while */
  async until(isSo: () => boolean, what: string, wait = WAIT_MS): Promise<void> {
    const deadline = performance.now() + wait;
    while (!isSo()) {
      if (this.failure !== undefined) throw this.failure;
      if (performance.now() > deadline) throw new Error(`after ${wait} ms still waiting for ${what}`);
      if (this.polled) await this.pollOnce();
      else await this.someFrame();
    }
  }

  private async pollOnce(): Promise<void> {
    if (this.device.state === 'running') this.device.poll();
    await new Promise((resolve) => setImmediate(resolve));
  }

  private async someFrame(): Promise<void> {
    const abort = new AbortController();
    const woken = new Promise<void>((resolve) => (this.wake = resolve));
    await Promise.race([woken, sleep(20, undefined, { signal: abort.signal }).catch(() => undefined)]);
    abort.abort();
  }

  /** What is the MAC address of the peer? */
  async resolvePeer(): Promise<void> {
    let found = false;
    const listener: FrameListener = (frame) => {
      const arp = readArpFrame(frame);
      if (arp?.operation !== ARP_OPERATION.REPLY || Buffer.compare(arp.senderIp, this.peerIp) !== 0) return;
      this.peerMac = arp.senderMac.slice();
      found = true;
    };
    this.listeners.add(listener);
    const request = { senderMac: this.device.macBytes, senderIp: this.ownIp, targetIp: this.peerIp };
    await this.device.send(buildArpRequest(request));
    await this.until(() => found, 'the reply to an ARP request');
    this.listeners.delete(listener);
  }

  /**
   * Sends echo requests and waits for every reply, whose data must be that of the request.
   *
   * @returns milliseconds that it took
   */
  async echo({ identifier = IDENTIFIER, lengths, window, onFrame }: EchoRun): Promise<number> {
    const began = performance.now();
    const open = new Set<number>();
    let wrong: string | undefined;
    const listener: FrameListener = (frame) => {
      const reply = readEchoFrame(frame);
      if (reply?.echo.type !== ICMP_TYPE.ECHO_REPLY || reply.echo.identifier !== identifier) return;
      onFrame?.('received', frame);
      const { sequence, payloadOffset, payloadEnd } = reply.echo;
      if (!open.delete(sequence)) wrong = `reply ${sequence} was not waited for`;
      const expected = echoData(lengths[sequence] - ICMP_ECHO_OVERHEAD, sequence);
      if (Buffer.compare(frame.subarray(payloadOffset, payloadEnd), expected) !== 0) {
        wrong = `reply ${sequence}, a frame of ${lengths[sequence]} bytes, brings other data back`;
      }
    };
    this.listeners.add(listener);
    const pending = (): string => `replies to ${open.size} of ${lengths.length} echo requests`;
    for (const [sequence, length] of lengths.entries()) {
      await this.until(() => open.size < window, pending());
      open.add(sequence);
      const request = this.echoRequest(identifier, sequence, length);
      onFrame?.('sent', request);
      await this.device.send(request);
    }
    await this.until(() => open.size === 0, pending()).catch((error: unknown) => {
      throw new Error(`no replies to echo requests ${[...open].slice(0, 8).join(', ')}: ${String(error)}`);
    });
    this.listeners.delete(listener);
    if (wrong !== undefined) throw new Error(wrong);
    return performance.now() - began;
  }

  private echoRequest(identifier: number, sequence: number, length: number): Uint8Array {
    return buildIcmpEcho({
      sourceMac: this.device.macBytes,
      destinationMac: this.peerMac,
      sourceIp: this.ownIp,
      destinationIp: this.peerIp,
      identifier,
      sequence,
      data: echoData(length - ICMP_ECHO_OVERHEAD, sequence),
    });
  }
}

/** Data that tells its place in the frame and its frame. */
function echoData(length: number, sequence: number): Uint8Array {
  const data = new Uint8Array(Math.max(0, length));
  for (let at = 0; at < data.length; at += 1) data[at] = (at * 31 + sequence * 7 + (at >> 8)) & 0xff;
  return data;
}
