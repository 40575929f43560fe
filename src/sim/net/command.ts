/** What a command of the control queue is (VIRTIO 1.3, 5.1.6.5). */
import type { SimulatedFeature } from '../features.js';
import { DriverViolation } from '../violation.js';
import type { NetState } from './state.js';

/**
 * `ok`; `error` where the device can not do it; or, with ok, what the device fills into the command-specific-data if
 * the command has that, otherwise the command-specific-result.
 */
export type Answer = 'ok' | 'error' | Uint8Array;

export interface Command {
  readonly name: string;
  readonly class: number;
  readonly command: number;
  /** The features that must have been negotiated for the driver to use it. */
  readonly needs: readonly SimulatedFeature[];
  /** How many bytes of command-specific-data the device fills in: they lie in front of the ack byte. None by default. */
  readonly fills?: number;
  /**
   * @param room - how many bytes of result there is room for
   * @throws DriverViolation where the driver broke a rule by it
   */
  run(data: Uint8Array, state: NetState, room: number): Answer;
  /** The lengths of the descriptors that a legacy driver must put the data into; one if it is left out. */
  framing?(data: Uint8Array): readonly number[];
}

/** A reader over the data of a command. */
export function viewOver(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.length);
}

/** Says that the driver broke a rule by a command. */
export function breach(sentence: string): never {
  throw new DriverViolation(sentence);
}
