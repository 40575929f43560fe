/**
 * The words that the thread of a device and that of a shared queue pair have in common. Each but that of the
 * interrupts is written by one side.
 *
 * What is asked of a pair stands in one word, which its thread looks at in every burst call: so it learns of it in a
 * busy loop, too, with no turn of the event loop and no message.
 */
import type { SharedDoorbell } from '../../transport/sharing.js';

/** What a shared pair is to do. */
export const REQUEST = {
  /** To rest: the device is about to be reset, or was. What waits is rejected. */
  STOP: 0,
  /** To rest, while the device is reset; what waits goes on waiting. Frames may be kept, see {@link keepsFrames}. */
  PAUSE: 1,
  /** To run, with rings in their initial state. */
  RUN: 2,
  /** To leave everything alone for ever. */
  END: 3,
} as const;

export type Request = (typeof REQUEST)[keyof typeof REQUEST];

/**
 * A request in one number: what to do, whether the pair may send, whether it keeps its frames, and a count, so that no two
 * are the same.
 */
const REQUEST_MASK = 3;
const USED = 4;
const KEEP = 8;
const STEP = 16;

const REQUEST_AT = 0;
const ATTACHED_AT = 1;
/** A bit for each queue of the pair: an interrupt was passed on, and its message was not read yet. */
const INTERRUPTS_AT = 2;
const WORDS = 3;

const DOORBELL_NUMBERS = 3;
/** In place of the width of a register: it is an eventfd. */
const KICK = 8;
/** Behind the doorbells of both queues. */
const COUNTERS_AT = 2 * DOORBELL_NUMBERS;
/** How many counters there is room for. */
export const COUNTER_COUNT = 20;

/** What both sides are given of it: plain data. */
export interface ControlMemory {
  readonly words: Int32Array;
  readonly numbers: Float64Array;
}

export class ControlBlock {
  readonly memory: ControlMemory;
  /** The counters of the pair; written by its own thread. */
  readonly counters: Float64Array;
  private readonly words: Int32Array;
  private readonly numbers: Float64Array;

  constructor(memory: ControlMemory = allocate()) {
    this.memory = memory;
    this.words = memory.words;
    this.numbers = memory.numbers;
    this.counters = memory.numbers.subarray(COUNTERS_AT);
  }

  /** The number of what was asked for last: another one for each request. */
  get request(): number {
    return Atomics.load(this.words, REQUEST_AT);
  }

  /** Asks for something; gives the number of the request. */
  ask(what: Request, used: boolean, keep: boolean): number {
    const count = (this.request & ~(STEP - 1)) + STEP;
    Atomics.store(this.words, REQUEST_AT, count | what | (used ? USED : 0) | (keep ? KEEP : 0));
    return this.request;
  }

  /** Whether a thread has taken the pair. */
  get isAttached(): boolean {
    return Atomics.load(this.words, ATTACHED_AT) !== 0;
  }

  /** Takes the pair for this thread; says whether no other had it. */
  attach(): boolean {
    return Atomics.compareExchange(this.words, ATTACHED_AT, 0, 1) === 0;
  }

  /** Notes that an interrupt is passed on; says whether the last one of the queue has been read. */
  raiseInterrupt(queue: number): boolean {
    return (Atomics.or(this.words, INTERRUPTS_AT, 1 << queue) & (1 << queue)) === 0;
  }

  /** The interrupt was read: the next one has to be passed on again. */
  takeInterrupt(queue: number): void {
    Atomics.and(this.words, INTERRUPTS_AT, ~(1 << queue));
  }

  /** Sleeps for that long, in milliseconds, or until it is woken. */
  sleep(duration: number): void {
    Atomics.wait(this.words, ATTACHED_AT, 1, duration);
  }

  /** @param queue - 0 for the receive queue, 1 for the transmit queue */
  setDoorbell(queue: number, doorbell: SharedDoorbell | undefined): void {
    this.numbers.set(numbersOf(doorbell), queue * DOORBELL_NUMBERS);
  }

  /** Where the queue is notified; undefined if the thread of the device has to do it. */
  doorbell(queue: number): SharedDoorbell | undefined {
    const [address, width, id] = this.numbers.subarray(queue * DOORBELL_NUMBERS);
    if (width === KICK) return { fd: id };
    return width === 2 || width === 4 ? { address, width, id } : undefined;
  }
}

/** Address, width and what is written there. */
function numbersOf(doorbell: SharedDoorbell | undefined): [number, number, number] {
  if (doorbell === undefined) return [0, 0, 0];
  return 'fd' in doorbell ? [0, KICK, doorbell.fd] : [doorbell.address, doorbell.width, doorbell.id];
}

/** What a request asks for. */
export function requestOf(request: number): Request {
  return (request & REQUEST_MASK) as Request;
}

/** Whether the pair may be used to send, by a request. */
export function isUsed(request: number): boolean {
  return (request & USED) !== 0;
}

/** Whether what the device has not finished is to be kept while the pair rests, and given to it again. */
export function keepsFrames(request: number): boolean {
  return (request & KEEP) !== 0;
}

function allocate(): ControlMemory {
  return {
    words: new Int32Array(new SharedArrayBuffer(WORDS * 4)),
    numbers: new Float64Array(new SharedArrayBuffer((COUNTERS_AT + COUNTER_COUNT) * 8)),
  };
}
