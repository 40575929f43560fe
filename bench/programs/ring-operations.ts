/**
 * What the driver's own side of a frame costs: the burst calls of the whole driver, against a device that is nothing but
 * its rings and works in the same thread between two timed stretches.
 *
 * Argument: a {@link RingRequest} as JSON. Prints a {@link RingAnswer}.
 */
import { NetDevice, type PacketBuffer } from 'virtio-net';
import { ModelDevice, type ModelOptions } from '../lib/ring-model/device.js';

export interface RingRequest extends ModelOptions {
  /** Frames for each call. */
  readonly bursts: readonly number[];
  /** Length of the frames in bytes, without FCS. */
  readonly frameLength: number;
  /** How often each figure is measured. */
  readonly repetitions: number;
  /** Frames of each measurement. */
  readonly frames: number;
}

export const OPERATIONS = ['receive', 'transmit', 'transmit-fresh', 'pool', 'write'] as const;
export type RingOperation = (typeof OPERATIONS)[number];

export interface RingFigure {
  readonly operation: RingOperation;
  readonly burst: number;
  /** Nanoseconds for each frame, one for each repetition; the cost of the clock is taken off. */
  readonly nanoseconds: readonly number[];
}

export interface RingAnswer {
  /** Nanoseconds that reading the clock costs. */
  readonly clock: number;
  /** Frames between two readings. */
  readonly framesTimed: number;
  readonly figures: readonly RingFigure[];
}

const RECEIVE_QUEUE = 0;
const TRANSMIT_QUEUE = 1;
const HEADER_SIZE = 12;
const CLOCK_READINGS = 1_000_000;

/** What reading the clock adds to a stretch that is timed, in nanoseconds. */
function measureClock(): number {
  let sum = 0;
  for (let round = 0; round < 2; round += 1) {
    sum = 0;
    for (let i = 0; i < CLOCK_READINGS; i += 1) {
      const begin = performance.now();
      sum += performance.now() - begin;
    }
  }
  return (sum * 1e6) / CLOCK_READINGS;
}

class Measurement {
  private readonly model: ModelDevice;
  private readonly device: NetDevice;
  private readonly request: RingRequest;
  private readonly batch: PacketBuffer[] = [];
  private readonly frame: Uint8Array;
  /** Frames between two readings of the clock: half a ring, so that no call finds it empty or full. */
  readonly stretch: number;

  constructor(model: ModelDevice, device: NetDevice, request: RingRequest) {
    this.model = model;
    this.device = device;
    this.request = request;
    this.stretch = request.queueSize / 2;
    this.frame = new Uint8Array(request.frameLength).fill(0x5a);
  }

  /** Nanoseconds for each frame, clock included. */
  run(operation: RingOperation, burst: number, frames: number): number {
    const rounds = Math.ceil(frames / this.stretch);
    let milliseconds = 0;
    for (let round = 0; round < rounds; round += 1) {
      if (operation === 'receive') milliseconds += this.receive(burst);
      else if (operation === 'pool' || operation === 'write')
        milliseconds += this.turnAround(burst, operation);
      else milliseconds += this.transmit(burst, operation === 'transmit-fresh');
    }
    return (milliseconds * 1e6) / (rounds * this.stretch);
  }

  private receive(burst: number): number {
    const { model, stretch, request } = this;
    if (model.finish(RECEIVE_QUEUE, stretch, HEADER_SIZE + request.frameLength) !== stretch)
      throw new Error('The driver has not posted enough buffers');
    const begin = performance.now();
    const taken = this.receiveAll(burst);
    const end = performance.now();
    if (taken !== stretch) throw new Error(`${taken} of ${stretch} frames were received`);
    return end - begin;
  }

  private receiveAll(burst: number): number {
    const { device, batch, stretch } = this;
    let taken = 0;
    while (taken < stretch) {
      const count = device.receive(batch, burst);
      device.releaseBatch(batch, count);
      taken += count;
      if (count === 0) break;
    }
    return taken;
  }

