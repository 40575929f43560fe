/** A hundred million frames in one stretch, and what the garbage collector has to do for them. */
import { chooseProcessors } from '../lib/processors.js';
import { runProgram } from '../lib/run-program.js';
import { rounded } from '../lib/statistics.js';
import { withBackend } from '../lib/with-backend.js';
import { withGauge, type Gauged } from '../lib/with-gauge.js';
import type { SoakAnswer, SoakRequest } from '../programs/soak.js';
import type { Cell, SectionResult } from '../result.js';
import type { BenchContext, Section } from '../section.js';

type Way = Pick<SoakRequest, 'packed' | 'operation'>;

const OPERATIONS = ['receive', 'transmit'] as const;
const FRAMES = 100_000_000;
const QUICK_FRAMES = 2_000_000;
const WARM_UP_FRAMES = 5_000_000;
const BURST = 32;
const FRAME_LENGTH = 64;

interface Measured {
  readonly way: Way;
  readonly answer: SoakAnswer;
}

async function measure(
  { quick, signal, steps }: BenchContext,
  look: () => Promise<unknown>,
): Promise<Measured[]> {
  const processors = chooseProcessors();
  const measured: Measured[] = [];
  steps.expect(2 * OPERATIONS.length);
  for (const operation of OPERATIONS) {
    const forward = operation === 'receive' ? 'txonly' : 'rxonly';
    await withBackend({ forward, processors, signal }, async (socket) => {
      for (const packed of [false, true]) {
        await look();
        steps.begin(`${operation}, ${packed ? 'packed' : 'split'}`);
        const request: SoakRequest = {
          ...{ socket, packed, operation, burst: BURST, frameLength: FRAME_LENGTH },
          frames: quick ? QUICK_FRAMES : FRAMES,
          warmUpFrames: quick ? QUICK_FRAMES : WARM_UP_FRAMES,
        };
        const options = { processor: processors.driver, seconds: 120, signal };
        const answer = (await runProgram('soak', request, options)) as SoakAnswer;
        measured.push({ way: { packed, operation }, answer });
      }
    });
  }
  return measured;
}

function rowOf({ way, answer }: Measured): Cell[] {
  const { frames, seconds, collections, heapGrowth } = answer;
  return [
    way.operation,
    way.packed ? 'packed' : 'split',
    rounded(frames / 1e6),
    rounded(seconds),
    collections.count,
    rounded(collections.sum),
    rounded(heapGrowth / 1024),
    rounded(heapGrowth / frames),
  ];
}

function describe({ result: measured, note }: Gauged<Measured[]>): SectionResult {
  return {
    title: 'Garbage',
    what:
      'Frames of 64 bytes in one stretch, polled, in bursts of 32, over vhost-user with DPDK’s testpmd behind it: how often ' +
      'the garbage collector of V8 ran meanwhile, and by how much the heap has grown. Transmitted frames are copied into their ' +
      'buffers.',
    tables: [
      {
        title: 'Collections',
        columns: [
          { name: 'direction' },
          { name: 'ring' },
          { name: 'frames', unit: 'million' },
          { name: 'time', unit: 's' },
          { name: 'collections' },
          { name: 'time in them', unit: 'ms' },
          { name: 'growth of the heap', unit: 'KiB' },
          { name: 'the same', unit: 'bytes per frame' },
        ],
        rows: measured.map(rowOf),
      },
    ],
    plots: [],
    notes: [
      'What grows is what the compiler of V8 leaves on the heap when it optimises, and does not grow with the number of ' +
        'frames. The code had been warm for some million frames before.',
      note,
    ],
  };
}

export const garbage: Section = {
  name: 'garbage',
  title: 'Garbage',
  seconds: ({ quick }) => (quick ? 10 : 60),
  run: async (context) => describe(await withGauge((look) => measure(context, look))),
};
