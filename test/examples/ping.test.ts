/** examples/ping against hosts that answer as they should, twice, wrongly, late, or not at all. */
import { describe, expect, it } from 'vitest';
import { PolledWaiting, InterruptWaiting } from '../../examples/ping/waiting.js';
import { readArguments, type PingArguments } from '../../examples/ping/arguments.js';
import { Pinger } from '../../examples/ping/pinger.js';
import { formatTime, RoundTrips, summary } from '../../examples/ping/report.js';
import { NetDevice } from '../../src/net-device.js';
import {
  ARP_OPERATION,
  buildArpReply,
  buildArpRequest,
  buildIcmpEcho,
  ICMP_TYPE,
  parseIpv4,
  parseMac,
  readArpFrame,
  readEchoFrame,
} from '../../src/packet/index.js';
import { createSimulatedDevice, type NetworkHost } from '../../src/sim/index.js';

const HOST_MAC = parseMac('52:55:0a:00:02:02');
const TARGET = parseIpv4('10.0.2.2');
const SOURCE = parseIpv4('10.0.2.15');

interface Request {
  readonly identifier: number;
  readonly sequence: number;
  readonly data: Uint8Array;
}
type Reply = Partial<Request> & { readonly destinationIp?: Uint8Array };

/** A host that answers each request with these replies. */
function hostThat(answer: (request: Request) => readonly Reply[]): NetworkHost {
  return {
    receive(frame, send) {
      const arp = readArpFrame(frame);
      const { senderMac: targetMac, senderIp: targetIp } = arp ?? { senderMac: HOST_MAC, senderIp: SOURCE };
      if (arp !== undefined)
        send(buildArpReply({ senderMac: HOST_MAC, senderIp: TARGET, targetMac, targetIp }));
      const echo = readEchoFrame(frame)?.echo;
      if (echo === undefined) return;
      const data = frame.slice(echo.payloadOffset, echo.payloadEnd);
      const addresses = { sourceMac: HOST_MAC, destinationMac: frame.slice(6, 12), sourceIp: TARGET };
      for (const reply of answer({ ...echo, data })) {
        const fields = { destinationIp: SOURCE, ...echo, data, ...reply, type: ICMP_TYPE.ECHO_REPLY };
        send(buildIcmpEcho({ ...addresses, ...fields }));
      }
    },
  };
}

interface Run {
  readonly printed: string;
  readonly pinger: Pinger;
  readonly device: NetDevice;
}

function argumentsOf(text: string): PingArguments {
  const read = readArguments(['sim', '10.0.2.2', ...text.split(' ')]);
  if (read === 'help') throw new Error('help was not asked for');
  return read;
}

async function ping(
  host: NetworkHost | null,
  text: string,
  { stop, hold = false }: { stop?: AbortSignal; hold?: boolean } = {},
): Promise<Run> {
  const options = argumentsOf(text);
  const simulated = createSimulatedDevice({ host });
  simulated.holdTransmit(hold);
  const device = await NetDevice.open(simulated.transport, { interrupts: !options.polled, drainTimeout: 0 });
  await device.start();
  let printed = '';
  const signal = stop ?? new AbortController().signal;
  const waiting = options.polled ? new PolledWaiting(device, signal) : new InterruptWaiting(signal);
  const pinger = new Pinger(device, options, waiting, (line) => {
    printed += line.replace(/time=[\d.]+ ms/, 'time=T ms');
  });
  await pinger.run();
  await device.close();
  return { printed, pinger, device };
}

const line = (sequence: number, more = ''): string =>
  `64 bytes from 10.0.2.2: icmp_seq=${sequence} ttl=64 time=T ms${more}\n`;