  private transmit(burst: number, fresh: boolean): number {
    const { model, stretch } = this;
    const begin = performance.now();
    const sent = fresh ? this.transmitFresh(burst) : this.transmitAsIs(burst);
    const end = performance.now();
    if (sent !== stretch || model.finish(TRANSMIT_QUEUE, stretch, 0) !== stretch)
      throw new Error(`${sent} of ${stretch} frames were sent`);
    return end - begin;
  }

  /** Buffers from the pool and back, past the ring: what that costs, with a frame copied into each or not. */
  private turnAround(burst: number, operation: 'pool' | 'write'): number {
    const begin = performance.now();
    const turned = operation === 'pool' ? this.turnAsIs(burst) : this.turnWritten(burst);
    const end = performance.now();
    if (turned < this.stretch) throw new Error(`The pool gave ${turned} of ${this.stretch} buffers`);
    return end - begin;
  }

  private turnAsIs(burst: number): number {
    const { device, batch, stretch } = this;
    let turned = 0;
    while (turned < stretch) {
      const count = device.allocateBatch(batch, burst < stretch - turned ? burst : stretch - turned);
      device.releaseBatch(batch, count);
      turned += count;
      if (count === 0) break;
    }
    return turned;
  }

  private turnWritten(burst: number): number {
    const { device, batch, stretch, frame } = this;
    let turned = 0;
    while (turned < stretch) {
      const count = device.allocateBatch(batch, burst < stretch - turned ? burst : stretch - turned);
      for (let i = 0; i < count; i += 1) batch[i].setFrame(frame);
      device.releaseBatch(batch, count);
      turned += count;
      if (count === 0) break;
    }
    return turned;
  }

  /** With whatever lies in the buffers. */
  private transmitAsIs(burst: number): number {
    const { device, batch, stretch, request } = this;
    let sent = 0;
    while (sent < stretch) {
      const count = device.allocateBatch(batch, burst < stretch - sent ? burst : stretch - sent);
      for (let i = 0; i < count; i += 1) batch[i].length = request.frameLength;
      const taken = device.transmit(batch, count);
      sent += taken;
      if (taken !== count || count === 0) break;
    }
    return sent;
  }

  /** With a frame that is copied into each. */
  private transmitFresh(burst: number): number {
    const { device, batch, stretch, frame } = this;
    let sent = 0;
    while (sent < stretch) {
      const count = device.allocateBatch(batch, burst < stretch - sent ? burst : stretch - sent);
      for (let i = 0; i < count; i += 1) batch[i].setFrame(frame);
      const taken = device.transmit(batch, count);
      sent += taken;
      if (taken !== count || count === 0) break;
    }
    return sent;
  }
}

/** Operations and bursts take turns, so that a slow spell of the machine hits all alike. */
function measureAll(measurement: Measurement, request: RingRequest, clock: number): RingFigure[] {
  const figures = OPERATIONS.flatMap((operation) =>
    request.bursts.map((burst) => ({ operation, burst, nanoseconds: [] as number[] })),
  );
  // The compiler has seen all of it before anything counts.
  for (const { operation, burst } of figures) measurement.run(operation, burst, request.frames);
  for (let repetition = 0; repetition < request.repetitions; repetition += 1) {
    for (const { operation, burst, nanoseconds } of figures) {
      const gross = measurement.run(operation, burst, request.frames);
      nanoseconds.push(gross - clock / measurement.stretch);
    }
  }
  return figures;
}

const request = JSON.parse(process.argv[2]) as RingRequest;
const model = new ModelDevice(request);
const device = await NetDevice.open(model, { interrupts: false, queueSize: request.queueSize });
await device.start();
const measurement = new Measurement(model, device, request);
const clock = measureClock();
const figures = measureAll(measurement, request, clock);
await device.close();
const answer: RingAnswer = { clock, framesTimed: measurement.stretch, figures };
console.log(JSON.stringify(answer));
