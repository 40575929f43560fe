import { describe, expect, it, vi } from 'vitest';
import {
  buildArpRequest,
  buildIcmpEcho,
  internetChecksum,
  parseIpv4,
  parseMac,
  readArpFrame,
  readEchoFrame,
  type EchoFrameFields,
} from '../../src/packet/index.js';
import { createEchoHost, createSimulatedDevice, type EchoHost } from '../../src/sim/index.js';
import { ipFrame } from './net-bench.js';
import { bringUp, frameOf } from './support.js';

const GUEST = { mac: parseMac('52:54:00:12:34:56'), ip: parseIpv4('10.0.2.15') };

function ask(host: EchoHost, frame: Uint8Array): Uint8Array[] {
  const replies: Uint8Array[] = [];
  host.receive(frame, (reply) => replies.push(reply) > 0);
  return replies;
}

function arpFor(ip: string): Uint8Array {
  return buildArpRequest({ senderMac: GUEST.mac, senderIp: GUEST.ip, targetIp: parseIpv4(ip) });
}

function ping(host: EchoHost, more: Partial<EchoFrameFields> = {}): Uint8Array {
  return buildIcmpEcho({
    sourceMac: GUEST.mac,
    sourceIp: GUEST.ip,
    destinationMac: parseMac(host.mac),
    destinationIp: parseIpv4(host.ip),
    identifier: 1,
    sequence: 2,
    ...more,
  });
}

describe('the echo host', () => {
  it('answers ARP for its own address alone', () => {
    const host = createEchoHost({ ip: '192.0.2.7', mac: '02:00:00:00:00:07' });
    const [reply] = ask(host, arpFor('192.0.2.7'));
    expect(readArpFrame(reply)).toEqual({
      operation: 2,
      senderMac: parseMac('02:00:00:00:00:07'),
      senderIp: parseIpv4('192.0.2.7'),
      targetMac: GUEST.mac,
      targetIp: GUEST.ip,
    });
    expect(ask(host, arpFor('192.0.2.8'))).toEqual([]);
    expect(host.statistics).toMatchObject({ received: 2, arpReplies: 1, ignored: 1 });
  });

  it('answers echo requests with their own data, to whoever asked', () => {
    const host = createEchoHost();
    const data = frameOf(1000);
    const [reply] = ask(host, ping(host, { data }));
    const read = readEchoFrame(reply);
    expect(read?.ethernet).toMatchObject({ destination: GUEST.mac, source: parseMac(host.mac) });
    expect(read?.ipv4).toMatchObject({ destination: GUEST.ip, source: parseIpv4('10.0.2.2') });
    expect(read?.echo).toMatchObject({ type: 0, identifier: 1, sequence: 2 });
    expect(reply.slice(read?.echo.payloadOffset)).toEqual(data);
    expect(host.statistics.echoReplies).toBe(1);
  });

  it('ignores what is for others, and replies', () => {
    const host = createEchoHost();
    expect(ask(host, ping(host, { destinationMac: parseMac('02:00:00:00:00:01') }))).toEqual([]);
    expect(ask(host, ping(host, { destinationIp: parseIpv4('10.0.2.3') }))).toEqual([]);
    expect(ask(host, ping(host, { type: 0 }))).toEqual([]);
    expect(ask(host, frameOf(60))).toEqual([]);
    expect(host.statistics).toMatchObject({ received: 4, ignored: 4, malformed: 0 });
  });

  it.each([0x2000, 0x0001])('ignores fragments, those with %i in that field', (fragment) => {
    const host = createEchoHost();
    const frame = ping(host, { data: frameOf(40) });
    frame.set([fragment >> 8, fragment & 0xff, 64, 1, 0, 0], 20);
    const sum = internetChecksum(frame, 14, 34);
    frame.set([sum >> 8, sum & 0xff], 24);
    expect(ask(host, frame)).toEqual([]);
    expect(host.statistics).toMatchObject({ received: 1, ignored: 1 });
    expect(readEchoFrame(frame)).toBeUndefined();
  });

  it('drops what has a wrong checksum or is cut short', () => {
    const host = createEchoHost();
    const wrongIcmp = ping(host, { data: frameOf(40) });
    wrongIcmp[60]++;
    const wrongHeader = ping(host);
    wrongHeader[22]--;
    for (const frame of [
      wrongIcmp,
      wrongHeader,
      ping(host).subarray(0, 40),
      arpFor('10.0.2.2').subarray(0, 41),
    ]) {
      expect(ask(host, frame)).toEqual([]);
    }
    expect(ask(host, new Uint8Array(13))).toEqual([]);
    expect(host.statistics).toMatchObject({ received: 5, malformed: 5, echoReplies: 0, arpReplies: 0 });
  });

  it('loses the part of the frames that it is asked to', () => {
    const numbers = [0.1, 0.9, 0.29, 0.3];
    const host = createEchoHost({ lossRate: 0.3, random: () => numbers.shift() ?? 0 });
    const answered = Array.from({ length: 4 }, () => ask(host, ping(host)).length);
    expect(answered).toEqual([0, 1, 0, 1]);
    expect(host.statistics).toMatchObject({ received: 2, lost: 2, echoReplies: 2 });
  });

  it('takes its time', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    try {
      const host = createEchoHost({ latencyMs: 30 });
      const replies = ask(host, ping(host));
      await vi.advanceTimersByTimeAsync(29);
      expect(replies).toEqual([]);
      await vi.advanceTimersByTimeAsync(1);
      expect(replies).toHaveLength(1);
    } finally {
      vi.useRealTimers();
    }
  });

  it.each([{ lossRate: 1.1 }, { lossRate: Number.NaN }, { latencyMs: -1 }, { ip: '10.0.2' }, { mac: 'x' }])(
    'checks its options: %j',
    (options) => {
      const code: unknown = expect.stringMatching(/^(OPTION_INVALID|ADDRESS_MALFORMED)$/);
      expect(() => createEchoHost(options)).toThrow(expect.objectContaining({ code }));
    },
  );
});