describe('ping', () => {
  it.each(['', ' --polled'])('prints a line for each reply%s', async (mode) => {
    const { printed, pinger } = await ping(
      hostThat(() => [{}]),
      `--count 3 --interval 0.001${mode}`,
    );
    expect(printed).toBe(line(1) + line(2) + line(3));
    expect(pinger).toMatchObject({ sent: 3, trips: { received: 3, duplicates: 0, errors: 0 } });
  });

  it('marks what came twice, and counts it apart', async () => {
    const { printed, pinger } = await ping(
      hostThat(() => [{}, {}]),
      '--count 2 --interval 0.05',
    );
    const twice = (sequence: number): string => line(sequence) + line(sequence, ' (DUP!)');
    expect(printed).toBe(twice(1) + twice(2));
    expect(pinger.trips).toMatchObject({ received: 2, duplicates: 2 });
    expect(summary('10.0.2.2', pinger.sent, 5, pinger.trips)).toContain(
      '2 packets transmitted, 2 received, +2 duplicates, 0% packet loss',
    );
  });

  it('counts what got lost', async () => {
    const lost = hostThat(({ sequence }) => (sequence === 2 ? [] : [{}]));
    const { printed, pinger } = await ping(lost, '--count 3 --interval 0.001');
    expect(printed).toBe(line(1) + line(3));
    expect(summary('10.0.2.2', pinger.sent, 5, pinger.trips)).toContain(
      '3 packets transmitted, 2 received, 33.3333% packet loss, time 5ms\n',
    );
  });

  it.each<[string, (data: Uint8Array) => Uint8Array, string]>([
    ['another byte', (data) => data.with(9, 0xff), '\nwrong data byte #9 should be 0x9 but was 0xff'],
    ['less', (data) => data.subarray(0, 50), ' (truncated)'],
  ])('says that %s came back than was sent', async (_name, change, said) => {
    const wrong = hostThat(({ data }) => [{ data: change(data) }]);
    const { printed } = await ping(wrong, '--count 1');
    expect(printed).toBe(line(1, said).replace('64 bytes', said.includes('#') ? '64 bytes' : '58 bytes'));
  });

  it('leaves the replies to others alone', async () => {
    const others = hostThat(({ identifier, sequence }) => [
      { identifier: identifier ^ 1 },
      { destinationIp: parseIpv4('10.0.2.16') },
      { sequence: sequence + 1 },
      {},
    ]);
    const { printed, pinger } = await ping(others, '--count 1');
    expect(printed).toBe(line(1));
    expect(pinger.trips).toMatchObject({ received: 1, duplicates: 0 });
  });

  it('says that nobody answers for the address', async () => {
    const { printed, pinger } = await ping(null, '--count 1');
    expect(printed).toBe('From 10.0.2.15 icmp_seq=1 Destination Host Unreachable\n');
    expect(summary('10.0.2.2', pinger.sent, 1, pinger.trips)).toContain('+1 errors, 100% packet loss');
  });

  it('answers who asks for its own address, and nobody else', async () => {
    const answers: string[] = [];
    const request = (targetIp: Uint8Array): Uint8Array =>
      buildArpRequest({ senderMac: HOST_MAC, senderIp: TARGET, targetIp });
    const asking: NetworkHost = {
      receive(frame, send) {
        const arp = readArpFrame(frame);
        if (arp?.operation === ARP_OPERATION.REPLY) answers.push(arp.senderIp.join('.'));
        hostThat(() => [{}]).receive(frame, send);
        if (readEchoFrame(frame) !== undefined) {
          send(request(parseIpv4('10.0.2.77')));
          send(request(SOURCE));
        }
      },
    };
    await ping(asking, '--count 2 --interval 0.05');
    expect(answers).toEqual(expect.arrayContaining(['10.0.2.15']));
    expect(answers).not.toContain('10.0.2.77');
  });

  it.each(['', ' --polled'])('ends when it is interrupted%s', async (mode) => {
    const controller = new AbortController();
    const host = hostThat(({ sequence }) => {
      if (sequence === 2) controller.abort();
      return [{}];
    });
    const { pinger } = await ping(host, `--interval 0.001${mode}`, { stop: controller.signal });
    expect(pinger.sent).toBe(2);
  });

  it('counts no request that was still waiting for room when it was interrupted', async () => {
    const controller = new AbortController();
    // With the ARP request these fill the ring.
    const host = hostThat(({ sequence }) => {
      if (sequence === 255) setTimeout(() => controller.abort(), 50);
      return [{}];
    });
    const { pinger } = await ping(host, '--interval 0', { stop: controller.signal, hold: true });
    expect(pinger.sent).toBe(255);
  });

  it('goes on beyond 65536 requests', async () => {
    const { pinger } = await ping(
      hostThat(() => [{}]),
      '--count 65540 --interval 0 --size 8 --polled',
    );
    expect(pinger.trips).toMatchObject({ received: 65540, duplicates: 0 });
  }, 60_000);
});

describe('the report of ping', () => {
  it.each([
    [0.0004, '0.000'],
    [0.9994, '0.999'],
    [0.9996, '1.00'],
    [9.994, '9.99'],
    [9.996, '10.0'],
    [99.94, '99.9'],
    [99.96, '100'],
    [1234.5, '1235'],
  ])('writes %f ms as %s', (time, text) => {
    expect(formatTime(time)).toBe(text);
  });

  it('says nothing of times where no reply came', () => {
    expect(summary('10.0.2.2', 0, 0, new RoundTrips())).toBe(
      '\n--- 10.0.2.2 ping statistics ---\n0 packets transmitted, 0 received, 0% packet loss, time 0ms\n',
    );
  });

  it('gives the least, mean, greatest and deviation', () => {
    const trips = new RoundTrips();
    for (const time of [1, 2, 3]) trips.add(time);
    expect(summary('10.0.2.2', 3, 7, trips)).toContain('rtt min/avg/max/mdev = 1.000/2.000/3.000/0.816 ms\n');
  });
});

describe('the command line of ping', () => {
  it('has a source in the network of the target, but not the target', () => {
    expect(argumentsOf('-c 1').source).toEqual(SOURCE);
    expect(readArguments(['sim', '10.0.2.15'])).toMatchObject({ source: parseIpv4('10.0.2.16') });
  });

  it('gives help', () => {
    expect(readArguments(['--help'])).toBe('help');
    expect(readArguments(['sim', '10.0.2.2', '-h'])).toBe('help');
  });

  it.each([
    [['sim'], /a card and a target[^]*usage/],
    [['sim', '10.0.2'], /"10\.0\.2" is not an IPv4 address/],
    [['sim', '10.0.2.2', '--count', '0'], /--count '0'/],
    [['sim', '10.0.2.2', '--count', ''], /--count ''/],
    [['sim', '10.0.2.2', '--count', '1.5'], /a whole number/],
    [['sim', '10.0.2.2', '--interval', 'x'], /a number from 0/],
    [['sim', '10.0.2.2', '--size', '65508'], /to 65507/],
    [['sim', '10.0.2.2', '--bogus'], /--bogus/],
  ])('refuses %j', (words, message) => {
    expect(() => readArguments(words)).toThrow(message);
  });
});
