/** A Node program over AF_PACKET through the npm package cap, which is libpcap. Argument and answer: interval.ts. */
import { writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import {
  measureInterval,
  readRequest,
  readUse,
  usedSince,
  type VmAnswer,
  type VmRequest,
} from './interval.js';

interface Capture {
  open(device: string, filter: string, bufferSize: number, buffer: Uint8Array): string;
  setMinBytes?(bytes: number): void;
  send(frame: Uint8Array, length: number): boolean;
  on(event: 'packet', listener: (length: number, truncated: boolean) => void): this;
}

const CAPTURE_BUFFER = 10 << 20;
const FRAMES_BETWEEN_LOOKS = 64;

const request = readRequest();
const { Cap } = createRequire(import.meta.url)('cap') as { Cap: new () => Capture };
const capture = new Cap();
// The add-on writes into it without keeping it alive: this variable does.
const landing = Buffer.alloc(65_535);
capture.open(request.card, '', CAPTURE_BUFFER, landing);
capture.setMinBytes?.(0);

/** The frames come as events, so the clock is looked at in them. */
function receive({ warmUpSeconds, seconds }: VmRequest): Promise<VmAnswer> {
  return new Promise((resolve) => {
    let frames = 0;
    let begin = performance.now();
    let warm = false;
    let before = readUse();
    capture.on('packet', () => {
      frames += 1;
      if (frames % FRAMES_BETWEEN_LOOKS !== 0) return;
      const passed = (performance.now() - begin) / 1000;
      if (!warm && passed >= warmUpSeconds) {
        warm = true;
        frames = 0;
        begin = performance.now();
        before = readUse();
      } else if (warm && passed >= seconds) {
        resolve({ frames, seconds: passed, ...usedSince(before) });
      }
    });
  });
}

function transmit(): VmAnswer {
  const frame = Buffer.alloc(request.frameLength).fill(0xff, 0, 6);
  return measureInterval(() => {
    try {
      capture.send(frame, request.frameLength);
      return 1;
    } catch {
      // The ring of the card was full: libpcap tells that as a failure.
      return 0;
    }
  }, request);
}

const answer = request.direction === 'receive' ? await receive(request) : transmit();
writeSync(1, `${JSON.stringify(answer)}\n`);
process.exit(landing.length > 0 ? 0 : 1);
