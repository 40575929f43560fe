/** Statistics of the device: what is asked, and what is made of the answer. */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { FeatureName } from '../../src/net/feature-table.js';
import { ControlDevice, type ReceivedCommand } from './control-device.js';
import { withCode } from './support.js';

const FEATURES: readonly FeatureName[] = [
  'VIRTIO_NET_F_CTRL_VQ',
  'VIRTIO_NET_F_DEVICE_STATS',
  'VIRTIO_NET_F_MQ',
  'VIRTIO_NET_F_CSUM',
];
const EVERYTHING = (1n << 64n) - 1n;
const QUERY = 0;
const CONTROL_QUEUE = 8;

let device: ControlDevice | undefined;
afterEach(() => {
  device?.stop();
  device?.session.free();
  expect(device?.memory.allocatedBytes ?? 0).toBe(0);
  device = undefined;
});

const littleEndian = (value: bigint, length: number): number[] =>
  Array.from({ length }, (_, byte) => Number((value >> BigInt(8 * byte)) & 0xffn));

/** A reply whose counters are numbered from 1, in the hundreds by queue and the thousands by type. */
function reply(type: number, queue: number, counters: number, extra = 0): number[] {
  const size = 8 + 8 * (counters + extra);
  const header = [type, 0, ...littleEndian(BigInt(queue), 2), 0, 0, ...littleEndian(BigInt(size), 2)];
  const values = Array.from({ length: counters + extra }, (_, at) =>
    BigInt(1000 * type + 100 * queue + at + 1),
  );
  return [...header, ...values.flatMap((value) => littleEndian(value, 8))];
}

/** How many counters each type has (VIRTIO 1.3, 5.1.6.5.10.3 and on). */
const COUNTERS: Readonly<Record<number, number>> = {
  0: 6,
  1: 4,
  2: 4,
  3: 2,
  16: 6,
  17: 2,
  18: 6,
  19: 2,
  32: 2,
};

function repliesTo(data: readonly number[], extra = 0): number[] {
  const replies: number[] = [];
  for (let at = 0; at < data.length; at += 16) {
    const queue = data[at] | (data[at + 1] << 8);
    for (const [type, counters] of Object.entries(COUNTERS)) {
      const bit = Number(type);
      if (((data[at + 8 + Math.floor(bit / 8)] >> (bit % 8)) & 1) === 1)
        replies.push(...reply(bit, queue, counters, extra));
    }
  }
  return replies;
}

async function start(
  answer: (command: ReceivedCommand) => readonly number[],
  { capabilities = EVERYTHING, pairs = 2 } = {},
): Promise<ControlDevice> {
  device = new ControlDevice({ features: FEATURES, config: { pairs: CONTROL_QUEUE / 2 }, pairs });
  device.answer = (command) => ({
    ack: 0,
    result: command.command === QUERY ? littleEndian(capabilities, 8) : answer(command),
  });
  await device.start();
  return device;
}

describe('statistics of the device', () => {
  // Proves: net/device-statistics/1, net/device-statistics/2, net/device-statistics/3
  it('are asked of each queue as far as the device has them and what was negotiated allows', async () => {
    const bench = await start(({ data }) => repliesTo(data));
    const { receive, transmit, control } = await bench.control.deviceStatistics();
    const [query, get] = bench.take();
    expect(query).toEqual([8, 0]);
    expect(get).toEqual([
      ...[8, 1],
      ...[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
      ...[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0],
      ...[2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
      ...[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0],
      ...[CONTROL_QUEUE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
    ]);
    expect(bench.framing[1].writable).toEqual([1, 2 * 56 + 2 * (56 + 24) + 24]);
    expect(receive).toEqual([
      { notifications: 1n, packets: 2n, bytes: 3n, interrupts: 4n, drops: 5n, dropOverruns: 6n },
      { notifications: 201n, packets: 202n, bytes: 203n, interrupts: 204n, drops: 205n, dropOverruns: 206n },
    ]);
    expect(transmit[1]).toEqual({
      notifications: 16301n,
      packets: 16302n,
      bytes: 16303n,
      interrupts: 16304n,
      drops: 16305n,
      dropMalformed: 16306n,
      checksumNone: 17301n,
      checksumNeeded: 17302n,
    });
    expect(control).toEqual({ commands: 32801n, succeeded: 32802n });
  });

  it('are none where the device has none', async () => {
    const bench = await start(() => [], { capabilities: 1n << 50n });
    expect(await bench.control.deviceStatistics()).toEqual({
      receive: [{}, {}],
      transmit: [{}, {}],
      control: {},
    });
    expect(bench.take()).toEqual([[8, 0]]);
  });

  it('get more room where the device has more to say', async () => {
    const bench = await start(({ data }) => repliesTo(data, 3));
    const { control } = await bench.control.deviceStatistics();
    expect(control).toEqual({ commands: 32801n, succeeded: 32802n });
    expect(bench.take()).toHaveLength(3);
  });

  it.each<[string, readonly number[]]>([
    ['nothing', []],
    ['half a header', [0, 0, 0]],
    ['one reply of many', reply(0, 0, 6)],
    ['another queue', reply(0, 9, 6)],
    ['another type', reply(2, 0, 4)],
    ['too short', reply(0, 0, 5)],
    ['of size 0', [0, 0, 0, 0, 0, 0, 0, 0]],
  ])('that make no sense are refused: %s', async (_, result) => {
    const bench = await start(() => result);
    await expect(bench.control.deviceStatistics()).rejects.toThrow(withCode('CONTROL_ANSWER_INVALID'));
  });

  it('refuse capabilities that are cut short', async () => {
    const bench = await start(() => []);
    bench.answer = () => ({ ack: 0, result: [1, 2, 3] });
    await expect(bench.control.deviceStatistics()).rejects.toThrow(withCode('CONTROL_ANSWER_INVALID'));
  });

  it('survive whatever a device says', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.bigInt({ min: 0n, max: EVERYTHING }),
        fc.uint8Array({ maxLength: 400 }),
        async (bits, bytes) => {
          const bench = await start(() => [...bytes], { capabilities: bits });
          const outcome = await bench.control.deviceStatistics().catch((error: unknown) => error);
          if (outcome instanceof Error) expect(outcome).toMatchObject({ code: 'CONTROL_ANSWER_INVALID' });
          bench.stop();
          bench.session.free();
          expect(bench.memory.allocatedBytes).toBe(0);
        },
      ),
      { numRuns: 200 },
    );
  });
});