describe('the echo host in a VLAN, and for UDP', () => {
  /** With one tag of 802.1Q, or two with one of 802.1ad before it. */
  const tagged = (frame: Uint8Array, ...tags: number[]): Uint8Array =>
    Uint8Array.from([...frame.subarray(0, 12), ...tags, ...frame.subarray(12)]);
  const TAGS = [
    [0x81, 0, 0x20, 7],
    [0x88, 0xa8, 0, 1, 0x81, 0, 0, 2],
  ];

  it.each(TAGS)('answers with the tags that it was asked with', (...tags) => {
    const host = createEchoHost();
    const data = frameOf(1000);
    const [reply] = ask(host, tagged(ping(host, { data }), ...tags));
    expect([...reply.slice(12, 12 + tags.length)]).toEqual(tags);
    const plain = Uint8Array.from([...reply.slice(0, 12), ...reply.slice(12 + tags.length)]);
    expect(readEchoFrame(plain)?.echo).toMatchObject({ type: 0, identifier: 1, sequence: 2 });
    expect(ask(host, tagged(arpFor('10.0.2.2'), ...tags))).toHaveLength(1);
    expect(host.statistics).toMatchObject({ echoReplies: 1, arpReplies: 1, malformed: 0 });
  });

  it('answers pings of the largest size', () => {
    const host = createEchoHost();
    const data = frameOf(65_507);
    expect(ask(host, ping(host, { data }))[0].slice(42)).toEqual(data);
  });

  const datagram = (port: number, payload = 100): Uint8Array => {
    const addresses = { source: [10, 0, 2, 15], destination: [10, 0, 2, 2] };
    const frame = ipFrame({ ...addresses, protocol: 17, ports: [4000, port], payload });
    frame.set(parseMac('52:55:0a:00:02:02'));
    const sum = internetChecksum(frame, 14, 34);
    frame.set([sum >> 8, sum & 0xff], 24);
    return frame;
  };

  it('sends datagrams to its echo port back', () => {
    const host = createEchoHost();
    const [reply] = ask(host, datagram(7));
    expect([...reply.slice(0, 12)]).toEqual([2, 0, 0, 0, 0, 9, 0x52, 0x55, 0x0a, 0, 2, 2]);
    expect([...reply.slice(26, 38)]).toEqual([10, 0, 2, 2, 10, 0, 2, 15, 0, 7, 0x0f, 0xa0]);
    expect(reply.slice(42)).toEqual(datagram(7).slice(42));
    expect(ask(host, datagram(8))).toEqual([]);
    const wrong = datagram(7);
    wrong[41] = 1;
    expect(ask(host, wrong)).toEqual([]);
    expect(host.statistics).toMatchObject({ udpReplies: 1, ignored: 1, malformed: 1 });
  });
});

describe('a host of one’s own', () => {
  it('gets copies of the frames and can answer them', () => {
    const got: Uint8Array[] = [];
    const host = {
      receive(frame: Uint8Array, send: (frame: Uint8Array) => boolean): void {
        got.push(frame.slice());
        expect(send(frame.fill(9))).toBe(got.length === 1);
      },
    };
    const device = createSimulatedDevice({ host });
    const { rx, tx } = bringUp(device);
    rx.post(0);
    tx.send(0, frameOf(60));
    tx.send(1, frameOf(61));
    expect(got).toEqual([frameOf(60), frameOf(61)]);
    expect(rx.receive()).toEqual([{ frame: new Uint8Array(60).fill(9), numBuffers: 1 }]);
    expect(tx.slot(0).slice(12, 72)).toEqual(frameOf(60));
    expect(device.statistics).toMatchObject({ dropsNoBuffer: 1 });
  });

  it('that throws does not stop the device', async () => {
    const errors: unknown[] = [];
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.once('uncaughtException', (error) => errors.push(error));
    const host = {
      receive(): void {
        throw new Error('from the host');
      },
    };
    const device = createSimulatedDevice({ host });
    const { tx } = bringUp(device);
    try {
      tx.send(0, frameOf(60));
      await vi.waitFor(() => expect(errors).toHaveLength(1));
    } finally {
      for (const listener of listeners) process.on('uncaughtException', listener);
    }
    expect(errors).toEqual([new Error('from the host')]);
    expect(tx.collect()).toHaveLength(1);
    expect(device.violations).toEqual([]);
  });
});
