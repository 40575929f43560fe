/**
 * A clock that leaves no garbage: `performance.now()` and its like give a new object on the heap each time that the compiler
 * does not manage to avoid it, and a program that looks at the clock millions of times a second would measure the
 * collector's work upon that.
 */
import koffi from 'koffi';

const CLOCK_MONOTONIC = 1;
const READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const PAGE = 4096;

const libc = koffi.load('libc.so.6');
const clockGettime = libc.func('int clock_gettime(int, void *)') as (clock: number, time: bigint) => number;
const mmap = libc.func('void *mmap(void *, size_t, int, int, int, int64_t)') as (
  hint: null,
  length: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
) => bigint;

/** Where the struct timespec comes to lie: seconds in the first two words, nanoseconds in the others. */
const place = mmap(null, PAGE, READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
const words = new Uint32Array(koffi.view(place, PAGE));

/** Milliseconds, from when the clock was last looked at. */
export const time = new Float64Array(1);

/** Looks at the clock: {@link time} is of now. */
export function look(): void {
  clockGettime(CLOCK_MONOTONIC, place);
  time[0] = words[0] * 1e3 + words[2] * 1e-6;
}

/** For where a little garbage does not matter. */
export function now(): number {
  look();
  return time[0];
}
